# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program of the unit: whole, and understood by every Python that a host may have."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils._boot_program import build


def runs(interpreter: str | None) -> bool:
    """Whether it is there; a version manager's stand-in for one that is not installed is none."""
    return interpreter is not None and not subprocess.run([interpreter, "-c", ""], check=False).returncode


# the oldest and the newest that a host may have, where this machine has them
INTERPRETERS = [
    sys.executable,
    *filter(runs, (shutil.which(f"python3.{minor}") for minor in (8, 13))),
]


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_it_imports_all_that_it_needs(interpreter: str, tmp_path: Path) -> None:
    program = tmp_path / "boot.pyz"
    program.write_bytes(build())

    done = subprocess.run(
        [interpreter, "-I", str(program), "--help"], env={}, cwd="/", capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "resurrect" in done.stdout


def test_it_holds_our_files_and_nothing_of_ansible() -> None:
    names = zipfile.ZipFile(io.BytesIO(build())).namelist()

    assert "__main__.py" in names
    assert any(name.endswith("/_boot.py") for name in names)
    assert any(name.endswith("/_cli.py") for name in names), "also what is imported late"
    assert not [name for name in names if name.startswith("ansible/")]


def test_the_same_sources_make_the_same_bytes() -> None:
    assert build() == build()
