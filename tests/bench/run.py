# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One new release, brought live in one way, under load; and what that did to the requests."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.methods import Method, Site
from bench.rows import OLD, PROXIED, VERSIONS, Row
from support.load import Load, Result, Sample
from support.pm2_host import descendants, find_free_port, owned, pm2_package, private_home, start_daemon, wait_for
from support.proxied import Haproxy

from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from ansible_collections.zerodown.pm2.plugins.module_utils._state import parse_all

RATE = 200.0
SLOW_RATE = 10.0
# each has a turn every 6 s, and an answer 5 s after it
SLOW_CLIENTS = 60
# of the rate; with less the machine was too busy to tell anything
RATE_MINIMUM = 0.9
TIMEOUT = 10.0
BEFORE = 2.0
AFTER = 3.0
# what serves is judged by the last seconds
LAST = 2.0
LIMIT = 180.0


@dataclass(frozen=True)
class Outcome:
    """
    :ivar results: of the load with keep-alive, of the one without, and of that with long requests.
    :ivar changed: for each of them, when the change began.
    :ivar said: what the method said of it.
    :ivar took: its seconds.
    :ivar serves: what answered in the last seconds, in words.
    :ivar untouched: whether all processes of before are still there.
    :ivar orphans: processes that no longer belong to any app.
    """

    row: Row
    method: str
    results: list[Result]
    changed: list[float]
    said: str
    took: float
    serves: str
    untouched: bool
    orphans: int

    @property
    def failed(self) -> int:
        return sum(result.failed for result in self.results)

    @property
    def wrong(self) -> int:
        return sum(result.wrong for result in self.results)

    @property
    def is_reliable(self) -> bool:
        """Whether the machine sent what it should, and answered all of it before the change began."""
        rates = [RATE, RATE, SLOW_RATE]
        sent = all(result.rate > rate * RATE_MINIMUM for result, rate in zip(self.results, rates, strict=False))
        before = [sample for since, sample in self.samples if since + sample.ended - sample.sent < 0]
        return sent and all(map(_is_right, before))

    @property
    def longest_gap(self) -> float:
        return max(result.longest_gap for result in self.results[:2])

    @property
    def samples(self) -> Iterable[tuple[float, Sample]]:
        """Each with the seconds between the beginning of the change and its sending."""
        for result, changed in zip(self.results, self.changed, strict=True):
            for sample in result.samples:
                yield sample.sent - changed, sample


def version_of(sample: Sample) -> str | None:
    """Which version gave this answer, if it is a right one."""
    if 200 <= sample.status < 300:
        for version, text in VERSIONS.items():
            if sample.text == text:
                return version
    return None


def measure(row: Row, method: Method) -> Outcome:
    with private_home() as home, TemporaryDirectory(prefix="bench-") as directory, ExitStack() as stack:
        daemon = start_daemon(home, pm2_package("7"))
        haproxy = stack.enter_context(Haproxy()) if row.runs_as == PROXIED else None
        site = Site(row, home, Path(directory), find_free_port(), find_free_port(), haproxy)
        url = site.url
        method.start(site)
        wait_for(lambda: VERSIONS[OLD] in _body(url), f"{method.title}: version 1 does not answer")
        before = _pids(home)
        common: dict[str, Any] = {"timeout": TIMEOUT, "limit": LIMIT, "right": _is_right}
        loads = [Load(url, RATE, keep_alive=keep_alive, **common) for keep_alive in (True, False)]
        if row.slow:
            loads.append(Load(f"{url}slow?ms=5000", SLOW_RATE, clients=SLOW_CLIENTS, **common))
        with ExitStack() as running:
            for load in loads:
                running.enter_context(load)
            time.sleep(BEFORE)
            changed = [load.elapsed() for load in loads]
            start = time.monotonic()
            said = method.change(site).replace(str(home), "$PM2_HOME").replace(directory, "$APP")
            took = time.monotonic() - start
            time.sleep(max(AFTER, row.watch - took))
            for load in loads:
                load.stop()
        results = [load.result() for load in loads]
        return Outcome(
            row,
            method.title,
            results,
            changed,
            said,
            took,
            _serves(results),
            before <= _pids(home),
            len(_orphans(home, daemon)),
        )


def _orphans(home: Path, daemon: int) -> set[int]:
    def look() -> set[int]:
        return owned(home) - descendants(daemon) - {daemon}

    first = look()
    # not what was just about to start or to end
    time.sleep(1)
    return first & look()


def _is_right(sample: Sample) -> bool:
    return version_of(sample) is not None


def _serves(results: list[Result]) -> str:
    last = [sample for result in results for sample in result.samples if sample.sent > result.seconds - LAST]
    versions = sorted({version for version in map(version_of, last) if version})
    if not versions:
        return "wrong answers" if any(sample.status for sample in last) else "nothing"
    return " and ".join(versions) + (", losing requests" if not all(map(_is_right, last)) else "")


def _body(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            text: str = answer.read().decode()
    except OSError:
        return ""
    return text


def _pids(home: Path) -> set[int]:
    return {process.pid for process in parse_all(Rpc(str(home / "rpc.sock")).processes()) if process.pid}
