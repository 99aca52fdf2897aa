# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Virtual environments beside that of the tests, made once in a checkout."""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def made_once(venv: Path, pins: Path, python: str) -> Path:
    """The directory with the programs, after it was made by whoever comes first."""
    venv.parent.mkdir(parents=True, exist_ok=True)
    with venv.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made_of = venv / "made-of"
        wanted = pins.read_text()
        if not made_of.exists() or made_of.read_text() != wanted:
            subprocess.run([python, "-m", "venv", "--clear", str(venv)], check=True)
            subprocess.run([str(venv / "bin" / "pip"), "install", "-qq", "-r", str(pins)], check=True)
            made_of.write_text(wanted)
    return venv / "bin"
