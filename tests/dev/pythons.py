# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the unit tests of what runs on managed hosts under every Python that a host may have, as far as it is here.

A Python counts as here when it is on PATH or below pyenv's root. Its virtual environment is kept in .dev/pythons/.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"]
TESTS = ["tests/unit/plugins/module_utils", "tests/unit/plugins/modules"]
# pytest and hypothesis of requirements.txt are too new for some of them: pip takes what fits
PACKAGES = ["pytest", "hypothesis", "pyyaml", "trustme"]


def interpreter(version: str) -> str | None:
    """pyenv's own first: its shims are on PATH for versions that they then refuse to run."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for place in [*sorted(map(str, pyenv.glob(f"{version}.*/bin/python{version}"))), shutil.which(f"python{version}")]:
        if place:
            works = subprocess.run([place, "-c", "import ensurepip, ssl, venv"], check=False, capture_output=True)
            if works.returncode == 0:
                return place
    return None


def available() -> dict[str, str]:
    found = {version: interpreter(version) for version in VERSIONS}
    return {version: place for version, place in found.items() if place}


def environment(version: str, place: str) -> Path:
    """A virtual environment for the tests; Ansible itself, which no old Python can install, comes from ours."""
    venv = ROOT / ".dev" / "pythons" / version
    ready = venv / ".ready"
    if not ready.exists():
        subprocess.run([place, "-m", "venv", "--clear", str(venv)], check=True)
        subprocess.run([str(venv / "bin" / "pip"), "install", "-qq", *PACKAGES], check=True)
        ready.touch()
    return venv


def ansible_alone() -> Path:
    """A directory with nothing but the package ansible: its module_utils run on all of these Pythons."""
    import ansible

    place = ROOT / ".dev" / "pythons" / "ansible-only"
    place.mkdir(parents=True, exist_ok=True)
    link = place / "ansible"
    link.unlink(missing_ok=True)
    link.symlink_to(Path(ansible.__file__).parent)
    return place


def main() -> int:
    pythons = available()
    path = os.pathsep.join(map(str, [ansible_alone(), ROOT / ".dev" / "collections", ROOT / "tests"]))
    passed = []
    for version, place in pythons.items():
        print(f"==> Python {version}: {place}", flush=True)
        venv = environment(version, place)
        # not the project's settings: they ask for our pytest, and conftest.py for the controller's Ansible
        command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", "tests/unit"]
        tests = [directory for directory in TESTS if (ROOT / directory).is_dir()]
        process = subprocess.run(
            [str(venv / "bin" / "python"), *command, "--confcutdir", "tests/unit", "--import-mode=importlib", *tests],
            check=False,
            cwd=ROOT,
            # the laws are tried in full by the suite unit
            env={**os.environ, "PYTHONPATH": path, "EXAMPLES": "15"},
        )
        if process.returncode == 0:
            passed.append(version)
    for version in VERSIONS:
        if version not in pythons:
            print(f"NOT HERE: Python {version}; put it on PATH to run the tests under it")
    print(f"{len(passed)} passed, {len(pythons) - len(passed)} failed, {len(VERSIONS) - len(pythons)} skipped")
    return 0 if len(passed) == len(pythons) and pythons else 1


if __name__ == "__main__":
    sys.exit(main())
