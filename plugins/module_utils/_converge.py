# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of the module ``app``: read what is, plan, check what could go wrong, do it, and say what came of it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from typing import Any, Dict, FrozenSet, List, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils import _deploy_log, _runner
from ansible_collections.zerodown.pm2.plugins.module_utils._app import ABSENT, RELOADED, STOPPED, App
from ansible_collections.zerodown.pm2.plugins.module_utils._apply import (
    Limits,
    apply,
    log_directories,
    still_as_before,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._bus import Bus
from ansible_collections.zerodown.pm2.plugins.module_utils._client import Client, connect
from ansible_collections.zerodown.pm2.plugins.module_utils._colours import in_colour, live_colour
from ansible_collections.zerodown.pm2.plugins.module_utils._cutover import perform
from ansible_collections.zerodown.pm2.plugins.module_utils._dead_man import keep_watch
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._handover import end_standby
from ansible_collections.zerodown.pm2.plugins.module_utils._host_check import check_host
from ansible_collections.zerodown.pm2.plugins.module_utils._order import Order
from ansible_collections.zerodown.pm2.plugins.module_utils._plan import (
    AppPlan,
    by_cutover,
    describe,
    in_one_go,
    make,
    of_app,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._report import app_data
from ansible_collections.zerodown.pm2.plugins.module_utils._secrets import secret_values
from ansible_collections.zerodown.pm2.plugins.module_utils._settings import Settings, declared_apps
from ansible_collections.zerodown.pm2.plugins.module_utils._standby import read_all as read_standbys
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process
from ansible_collections.zerodown.pm2.plugins.module_utils._steady import Failure, LogMarks, failure_data

START_DAEMON = {"action": "start_daemon"}


def converge(entries: List[Dict[str, Any]], state: str, settings: Settings) -> Dict[str, Any]:
    """What the module returns.

    :raises Pm2Error: bad input, before anything is changed; or an app does not hold, with details ``changed``,
        ``plan``, ``apps``, ``failures`` and ``diff``.
    """
    settings.home.check_owner()
    apps = declared_apps(entries, state, settings)
    daemon = connect(settings.home, settings.install, settings.warn)
    running = daemon.is_running()
    processes, plans = _plan(daemon, running, apps, settings)
    steps = as_data(plans, running)
    result: Dict[str, Any] = {"changed": bool(steps), "plan": steps, "diff": _diff(plans)}
    check_host(plans, daemon.version() if running else None, settings)
    if not settings.check_mode and (steps or any(plan.suspicious for plan in plans)):
        if not running:
            # imported here: a daemon is rarely started
            from ansible_collections.zerodown.pm2.plugins.module_utils._daemon import ensure_running

            ensure_running(settings.home, settings.install(), settings.start_timeout)
            # one that systemd starts brings its saved apps with it
            processes, plans = _plan(daemon, True, apps, settings)
            result.update(plan=[START_DAEMON, *as_data(plans, True)], diff=_diff(plans))
        processes = _carry_out(daemon, plans, apps, settings, result)
    result["apps"] = _apps(plans, processes)
    return result


def _plan(daemon: Client, running: bool, apps: List[App], settings: Settings) -> Tuple[List[Process], List[AppPlan]]:
    processes = daemon.processes() if running else []
    settings.hide([process.env.get("env") or {} for app in apps for process in of_app(processes, app.name)])
    plans = make_all(apps, processes, settings)
    if running:
        plans = [by_cutover(plan) if daemon.changes_in_place else in_one_go(plan) for plan in plans]
    return processes, plans


def make_all(apps: List[App], processes: List[Process], settings: Settings) -> List[AppPlan]:
    now = time.time()
    # as it is where it runs: each colour has its own address
    coloured = [in_colour(app, live_colour(of_app(processes, app.name), app)) for app in apps]
    plans = [make(app, processes, now, settings.steady_time) for app in coloured]
    for plan in plans:
        for warning in plan.warnings:
            settings.warn(warning)
    return plans


def as_data(plans: List[AppPlan], running: bool) -> List[Dict[str, Any]]:
    """The steps, plain; the first starts a daemon when there is something to do and none runs."""
    steps = [action.as_data() for plan in plans for action in plan.actions]
    return [START_DAEMON, *steps] if steps and not running else steps


def _apps(plans: List[AppPlan], processes: List[Process], failed: FrozenSet[str] = frozenset()) -> List[Dict[str, Any]]:
    now = time.time()
    apps = [app_data(plan.app.name, of_app(processes, plan.app.name), now) for plan in plans]
    # a crash-looping process reads online at nearly every moment
    return [{**app, "status": "failed"} if app["name"] in failed else app for app in apps]


def _diff(plans: List[AppPlan]) -> Dict[str, str]:
    changing = [describe(plan) for plan in plans if plan.actions]
    return {"before": "".join(before for before, _after in changing), "after": "".join(after for _b, after in changing)}


def _carry_out(
    daemon: Client, plans: List[AppPlan], apps: List[App], settings: Settings, result: Dict[str, Any]
) -> List[Process]:
    directories = {directory for plan in plans for directory in log_directories(plan.app)}
    directories |= {
        os.path.dirname(str(process.env.get(name)))
        for plan in plans
        for process in plan.processes
        for name in ("pm_err_log_path", "pm_out_log_path")
        if process.env.get(name)
    }
    marks = LogMarks(directories, settings.home.daemon_log)
    with Bus(settings.home.pub_socket) as bus:
        try:
            in_place = [plan for plan in plans if not plan.is_cutover]
            _end_standbys(daemon, in_place)
            failures = apply(daemon, in_place, Limits(settings.steady_time, settings.start_timeout), bus)
            if not failures:
                names = {plan.app.name for plan in plans if plan.is_cutover}
                _cut_over([app for app in apps if app.name in names], settings)
        except Pm2Error as error:
            # what was done before it stays done, and is told
            with contextlib.suppress(Pm2Error):
                result["apps"] = _apps(plans, daemon.processes())
            raise Pm2Error(error.message, **{**result, "changed": True, **error.details}) from error
        processes = daemon.processes()
        if failures:
            result["apps"] = _apps(plans, processes, frozenset(failure.app for failure in failures))
            data = [failure_data(failure, marks, bus, settings.log_lines) for failure in failures]
            raise Pm2Error(_message(failures, data, plans, processes), **{**result, "failures": data})
    return processes


def _end_standbys(daemon: Client, plans: List[AppPlan]) -> None:
    """Who stops or removes an app means all of it."""
    ending = {plan.app.name for plan in plans if plan.app.state in (ABSENT, STOPPED)}
    for standby in read_standbys(daemon.home):
        if standby.name in ending:
            end_standby(daemon, standby)


def _cut_over(apps: List[App], settings: Settings) -> None:
    """
    :raises Pm2Error: the new generation does not hold; what ran before runs on.
    """
    if not apps:
        return
    order = Order(
        apps,
        always=any(app.state == RELOADED for app in apps),
        min_healthy_time=settings.steady_time,
        healthy_deadline=settings.steady_time + settings.start_timeout,
        by=_deploy_log.who(),
        reason="its options change",
        lock_timeout=settings.start_timeout,
    )

    def work(aside: _runner.Aside) -> Dict[str, Any]:
        # another process: what it has to say arrives beside its result
        inside = dataclasses.replace(
            settings,
            warn=aside.warnings.append,
            hide=lambda environments: aside.secrets.extend(secret_values(environments)),
        )
        return perform(order, inside)

    def receive(aside: _runner.Aside) -> None:
        for sentence in aside.warnings:
            settings.warn(sentence)

    what = "the cutover of {0}".format(", ".join(order.names))
    _runner.run(work, what, receive, lambda: keep_watch(order.names, None, settings))


def _message(
    failures: List[Failure], data: List[Dict[str, Any]], plans: List[AppPlan], processes: List[Process]
) -> str:
    """What happened to the first one, the end of its log, how many more there are, and what runs on."""
    first, details = failures[0], data[0]
    if first.process is None:
        text = "App {0} {1}".format(first.app, first.reason)
    else:
        text = "App {0}: process {1} {2} (status {3}, exit code {4}, {5} restarts)".format(
            first.app,
            first.process.pm_id,
            first.reason,
            first.process.status,
            "unknown" if first.process.exit_code is None else first.process.exit_code,
            first.process.restarts,
        )
    if details.get("cause"):
        text += "; {0} says: {1}".format(details["log_file"], details["cause"])
    if len(failures) > 1:
        text += "; so do {0} more".format(len(failures) - 1)
    as_before = [
        "process {0} of app {1}".format(", ".join(map(str, ids)), name)
        for name, ids in still_as_before(plans, processes)
    ]
    text += "; still running as before: {0}".format("; ".join(as_before) if as_before else "nothing")
    return text + ". Mend the app and run the task again; failures has its log."
