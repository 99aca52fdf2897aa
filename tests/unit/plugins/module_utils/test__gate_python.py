# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The place of the gate of Python apps: its file, and its entry in PYTHONPATH."""

from __future__ import annotations

import stat
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.module_utils._gate_python import (
    added,
    install,
    is_directory,
    is_ours,
    name,
    put,
    script,
    strip,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home

OURS, OLDER = "/h/gate/python-0123abcd", "/h/gate/python-76543210"
PATHS = st.lists(st.sampled_from(["/srv/lib", "lib", "/h/gate/python", "/h/gate/python-0123abcd/more"]), min_size=1)


def test_it_is_installed_privately(tmp_path: Path) -> None:
    home = Home(str(tmp_path))
    directory = Path(install(home))
    file = directory / "sitecustomize.py"
    assert (directory.parent, directory.name) == (tmp_path / "gate", name())
    assert file.read_text() == script()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (directory.parent, directory, file)] == [0o700, 0o700, 0o600]
    before = file.stat()
    assert install(home) == str(directory)
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert is_directory(str(directory))


def test_importing_it_does_nothing() -> None:
    """Only Python itself imports it under its name on a host."""
    assert "if __name__ == NAME:" in script()


@given(PATHS)
def test_what_was_declared_comes_back(paths: list[str]) -> None:
    env = {"A": "1", "PYTHONPATH": ":".join(paths)}
    gated = put(env, OURS)
    assert gated["PYTHONPATH"] == ":".join([OURS, *paths])
    assert (is_ours(env), is_ours(gated), added(gated)) == (False, True, [OURS])
    assert strip(gated) == strip(env) == env
    assert put(put(env, OLDER), OURS) == gated


def test_without_a_declared_path() -> None:
    assert put({"A": "1"}, OURS) == {"A": "1", "PYTHONPATH": OURS}
    assert strip({"A": "1", "PYTHONPATH": OURS}) == {"A": "1"}
    assert not is_ours({})
