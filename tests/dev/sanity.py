# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``ansible-test sanity`` without Docker, on a copy: it refuses links, and finds nothing to test below a directory
that git ignores (it then ends with success). Run in tests/ as ``python -m dev.sanity``."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import ansible
from dev import pythons
from support.checkout import ROOT, copy_to

WORK = ROOT / ".dev" / "ansible-test"
COPY = WORK / "ansible_collections" / "zerodown" / "pm2"
# kept: ansible-test has its caches there
HOME = WORK / "home"

# where ansible-test names the version of pip that it wants
REQUIREMENTS = Path(ansible.__file__).parents[1] / "ansible_test" / "_internal" / "python_requirements.py"
# stands in for the script that ansible-test would fetch: same pip, from the package index that pip is set up for
# (ensurepip in a process of its own, because it turns pip's settings off in its own)
GET_PIP = """import subprocess, sys
for arguments in (["ensurepip"], ["pip", "install", "-qq", "pip=={version}"]):
    subprocess.check_call([sys.executable, "-m", *arguments], stdout=subprocess.DEVNULL)
"""


def make_copy() -> None:
    """With a git repository of its own, so that the .gitignore of ours does not hide it; without what is not in the
    collection's tarball, which ruff and mypy look at, and pylint for minutes."""
    shutil.rmtree(WORK / "ansible_collections", ignore_errors=True)
    copy_to(COPY)
    for path in [COPY / "molecule", *(COPY / "tests").iterdir()]:
        if path.is_dir() and path.name != "sanity":
            shutil.rmtree(path)
    subprocess.run(["git", "init", "--quiet"], cwd=COPY, check=True)


def make_home() -> None:
    """ansible-test passes HOME on and no PIP_* variable: what pip is set up with goes into a file there."""
    version = re.search(r"pip='([\d.]+)'", REQUIREMENTS.read_text())
    assert version, "ansible-test does not name its version of pip any more where it used to"
    cache = HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    name = f"get_pip_{version[1].replace('.', '_')}.py"
    (cache / name).write_text(GET_PIP.replace("{version}", version[1]))

    def pip(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "pip", *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    settings = {"cache-dir": pip("cache", "dir")}
    # the files' settings come first, so that the environment's win, as in pip itself
    for line in sorted(pip("config", "list").splitlines(), key=lambda line: line.startswith(":env:")):
        key, value = line.split("=", 1)
        settings[key.partition(".")[2]] = ast.literal_eval(value)
    file = HOME / ".config" / "pip" / "pip.conf"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items()))


def main() -> int:
    make_copy()
    make_home()
    path = WORK / "bin"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    for version, place in pythons.available().items():
        (path / f"python{version}").symlink_to(place)
    return subprocess.run(
        ["ansible-test", "sanity", "--local", "--color", "no", *sys.argv[1:]],
        check=False,
        cwd=COPY,
        env={**os.environ, "HOME": str(HOME), "PATH": f"{path}{os.pathsep}{os.environ['PATH']}"},
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
