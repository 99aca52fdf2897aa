# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``make bench-cutover``: what each way to bring a new release live does to the requests, in docs/cutover-bench.*.

tests/dev/bench.sh calls this with the tools of .dev on PATH.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time

from bench.methods import METHODS, Method
from bench.page import afterwards, is_as_wanted, page
from bench.picture import picture
from bench.rows import ROWS, Row
from bench.run import Outcome, measure
from support.checkout import ROOT

DOCS = ROOT / "docs"
LONGEST = 3000.0
TRIES = 3


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-cutover")
    parser.add_argument("--long", action="store_true", help="also the rows that take more than a minute each")
    parser.add_argument("--only", nargs="+", metavar="TITLE", help="rows whose title has one of these in it")
    parser.add_argument("--method", nargs="+", choices=METHODS, default=list(METHODS))
    arguments = parser.parse_args()
    # what was started ends with us
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rows = [row for row in ROWS if arguments.long or not row.long]
    if arguments.only:
        rows = [row for row in ROWS if any(part in row.title for part in arguments.only)]
    outcomes: list[Outcome] = []
    start = time.monotonic()
    for number, row in enumerate(rows, 1):
        print(f"{number}/{len(rows)} {row.title} ({time.monotonic() - start:.0f} s)", flush=True)
        for method in arguments.method:
            if time.monotonic() - start > LONGEST:
                print(f"not done within {LONGEST:.0f} s", file=sys.stderr)
                return 1
            outcome = _measure_reliably(row, METHODS[method])
            if outcome is None:
                print("This machine is too busy to measure anything; run this when it is idle.", file=sys.stderr)
                return 1
            outcomes.append(outcome)
            mark = "  " if is_as_wanted(outcome) else "!!"
            lost = " + ".join(f"{result.failed} {result.errors or ''}".strip() for result in outcome.results)
            print(
                f"  {mark} {method}: {lost} lost, {outcome.wrong} wrong, gap {outcome.longest_gap:.2f} s, "
                f"took {outcome.took:.1f} s ({outcome.said}), {afterwards(outcome)}",
                flush=True,
            )
    if arguments.only or len(arguments.method) < len(METHODS):
        print("Only a part was measured: docs/ is left alone.")
    else:
        (DOCS / "cutover-bench.md").write_text(page(outcomes, _machine()), encoding="utf-8")
        (DOCS / "cutover-bench.svg").write_text(picture(outcomes), encoding="utf-8")
    ours = [outcome for outcome in outcomes if outcome.method == next(iter(METHODS))]
    return 0 if all(map(is_as_wanted, ours)) else 1


def _measure_reliably(row: Row, method: Method) -> Outcome | None:
    for _attempt in range(TRIES):
        outcome = measure(row, method)
        if outcome.is_reliable:
            return outcome
        rates = ", ".join(f"{result.rate:.0f}" for result in outcome.results)
        print(f"     {method.title}: once more, the machine was busy (requests/s: {rates})", flush=True)
    return None


def _machine() -> str:
    node = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    return f"{os.cpu_count()} cores, Node {node[1:]}, PM2 7"


if __name__ == "__main__":
    sys.exit(main())
