# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of the module ``app``: read what is, plan, check what could go wrong, do it, and say what came of it."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, FrozenSet, List, Optional, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils._app import App, Host, build
from ansible_collections.zerodown.pm2.plugins.module_utils._apply import (
    Limits,
    apply,
    log_directories,
    still_as_before,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._bus import Bus
from ansible_collections.zerodown.pm2.plugins.module_utils._client import Client, connect
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import Pm2Install, find_pm2, which
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._options import CLUSTER
from ansible_collections.zerodown.pm2.plugins.module_utils._plan import (
    AppPlan,
    describe,
    in_one_go,
    make,
    of_app,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._ports import foreign_holder
from ansible_collections.zerodown.pm2.plugins.module_utils._report import app_data
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process
from ansible_collections.zerodown.pm2.plugins.module_utils._steady import Failure, LogMarks, failure_data

START_DAEMON = {"action": "start_daemon"}
# the first PM2 that traces with packages of its own (PM2 lib/OtelManager.js)
TRACE_PACKAGES_SINCE = 7


def _nothing_to_hide(_environments: List[Dict[str, Any]]) -> None:
    """For a module that returns no log."""


@dataclass
class Settings:
    """
    :ivar warn: takes a sentence for the user.
    :ivar hide: takes environments whose secrets must not show up in what the module returns.
    :ivar steady_time: seconds.
    :ivar start_timeout: seconds.
    """

    home: Home
    pm2_executable: Optional[str]
    node_executable: Optional[str]
    check_mode: bool
    warn: Callable[[str], None]
    hide: Callable[[List[Dict[str, Any]]], None] = _nothing_to_hide
    steady_time: float = 2.0
    start_timeout: float = 30.0
    log_lines: int = 20
    _install: Optional[Pm2Install] = field(default=None, init=False)

    def install(self) -> Pm2Install:
        if self._install is None:
            self._install = find_pm2(self.pm2_executable, self.node_executable)
        return self._install

    def install_or_none(self) -> Optional[Pm2Install]:
        """``None`` only in check mode: on a bare host an earlier task would install it."""
        try:
            return self.install()
        except Pm2Error as error:
            self.refuse(error.message)
            return None

    def refuse(self, sentence: str) -> None:
        if not self.check_mode:
            raise Pm2Error(sentence)
        self.warn(sentence)


def declared_apps(entries: List[Dict[str, Any]], state: str, settings: Settings) -> List[App]:
    """
    :param entries: the options of each app.
    :raises Pm2Error: what is declared cannot be; nothing was changed.
    """
    needs_node = any(entry.get("script") for entry in entries)
    install = settings.install_or_none() if needs_node else None
    host = Host(home=settings.home, node=install.node if install else None, refuse=settings.refuse)
    apps = [build(entry, state, host) for entry in entries]
    names = [app.name for app in apps]
    for name in names:
        if names.count(name) > 1:
            raise Pm2Error("App {0} is declared {1} times; give each its own name.".format(name, names.count(name)))
    return apps


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
    _check_host(plans, daemon.version() if running else None, settings)
    if not settings.check_mode and (steps or any(plan.suspicious for plan in plans)):
        if not running:
            # imported here: a daemon is rarely started
            from ansible_collections.zerodown.pm2.plugins.module_utils._daemon import ensure_running

            ensure_running(settings.home, settings.install(), settings.start_timeout)
            # one that systemd starts brings its saved apps with it
            processes, plans = _plan(daemon, True, apps, settings)
            result.update(plan=[START_DAEMON, *as_data(plans, True)], diff=_diff(plans))
        processes = _carry_out(daemon, plans, settings, result)
    result["apps"] = _apps(plans, processes)
    return result


def _plan(daemon: Client, running: bool, apps: List[App], settings: Settings) -> Tuple[List[Process], List[AppPlan]]:
    processes = daemon.processes() if running else []
    settings.hide([process.env.get("env") or {} for app in apps for process in of_app(processes, app.name)])
    plans = make_all(apps, processes, settings)
    if running and not daemon.changes_in_place:
        plans = [in_one_go(plan) for plan in plans]
    return processes, plans


def make_all(apps: List[App], processes: List[Process], settings: Settings) -> List[AppPlan]:
    plans = [make(app, processes, time.time(), settings.steady_time) for app in apps]
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


def _carry_out(daemon: Client, plans: List[AppPlan], settings: Settings, result: Dict[str, Any]) -> List[Process]:
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
            failures = apply(daemon, plans, Limits(settings.steady_time, settings.start_timeout), bus)
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


# before anything is changed ------------------------------------------------------------------------------------------


def _check_host(plans: List[AppPlan], version: Optional[str], settings: Settings) -> None:
    """
    :param version: of the running daemon.
    """
    starting = [plan for plan in plans if plan.starts and plan.app.definition]
    _check_versions(bool(starting), version, settings)
    for plan in starting:
        _check_log_directories(plan.app, settings)
        _check_port(plan, version is not None, settings)
        _check_cluster_node(plan.app, version is not None, settings)
        _check_trace(plan.app, settings)


def _check_versions(starting: bool, version: Optional[str], settings: Settings) -> None:
    install = settings.install_or_none() if starting else settings._install
    if version is None or install is None or version == install.version:
        return
    sentence = (
        "The PM2 daemon of {0} runs version {1}, but {2} is version {3}; bring the daemon to it with "
        "zerodown.pm2.daemon (state updated), or set pm2_executable.".format(
            settings.home.path, version, install.executable, install.version
        )
    )
    if starting:
        settings.refuse(sentence)
    else:
        settings.warn(sentence)


def _check_log_directories(app: App, settings: Settings) -> None:
    for directory in log_directories(app):
        # PM2_HOME and what is below it are made with the daemon
        if directory.startswith(settings.home.path + "/"):
            continue
        existing = directory
        while not os.path.exists(existing):
            existing = os.path.dirname(existing)
        if not os.path.isdir(existing) or not os.access(existing, os.W_OK | os.X_OK):
            settings.refuse(
                "App {0}: its logs cannot be written to {1}; make it writable or set out_file, error_file and "
                "log_file.".format(app.name, directory)
            )


def _check_port(plan: AppPlan, running: bool, settings: Settings) -> None:
    port = plan.app.port
    if port is None:
        return
    own = {process.pid for process in plan.processes if process.pid}
    # the port of a cluster is held by the daemon, for all its apps
    if running and (plan.app.is_cluster or any(item.env.get("exec_mode") == CLUSTER for item in plan.processes)):
        own.add(Rpc(settings.home.rpc_socket).daemon_pid())
    holder = foreign_holder(port, [pid for pid in own if pid])
    if holder:
        settings.refuse(
            "App {0}: port {1} is taken by {2}; stop that, or set another port.".format(plan.app.name, port, holder)
        )


def _check_cluster_node(app: App, running: bool, settings: Settings) -> None:
    """A cluster worker runs with the Node of the daemon, whatever its interpreter says (PM2 lib/God/ClusterMode.js)."""
    if not app.is_cluster or "interpreter" not in app.declared:
        return
    interpreter = which(app.definition["exec_interpreter"], app.definition["env"]["PATH"].split(os.pathsep))
    node: Optional[str]
    if running:
        node = os.path.realpath("/proc/{0}/exe".format(Rpc(settings.home.rpc_socket).daemon_pid()))
    else:
        install = settings.install_or_none()
        node = os.path.realpath(install.node) if install else None
    if interpreter and node and os.path.realpath(interpreter) != node:
        settings.refuse(
            "App {0}: in cluster mode it runs with the daemon's {1}, not with {2}; leave interpreter out, or set "
            "exec_mode to fork.".format(app.name, node, interpreter)
        )


def _check_trace(app: App, settings: Settings) -> None:
    install = settings.install_or_none() if app.definition.get("trace") else None
    if install is None or int(install.version.split(".")[0]) < TRACE_PACKAGES_SINCE:
        return
    directory = install.package
    while directory != "/":
        if os.path.isdir(os.path.join(directory, "node_modules", "@opentelemetry", "sdk-node")):
            return
        directory = os.path.dirname(directory)
    settings.refuse(
        "App {0}: trace needs the OpenTelemetry packages in {1}, which are not there; install them (pm2 start --trace "
        "does it) or leave trace out.".format(app.name, install.package)
    )
