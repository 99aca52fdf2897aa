# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be seen to go wrong before anything is changed: versions, log directories, ports, the daemon's Node."""

from __future__ import annotations

import os
from typing import List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._app import App
from ansible_collections.zerodown.pm2.plugins.module_utils._apply import log_directories
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import which
from ansible_collections.zerodown.pm2.plugins.module_utils._options import CLUSTER
from ansible_collections.zerodown.pm2.plugins.module_utils._plan import AppPlan
from ansible_collections.zerodown.pm2.plugins.module_utils._ports import foreign_holder
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from ansible_collections.zerodown.pm2.plugins.module_utils._settings import Settings

# the first PM2 that traces with packages of its own (PM2 lib/OtelManager.js)
TRACE_PACKAGES_SINCE = 7


def check_host(plans: List[AppPlan], version: Optional[str], settings: Settings) -> None:
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
    daemon: Optional[int] = None
    # the port of a cluster is held by the daemon, for all its apps
    if running and (plan.app.is_cluster or any(item.env.get("exec_mode") == CLUSTER for item in plan.processes)):
        daemon = Rpc(settings.home.rpc_socket).daemon_pid()
    holder = foreign_holder(port, own, daemon)
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
