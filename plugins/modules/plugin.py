# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: plugin
short_description: PM2's own modules, such as pm2-logrotate, and their settings
version_added: 0.1.0
description:
  - Installs what PM2 calls a module (C(pm2 install)), a program of its own that runs beside the apps, and sets it
    (C(pm2 set)).
  - Changed settings are written in one step, and the plugin is restarted once, with exactly these; it is looked that
    it runs and stays up.
  - It comes back with the daemon, see M(zerodown.pm2.startup).
extends_documentation_fragment:
  - zerodown.pm2.attributes
  - zerodown.pm2.pm2
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Values that look like secrets, by their name or form, are hidden.
  idempotent:
    support: full
requirements:
  - npm, beside Node or in the system's directories
options:
  name:
    description: Name of the npm package.
    type: str
    required: true
  version:
    description: The exact version. By default any that is installed, and the newest if none is.
    type: str
  state:
    description:
      - V(present) installs it if it is missing or has another version, starts it if it does not run, and applies
        O(settings). Starts the daemon if none runs.
      - V(absent) ends and removes it, with its settings. Starts no daemon.
    type: str
    choices: [present, absent]
    default: present
  settings:
    description:
      - Settings by name. Those that are not named here stay as they are. PM2 keeps each as a text in
        C(module_conf.json).
      - Names must not contain C(:), C(.) or C("), which mean something to PM2.
    type: dict
    default: {}
  environment:
    description: Further variables for npm, such as E(npm_config_registry) or E(HTTPS_PROXY). The settings of the user
      (C(~/.npmrc)) are read in any case.
    type: dict
    default: {}
  timeout:
    description: Seconds for the installation.
    type: float
    default: 300
author:
  - The zerodown.pm2 contributors (@zerodown)
notes:
  - C(pm2-logrotate) 3.0.0 needs about 60 MB of memory, copies a log and then empties it (lines written in between
    are lost), and rotates only the first instance's files of an app with several. The system's own logrotate
    followed by C(pm2 reloadLogs) does none of this.
"""

EXAMPLES = r"""
- name: Rotate logs at 10 MB, keep 30
  zerodown.pm2.plugin:
    name: pm2-logrotate
    version: 3.0.0
    settings:
      max_size: 10M
      retain: 30
      compress: true
  become: true
  become_user: app

- name: Not any more
  zerodown.pm2.plugin:
    name: pm2-logrotate
    state: absent
  become: true
  become_user: app
"""

RETURN = r"""
installed_version:
  description: The version on disk; empty if it is not installed.
  returned: success
  type: str
  sample: 3.0.0
settings:
  description: All its settings.
  returned: success
  type: dict
  sample: {"max_size": "10M", "retain": "30"}
log:
  description: The end of its error log.
  returned: failure to stay up
  type: list
  elements: str
"""

import os
import re
import shutil
import tempfile
import time
from typing import Any, Dict, Optional

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.zerodown.pm2.plugins.module_utils import _plugins
from ansible_collections.zerodown.pm2.plugins.module_utils._command import run as run_command
from ansible_collections.zerodown.pm2.plugins.module_utils._daemon import ensure_running
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import DaemonNotRunning, Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import Pm2Install, find_pm2, which
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import tail
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._module import COMMON_ARGUMENTS, narrow_no_log, run
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process, parse_all

_NAME = re.compile(r"^(@[a-z0-9~-][a-z0-9._~-]*/)?[a-z0-9~-][a-z0-9._~-]*$")
_VERSION = re.compile(r"^[0-9]+\.[0-9]+\.[0-9]+([-+][0-9A-Za-z.+-]+)?$")
_SETTING = re.compile(r'^(?!__proto__$|constructor$|prototype$)[^:."\s]+$')
_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")

DAEMON_TIMEOUT = 60.0
RESTART_TIMEOUT = 30.0
STEADY_SECONDS = 1.5
LOG_LINES = 15


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **COMMON_ARGUMENTS,
            "name": {"type": "str", "required": True},
            "version": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "settings": {"type": "dict", "default": {}, "no_log": True},
            "environment": {"type": "dict", "default": {}, "no_log": True},
            "timeout": {"type": "float", "default": 300.0},
        },
        supports_check_mode=True,
    )
    run(module, work, hidden=["settings", "environment"])


def work(module: AnsibleModule) -> Dict[str, Any]:
    check_input(module.params)
    home = Home.of(module.params["pm2_home"])
    home.check_owner()
    stored = _plugins.settings(home, module.params["name"])
    narrow_no_log(module, [module.params["settings"], module.params["environment"], stored])
    if module.params["state"] == "absent":
        return absent(module, home)
    return present(module, home)


def check_input(parameters: Dict[str, Any]) -> None:
    if not _NAME.match(parameters["name"]):
        raise Pm2Error("name must be the name of an npm package, not {0!r}.".format(parameters["name"]))
    if parameters["version"] is not None and not _VERSION.match(parameters["version"]):
        raise Pm2Error("version must be an exact version such as 3.0.0, not {0!r}.".format(parameters["version"]))
    for key, value in parameters["settings"].items():
        if not _SETTING.match(str(key)) or isinstance(value, (dict, list)) or value is None:
            raise Pm2Error(
                "The setting {0!r} must have a name without blanks, colons, dots and quotes, and a text, number or "
                "boolean as its value.".format(key)
            )
    for key in parameters["environment"]:
        if not _VARIABLE.match(str(key)):
            raise Pm2Error("environment must name variables; {0!r} is none.".format(key))


def present(module: AnsibleModule, home: Home) -> Dict[str, Any]:
    parameters = module.params
    name = parameters["name"]
    before = shown(home, name)
    wanted = {str(key): _plugins.as_text(value) for key, value in parameters["settings"].items()}
    to_install = name not in _plugins.installed(home) or before["version"] in ({""} | unwanted(parameters, before))
    to_set = {key: value for key, value in wanted.items() if before["settings"].get(key) != value}
    process = running(home, name)
    to_restart = to_install or bool(to_set) or process is None or not has_settings(process, wanted)
    if module.check_mode:
        after = {
            "version": (parameters["version"] or before["version"] or "newest") if to_install else before["version"],
            "settings": {**before["settings"], **wanted},
        }
        return result(before, after, to_restart)
    if to_restart:
        install = find_pm2(parameters["pm2_executable"], parameters["node_executable"])
        check_npm(home, install)
        ensure_running(home, install, DAEMON_TIMEOUT)
        if to_install:
            install_plugin(home, install, parameters)
        if to_set:
            _plugins.write_settings(home, name, to_set)
        make_current(home, install, name, wanted)
    return result(before, shown(home, name), to_restart)


def unwanted(parameters: Dict[str, Any], before: Dict[str, Any]) -> "set[str]":
    """The version that is there, when it is not the one that is asked for."""
    return {before["version"]} if parameters["version"] not in (None, before["version"]) else set()


def shown(home: Home, name: str) -> Dict[str, Any]:
    return {"version": _plugins.version(home, name) or "", "settings": _plugins.settings(home, name)}


def running(home: Home, name: str) -> Optional[Process]:
    """Its process, when it has one; starts no daemon."""
    try:
        process = _plugins.process_of(parse_all(Rpc(home.rpc_socket).processes()), name)
    except DaemonNotRunning:
        return None
    return process if process is not None and process.is_running() else None


def has_settings(process: Process, wanted: Dict[str, str]) -> bool:
    """Whether the running process was started with these."""
    environment = process.env.get("env") or {}
    return all(_plugins.as_text(environment.get(key)) == value for key, value in wanted.items())


def check_npm(home: Home, install: Pm2Install) -> None:
    path = _plugins.environment(home, install)["PATH"].split(os.pathsep)
    if which("npm", path) is None:
        raise Pm2Error("npm was not found beside {0} or in the system's directories; install it.".format(install.node))


def install_plugin(home: Home, install: Pm2Install, parameters: Dict[str, Any]) -> None:
    name, version = parameters["name"], parameters["version"]
    was_there = os.path.lexists(os.path.join(home.modules, name))
    extra = {str(key): str(value) for key, value in parameters["environment"].items()}
    # PM2 copies the version before to a fixed name in the directory for temporary files, where others may wait for it
    temporary = tempfile.mkdtemp(prefix=".install-", dir=home.path)
    try:
        run_command(
            [install.node, install.cli_script, "-s", "install", "{0}@{1}".format(name, version) if version else name],
            env={**_plugins.environment(home, install), **extra, "TMPDIR": temporary},
            timeout=parameters["timeout"],
        )
    except Pm2Error:
        if not was_there:
            shutil.rmtree(os.path.join(home.modules, name), ignore_errors=True)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    found = _plugins.version(home, name)
    if found is None or name not in _plugins.installed(home) or version not in (None, found):
        raise Pm2Error(
            "PM2 reported that {0} is installed, but {1} is on disk below {2}.".format(
                name, "version {0}".format(found) if found else "nothing", home.modules
            )
        )


def make_current(home: Home, install: Pm2Install, name: str, wanted: Dict[str, str]) -> None:
    """Let it run, with the settings that are in the file, and stay up."""
    rpc = Rpc(home.rpc_socket)
    process = _plugins.process_of(parse_all(rpc.processes()), name)
    if process is None:
        _plugins.start_missing_plugins(home, install, DAEMON_TIMEOUT)
    elif not process.is_running() or not has_settings(process, wanted):
        changes = _plugins.environment_with_settings(process, _plugins.settings(home, name))
        rpc.restart(process.pm_id, changes, RESTART_TIMEOUT)
    first = running(home, name)
    time.sleep(STEADY_SECONDS)
    last = running(home, name)
    if first is None or last is None or (first.pid, first.restarts) != (last.pid, last.restarts):
        raise Pm2Error(
            "The plugin {0} does not stay up; see log, the end of its error log.".format(name),
            log=error_log(home, name),
        )
    if not has_settings(last, wanted):
        raise Pm2Error("The plugin {0} runs, but PM2 did not give it its settings.".format(name))


def error_log(home: Home, name: str) -> list:
    process = _plugins.process_of(parse_all(Rpc(home.rpc_socket).processes()), name)
    path = process.env.get("pm_err_log_path") if process else None
    return tail(path, LOG_LINES) if isinstance(path, str) else []


def absent(module: AnsibleModule, home: Home) -> Dict[str, Any]:
    name = module.params["name"]
    before = shown(home, name)
    directory = os.path.join(home.modules, name)
    process = running(home, name)
    there = name in _plugins.installed(home) or os.path.lexists(directory) or bool(before["settings"])
    if (there or process is not None) and not module.check_mode:
        # first from the list: else whoever starts a daemon now would start it again
        _plugins.forget(home, name)
        if process is not None:
            Rpc(home.rpc_socket).delete(process.pm_id, RESTART_TIMEOUT)
        shutil.rmtree(directory, ignore_errors=True)
        if os.path.lexists(directory):
            raise Pm2Error("{0} could not be removed; remove it by hand.".format(directory))
    return result(before, {"version": "", "settings": {}}, there or process is not None)


def result(before: Dict[str, Any], after: Dict[str, Any], changed: bool) -> Dict[str, Any]:
    return {
        "changed": changed,
        "installed_version": after["version"],
        "settings": after["settings"],
        "diff": {"before": before, "after": after},
    }


if __name__ == "__main__":
    main()
