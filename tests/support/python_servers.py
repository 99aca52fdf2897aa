# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Virtual environments with Python servers, made once in a checkout."""

from __future__ import annotations

import sys
from pathlib import Path

from dev.pythons import interpreter

from support.virtual_environments import ROOT, made_once


def python_servers(version: str | None = None) -> Path:
    """The directory with the programs, after it was made by whoever comes first.

    :param version: of Python; by default that of the tests.
    """
    python = interpreter(version) if version else sys.executable
    assert python, f"there is no Python {version}"
    pins = ROOT / "tests" / f"python-servers{'-' + version if version else ''}.txt"
    return made_once(ROOT / ".dev" / "python-servers" / (version or "own"), pins, str(python))
