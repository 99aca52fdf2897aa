# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PM2's own modules (``pm2 install``), which this collection calls plugins: what is installed, set, running.

PM2 keeps both facts in ``module_conf.json``: which modules there are (key ``module-db-v2``), and the settings of each
under its name. They are in no dump; PM2's command line starts them whenever it starts a daemon (PM2 lib/API.js
connect), so whoever else starts one must do it too.
"""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._command import run
from ansible_collections.zerodown.pm2.plugins.module_utils._environment import base_environment
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import Pm2Install
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import write_atomic
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process, parse_all

_INSTALLED = "module-db-v2"

# PM2's own way to start an installed module (lib/API/Modules/NPM.js start); its command line has no verb for it
_START = """
const [root, ...names] = process.argv.slice(1);
const pm2 = require(root);
const { start } = require(root + '/lib/API/Modules/NPM.js');
pm2.connect((error) => {
  if (error) throw error;
  const next = () => (names.length ? start(pm2, {}, names.shift(), next) : pm2.disconnect());
  next();
});
"""


def environment(home: Home, install: Pm2Install) -> Dict[str, str]:
    """What PM2's command line gets; npm must be on its PATH and lies beside Node."""
    return {
        **base_environment([os.path.dirname(install.node), os.path.dirname(install.executable)]),
        "PM2_HOME": home.path,
    }


def configuration(home: Home) -> Dict[str, Any]:
    """The content of ``module_conf.json``; empty when there is none.

    :raises Pm2Error: it is not a JSON object; PM2 would not start with it either.
    """
    try:
        with open(home.module_configuration, encoding="utf-8") as stream:
            content = json.load(stream)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Pm2Error(
            "{0} cannot be read ({1}); repair or remove it.".format(home.module_configuration, error)
        ) from error
    if not isinstance(content, dict):
        raise Pm2Error("{0} is not a JSON object; repair or remove it.".format(home.module_configuration))
    return content


def installed(home: Home) -> List[str]:
    """The names of the installed ones."""
    names = configuration(home).get(_INSTALLED)
    return sorted(names) if isinstance(names, dict) else []


def version(home: Home, name: str) -> Optional[str]:
    """The version on disk; ``None`` when its package is not there."""
    package = os.path.join(home.modules, name, "node_modules", name, "package.json")
    try:
        with open(package, encoding="utf-8") as stream:
            return str(json.load(stream)["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def settings(home: Home, name: str) -> Dict[str, str]:
    """The settings of one, as texts, which is what ``pm2 set`` makes of them."""
    found = configuration(home).get(name)
    return {key: as_text(value) for key, value in found.items()} if isinstance(found, dict) else {}


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def write_settings(home: Home, name: str, changes: Dict[str, str]) -> None:
    """Set these keys of one plugin; everything else in the file stays."""
    content = configuration(home)
    current = content.get(name)
    content[name] = {**(current if isinstance(current, dict) else {}), **changes}
    write_atomic(home.module_configuration, json.dumps(content, indent=4).encode("utf-8"), 0o600)


def forget(home: Home, name: str) -> None:
    """Take one from the list of installed plugins, with its settings, which ``pm2 uninstall`` leaves behind."""
    content = configuration(home)
    names = content.get(_INSTALLED)
    known = isinstance(names, dict) and names.pop(name, None) is not None
    if content.pop(name, None) is not None or known:
        write_atomic(home.module_configuration, json.dumps(content, indent=4).encode("utf-8"), 0o600)


def process_of(processes: List[Process], name: str) -> Optional[Process]:
    for process in processes:
        if process.is_module and process.name == name:
            return process
    return None


def environment_with_settings(process: Process, values: Dict[str, str]) -> Dict[str, Any]:
    """The changes for :meth:`Rpc.restart` that give a running plugin exactly these settings.

    A plugin finds them in its environment, one by one and as JSON under its own name (PM2
    lib/API/Modules/NPM.js getModuleConf).
    """
    old = process.env.get("env") or {}
    changes: Dict[str, Any] = {"env": {**old, **values, process.name: json.dumps(values)}}
    return {**changes, "args": process.env.get("args") or [], "node_args": process.env.get("node_args") or []}


def start_missing_plugins(home: Home, install: Pm2Install, timeout: float) -> List[str]:
    """Start each installed plugin that has no process; their names.

    :param timeout: seconds.
    """
    names = installed(home)
    if not names:
        return []
    processes = parse_all(Rpc(home.rpc_socket).processes())
    absent = [name for name in names if version(home, name) and process_of(processes, name) is None]
    if absent:
        run(
            [install.node, "-e", _START, install.package, *absent],
            env={**environment(home, install), "PM2_PROGRAMMATIC": "true"},
            timeout=timeout,
        )
    return absent
