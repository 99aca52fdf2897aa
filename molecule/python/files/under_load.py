# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a command while requests go to some URLs, with keep-alive and without; print as JSON what became of both.

usage: python under_load.py URL... -- COMMAND...
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / ".dev" / "collections")]

# requests a second, to each URL in each way
RATE = 10.0
# seconds before and after the command
AROUND = 1.0


def main(arguments: list[str]) -> None:
    from support.load import Load

    end = arguments.index("--")
    urls, command = arguments[:end], arguments[end + 1 :]
    with ExitStack() as stack:
        loads = [(url, stack.enter_context(Load(url, RATE, keep_alive=kept))) for url in urls for kept in (True, False)]
        time.sleep(AROUND)
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        time.sleep(AROUND)
        for _url, load in loads:
            load.stop()
    results = [(url, load.result()) for url, load in loads]
    report = {
        "code": done.returncode,
        "output": done.stdout,
        "requests": min(result.requests for _url, result in results),
        "figures": [
            f"{url}: {result.requests} sent, {result.failed} failed, {result.by_body}" for url, result in results
        ],
        "lost": [
            f"{url}: {result.errors or result.by_status}" for url, result in results if result.failed + result.wrong
        ],
        "answers": sorted({text for _url, result in results for text in result.by_body}),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1:])
