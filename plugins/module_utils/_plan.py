# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The actions that make what is into what should be, as plain data; what check mode and the diff print."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils._app import (
    ABSENT,
    ONLINE,
    RELOADED,
    RESTARTED,
    STOPPED,
    App,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._drift import (
    Difference,
    actual,
    differences,
    instance_number,
    wanted,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._gates import runtime_of
from ansible_collections.zerodown.pm2.plugins.module_utils._options import BY_NAME, CLUSTER, RELOAD, STOP_ALL, WATCH
from ansible_collections.zerodown.pm2.plugins.module_utils._runtime import PYTHON
from ansible_collections.zerodown.pm2.plugins.module_utils._secrets import HIDDEN
from ansible_collections.zerodown.pm2.plugins.module_utils._state import LAUNCHING, Process, pid_exists

# the kinds of an action
CREATE = "create"
REGISTER = "register"
UPDATE = "update"
REPLACE = "replace"
RESTART = "restart"
RELOAD_PROCESS = "reload"
START = "start"
STOP = "stop"
DELETE = "delete"
TURN_WATCH = "watch"
# a new generation takes the place of all processes, see _cutover.py
CUTOVER = "cutover"

_STARTING = frozenset([CUTOVER, CREATE, UPDATE, REPLACE, RESTART, RELOAD_PROCESS, START])


@dataclass(frozen=True)
class Action:
    """One step.

    :ivar pm_id: of the process; ``None`` for one that does not exist yet.
    :ivar count: how many processes are created.
    :ivar number: the instance number of a process that is registered without being started.
    :ivar options: the names of the options that change.
    :ivar reload: whether PM2's reload applies the change (the new worker starts before the old one ends).
    :ivar why: for a person.
    """

    kind: str
    app: str
    pm_id: Optional[int] = None
    count: int = 0
    number: int = 0
    options: Tuple[str, ...] = ()
    reload: bool = False
    why: str = ""

    @property
    def starts(self) -> bool:
        return self.kind in _STARTING

    def as_data(self) -> Dict[str, Any]:
        data: Dict[str, Any] = {"action": self.kind, "app": self.app}
        if self.pm_id is not None:
            data["pm_id"] = self.pm_id
        if self.count:
            data["count"] = self.count
        if self.options:
            data["options"] = list(self.options)
        if self.kind == UPDATE:
            data["by"] = "reload" if self.reload else "restart"
        if self.why:
            data["why"] = self.why
        return data


@dataclass
class AppPlan:
    """What is to be done for one app.

    :ivar app: as its processes shall be; a stopped one has no cron pattern.
    :ivar processes: of its name, before.
    :ivar drift: by pm_id, of the processes that stay.
    :ivar actions: in order.
    :ivar suspicious: whether the processes must be watched although nothing changes: one was restarted just now.
    :ivar warnings: sentences.
    """

    app: App
    processes: List[Process]
    drift: Dict[int, List[Difference]] = field(default_factory=dict)
    actions: List[Action] = field(default_factory=list)
    suspicious: bool = False
    warnings: List[str] = field(default_factory=list)

    @property
    def starts(self) -> bool:
        return any(action.starts for action in self.actions)

    @property
    def is_cutover(self) -> bool:
        return any(action.kind == CUTOVER for action in self.actions)


def of_app(processes: List[Process], name: str) -> List[Process]:
    """The processes of one app: all of its name, but never PM2's own modules."""
    return [item for item in processes if item.name == name and not item.is_module]


def share_port(app: App, running: List[Process]) -> bool:
    """Whether a new generation can listen on the port beside these processes: PM2 lets all workers of its cluster, and
    the kernel all processes that our gate for Python has told to share (SO_REUSEPORT)."""
    if app.gate == PYTHON:
        return all(runtime_of(process.env) == PYTHON for process in running)
    return app.is_cluster and all(process.env.get("exec_mode") == CLUSTER for process in running)


def has_done_its_work(process: Process) -> bool:
    """Whether it ended in a way after which PM2 rightly does not start it again."""
    if process.status != STOPPED or process.exit_code is None:
        return False
    codes = process.env.get("stop_exit_codes") or []
    ended_well = process.env.get("autorestart") in (False, "false") and process.exit_code == 0
    return ended_well or process.exit_code in (codes if isinstance(codes, list) else [codes])


def is_up(process: Process) -> bool:
    """Whether nothing needs to be done for it to run."""
    launching = process.status == LAUNCHING and process.pid is not None and pid_exists(process.pid)
    return process.is_running() or launching or has_done_its_work(process)


def make(app: App, processes: List[Process], now: float, steady_time: float) -> AppPlan:
    """
    :param processes: everything PM2 has.
    :param now: seconds since 1970.
    :param steady_time: seconds.
    :raises Pm2Error: only the name was given, and there is no such app.
    """
    own = of_app(processes, app.name)
    if app.state == ABSENT:
        return AppPlan(app, own, actions=[_delete(app, process, "declared absent") for process in own])
    if app.state == STOPPED:
        return _make_stopped(app, own)
    return _make_online(app, own, now, steady_time)


def _delete(app: App, process: Process, why: str) -> Action:
    return Action(DELETE, app.name, pm_id=process.pm_id, why=why)


def _split(app: App, own: List[Process]) -> Tuple[List[Process], List[Process], Dict[int, List[Difference]]]:
    """Those that stay, those that are too many, and the differences of all."""
    if not app.definition:
        return own, [], {}
    drift = {process.pm_id: differences(app, process) for process in own}
    # of several of one name, one that is as declared stays before one that is not, a low number before a high one
    ranked = sorted(own, key=lambda process: (bool(drift[process.pm_id]), instance_number(process), process.pm_id))
    stay = sorted(ranked[: app.instances], key=lambda process: (instance_number(process), process.pm_id))
    return stay, ranked[app.instances :], drift


def _make_stopped(app: App, own: List[Process]) -> AppPlan:
    result = AppPlan(app, own)
    if not app.definition:
        for process in own:
            if process.status != STOPPED:
                result.actions.append(Action(STOP, app.name, pm_id=process.pm_id))
            if process.env.get("cron_restart"):
                result.warnings.append(
                    "PM2 will start app {0} again by its cron_restart; declare the whole app, or state absent.".format(
                        app.name
                    )
                )
        return result
    # PM2 keeps the cron job of a process that it stops
    definition = {name: value for name, value in app.definition.items() if name != "cron_restart"}
    result.app = app = dataclasses.replace(app, definition=definition)
    stay, surplus, result.drift = _split(app, own)
    result.actions += [_delete(app, process, "more than declared") for process in surplus]
    for process in stay:
        options = _names(result.drift[process.pm_id])
        if options:
            result.actions.append(_delete(app, process, "entered anew with other options"))
            result.actions.append(Action(REGISTER, app.name, number=instance_number(process), options=options))
        elif process.status != STOPPED:
            result.actions.append(Action(STOP, app.name, pm_id=process.pm_id))
    numbers = {instance_number(process) for process in stay}
    free = (number for number in range(app.instances + len(stay)) if number not in numbers)
    for _missing in range(app.instances - len(stay)):
        result.actions.append(Action(REGISTER, app.name, number=next(free)))
    return result


def _make_online(app: App, own: List[Process], now: float, steady_time: float) -> AppPlan:
    result = AppPlan(app, own)
    if not app.definition and not own:
        raise Pm2Error("PM2 has no app {0}; give its script, or declare it first.".format(app.name))
    stay, surplus, result.drift = _split(app, own)
    result.actions += [_delete(app, process, "more than declared") for process in surplus]
    if any(difference.change == STOP_ALL for process in stay for difference in _of(result, process)):
        result.actions += [
            Action(STOP, app.name, pm_id=process.pm_id, why="its mode changes")
            for process in stay
            if process.status != STOPPED
        ]
    for process in stay:
        result.actions += _bring_up(app, process, _of(result, process))
    if app.definition and len(stay) < app.instances:
        result.actions.append(Action(CREATE, app.name, count=app.instances - len(stay)))
    result.suspicious = any(
        process.restarts > 0 and not has_done_its_work(process) and now - process.started_at / 1000 < steady_time
        for process in stay
    )
    return result


def _of(result: AppPlan, process: Process) -> List[Difference]:
    return result.drift.get(process.pm_id, [])


def _names(drift: List[Difference]) -> Tuple[str, ...]:
    return tuple(difference.option for difference in drift)


def _bring_up(app: App, process: Process, drift: List[Difference]) -> List[Action]:
    pm_id = process.pm_id
    running = process.is_running()
    if drift:
        options = _names(drift)
        if needs_new_watcher(app, drift):
            return [Action(REPLACE, app.name, pm_id=pm_id, options=options)]
        if app.state == ONLINE and running and _is_watch_switch(drift):
            return [Action(TURN_WATCH, app.name, pm_id=pm_id, options=options)]
        reload = (
            running
            and app.is_cluster
            and process.env.get("exec_mode") == CLUSTER
            and app.state != RESTARTED
            and all(difference.change == RELOAD for difference in drift)
        )
        return [Action(UPDATE, app.name, pm_id=pm_id, options=options, reload=reload)]
    if app.state == RESTARTED:
        return [Action(RESTART, app.name, pm_id=pm_id)]
    if app.state == RELOADED and running:
        return [Action(RELOAD_PROCESS, app.name, pm_id=pm_id)]
    if not is_up(process) or app.state == RELOADED:
        return [Action(START, app.name, pm_id=pm_id, why="it is {0}".format(process.status or "not running"))]
    return []


def needs_new_watcher(app: App, drift: List[Difference]) -> bool:
    """Whether PM2 must watch other paths: it takes a list of paths for a new process only (PM2 lib/God.js executeApp,
    ActionMethods.js startWatch)."""
    concerned = any(difference.change == WATCH or difference.option == "cwd" for difference in drift)
    return concerned and isinstance(app.definition.get("watch"), list)


def _is_watch_switch(drift: List[Difference]) -> bool:
    """Whether PM2 only has to begin or end watching, which needs no restart."""
    only = drift[0] if len(drift) == 1 and drift[0].option == "watch" else None
    return only is not None and (only.after is False or only.before is False)


def by_cutover(plan: AppPlan) -> AppPlan:
    """The plan that loses no request: where processes that can share their port would be restarted or reloaded in
    place, a new generation replaces them all. Adding or removing some needs none."""
    app = plan.app
    running = [process for process in plan.processes if process.is_running()]
    if app.cutover.proxy is not None:
        # the proxy must be told, whatever starts
        if app.state not in (ONLINE, RELOADED) or not plan.starts:
            return plan
    elif (
        app.state not in (ONLINE, RELOADED)
        or not app.cutover.replaces_side_by_side
        or not running
        or not share_port(app, running)
        # a job may not bear to run twice
        or not (app.is_cluster or app.cutover.must_listen(app.port))
        or not {UPDATE, REPLACE, RELOAD_PROCESS} & {action.kind for action in plan.actions}
    ):
        return plan
    options = tuple(dict.fromkeys(name for action in plan.actions for name in action.options))
    whole = Action(CUTOVER, app.name, count=app.instances, options=options)
    return dataclasses.replace(plan, actions=[whole])


def in_one_go(plan: AppPlan) -> AppPlan:
    """The plan for a daemon that cannot change one process beside others of its name: all are deleted and created."""
    kinds = [action.kind for action in plan.actions]
    alone = len(plan.processes) == 1 and CREATE not in kinds
    if not plan.processes or alone or not {CREATE, UPDATE, REPLACE} & set(kinds):
        return plan
    deleted = [
        _delete(plan.app, process, "PM2's command line cannot change one of several") for process in plan.processes
    ]
    created = Action(CREATE, plan.app.name, count=plan.app.instances)
    return dataclasses.replace(plan, actions=[*deleted, created])


# for people ----------------------------------------------------------------------------------------------------------


def describe(plan: AppPlan) -> Tuple[str, str]:
    """The app before and after, one option a line; variables by name only. Both are the same when nothing changes."""
    app = plan.app
    before: Dict[str, Any] = {"processes": _summary(plan.processes)}
    after: Dict[str, Any] = {"processes": _summary_after(plan)}
    if app.definition and app.state != ABSENT:
        drifted = {item.option: item for drift in plan.drift.values() for item in drift}
        for option in BY_NAME.values():
            if option.name == "env":
                _describe_variables(plan, drifted, before, after)
            elif option.field and (option.name in app.declared or option.name in drifted):
                after[option.name] = wanted(option.field, app)
                for process in plan.processes:
                    before.setdefault(option.name, actual(option.field, app, process))
                if option.name in drifted:
                    before[option.name] = drifted[option.name].before
    return _text(app.name, before if plan.processes else {}), _text(app.name, after if app.state != ABSENT else {})


def _describe_variables(
    plan: AppPlan, drifted: Dict[str, Difference], before: Dict[str, Any], after: Dict[str, Any]
) -> None:
    names = {"env." + name for name in plan.app.variables} | {name for name in drifted if name.startswith("env.")}
    for name in sorted(names):
        change = drifted.get(name)
        if change is None or change.before is not None:
            before[name] = HIDDEN
        if change is None or change.after is not None:
            after[name] = HIDDEN if change is None or change.before is None else "<hidden, changed>"


def _summary(processes: List[Process]) -> str:
    counts: Dict[str, int] = {}
    for process in processes:
        counts[process.status] = counts.get(process.status, 0) + 1
    return ", ".join("{0} {1}".format(count, status) for status, count in sorted(counts.items()))


def _summary_after(plan: AppPlan) -> str:
    app = plan.app
    touched = {action.pm_id for action in plan.actions}
    if app.state == STOPPED:
        return "{0} stopped".format(app.instances if app.definition else len(plan.processes))
    deleted = {action.pm_id for action in plan.actions if action.kind == DELETE}
    kept = [process for process in plan.processes if process.pm_id not in deleted]
    created = sum(action.count for action in plan.actions)
    if plan.is_cutover:
        kept = []
    started = created + sum(1 for process in kept if process.pm_id in touched)
    rest = [process for process in kept if process.pm_id not in touched]
    online = started + sum(1 for process in rest if process.status == ONLINE)
    others = _summary([process for process in rest if process.status != ONLINE])
    return ", ".join(filter(None, ["{0} online".format(online) if online else "", others]))


def _text(name: str, options: Dict[str, Any]) -> str:
    if not options:
        return ""
    lines = ["{0}:".format(name)]
    for key, value in options.items():
        if value is not None:
            lines.append("  {0}: {1}".format(key, value if isinstance(value, str) else json.dumps(value)))
    return "\n".join(lines) + "\n"
