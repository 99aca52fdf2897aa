# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carries a plan out, one process after another, and makes sure that what it wanted is so."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import List, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils._app import ABSENT, STOPPED, App
from ansible_collections.zerodown.pm2.plugins.module_utils._bus import Bus
from ansible_collections.zerodown.pm2.plugins.module_utils._client import Client
from ansible_collections.zerodown.pm2.plugins.module_utils._definitions import (
    Definition,
    definitions,
    label,
    new_generation,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._drift import (
    LOG_FIELDS,
    PID_FIELD,
    changed_fields,
    differences,
    instance_number,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._dump import AT_REST
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error, RpcError
from ansible_collections.zerodown.pm2.plugins.module_utils._gates import install
from ansible_collections.zerodown.pm2.plugins.module_utils._generation import retire
from ansible_collections.zerodown.pm2.plugins.module_utils._options import WATCH
from ansible_collections.zerodown.pm2.plugins.module_utils._plan import (
    DELETE,
    REGISTER,
    RELOAD_PROCESS,
    REPLACE,
    STOP,
    TURN_WATCH,
    UPDATE,
    Action,
    AppPlan,
    of_app,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._state import STOPPED as STATUS_STOPPED
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process
from ansible_collections.zerodown.pm2.plugins.module_utils._steady import Call, Failure, Target, Watch
from ansible_collections.zerodown.pm2.plugins.module_utils._timeouts import (
    GRACE,
    LISTEN_TIMEOUT,
    seconds,
    stop_timeout,
)

_FILES = (*LOG_FIELDS, PID_FIELD)


@dataclass(frozen=True)
class Limits:
    """Seconds."""

    steady_time: float
    start_timeout: float


def log_directories(app: App) -> List[str]:
    """Where the files of an app go."""
    paths = [app.definition.get(name) for name in _FILES]
    return sorted({os.path.dirname(path) for path in paths if path and path != os.devnull})


def apply(daemon: Client, plans: List[AppPlan], limits: Limits, bus: Bus) -> List[Failure]:
    """Do it; what does not hold afterwards. Stops at the first app whose processes do not hold one after another.

    :raises Pm2Error: PM2 refused a step, or took a field over wrongly.
    """
    watch = Watch(daemon, limits.steady_time, bus)
    for plan in plans:
        watch.know(plan.processes)
    for plan in plans:
        failures = _Applier(daemon, plan, limits, watch).run()
        if failures:
            return failures
    return _confirm(daemon, plans, watch, limits)


def _confirm(daemon: Client, plans: List[AppPlan], watch: Watch, limits: Limits) -> List[Failure]:
    running = [plan for plan in plans if plan.starts or plan.suspicious]
    targets = [
        Target(plan.app.name, plan.app.instances if plan.app.definition else len(plan.processes)) for plan in running
    ]
    failures = watch.until_steady(targets, limits.start_timeout) if targets else []
    processes = daemon.processes()
    for plan in plans:
        if plan.actions:
            failures += _wrong(plan.app, of_app(processes, plan.app.name), {failure.app for failure in failures})
    return failures


def _wrong(app: App, processes: List[Process], failed: "set[str]") -> List[Failure]:
    """What PM2 did not do although it said so."""
    if app.state == ABSENT:
        return [Failure(app.name, "is still there", process) for process in processes]
    found = []
    if app.state == STOPPED:
        found += [
            Failure(app.name, "is not stopped", process) for process in processes if process.status != STATUS_STOPPED
        ]
    if app.definition and app.name not in failed:
        for process in processes:
            names = ", ".join(difference.option for difference in differences(app, process))
            if names:
                found.append(Failure(app.name, "was not given {0} by PM2".format(names), process))
    return found


class _Applier:
    """One app."""

    def __init__(self, daemon: Client, plan: AppPlan, limits: Limits, watch: Watch) -> None:
        self.daemon = daemon
        self.plan = plan
        self.app = plan.app
        self.limits = limits
        self.watch = watch
        self.by_id = {process.pm_id: process for process in plan.processes}

    def run(self) -> List[Failure]:
        actions = self.plan.actions
        if self.plan.starts:
            self._make_directories()
        for position, action in enumerate(actions):
            started = self._do(action)
            if started and any(later.starts for later in actions[position + 1 :]):
                # the others serve meanwhile; should this one fail, they go on
                failures = self.watch.until_steady(
                    [Target.one(self.app.name, pm_id) for pm_id in started], self.limits.start_timeout
                )
                if failures:
                    return failures
        return []

    def _do(self, action: Action) -> List[int]:
        """The pm_ids of what was started."""
        if action.pm_id is None:
            if action.kind == REGISTER:
                self._register(action.number)
                return []
            return self._create(action.count)
        process = self.by_id[action.pm_id]
        if action.kind == STOP:
            self.daemon.stop(action.pm_id, stop_timeout(process))
        elif action.kind in (DELETE, REPLACE):
            self._delete(action.pm_id, process)
            if action.kind == REPLACE:
                return self._create(1)
        elif action.kind == TURN_WATCH:
            self._turn_watch(action.pm_id)
        else:
            return self._restart(action, action.pm_id, process)
        return []

    def _delete(self, pm_id: int, process: Process) -> None:
        # the others serve on: requests of this one may end first
        retire(self.daemon, [process], self.app.cutover.drain_timeout)
        # PM2 gives the number again when its list was empty
        del self.by_id[pm_id]
        self.watch.restarts.pop(pm_id, None)

    def _restart(self, action: Action, pm_id: int, process: Process) -> List[int]:
        drift = self.plan.drift.get(pm_id, []) if action.kind == UPDATE else []
        changes = changed_fields(self.app, process, drift) if drift else {}
        running = process.is_running() and not self._is_stopped_by(pm_id)
        if not running:
            # one that waits for its next try would be refused ("already exists")
            self.daemon.stop(pm_id, stop_timeout(process))
        self.watch.restarts[pm_id] = process.restarts + (1 if running else 0)
        timeout = stop_timeout(process) + self._start_timeout(1)
        reload = running and (action.reload or action.kind == RELOAD_PROCESS)

        def send() -> None:
            if reload:
                self.daemon.reload(pm_id, changes, timeout)
                return
            try:
                self.daemon.restart(pm_id, changes, timeout)
            except RpcError:
                # it ended just now and PM2 was about to start it
                self.daemon.stop(pm_id, stop_timeout(process))
                self.daemon.restart(pm_id, changes, timeout)

        call = Call(send)
        self.watch.until_answered(call, Target.one(self.app.name, pm_id), timeout)
        if reload:
            # until PM2 has removed the old worker, another reload is refused (PM2 7) or loses that worker (5 and 6)
            call.wait(timeout)
        if any(difference.change == WATCH for difference in drift) or (
            self.app.definition.get("watch") and any(difference.option == "cwd" for difference in drift)
        ):
            self._turn_watch(pm_id)
        # over PM2's command line, a changed process is a new one
        return [pm_id] if any(item.pm_id == pm_id for item in self._own()) else self._note_new()

    def _is_stopped_by(self, pm_id: int) -> bool:
        return any(action.kind == STOP and action.pm_id == pm_id for action in self.plan.actions)

    def _turn_watch(self, pm_id: int) -> None:
        # off first: PM2 begins to watch only where it believes it does not, and needs the field (PM2 lib/Watcher.js)
        self.daemon.watch(pm_id, False)
        if self.app.definition.get("watch"):
            self.daemon.watch(pm_id, True)

    def _create(self, count: int) -> List[int]:
        timeout = self._start_timeout(count)
        created = self._definitions(count)

        def prepare() -> None:
            for definition in created:
                self.daemon.prepare(definition, timeout)

        call = Call(prepare)
        self.watch.until_answered(call, Target(self.app.name, count, without=frozenset(self.by_id)), timeout)
        return self._note_new()

    def _definitions(self, count: int) -> List[Definition]:
        if not self.daemon.changes_in_place:
            # PM2's command line numbers them by itself
            return [{**self.app.definition, "instances": count}]
        taken = {instance_number(process) for process in self.by_id.values()}
        free = [number for number in range(count + len(taken)) if number not in taken][:count]
        return self._of_generation(free)

    def _of_generation(self, numbers: List[int]) -> List[Definition]:
        """As members of the generation that is there, else of a new one; so that a cutover can replace them later."""
        there = [process.generation for process in self.by_id.values() if process.generation]
        generation = there[0] if there else new_generation(label(self.app.definition["pm_cwd"]))
        preload = install(self.daemon.home)[self.app.gate] if self.app.gate else None
        return definitions(self.app, numbers, generation, self.daemon.home, preload)

    def _own(self) -> List[Process]:
        return of_app(self.daemon.processes(), self.app.name)

    def _note_new(self) -> List[int]:
        created = {process.pm_id: process for process in self._own() if process.pm_id not in self.by_id}
        self.by_id.update(created)
        return sorted(created)

    def _register(self, number: int) -> None:
        """Enter a process into PM2's list without starting it (PM2 lib/God.js prepare, as for a dump)."""
        definition = self._of_generation([number])[0]
        definition.update({**AT_REST, "status": STATUS_STOPPED})
        self.daemon.prepare(definition, GRACE)

    def _make_directories(self) -> None:
        for directory in log_directories(self.app):
            try:
                os.makedirs(directory, exist_ok=True)
            except OSError as error:
                raise Pm2Error(
                    "App {0}: the directory {1} of its logs cannot be made: {2}; create it or set out_file, error_file "
                    "and log_file.".format(self.app.name, directory, error.strerror)
                ) from error

    def _start_timeout(self, count: int) -> float:
        env = self.app.definition or (self.plan.processes[0].env if self.plan.processes else {})
        return self.limits.start_timeout + count * seconds(env, "listen_timeout", LISTEN_TIMEOUT)


def still_as_before(plans: List[AppPlan], processes: List[Process]) -> List[Tuple[str, List[int]]]:
    """The processes that run on although their app failed: the same pid as before, by app."""
    found = []
    for plan in plans:
        pids = {process.pid for process in plan.processes if process.pid}
        same = [item.pm_id for item in of_app(processes, plan.app.name) if item.is_running() and item.pid in pids]
        if same:
            found.append((plan.app.name, same))
    return found
