# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The processes of one generation: started, held, opened, drained, removed, and nothing of them left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Dict, FrozenSet, Iterable, List, Optional, Tuple, TypeVar

from ansible_collections.zerodown.pm2.plugins.module_utils._bus import Bus
from ansible_collections.zerodown.pm2.plugins.module_utils._client import Client
from ansible_collections.zerodown.pm2.plugins.module_utils._definitions import Definition
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error, RpcError
from ansible_collections.zerodown.pm2.plugins.module_utils._gate import Sample
from ansible_collections.zerodown.pm2.plugins.module_utils._gate_control import GateError, NotThere, Status, Worker
from ansible_collections.zerodown.pm2.plugins.module_utils._gates import is_gated, runtime_of
from ansible_collections.zerodown.pm2.plugins.module_utils._health_spec import Endpoint
from ansible_collections.zerodown.pm2.plugins.module_utils._hold import let_through
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._runtime import PYTHON
from ansible_collections.zerodown.pm2.plugins.module_utils._state import GENERATION_KEY, ONLINE, Process, pid_exists
from ansible_collections.zerodown.pm2.plugins.module_utils._steady import Call
from ansible_collections.zerodown.pm2.plugins.module_utils._timeouts import (
    GRACE,
    KILL_TIMEOUT,
    LISTEN_TIMEOUT,
    seconds,
    stop_timeout,
)

POLL_INTERVAL = 0.05
# what a worker may take to answer the gate; one that does not is asked again, so this only bounds one look
ASK_TIMEOUT = 2.0
# opening is a listen(2); what takes longer is a blocked event loop
OPEN_TIMEOUT = 10.0
WORKERS = 8
# seconds between two looks at an app that PM2 waits for, at most
READY_MARGIN = 0.3
# what was restarted and has run for less may crash again and again, seconds
YOUNG = 5.0
# what PM2 takes to open the log files of a process that it starts, on a busy machine, seconds
RETURN_WITHIN = 0.5

Answer = TypeVar("Answer")


def has_gate(process: Process) -> bool:
    """Whether the process was started with the preload."""
    return is_gated(process.env)


def ask_all(home: Home, processes: Iterable[Process], question: Callable[[Worker], Answer]) -> Dict[int, Answer]:
    """Ask the processes side by side.

    :returns: the answers by pm_id.
    :raises GateError: of the first that failed; all were asked.
    """
    workers = {item.pm_id: Worker(home, item.pid) for item in processes if item.pid and has_gate(item)}
    with ThreadPoolExecutor(max(1, min(WORKERS, len(workers)))) as pool:
        futures = {pm_id: pool.submit(question, worker) for pm_id, worker in workers.items()}
    return {pm_id: future.result() for pm_id, future in futures.items()}


def status_or_none(home: Home, process: Process) -> Optional[Status]:
    """``None`` for a process that has no preload or does not answer."""
    if not process.pid or not has_gate(process) or not pid_exists(process.pid):
        return None
    try:
        return Worker(home, process.pid).status(ASK_TIMEOUT)
    except GateError:
        return None


class Generation:
    """One generation of one app.

    :ivar failed: why PM2 did not take a process, by the order of the definitions.
    """

    def __init__(self, client: Client, name: str, generation: str) -> None:
        self.client = client
        self.home = client.home
        self.name = name
        self.id = generation
        self.failed: List[str] = []
        self._calls: List[Call] = []
        self.statuses: Dict[int, Optional[Status]] = {}
        self._launching: Dict[int, float] = {}
        self._seen = 0

    def mine(self, processes: List[Process]) -> List[Process]:
        return [item for item in processes if item.name == self.name and item.generation == self.id]

    def check_whole(self, processes: List[Process]) -> None:
        """PM2 keeps a process in its list whatever becomes of it. So when one is missing the app is not to blame.

        :raises Pm2Error: a process that was there is not any more.
        """
        count = len(self.mine(processes))
        if count < self._seen:
            raise lost(self.name)
        self._seen = count

    def start(self, definitions: List[Definition], timeout: float) -> None:
        """Start all, one after another, without waiting until they are up.

        :param timeout: seconds that PM2 may take to answer each, beside what ``wait_ready`` lets it wait.
        """
        for count, definition in enumerate(definitions, 1):
            self._prepare(definition, timeout + seconds(definition, "listen_timeout", LISTEN_TIMEOUT))
            deadline = time.monotonic() + timeout
            call = self._calls[-1]
            # the next one may go when this one is in the list: two at once might get one pm_id
            while True:
                processes = self.client.processes()
                self.check_whole(processes)
                if len(self.mine(processes)) >= count or call.is_answered or time.monotonic() > deadline:
                    break
                time.sleep(POLL_INTERVAL / 2)
            self._check_calls()

    def _prepare(self, definition: Definition, limit: float) -> None:
        self._calls.append(Call(lambda: self.client.prepare(definition, limit)))

    def _check_calls(self) -> None:
        """:raises RpcError: PM2 refused to start a process."""
        for call in self._calls:
            if call.is_answered and isinstance(call.error, (RpcError, ValueError)):
                raise call.error

    def ask(self, own: List[Process]) -> None:
        """Learn which ports and sockets each of these processes has."""
        with ThreadPoolExecutor(max(1, min(WORKERS, len(own)))) as pool:
            asked = [pool.submit(status_or_none, self.home, item) for item in own]
        self.statuses = {item.pm_id: future.result() for item, future in zip(own, asked)}

    def samples(self, processes: List[Process], bus: Bus) -> List[Sample]:
        """What the gate wants to know of each process."""
        own = self.mine(processes)
        self.ask(own)
        return [
            Sample(
                item,
                _ports(self.statuses[item.pm_id]),
                _load_error(bus, item) or self._never_ready(item),
                *_beneath(self.statuses[item.pm_id]),
            )
            for item in own
        ]

    def _never_ready(self, process: Process) -> Optional[str]:
        """PM2 turns an app with wait_ready *online* when it says so, and after listen_timeout all the same (PM2
        lib/God.js executeApp): it was launching until then."""
        if not process.env.get("wait_ready"):
            return None
        limit = seconds(process.env, "listen_timeout", LISTEN_TIMEOUT)
        if process.status != ONLINE:
            self._launching[process.pm_id] = time.time() - process.started_at / 1000
            return None
        if self._launching.get(process.pm_id, 0.0) < limit - READY_MARGIN:
            return None
        return "did not send 'ready' within its listen_timeout of {0:g} s".format(limit)

    def socket(self, pm_id: int, port: Optional[int]) -> Optional[Endpoint]:
        """Where the server for this port, else the first server, answers in private."""
        status = self.statuses.get(pm_id)
        servers = status.servers if status else []
        for server in servers:
            if server.port == port:
                return server.socket
        return servers[0].socket if servers and port is None else None

    def open(self) -> None:
        """Let all take traffic, and wait until they do.

        :raises GateError: one of them cannot; then some may be open.
        """
        own = self.mine(self.client.processes())
        ask_all(self.home, own, lambda worker: worker.open(OPEN_TIMEOUT))
        prefer(self.home, own, newest=True)
        let_through(self.home, self.id)

    def discard(self) -> None:
        """Remove all of it and what it left running, whatever state it is in."""
        self._seen = 0
        own = self.mine(self.client.processes())
        retire(self.client, own, drain_timeout=0.0 if all_held(self.home, own) else seconds_to_finish(own))
        for call in self._calls:
            call.wait(GRACE)
        # what was on its way into the list meanwhile
        retire(self.client, self.mine(self.client.processes()), drain_timeout=0.0)
        let_through(self.home, self.id)
        end_orphans(self.id)


def lost(name: str) -> Pm2Error:
    return Pm2Error(
        "Processes of the new generation of app {0} are gone from PM2's list; somebody deleted them, or the daemon was "
        "started again.".format(name)
    )


def all_held(home: Home, processes: List[Process]) -> bool:
    """Whether none of them ever took traffic."""
    statuses = [status_or_none(home, item) for item in processes]
    return all(status is None or status.state == "held" for status in statuses)


def seconds_to_finish(processes: List[Process]) -> float:
    """What processes that took traffic for a moment get to finish it: as long as PM2 would give them."""
    return max([seconds(item.env, "kill_timeout", KILL_TIMEOUT) for item in processes], default=0.0)


def close(home: Home, processes: List[Process]) -> None:
    """Let them take no new connection, where they have the preload; what cannot be asked is left as it is."""
    with contextlib.suppress(GateError):
        ask_all(home, [item for item in processes if item.is_running()], lambda worker: worker.close(OPEN_TIMEOUT))


def prefer(home: Home, processes: List[Process], newest: bool) -> None:
    """Let all new connections go to these Python processes, though others listen on their ports, too, until
    :func:`spread`. Where the kernel cannot, both get some.

    :param newest: whether they were the last to begin to listen, or the first.
    """
    own = _sharing(processes)
    with contextlib.suppress(GateError):
        ask_all(home, own, lambda worker: worker.prefer(len(own), newest, OPEN_TIMEOUT))


def spread(home: Home, processes: List[Process]) -> None:
    """End :func:`prefer`."""
    with contextlib.suppress(GateError):
        ask_all(home, _sharing(processes), lambda worker: worker.open(OPEN_TIMEOUT))


def _sharing(processes: List[Process]) -> List[Process]:
    return [item for item in processes if item.is_running() and runtime_of(item.env) == PYTHON]


def reopen(home: Home, processes: List[Process]) -> List[str]:
    """Undo :func:`close`.

    :returns: a sentence for each that cannot take traffic again.
    """
    failed = []
    for process in processes:
        if process.pid and process.is_running() and has_gate(process):
            try:
                Worker(home, process.pid).open(OPEN_TIMEOUT)
            except NotThere:
                # without its socket it was never told to close
                continue
            except GateError as error:
                failed.append(error.message)
    return failed


def retire(client: Client, processes: List[Process], drain_timeout: float) -> None:
    """End these processes for good, each when its connections have ended.

    First all are drained side by side, only then PM2 is told: its kill_timeout then plays no part.

    :param drain_timeout: seconds for connections to end.
    """
    if drain_timeout > 0:
        with contextlib.suppress(GateError):
            ask_all(
                client.home,
                [item for item in processes if item.is_running()],
                lambda worker: worker.drain(drain_timeout),
            )
    with ThreadPoolExecutor(WORKERS) as pool:
        for future in [pool.submit(_delete, client, item) for item in processes]:
            future.result()
    _delete_revenants(client, [item for item in processes if _may_come_back(item)])


def _may_come_back(process: Process) -> bool:
    """Whether PM2 may have been starting it anew when it was deleted: what it started then enters the list again, a
    moment later (PM2 lib/God.js handleExit, executeApp). What it will not start has no pid."""
    crashes = process.restarts > 0 and time.time() - process.started_at / 1000 < YOUNG
    return process.pid is not None and (crashes or not process.is_running())


def _delete_revenants(client: Client, processes: List[Process]) -> None:
    end = time.monotonic() + RETURN_WITHIN
    while processes and time.monotonic() < end:
        time.sleep(POLL_INTERVAL)
        back = [item for item in client.everything() if any(_is_same(item, process) for process in processes)]
        for item in back:
            _delete(client, item)
        if back:
            end = time.monotonic() + RETURN_WITHIN


def _delete(client: Client, process: Process) -> None:
    # a daemon that was started again meanwhile gives the numbers to others
    if not any(_is_same(item, process) for item in client.everything()):
        return
    try:
        client.delete(process.pm_id, stop_timeout(process))
    except RpcError:
        # somebody else removed it
        if any(_is_same(item, process) for item in client.everything()):
            raise


def _is_same(process: Process, other: Process) -> bool:
    return (process.pm_id, process.name, process.generation) == (other.pm_id, other.name, other.generation)


def _ports(status: Optional[Status]) -> Optional[FrozenSet[int]]:
    return frozenset(server.port for server in status.servers) if status else None


def _beneath(status: Optional[Status]) -> Tuple[int, FrozenSet[int]]:
    """What goes on in a process that PM2 does not see."""
    return (status.ended, status.loose) if status else (0, frozenset())


def _load_error(bus: Bus, process: Process) -> Optional[str]:
    error = bus.load_error(process.pm_id)
    return "could not be loaded ({0}), though PM2 leaves it online".format(error) if error else None


# what a candidate left behind ----------------------------------------------------------------------------------------


def orphans(generation: str) -> List[int]:
    """The pids that belong to a generation by their environment: children that survived their parents too, and workers
    that survived their daemon because they are stuck. Those of a cluster have it in PM2's JSON (PM2
    lib/God/ClusterMode.js nodeApp)."""
    wanted = "{0}={1}".format(GENERATION_KEY, generation).encode()
    in_json = json.dumps({GENERATION_KEY: generation}, separators=(",", ":"))[1:-1].encode()
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        with contextlib.suppress(OSError), open("/proc/{0}/environ".format(entry), "rb") as stream:
            variables = stream.read().split(b"\0")
            if wanted in variables or any(item.startswith(b"pm2_env=") and in_json in item for item in variables):
                found.append(int(entry))
    return found


def end_orphans(generation: str, patience: float = 2.0) -> None:
    """SIGTERM, and for what is still there after ``patience`` seconds SIGKILL.

    Only for a candidate: a child that outlives a release which served may be meant to.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        pids = orphans(generation)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        deadline = time.monotonic() + patience
        while any(map(pid_exists, pids)) and time.monotonic() < deadline:
            time.sleep(POLL_INTERVAL)
