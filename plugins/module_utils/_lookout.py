# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at the candidates of a cutover until each has its verdict: what PM2 says of their processes, where these
listen, and what their health checks find."""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass
from typing import Callable, Dict, Iterator, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils import _gate
from ansible_collections.zerodown.pm2.plugins.module_utils._bus import Bus
from ansible_collections.zerodown.pm2.plugins.module_utils._checkers import Checkers
from ansible_collections.zerodown.pm2.plugins.module_utils._client import Client
from ansible_collections.zerodown.pm2.plugins.module_utils._cutover_plan import WARM
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._gate import Gate, Rules, Sample, Verdict
from ansible_collections.zerodown.pm2.plugins.module_utils._generation import POLL_INTERVAL, Generation, has_gate
from ansible_collections.zerodown.pm2.plugins.module_utils._health_spec import Endpoint
from ansible_collections.zerodown.pm2.plugins.module_utils._move import Move
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process
from ansible_collections.zerodown.pm2.plugins.module_utils._steady import Failure, LogMarks, failure_data

CHECKERS = 8
CONNECT_TIMEOUT = 1.0
# what PM2 may take to write down the last words of a process that has ended, seconds
LOG_PATIENCE = 0.5


class Rejected(Pm2Error):
    """The candidate did not pass; details ``failures`` and ``verdict`` (bad or unknown)."""


@dataclass
class Lookout:
    """
    :ivar generations: the candidates, by the name of the app.
    :ivar probes: what stands for them on ports of its own.
    :ivar marks: of the logs, before anything was started.
    """

    client: Client
    bus: Bus
    moves: List[Move]
    generations: Dict[str, Generation]
    probes: Dict[str, Generation]
    marks: LogMarks
    log_lines: int

    def until_passed(self, gates: Dict[str, Gate]) -> None:
        """Look until every gate has a verdict.

        :param gates: by the name of the app.
        :raises Rejected: one of them is not *passed*.
        """
        with self.looking(gates) as all_passed:
            # one that passed may break while another still boots
            while not all_passed():
                time.sleep(POLL_INTERVAL)

    @contextlib.contextmanager
    def looking(self, gates: Dict[str, Gate]) -> Iterator[Callable[[], bool]]:
        """Gives a function that looks once, and tells whether every gate is passed by now; it raises
        :class:`Rejected`."""
        by_name = {move.name: move for move in self.moves}
        with contextlib.ExitStack() as stack:
            checkers = {name: stack.enter_context(Checkers(CHECKERS)) for name in gates}

            def look() -> bool:
                processes = self.client.processes()
                verdicts = {
                    name: self._look(by_name[name], gate, processes, checkers[name]) for name, gate in gates.items()
                }
                for name, verdict in verdicts.items():
                    if verdict.is_final and verdict.state != _gate.PASSED:
                        raise self.rejected(name, verdict)
                return all(verdict.state == _gate.PASSED for verdict in verdicts.values())

            yield look

    def _look(self, move: Move, gate: Gate, processes: List[Process], checkers: Checkers) -> Verdict:
        for each in (self.probes[move.name], self.generations[move.name]):
            each.check_whole(processes)
        probing = self.probes[move.name].mine(processes)
        generation = self.probes[move.name] if probing else self.generations[move.name]
        samples = generation.samples(processes, self.bus)
        address = _address(gate.rules)
        if isinstance(address, str) or (address and not any(has_gate(sample.process) for sample in samples)):
            # no preload to ask, and the one before is gone or has another address: whoever answers is the candidate
            found = frozenset([gate.rules.port or 0]) if accepts(address) else frozenset()
            samples = [Sample(sample.process, found, sample.fault) for sample in samples]
        now = time.monotonic()
        for (pm_id, number), outcome in checkers.collect():
            gate.note(pm_id, number, outcome, now)
        for pm_id, number, check in gate.due(samples, now):
            process = next(sample.process for sample in samples if sample.process.pm_id == pm_id)
            # a stand-in is on another port than the declared one
            at = gate.rules.port if check.port in (None, move.rules.port) else check.port
            endpoint = gate.rules.path or _endpoint(generation, process, at, move.proof == WARM)
            checkers.submit((pm_id, number), check, endpoint, _environment(process), str(process.env.get("pm_cwd")))
        return gate.judge(samples, now)

    def rejected(self, name: str, verdict: Verdict) -> Rejected:
        failure = Failure(name, verdict.reason, verdict.process)
        end = time.monotonic() + LOG_PATIENCE
        data = failure_data(failure, self.marks, self.bus, self.log_lines)
        while verdict.process and not data.get("cause") and time.monotonic() < end:
            time.sleep(POLL_INTERVAL)
            data = failure_data(failure, self.marks, self.bus, self.log_lines)
        who = "its process {0}".format(verdict.process.pm_id) if verdict.process else "it"
        text = "The new generation of app {0} was rejected: {1} {2}".format(name, who, verdict.reason)
        if data.get("cause"):
            text += "; {0} says: {1}".format(data["log_file"], data["cause"])
        return Rejected(
            text,
            failures=[data],
            verdict="unknown" if verdict.state == _gate.UNDECIDED else "bad",
        )


def _address(rules: Rules) -> Optional[Endpoint]:
    if rules.path is not None:
        return rules.path
    return None if rules.port is None else ("127.0.0.1", rules.port)


def _endpoint(generation: Generation, process: Process, port: Optional[int], is_alone: bool) -> Optional[Endpoint]:
    """Where this process answers; ``None`` when it does not listen there. Never a port that may be another's: where
    there is a preload, the one before may still have it.

    :param is_alone: whether nobody else has this port, as of what was kept warm. Python that is open has no other.
    """
    own = generation.socket(process.pm_id, port) if has_gate(process) else None
    if own or (has_gate(process) and not is_alone):
        return own
    return None if port is None else ("127.0.0.1", port)


def _environment(process: Process) -> Dict[str, str]:
    return {str(name): str(value) for name, value in (process.env.get("env") or {}).items()}


def accepts(address: Endpoint) -> bool:
    """Whether anybody listens there."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as connection:
        connection.settimeout(CONNECT_TIMEOUT)
        return connection.connect_ex(address) == 0
