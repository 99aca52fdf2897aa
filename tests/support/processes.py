# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Apps as they are declared, and their processes as PM2 has them; data only, no host is looked at."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from ansible_collections.zerodown.pm2.plugins.module_utils._app import App, Host, build
from ansible_collections.zerodown.pm2.plugins.module_utils._definitions import definitions
from ansible_collections.zerodown.pm2.plugins.module_utils._drift import field_value
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process

NOW = 2_000_000_000.0
HOME = Home("/h")
PRELOAD = "/h/gate/preload-0123abcd.cjs"
PYTHON_PRELOAD = "/h/gate/python-0123abcd"
PRELOADS = {"node": PRELOAD, "python": PYTHON_PRELOAD}
GENERATION = "r1-0a1b2c"
_NUMBERED = ("pm_out_log_path", "pm_err_log_path", "pm_log_path", "pm_pid_path")


def declared(**options: Any) -> App:
    host = Host(home=HOME, node=None, refuse=print)
    state = options.pop("state", "online")
    return build({"name": "web", "script": "/srv/web/server.js", **options}, state, host)


def process(app: App, pm_id: int = 0, number: int = 0, **changes: Any) -> Process:
    """As PM2 has it after it was started from this definition.

    :param changes: ``fields`` for its ``pm2_env``, else of ``Process``.
    """
    definition = dict(app.definition)
    for name in _NUMBERED:
        if name in definition:
            definition[name] = field_value(app, name, pm_id)
    definition[definition["instance_var"]] = number
    return _started(app.name, definition, pm_id, changes)


def member(app: App, pm_id: int = 0, number: int = 0, generation: str = GENERATION, **changes: Any) -> Process:
    """As PM2 has it after it was started as part of a generation."""
    (definition,) = definitions(app, [number], generation, HOME, PRELOADS.get(app.gate or ""))
    return _started(app.name, definition, pm_id, changes)


def _started(name: str, definition: dict[str, Any], pm_id: int, changes: dict[str, Any]) -> Process:
    env = {**definition, **definition["env"], "env": {**definition["env"], "unique_id": "x"}}
    env.update({"pm_id": pm_id, "status": "online", "unique_id": "x"})
    made = Process(
        pm_id=pm_id,
        name=name,
        pid=os.getpid(),
        status="online",
        started_at=int((NOW - 3600) * 1000),
        env={**env, **changes.pop("fields", {})},
    )
    return replace(made, **changes)
