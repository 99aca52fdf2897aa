# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps of one cutover on the host: prove, open, commit, retire. Until the commit everything can be undone, after
it everything can be finished, both from the journal alone.

The commit is the moment at which the saved process list names the new generation instead of the old one: from then on
a boot would start the new one.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterator, List

from ansible_collections.zerodown.pm2.plugins.module_utils import _journal, _standby
from ansible_collections.zerodown.pm2.plugins.module_utils._bus import Bus
from ansible_collections.zerodown.pm2.plugins.module_utils._client import Client
from ansible_collections.zerodown.pm2.plugins.module_utils._cutover_plan import AFTERWARDS, HELD, OWN_PORT, WARM
from ansible_collections.zerodown.pm2.plugins.module_utils._drift import LOG_FIELDS
from ansible_collections.zerodown.pm2.plugins.module_utils._dump import Entry
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import DaemonNotRunning, Pm2Error, RpcTimeout
from ansible_collections.zerodown.pm2.plugins.module_utils._gate import Gate
from ansible_collections.zerodown.pm2.plugins.module_utils._gate_control import GateError
from ansible_collections.zerodown.pm2.plugins.module_utils._generation import (
    POLL_INTERVAL,
    Generation,
    close,
    lost,
    prefer,
    reopen,
    retire,
    spread,
    status_or_none,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._handover import (
    Handover,
    end_standby,
    end_waiting,
    hand_back,
    hand_over,
    wait_until_idle,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._hold import hold, let_through
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._journal import Journal
from ansible_collections.zerodown.pm2.plugins.module_utils._lookout import Lookout, accepts
from ansible_collections.zerodown.pm2.plugins.module_utils._move import Move, probe_rules, settled_rules
from ansible_collections.zerodown.pm2.plugins.module_utils._ports import foreign_holder
from ansible_collections.zerodown.pm2.plugins.module_utils._resurrect import resurrect
from ansible_collections.zerodown.pm2.plugins.module_utils._save import save, settle
from ansible_collections.zerodown.pm2.plugins.module_utils._shift import shift
from ansible_collections.zerodown.pm2.plugins.module_utils._standby import Standby
from ansible_collections.zerodown.pm2.plugins.module_utils._state import GENERATION_KEY, Process
from ansible_collections.zerodown.pm2.plugins.module_utils._steady import LogMarks

# what PM2 may take to answer that a process was started
START_TIMEOUT = 30.0
# as long as a daemon may hang, seconds
HANG_PATIENCE = 60.0
# beside the steps of the journal, in the timings
CANARY = "canary"
# for an app that was not known to listen
PORT_HINT = (
    "The app listens; declare its port (port, or PORT in env). If what runs, or is to run, is in fork mode, also set "
    "strategy to restart, because PM2 then lets one process have a port."
)


@dataclass
class Transaction:
    """
    :ivar journal: as it is on disk.
    :ivar gone: processes that no longer belong to the app.
    :ivar timings: seconds by step.
    """

    client: Client
    bus: Bus
    moves: List[Move]
    gone: List[Process]
    journal: Journal
    tell: Callable[[str], None]
    log_lines: int = 20
    timings: Dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home = self.client.home
        directories = {
            os.path.dirname(str(definition[name]))
            for move in self.moves
            for definition in move.definitions
            for name in LOG_FIELDS
            if definition.get(name)
        }
        for directory in directories:
            _make_directory(directory)
        marks = LogMarks(directories, self.home.daemon_log)
        self.generations = {
            move.name: Generation(self.client, move.name, self.journal.generation) for move in self.moves
        }
        self.probes = {move.name: Generation(self.client, move.name, self.journal.probe) for move in self.moves}
        self.lookout = Lookout(self.client, self.bus, self.moves, self.generations, self.probes, marks, self.log_lines)

    # forward --------------------------------------------------------------------------------------------------

    def prove(self) -> None:
        """Start the candidate beside what serves, and let it through the gate.

        :raises Rejected: it did not pass.
        """
        with self._timed(_journal.PROVE):
            for move in self.moves:
                if move.handover and move.proof != WARM:
                    self._clear(move.handover)
            hold(self.home, self.journal.generation)
            gates = {}
            for move in self.moves:
                if move.proof == AFTERWARDS:
                    continue
                if move.proof == WARM:
                    # its place in the journal makes it the candidate now
                    _standby.forget(self.home, move.name)
                    own = self.generations[move.name].mine(self.client.processes())
                    restarts = {item.pm_id: item.restarts for item in own}
                    gates[move.name] = Gate(move.rules, time.monotonic(), restarts)
                    continue
                gates[move.name] = Gate(probe_rules(move) if move.proof == OWN_PORT else move.rules, time.monotonic())
                if move.proof == OWN_PORT and move.probe:
                    self.tell("{0}: a candidate is checked on port {1}".format(move.name, move.probe_port))
                    self.probes[move.name].start([move.probe], START_TIMEOUT)
                else:
                    self.generations[move.name].start(move.definitions, START_TIMEOUT)
            self.lookout.until_passed(gates)

    def _clear(self, handover: Handover) -> None:
        """:raises Pm2Error: the address of the candidate is somebody else's."""
        for standby in _standby.read_all(self.home):
            if standby.name == handover.name:
                end_standby(self.client, standby)
        address = handover.proxy.endpoint(handover.colour)
        if accepts(address):
            port = handover.proxy.port(handover.colour)
            holder = foreign_holder(port, []) if port else None
            raise Pm2Error(
                "App {0}: somebody listens on {1} already ({2}), where its new generation is to listen; end it, or "
                "name another in proxy.".format(
                    handover.name, handover.proxy.addresses[handover.colour], holder or "who cannot be told"
                )
            )
        if isinstance(address, str):
            # what was killed leaves its socket behind, and not every server removes it
            with contextlib.suppress(OSError):
                os.unlink(address)

    def open(self) -> None:
        """Let the new generation take traffic, and see that it holds.

        :raises Rejected: it does not hold.
        :raises Pm2Error: a port cannot be opened.
        """
        self.journal = _journal.advance(self.home, self.journal, _journal.OPEN)
        with self._timed(_journal.OPEN):
            for move in self.moves:
                self._open(move)
            let_through(self.home, self.journal.generation)
            settled = {
                move.name: Gate(settled_rules(move), time.monotonic()) for move in self.moves if move.proof != WARM
            }
            self.lookout.until_passed(settled)
        if any(move.handover for move in self.moves):
            with self._timed(CANARY):
                shift(self.lookout, self.tell)

    def _open(self, move: Move) -> None:
        generation = self.generations[move.name]
        if move.outage and move.handover and move.handover.live:
            self._let_wait(move.handover)
            wait_until_idle(move.handover.switch, move.handover.live, move.drain_timeout)
        if move.proof == HELD:
            if move.outage:
                close(self.home, move.old)
                # what has no preload cannot let go of its port otherwise
                retire(self.client, [item for item in move.old if not _closed(self.home, item)], 0.0)
            try:
                generation.open()
            except GateError as error:
                if "EADDRINUSE" in error.message and not move.outage:
                    raise GateError(error.message + " " + PORT_HINT) from error
                raise
            return
        if move.proof not in (OWN_PORT, AFTERWARDS):
            return
        if move.proof == OWN_PORT:
            self.probes[move.name].discard()
        if move.outage:
            retire(self.client, move.old, 0.0)
        let_through(self.home, self.journal.generation)
        generation.start(move.definitions, START_TIMEOUT)
        if move.proof == AFTERWARDS:
            self.lookout.until_passed({move.name: Gate(move.rules, time.monotonic())})

    def _let_wait(self, handover: Handover) -> None:
        try:
            handover.switch.hold()
        except Pm2Error as error:
            self.tell("{0}: requests fail while it is restarted: {1}".format(handover.name, error.message))

    def commit(self) -> None:
        """Save the process list with the new generation in place of the old one."""
        with self._timed(_journal.COMMIT):

            def begin() -> None:
                self.journal = _journal.advance(self.home, self.journal, _journal.COMMIT)

            def done() -> None:
                self.journal = _journal.advance(self.home, self.journal, _journal.RETIRE)

            # without releases it is an app's user who says what a boot starts (module dump)
            only = None if self.journal.root else self.journal.names
            save(self.home, self.client, begin, done, only, committing=self.journal.name, check=self._check_whole)

    def _check_whole(self, entries: List[Entry]) -> None:
        """:raises Pm2Error: the new generation is not in the list that is about to replace the old one."""
        for move in self.moves:
            own = [
                entry
                for entry in entries
                if entry["name"] == move.name and entry.get(GENERATION_KEY) == self.journal.generation
            ]
            if len(own) < len(move.definitions):
                raise lost(move.name)

    def retire(self) -> None:
        with self._timed(_journal.RETIRE):
            for sentence in retire_replaced(self.client, self.journal):
                self.tell(sentence)
            # says only how far it is: whoever comes after a commit finishes everything, and may do it twice
            with contextlib.suppress(Pm2Error):
                self.journal = _journal.advance(self.home, self.journal, _journal.RECORD)

    @contextlib.contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            self.timings[step] = round(time.monotonic() - start, 3)


def _closed(home: Home, process: Process) -> bool:
    """Whether it has let go of its ports."""
    from_gate = status_or_none(home, process)
    return from_gate is not None and not any(server.open for server in from_gate.servers)


def _make_directory(path: str) -> None:
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise Pm2Error(
            "The directory {0} of the logs cannot be made: {1}; create it or set out_file, error_file and "
            "log_file.".format(path, error.strerror)
        ) from error


# from the journal alone ----------------------------------------------------------------------------------------------


def undo(client: Client, journal: Journal) -> List[str]:
    """Remove the candidate, and let what served before serve again.

    :returns: a sentence for each process of the old generation that could not be brought back.
    """
    home = client.home
    untold = hand_back(journal)
    old = [item for item in client.processes() if item.pm_id in journal.old and item.name in journal.names]
    prefer(home, old, newest=False)
    for standby in journal.warm.values():
        _standby.write(home, Standby(**standby))
    for name in journal.names:
        for generation in (journal.generation, journal.probe):
            if name not in journal.warm:
                Generation(client, name, generation).discard()
    old = [item for item in client.processes() if item.pm_id in journal.old and item.name in journal.names]
    closed = reopen(home, old)
    entries = _journal.load_before(home, journal.name)
    report = resurrect(client, entries, START_TIMEOUT, beside=(journal.generation, journal.probe))
    untold += end_waiting(journal)
    settle(home, journal)
    return untold + closed + report.skipped + report.failed


def retire_replaced(client: Client, journal: Journal) -> List[str]:
    """End whatever bears the names of the app and is not of the new generation, but for what is kept warm.

    :returns: a sentence for each app whose proxy could not be told.
    """
    untold = hand_over(client, journal)
    processes = client.processes()
    old = [
        item
        for item in processes
        if item.name in journal.names and not item.is_module and item.generation != journal.generation
    ]
    retire(client, old, journal.drain_timeout)
    new = [item for item in processes if item.name in journal.names and item.generation == journal.generation]
    spread(client.home, new)
    return untold


def wait_for_daemon(client: Client, revive: Callable[[], Any], patience: float) -> None:
    """Its unit starts a daemon that died; without a unit nobody does but we.

    :param revive: starts a daemon and what was saved.
    :param patience: seconds for the unit.
    :raises RpcTimeout: a daemon is there and hangs.
    """
    start = time.monotonic()
    while True:
        try:
            client.processes()
            return
        except RpcTimeout:
            if time.monotonic() - start >= HANG_PATIENCE:
                raise
        except DaemonNotRunning:
            if time.monotonic() - start >= patience:
                break
        time.sleep(POLL_INTERVAL)
    revive()
