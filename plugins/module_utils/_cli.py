# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verbs of :class:`Rpc` over PM2's command line, for a daemon whose socket speaks something unknown.

Slow (a Node process a verb) and poorer: PM2's command line cannot change every option in place, so :meth:`Cli.restart`
with changes makes a new process. Its return codes prove nothing, as those of the socket do not.
"""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any, Callable, Dict, List

from ansible_collections.zerodown.pm2.plugins.module_utils._command import Completed, run
from ansible_collections.zerodown.pm2.plugins.module_utils._environment import base_environment
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error, ProtocolError
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import Pm2Install
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import check_definition

# PM2 lib/Common.js prepareAppConf turns the left into the right
_ECOSYSTEM_NAMES = {
    "pm_exec_path": "script",
    "pm_cwd": "cwd",
    "pm_out_log_path": "out_file",
    "pm_err_log_path": "error_file",
    "pm_log_path": "log_file",
    "pm_pid_path": "pid_file",
}
# what a process definition may hold beside the paths above (PM2 lib/API/schema.json)
_KEPT = [
    *("name", "namespace", "env", "args", "node_args", "exec_interpreter", "exec_mode", "uid", "gid"),
    *("log_type", "log_date_format", "disable_logs", "merge_logs", "filter_env", "instance_var", "increment_var"),
    *("max_memory_restart", "restart_delay", "exp_backoff_restart_delay", "min_uptime", "max_restarts"),
    *("autostart", "autorestart", "stop_exit_codes", "cron_restart", "wait_ready", "listen_timeout"),
    *("kill_timeout", "kill_retry_time", "shutdown_with_message", "treekill"),
    *("watch", "watch_delay", "ignore_watch", "watch_options"),
    *("pmx", "automation", "vizion", "source_map_support"),
]
READ_TIMEOUT = 30.0


class Cli:
    """One daemon, spoken to through ``pm2``. Raises CommandError when the program itself fails."""

    def __init__(self, home: Home, find_install: Callable[[], Pm2Install]) -> None:
        """:param find_install: called once, when a program must really be run."""
        self._home = home
        self._find_install = find_install

    def version(self) -> str:
        """The version of the command line: the daemon cannot be asked."""
        return self._find_install().version

    def processes(self) -> List[Dict[str, Any]]:
        """As :meth:`Rpc.processes`."""
        text = self._run("jlist", timeout=READ_TIMEOUT).stdout
        # with a version mismatch a banner comes before the JSON
        try:
            entries = json.loads(text[text.index("[{") if "[{" in text else text.index("[]") :])
        except ValueError as error:
            raise ProtocolError("pm2 jlist printed no process list for {0}.".format(self._home.path)) from error
        if not isinstance(entries, list):
            raise ProtocolError("pm2 jlist printed no process list for {0}.".format(self._home.path))
        return entries

    def prepare(self, definition: Dict[str, Any], timeout: float) -> None:
        check_definition(definition)
        ecosystem = {_ECOSYSTEM_NAMES.get(key, key): value for key, value in definition.items()}
        # every name contains the empty text, so nothing of PM2's own process gets in (PM2 lib/Common.js filterEnv)
        ecosystem["filter_env"] = [""]
        # inside PM2_HOME, so that the environment in it is as private as everything there
        descriptor, path = tempfile.mkstemp(prefix="ecosystem.", suffix=".json", dir=self._home.path)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                json.dump([ecosystem], stream)
            self._run("start", path, "--force", timeout=timeout)
        finally:
            os.unlink(path)

    def start(self, pm_id: int, timeout: float) -> None:
        self._run("start", str(pm_id), timeout=timeout)

    def stop(self, pm_id: int, timeout: float) -> None:
        self._run("stop", str(pm_id), timeout=timeout)

    def delete(self, pm_id: int, timeout: float) -> None:
        self._run("delete", str(pm_id), timeout=timeout)

    def restart(self, pm_id: int, changes: Dict[str, Any], timeout: float) -> None:
        """With changes: a new process with a new pm_id takes the place of the old one."""
        if not changes:
            self._run("restart", str(pm_id), timeout=timeout)
            return
        definition = self._definition_of(pm_id)
        for key, value in changes.items():
            if value == "null":
                definition.pop(key, None)
            else:
                definition[key] = value
        self.delete(pm_id, timeout)
        self.prepare(definition, timeout)

    def reload(self, pm_id: int, changes: Dict[str, Any], timeout: float) -> None:
        if changes:
            self.restart(pm_id, changes, timeout)
        else:
            self._run("reload", str(pm_id), timeout=timeout)

    def reset(self, pm_id: int) -> None:
        self._run("reset", str(pm_id), timeout=READ_TIMEOUT)

    def signal(self, pm_id: int, name: str) -> None:
        self._run("sendSignal", name, str(pm_id), timeout=READ_TIMEOUT)

    def watch(self, pm_id: int, enabled: bool) -> None:
        """PM2's command line restarts the process when it turns watching on or off."""
        self._run("restart" if enabled else "stop", str(pm_id), "--watch", timeout=READ_TIMEOUT)
        if not enabled:
            self._run("start", str(pm_id), timeout=READ_TIMEOUT)

    def reload_logs(self) -> None:
        self._run("reloadLogs", timeout=READ_TIMEOUT)

    def _definition_of(self, pm_id: int) -> Dict[str, Any]:
        for entry in self.processes():
            if entry.get("pm_id") == pm_id:
                env = entry["pm2_env"]
                keys = set(_ECOSYSTEM_NAMES) | set(_KEPT)
                definition = {key: env[key] for key in keys if env.get(key) is not None}
                definition.setdefault("node_args", [])
                definition.setdefault("args", [])
                return definition
        raise Pm2Error("PM2 at {0} has no process {1}.".format(self._home.path, pm_id))

    def _run(self, *arguments: str, timeout: float) -> Completed:
        install = self._find_install()
        environment = base_environment([os.path.dirname(install.node)])
        environment["PM2_HOME"] = self._home.path
        # the daemon of a deleted directory works, its command line does not: it always starts in /
        return run([install.node, install.cli_script, "-s", *arguments], env=environment, timeout=timeout)
