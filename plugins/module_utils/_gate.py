# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gate: from what the processes of a candidate look like, again and again, to a verdict. Nothing here acts.

``min_healthy_time`` and ``healthy_deadline`` mean what they mean in HashiCorp Nomad's update block: every process is
healthy without a break for the former, and within the latter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, FrozenSet, List, Optional, Sequence, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils._health_spec import Check
from ansible_collections.zerodown.pm2.plugins.module_utils._plan import has_done_its_work
from ansible_collections.zerodown.pm2.plugins.module_utils._probe import UNKNOWN, Outcome, Probe
from ansible_collections.zerodown.pm2.plugins.module_utils._state import ERRORED, LAUNCHING, ONLINE, Process

PENDING = "pending"
PASSED = "passed"
# the app is bad
FAILED = "failed"
# nothing can be said of the app, because a check could not be made
UNDECIDED = "undecided"

# one of several workers may end because all of them prepare something at once
ENDED_MAX = 3
LOOSE = (
    "listens on port {0} and cannot be held, because its server's sockets are not made by Python; set preload to "
    "false, and put the app behind a proxy (option proxy) or set strategy to restart"
)


@dataclass(frozen=True)
class Rules:
    """What the processes of one app must do to pass.

    :ivar count: how many processes.
    :ivar port: that they must listen on; ``None`` when any will do.
    :ivar path: of the unix socket that they must listen on instead.
    :ivar listens: whether they must listen at all.
    :ivar checks: made on each process.
    :ivar min_healthy_time: seconds.
    :ivar healthy_deadline: seconds.
    :ivar memory_max: bytes of one process; ``None`` without a limit.
    """

    app: str
    count: int
    port: Optional[int] = None
    listens: bool = False
    checks: Tuple[Check, ...] = ()
    min_healthy_time: float = 10.0
    healthy_deadline: float = 300.0
    memory_max: Optional[int] = None
    path: Optional[str] = None


@dataclass(frozen=True)
class Sample:
    """One process at one moment.

    :ivar ports: that it listens on, or would if it were let through; ``None`` when it could not be asked.
    :ivar fault: what was heard of it that PM2 does not show: completes "process 3 ...".
    :ivar ended: how many of its own workers have ended, which it starts again by itself.
    :ivar loose: that it listens on although it was told to wait.
    """

    process: Process
    ports: Optional[FrozenSet[int]] = None
    fault: Optional[str] = None
    ended: int = 0
    loose: FrozenSet[int] = frozenset()


@dataclass(frozen=True)
class Verdict:
    """
    :ivar reason: completes "process 3 ...", or "app web ..." without a process.
    """

    state: str
    reason: str = ""
    process: Optional[Process] = None

    @property
    def is_final(self) -> bool:
        return self.state != PENDING


class Gate:
    """The processes of one app at the gate. It has no clock: every call is told the time, in seconds."""

    def __init__(self, rules: Rules, started: float, restarts: Optional[Dict[int, int]] = None) -> None:
        """:param restarts: of processes that ran before, by pm_id; these do not count."""
        self.rules = rules
        self.restarts = restarts or {}
        self.started = started
        self.healthy_since: Optional[float] = None
        self._pids: Dict[int, int] = {}
        self._elsewhere_since: Dict[int, float] = {}
        self._ended: Dict[int, int] = {}
        self._ended_last: Dict[int, int] = {}
        self._probes: Dict[Tuple[int, int], Probe] = {}

    def due(self, samples: Sequence[Sample], now: float) -> List[Tuple[int, int, Check]]:
        """The checks that are to be made now: pm_id, number of the check, check."""
        return [
            (sample.process.pm_id, number, check)
            for sample in samples
            if sample.process.is_running() and self._may_be_asked(sample)
            for number, check in enumerate(self.rules.checks)
            if self._probe(sample.process.pm_id, number).due(now)
        ]

    def note(self, pm_id: int, number: int, outcome: Outcome, now: float) -> None:
        self._probe(pm_id, number).note(outcome, now)

    def judge(self, samples: Sequence[Sample], now: float) -> Verdict:
        """
        :param samples: of all processes of the candidate that PM2 still has.
        """
        faults = [self._fault(sample, now) for sample in samples]
        for fault in faults:
            if fault is not None:
                return fault
        pending = self._pending(samples)
        if pending is None:
            if self.healthy_since is None:
                self.healthy_since = now
            if now - self.healthy_since >= self.rules.min_healthy_time:
                return Verdict(PASSED)
            pending = Verdict(
                PENDING,
                "is healthy for {0:.1f} of {1:g} s".format(now - self.healthy_since, self.rules.min_healthy_time),
            )
        else:
            self.healthy_since = None
        if now - self.started < self.rules.healthy_deadline:
            return Verdict(PENDING, pending.reason, pending.process)
        state = UNDECIDED if pending.state == UNDECIDED else FAILED
        return Verdict(
            state, "{0} (healthy_deadline {1:g} s)".format(pending.reason, self.rules.healthy_deadline), pending.process
        )

    def _is_done(self, process: Process) -> bool:
        return has_done_its_work(process) and not self.rules.listens

    def _may_be_asked(self, sample: Sample) -> bool:
        """Nobody is asked over the network before it listens."""
        return not self.rules.listens or self._listens(sample)

    def _listens(self, sample: Sample) -> bool:
        if not sample.ports:
            return False
        return self.rules.port is None or self.rules.port in sample.ports

    def _probe(self, pm_id: int, number: int) -> Probe:
        key = (pm_id, number)
        if key not in self._probes:
            self._probes[key] = Probe(self.rules.checks[number])
        return self._probes[key]

    def _fault(self, sample: Sample, now: float) -> Optional[Verdict]:
        """What waiting cannot mend."""
        process = sample.process
        if sample.fault:
            return Verdict(FAILED, sample.fault, process)
        if process.pid:
            self._pids.setdefault(process.pm_id, process.pid)
        first = self._pids.get(process.pm_id)
        restarts = process.restarts - self.restarts.get(process.pm_id, 0)
        if process.status == ERRORED or restarts > 0 or (first and process.pid not in (None, first)):
            return Verdict(FAILED, "ended {0:.1f} s after it was started".format(now - self.started), process)
        # one that is not started again may have ended before anybody saw its pid
        was_there = first is not None or process.exit_code is not None
        has_ended = was_there and not process.is_running() and process.status != LAUNCHING
        if has_ended and not self._is_done(process):
            return Verdict(FAILED, "ended {0:.1f} s after it was started".format(now - self.started), process)
        limit = self.rules.memory_max
        if limit and process.memory > limit:
            return Verdict(
                FAILED,
                "uses {0:.0f} MiB of memory, more than max_memory_restart ({1:.0f} MiB)".format(
                    process.memory / 2**20, limit / 2**20
                ),
                process,
            )
        ended = self._count_ended(sample)
        if ended >= ENDED_MAX:
            return Verdict(FAILED, "starts workers that end, {0} of them so far".format(ended), process)
        loose = self.rules.port or min(sample.loose, default=None)
        if self.rules.listens and not self._listens(sample) and loose in sample.loose:
            return Verdict(FAILED, LOOSE.format(loose), process)
        elsewhere = self._elsewhere(sample, now)
        if elsewhere:
            return elsewhere
        for number in range(len(self.rules.checks)):
            probe = self._probe(process.pm_id, number)
            if probe.given_up and probe.last is not None:
                return Verdict(FAILED, "is not healthy: {0}".format(probe.last.detail), process)
        return None

    def _count_ended(self, sample: Sample) -> int:
        """Since it was first looked at. When there are more, whoever is healthy is so only from now on."""
        pm_id = sample.process.pm_id
        first = self._ended.setdefault(pm_id, sample.ended)
        if sample.ended > self._ended_last.get(pm_id, first):
            self.healthy_since = None
        self._ended_last[pm_id] = sample.ended
        return sample.ended - first

    def _elsewhere(self, sample: Sample, now: float) -> Optional[Verdict]:
        """It listens, but not where it was told to; a while later the right port may still be added."""
        pm_id = sample.process.pm_id
        if not self.rules.listens or not sample.ports or self._listens(sample):
            self._elsewhere_since.pop(pm_id, None)
            return None
        since = self._elsewhere_since.setdefault(pm_id, now)
        if now - since < self.rules.min_healthy_time:
            return None
        return Verdict(
            FAILED,
            "listens on port {0} and not on {1}, which is declared".format(
                ", ".join(map(str, sorted(sample.ports))), self.rules.port
            ),
            sample.process,
        )

    def _pending(self, samples: Sequence[Sample]) -> Optional[Verdict]:
        """What is still missing; the first of all processes that says something about the app."""
        undecided: Optional[Verdict] = None
        if len(samples) < self.rules.count:
            return Verdict(PENDING, "has {0} of {1} processes".format(len(samples), self.rules.count))
        for sample in samples:
            process = sample.process
            if self._is_done(process):
                continue
            if process.status != ONLINE or process.pid is None:
                return Verdict(PENDING, "is still {0}".format(process.status or "not there"), process)
            if self.rules.listens and not self._listens(sample):
                return Verdict(PENDING, self._not_listening(sample), process)
            for number in range(len(self.rules.checks)):
                probe = self._probe(process.pm_id, number)
                if not probe.healthy:
                    verdict = _unhealthy(probe, process)
                    if verdict.state != UNDECIDED:
                        return verdict
                    undecided = undecided or verdict
        return undecided

    def _not_listening(self, sample: Sample) -> str:
        if sample.ports is None:
            return "runs, but did not answer the gate: its event loop is blocked, or it was not started by Node"
        return "does not listen on {0}".format(
            self.rules.path or ("any port" if self.rules.port is None else "port {0}".format(self.rules.port))
        )


def _unhealthy(probe: Probe, process: Process) -> Verdict:
    last = probe.last
    if last is None:
        return Verdict(PENDING, "was not checked yet", process)
    if last.verdict == UNKNOWN:
        return Verdict(UNDECIDED, "could not be checked: {0}".format(last.detail), process)
    return Verdict(PENDING, "is not healthy: {0}".format(last.detail), process)
