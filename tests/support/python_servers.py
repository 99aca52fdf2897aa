# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A virtual environment with the servers that Python apps are run with."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

SERVERS = ["uvicorn==0.54.0", "gunicorn==27.0.1", "uvicorn-worker==0.4.0", "hypercorn==0.18.0", "granian==2.8.7"]
PLACE = Path(__file__).resolve().parents[2] / ".dev" / "python-servers"


def python_servers() -> Path:
    """Made once for all runs, below .dev."""
    PLACE.mkdir(parents=True, exist_ok=True)
    venv, made = PLACE / "venv", PLACE / "made"
    with (PLACE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists() or made.read_text() != "\n".join(SERVERS):
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True, capture_output=True)
            pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet"]
            subprocess.run([*pip, *SERVERS], check=True, capture_output=True)
            made.write_text("\n".join(SERVERS))
    return venv
