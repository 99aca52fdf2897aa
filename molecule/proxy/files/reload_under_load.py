# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reload HAProxy of a test host twenty times while requests come in, with keep-alive and without; none may be lost.

usage, in tests/: python reload_under_load.py HOST ADDRESS
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / ".dev" / "collections")]

RATE = 40.0
RELOADS = 20


def main(host: str, address: str) -> int:
    from support.load import Load

    url = f"http://{address}/"
    reload = [str(ROOT / "tests" / "hosts" / "hosts"), "ssh", host, "sudo", "systemctl", "reload", "haproxy"]
    with Load(url, rate=RATE) as kept, Load(url, rate=RATE, keep_alive=False) as single:
        for _number in range(RELOADS):
            subprocess.run(reload, check=True)
            time.sleep(0.2)
    lost = 0
    for load in (kept, single):
        result = load.result()
        print(f"{result.requests} requests, {result.failed} failed, {result.wrong} wrong: {result.by_status}")
        lost += result.failed + result.wrong
        assert result.requests > RELOADS
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
