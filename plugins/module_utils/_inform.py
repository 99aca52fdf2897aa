# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of the module ``app_info``: what runs, whether a boot brings it back, what differs from a declaration."""

from __future__ import annotations

import time
from typing import Any, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils import _confirmation, _standby
from ansible_collections.zerodown.pm2.plugins.module_utils._client import connect
from ansible_collections.zerodown.pm2.plugins.module_utils._converge import as_data, make_all
from ansible_collections.zerodown.pm2.plugins.module_utils._dump import (
    comparable,
    entry_of,
    is_stopped_on_purpose,
    load,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._plan import of_app
from ansible_collections.zerodown.pm2.plugins.module_utils._report import app_data, process_details
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from ansible_collections.zerodown.pm2.plugins.module_utils._settings import Settings, declared_apps
from ansible_collections.zerodown.pm2.plugins.module_utils._standby import Standby
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process


def inform(
    names: Optional[List[str]], entries: Optional[List[Dict[str, Any]]], state: str, settings: Settings
) -> Dict[str, Any]:
    """What the module returns; starts and changes nothing.

    :param names: the apps to return; ``None`` for all.
    :param entries: declared apps to compare with; ``None`` for none.
    """
    daemon = connect(settings.home, settings.install, settings.warn)
    running = daemon.is_running()
    standbys = _standby.read_all(settings.home)
    everything = daemon.everything() if running else []
    processes = _standby.without(standbys, everything)
    if names is None:
        names = sorted({process.name for process in processes if of_app([process], process.name)})
    saved = _saved(settings.home)
    awaited = _confirmation.read_all(settings.home)
    result: Dict[str, Any] = {
        "changed": False,
        "daemon": {
            "running": running,
            "version": daemon.version() if running else None,
            "pid": Rpc(settings.home.rpc_socket).daemon_pid() if running else None,
        },
        "apps": [
            {
                **_app(name, of_app(processes, name), saved),
                "standby": next(
                    (_standby_data(item, item.among(everything)) for item in standbys if item.name == name), None
                ),
                "awaiting": next(
                    (_confirmation.as_data(item, time.time()) for item in awaited if name in item.names), None
                ),
            }
            for name in names
        ],
    }
    if entries is not None:
        plans = make_all(declared_apps(entries, state, settings), processes, settings)
        result["plan"] = as_data(plans, running)
    return result


def _app(name: str, processes: List[Process], saved: Optional[List[str]]) -> Dict[str, Any]:
    now = time.time()
    data = app_data(name, processes, now)
    data["processes"] = [process_details(process, now) for process in processes]
    data["saved"] = None if saved is None else bool(processes) and all(_is_in(process, saved) for process in processes)
    return data


def _standby_data(standby: Standby, processes: List[Process]) -> Optional[Dict[str, Any]]:
    """``None`` when none of its processes runs any more."""
    running = [process for process in processes if process.is_running()]
    if not running:
        return None
    return {
        "release": standby.release,
        "colour": standby.colour,
        "remaining": round(_standby.remaining(standby), 1),
        "instances": len(running),
        "memory": sum(process.memory for process in running),
    }


def _is_in(process: Process, saved: List[str]) -> bool:
    entry = entry_of(process, stopped=is_stopped_on_purpose([process]))
    return comparable([entry])[0] in saved


def _saved(home: Home) -> Optional[List[str]]:
    """The saved list in the form that is compared; ``None`` when it cannot be read."""
    try:
        return comparable(load(home).entries)
    except (Pm2Error, OSError):
        return None
