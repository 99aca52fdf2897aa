# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The outcomes as a Markdown page."""

from __future__ import annotations

from collections.abc import Sequence

from bench.rows import OLD
from bench.run import BEFORE, RATE, TIMEOUT, Outcome

_HEAD = """\
# What a cutover costs

`make bench-cutover` wrote this page and its picture. Each line is one kind of new release, brought live in three ways
on one machine ({machine}), each time in a private PM2, with a plain Node app in cluster mode where nothing else is
said. Behind HAProxy the requests are those to HAProxy, for PM2's own ways too.

Load: two times {rate:.0f} requests/s, one with keep-alive connections and one with a connection for each request, from
{before:.0f} s before the change until it has ended and some seconds more; none is sent twice, none waits for another.
*Lost* is a request without a whole answer within {timeout:.0f} s, *wrong* an answer that is neither the old nor the new
version's; an outage that stays costs as many as the measurement was long. PM2's own ways replace the files where they
are, then call `pm2 reload` or `pm2 restart`.

![Requests over time, for each new release and each way](cutover-bench.svg)
"""


def page(outcomes: Sequence[Outcome], machine: str) -> str:
    """:param machine: what it ran on, in words."""
    methods = list(dict.fromkeys(outcome.method for outcome in outcomes))
    titles = list(dict.fromkeys(outcome.row.title for outcome in outcomes))
    cells = {(outcome.row.title, outcome.method): outcome for outcome in outcomes}
    head = _HEAD.format(machine=machine, rate=RATE, before=BEFORE, timeout=TIMEOUT)
    lines = [head, "## What was lost", "", _line(["new release", *methods]), _line(["---"] * (1 + len(methods)))]
    lines += [_line([title, *(_cell(cells[title, method]) for method in methods)]) for title in titles]
    for method in methods:
        lines += ["", f"## {method}", "", _line(_COLUMNS), _line(["---"] + ["--:"] * 5 + ["---"] * 2)]
        lines += [_line(_details(cells[title, method])) for title in titles]
    return "\n".join(lines) + "\n"


_COLUMNS = [
    "new release",
    "lost, keep-alive",
    "lost, without",
    "wrong",
    "longest gap",
    "took",
    "said",
    "serves afterwards",
]


def _cell(outcome: Outcome) -> str:
    lost = f"{outcome.failed} lost" + (f", {outcome.wrong} wrong" if outcome.wrong else "")
    return f"{lost if is_as_wanted(outcome) else f'**{lost}**'}; {afterwards(outcome)}"


def is_as_wanted(outcome: Outcome) -> bool:
    answers = sum(result.requests for result in outcome.results)
    is_right = outcome.wrong <= answers * outcome.row.wrong_max / 100
    return not outcome.failed and is_right and outcome.serves == outcome.row.serves


def afterwards(outcome: Outcome) -> str:
    words = [outcome.serves]
    # behind a proxy what was replaced is there, too, as long as it is warm
    if outcome.untouched and outcome.serves == OLD:
        words.append("same processes")
    if outcome.orphans:
        words.append(f"{outcome.orphans} orphan" + "s" * (outcome.orphans > 1))
    return ", ".join(words)


def _details(outcome: Outcome) -> list[str]:
    keep_alive, single, *slow = outcome.results
    long_ones = f" + {slow[0].failed} of {slow[0].requests} long" if slow else ""
    return [
        outcome.row.title,
        f"{keep_alive.failed} of {keep_alive.requests}{long_ones}",
        f"{single.failed} of {single.requests}",
        str(outcome.wrong),
        f"{outcome.longest_gap:.2f} s",
        f"{outcome.took:.1f} s",
        outcome.said.replace("|", "\\|").replace("\n", " "),
        afterwards(outcome),
    ]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
