# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A steady load on one URL while a test does something else, and what became of every request.

The load comes from Locust in a process of its own (load_generator.py). It is open-loop: a request is sent when its time
has come, whether earlier ones were answered or not, so an outage costs as many requests as it would cost users. No
request is ever sent twice. 200 requests/s take a sixth of a core with keep-alive and a fifth without. Where the machine
has less to give, fewer are sent, which ``rate`` tells.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

TESTS = Path(__file__).resolve().parents[1]
LONGEST = 600.0
START_TIMEOUT = 60.0


@dataclass(frozen=True)
class Order:
    """What the generator is asked for.

    :ivar rate: requests a second.
    :ivar keep_alive: whether a connection serves more than one request.
    :ivar clients: how many take turns, each with a connection of its own; while it waits for a slow answer there, its
        other requests have a connection each.
    :ivar timeout: seconds that one request may take from its connection to its last byte; then it has failed.
    :ivar limit: seconds after which the generator stops whatever happens.
    """

    url: str
    rate: float
    keep_alive: bool
    clients: int
    timeout: float
    limit: float


class Sample(NamedTuple):
    """One request.

    :ivar sent: seconds since the start of the load.
    :ivar ended: likewise.
    :ivar status: 0 when it has failed, which means that no whole answer came.
    :ivar text: the answer's body or, when it has failed, the error.
    """

    sent: float
    ended: float
    status: int
    text: str


@dataclass(frozen=True)
class Result:
    """The sum of a load. Times are seconds since its start.

    :ivar failed: requests without a whole answer: refused, reset, closed, cut short, out of time.
    :ivar wrong: answers that are not right, by default other than 2xx.
    :ivar longest_gap: seconds without a right answer coming in, from the start of the load to its stop.
    :ivar gap_from: when that began.
    :ivar first_failure: when the first request that failed was sent, and the last one.
    :ivar by_body: of all answers.
    :ivar errors: text -> how many of ``failed``.
    :ivar rate: requests a second that were really sent.
    """

    requests: int
    failed: int
    wrong: int
    longest_gap: float
    gap_from: float
    first_failure: float | None
    last_failure: float | None
    by_status: dict[int, int]
    by_body: dict[str, int]
    errors: dict[str, int]
    rate: float
    seconds: float
    samples: Sequence[Sample] = field(repr=False)


def prefer(pid: int) -> None:
    """Let a process, and what it starts from now on, go before whatever else this machine does: what is late because of
    that was not lost. Only root can."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, pid, -10)


def is_2xx(sample: Sample) -> bool:
    return 200 <= sample.status < 300


def summarize(samples: Sequence[Sample], seconds: float, right: Callable[[Sample], bool] = is_2xx) -> Result:
    """The sum of the samples of a load that was stopped after so many seconds (answers may have come later).

    :param right: whether an answer is one.
    """
    failed = [sample for sample in samples if not sample.status]
    answers = [sample for sample in samples if sample.status]
    good = sorted(sample.ended for sample in answers if right(sample))
    # what comes after the stop ends no gap that the stop did not end
    moments = [0.0, *(moment for moment in good if moment < seconds), seconds]
    gap, gap_from = max((later - earlier, earlier) for earlier, later in zip(moments, moments[1:], strict=False))
    return Result(
        requests=len(samples),
        failed=len(failed),
        wrong=len(answers) - len(good),
        longest_gap=gap,
        gap_from=gap_from,
        first_failure=min((sample.sent for sample in failed), default=None),
        last_failure=max((sample.sent for sample in failed), default=None),
        by_status=dict(Counter(sample.status for sample in answers)),
        by_body=dict(Counter(sample.text for sample in answers)),
        errors=dict(Counter(sample.text for sample in failed)),
        rate=len(samples) / seconds,
        seconds=seconds,
        samples=samples,
    )


class Load:
    """``with Load(url) as load: ...`` sends from before the block until its end; then ``load.result()``."""

    def __init__(
        self,
        url: str,
        rate: float = 200.0,
        keep_alive: bool = True,
        clients: int | None = None,
        timeout: float = 15.0,
        limit: float = LONGEST,
        right: Callable[[Sample], bool] = is_2xx,
    ) -> None:
        """See :class:`Order` and :func:`summarize`.

        :param clients: by default so many that each has a turn every half second. No turn should come when a server
            gives an idle connection up (Node: 5 s).
        """
        if not 0 < limit <= LONGEST:
            raise ValueError(f"a load lasts at most {LONGEST:.0f} s, not {limit}")
        self._order = Order(url, rate, keep_alive, clients or max(1, round(rate / 2)), timeout, limit)
        self._right = right
        self._process: subprocess.Popen[bytes]
        self._started = math.nan
        self._result: Result | None = None

    def __enter__(self) -> Load:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.load_generator", json.dumps(asdict(self._order))],
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        prefer(self._process.pid)
        try:
            self._started = self._wait_for_start()
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.result()
        else:
            self._kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    def elapsed(self) -> float:
        """Seconds since the start of the load, to tell when the test did what it did."""
        return time.monotonic() - self._started

    def stop(self) -> None:
        """Stop sending, without waiting for anything: for several loads that are to end together."""
        if self._process.stdin:
            # it may have ended at its limit
            with contextlib.suppress(BrokenPipeError), self._process.stdin as order:
                order.write(b"stop\n")
            self._process.stdin = None

    def result(self) -> Result:
        """Stop sending, wait for the answers that are due (at most the timeout of one request), sum up."""
        if self._result is None:
            self.stop()
            try:
                output, errors = self._process.communicate(timeout=self._order.timeout + 30)
            except BaseException:
                self._kill()
                raise
            assert self._process.returncode == 0, f"the load generator failed:\n{errors.decode()}"
            report: dict[str, Any] = json.loads(output)
            assert not report["limited"], f"the test took longer than the load, which ended at {self._order.limit} s"
            self._result = summarize([Sample(*sample) for sample in report["samples"]], report["seconds"], self._right)
        return self._result

    def _wait_for_start(self) -> float:
        """The generator's first line: the monotonic clock's reading, which is the same in all processes."""
        assert self._process.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            line = self._process.stdout.readline() if selector.select(START_TIMEOUT) else b""
        if not line:
            self._process.kill()
            raise AssertionError(f"the load generator did not start:\n{self._process.communicate()[1].decode()}")
        return float(line)

    def _kill(self) -> None:
        self._process.kill()
        self._process.communicate()
