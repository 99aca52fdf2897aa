# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waits until processes hold, and says what happened when they do not.

PM2's answers prove nothing: it reports success for an app that is down for good, and an app in a crash loop reads
*online* nearly always. So a process is steady when its pid is there and neither pid nor restart counter changed for a
while.
"""

from __future__ import annotations

import os
import re
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, FrozenSet, Iterable, List, Optional, Set, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils._bus import Bus
from ansible_collections.zerodown.pm2.plugins.module_utils._client import Client
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import RpcTimeout
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import tail
from ansible_collections.zerodown.pm2.plugins.module_utils._options import parse_milliseconds
from ansible_collections.zerodown.pm2.plugins.module_utils._plan import has_done_its_work, of_app
from ansible_collections.zerodown.pm2.plugins.module_utils._state import ERRORED, ONLINE, STOPPED, Process
from ansible_collections.zerodown.pm2.plugins.module_utils._timeouts import LISTEN_TIMEOUT

POLL_INTERVAL = 0.1
# an app that is meant to try again (see _is_patient) may die as often as it likes until the time is over
DEATHS_MAX = 3
# "Error: no", "TypeError: no", "ModuleNotFoundError: no"
_ERROR_LINE = re.compile(r"^(.* PM2 error: |Uncaught )?[\w.]*(Error|Exception)\b.*:")
# what the daemon says of every start and end, and of a process without a pid each time that its memory is asked for
_DAEMON_CHAT = re.compile(r": PM2 log: |pidusage|One of the pids provided is invalid")
# a stack may be longer than what is returned
_LINES_WITH_CAUSE = 60


@dataclass(frozen=True)
class Target:
    """Which processes must hold.

    :ivar count: how many there must be.
    :ivar only: these pm_ids; ``None`` for all of the app.
    :ivar without: these pm_ids do not matter yet.
    """

    name: str
    count: int
    only: Optional[FrozenSet[int]] = None
    without: FrozenSet[int] = frozenset()

    @classmethod
    def one(cls, name: str, pm_id: int) -> "Target":
        return cls(name, 1, only=frozenset([pm_id]))

    def choose(self, processes: List[Process]) -> List[Process]:
        return [
            process
            for process in of_app(processes, self.name)
            if (self.only is None or process.pm_id in self.only) and process.pm_id not in self.without
        ]


@dataclass(frozen=True)
class Failure:
    """Why an app does not count as running.

    :ivar reason: completes "process 3 ...", or "App web ..." without a process.
    """

    app: str
    reason: str
    process: Optional[Process] = None


class Call:
    """A call to the daemon that runs beside the polling: PM2 5 and 6 never answer one when a cluster worker dies before
    it is online."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.error: Optional[Exception] = None
        self._work = work
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:  # raised again where the answer is waited for
            self.error = error

    @property
    def is_answered(self) -> bool:
        return not self._thread.is_alive()

    def wait(self, timeout: float) -> None:
        self._thread.join(timeout)


@dataclass
class Watch:
    """Looks at the processes of one run of the module again and again.

    :ivar steady_time: seconds.
    :ivar restarts: restart counters that are right after what we did, by pm_id; 0 for a new process.
    """

    daemon: Client
    steady_time: float
    bus: Bus
    restarts: Dict[int, int] = field(default_factory=dict)
    _seen: Dict[int, Tuple[Optional[int], int, float]] = field(default_factory=dict)
    _online: Set[Tuple[int, int]] = field(default_factory=set)
    _unready: Dict[int, int] = field(default_factory=dict)

    def know(self, processes: List[Process]) -> None:
        """Processes as they were before anything was done: what they did earlier does not count."""
        for process in processes:
            self.restarts[process.pm_id] = process.restarts
            if process.status == ONLINE:
                self._online.add((process.pm_id, process.started_at))

    def until_answered(self, call: Call, target: Target, timeout: float) -> None:
        """Wait for the answer, but no longer than until it is clear that the app fails. When there is none in time, the
        processes tell what came of it.

        :raises Pm2Error: what the call raised.
        """
        deadline = time.monotonic() + timeout
        while not call.is_answered and time.monotonic() < deadline:
            if self._given_up(target.choose(self._look())):
                return
            time.sleep(POLL_INTERVAL / 2)
        self._look()
        if call.error is not None and not isinstance(call.error, RpcTimeout):
            raise call.error

    def until_steady(self, targets: Iterable[Target], timeout: float) -> List[Failure]:
        """Wait until all processes hold; what is wrong when they do not within ``timeout`` seconds, or earlier when
        waiting cannot help."""
        targets = list(targets)
        deadline = time.monotonic() + timeout
        while True:
            processes = self._look()
            given_up = [failure for target in targets for failure in self._given_up(target.choose(processes))]
            if given_up:
                return given_up
            pending = [failure for target in targets for failure in self._pending(target, processes, timeout)]
            if not pending:
                return [failure for target in targets for failure in self._never_ready(target.choose(processes))]
            if time.monotonic() >= deadline:
                return pending
            time.sleep(POLL_INTERVAL)

    def _look(self) -> List[Process]:
        processes = self.daemon.processes()
        now = time.monotonic()
        for process in processes:
            pm_id = process.pm_id
            state = (process.pid if process.is_running() else None, process.restarts)
            if self._seen.get(pm_id, (None, -1, 0.0))[:2] != state:
                self._seen[pm_id] = (*state, now)
            self._note_readiness(pm_id, process)
        return processes

    def _note_readiness(self, pm_id: int, process: Process) -> None:
        """PM2 turns an app with wait_ready *online* when it says so, and after listen_timeout all the same; the time it
        took is all there is to tell the two apart (PM2 lib/God.js executeApp)."""
        if process.status != ONLINE or not process.env.get("wait_ready") or (pm_id, process.started_at) in self._online:
            return
        self._online.add((pm_id, process.started_at))
        limit = _milliseconds(process, "listen_timeout") or LISTEN_TIMEOUT
        self._unready.pop(pm_id, None)
        if process.restarts == self.restarts.get(pm_id, 0) and time.time() * 1000 - process.started_at >= limit:
            self._unready[pm_id] = limit

    def _given_up(self, processes: List[Process]) -> List[Failure]:
        """Those that will not come up by waiting."""
        found = []
        for process in processes:
            deaths = process.restarts - self.restarts.get(process.pm_id, 0)
            load_error = self.bus.load_error(process.pm_id)
            if load_error is not None:
                text = "could not be loaded ({0}), though PM2 leaves it online".format(load_error)
                found.append(Failure(process.name, text, process))
            elif process.status == ERRORED:
                found.append(Failure(process.name, "was given up by PM2 after too many restarts", process))
            elif deaths >= DEATHS_MAX and not _is_patient(process):
                found.append(Failure(process.name, "ended {0} times since it was started".format(deaths), process))
            elif (
                process.status == STOPPED
                and process.env.get("autorestart") in (False, "false")
                and process.exit_code is not None
                and not has_done_its_work(process)
            ):
                found.append(Failure(process.name, "ended", process))
        return found

    def _pending(self, target: Target, processes: List[Process], timeout: float) -> List[Failure]:
        own = target.choose(processes)
        found = []
        if len(own) < target.count:
            found.append(Failure(target.name, "has {0} of {1} processes".format(len(own), target.count)))
        for process in own:
            pid, _restarts, since = self._seen[process.pm_id]
            if has_done_its_work(process):
                continue
            if pid is None:
                text = "has no pid: PM2 could not start it" if process.status == ONLINE else "is " + process.status
                found.append(Failure(process.name, "{0} after {1:g} s".format(text, timeout), process))
            elif time.monotonic() - since < self.steady_time:
                found.append(
                    Failure(
                        process.name,
                        "did not hold for {0:g} s within {1:g} s".format(self.steady_time, timeout),
                        process,
                    )
                )
        return found

    def _never_ready(self, processes: List[Process]) -> List[Failure]:
        return [
            Failure(
                process.name,
                "runs, but did not send 'ready' within its listen_timeout of {0} ms".format(
                    self._unready[process.pm_id]
                ),
                process,
            )
            for process in processes
            if process.pm_id in self._unready
        ]


def _is_patient(process: Process) -> bool:
    """Whether the app is declared to try again after a while."""
    return bool(_milliseconds(process, "restart_delay") or _milliseconds(process, "exp_backoff_restart_delay"))


def _milliseconds(process: Process, name: str) -> int:
    try:
        return parse_milliseconds(process.env.get(name, 0))
    except ValueError:
        return 0


class LogMarks:
    """How long the log files were at one moment, to find what was written since."""

    def __init__(self, directories: Iterable[str], daemon_log: str) -> None:
        self.daemon_log = daemon_log
        self._sizes: Dict[str, Tuple[int, int]] = {}
        for directory in {*directories, os.path.dirname(daemon_log)}:
            try:
                with os.scandir(directory) as entries:
                    for entry in entries:
                        if entry.is_file():
                            status = entry.stat()
                            self._sizes[entry.path] = (status.st_ino, status.st_size)
            except OSError:
                continue

    def since(self, path: str, lines: int) -> List[str]:
        """The last lines of a file, but only those written since; all of one that is new or was rotated."""
        try:
            status = os.stat(path)
        except OSError:
            return []
        inode, size = self._sizes.get(path, (0, 0))
        start = size if inode == status.st_ino and size <= status.st_size else 0
        written = status.st_size - start
        return tail(path, lines, max_bytes=min(written, 64 * 1024)) if written > 0 else []

    def explain(self, process: Process, bus: Bus, lines: int) -> Tuple[str, List[str]]:
        """Where most is said about a process, and the last lines there: its standard error, its standard output, else
        the daemon's log (a program that could not be run)."""
        for key in ("pm_err_log_path", "pm_log_path"):
            path = process.env.get(key)
            found = self.since(path, lines) if isinstance(path, str) else []
            if _says_something(found):
                return str(path), found
        heard = bus.errors(process.pm_id)
        if _says_something(heard):
            return "standard error", heard[-lines:]
        path = process.env.get("pm_out_log_path")
        found = self.since(path, lines) if isinstance(path, str) else []
        if _says_something(found):
            return str(path), found
        log = [line for line in self.since(self.daemon_log, _LINES_WITH_CAUSE * 10) if not _DAEMON_CHAT.search(line)]
        return self.daemon_log, log[-lines:]


def _says_something(lines: List[str]) -> bool:
    return any(line.strip() for line in lines)


def telling_line(lines: List[str]) -> Optional[str]:
    """The line that names the error: Node and Python print a stack around it."""
    said = [line.strip() for line in lines if line.strip()]
    named = [line for line in said if _ERROR_LINE.match(line)]
    return named[-1] if named else said[-1] if said else None


def failure_data(failure: Failure, marks: LogMarks, bus: Bus, lines: int) -> Dict[str, Any]:
    """What a module returns of it; plain data. ``cause`` is the line of the log that names the error."""
    data: Dict[str, Any] = {"app": failure.app, "reason": failure.reason}
    process = failure.process
    if process is not None:
        log_file, log = marks.explain(process, bus, max(lines, _LINES_WITH_CAUSE))
        data.update(
            pm_id=process.pm_id,
            status=process.status,
            exit_code=process.exit_code,
            restarts=process.restarts,
            log_file=log_file,
            log=log[-lines:] if lines else [],
            cause=telling_line(log),
        )
    return data
