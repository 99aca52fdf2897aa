# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An app in a colour: the same app, told where to listen. Pure.

The colour of a process is the address that it was told, so nothing beside PM2's own list must be kept to know it.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Dict, Iterable, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._app import App
from ansible_collections.zerodown.pm2.plugins.module_utils._cutover_options import PORT_PLACEHOLDER
from ansible_collections.zerodown.pm2.plugins.module_utils._drift import variable_text
from ansible_collections.zerodown.pm2.plugins.module_utils._proxy_options import BLUE, COLOURS, ProxyOptions, other
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process


def in_colour(app: App, colour: Optional[str]) -> App:
    """The app with the address of this colour in its variable, and wherever ``{port}`` stands in ``args`` and ``env``;
    as it is when it stands behind no proxy.

    :param colour: ``None`` for the first.
    """
    proxy = app.cutover.proxy
    if proxy is None or not app.definition:
        return app
    address = str(proxy.addresses[colour or BLUE])
    env: Dict[str, str] = {name: _told(value, address) for name, value in app.definition["env"].items()}
    env[app.cutover.candidate_variable] = address
    args = [_told(item, address) for item in app.definition["args"]]
    return dataclasses.replace(
        app,
        definition={**app.definition, "env": env, "args": args},
        variables=app.variables | {app.cutover.candidate_variable},
    )


def _told(text: Any, address: str) -> Any:
    return text.replace(PORT_PLACEHOLDER, address) if isinstance(text, str) else text


def colour_of(process: Process, proxy: ProxyOptions, variable: str) -> Optional[str]:
    """``None`` for a process that was told neither address."""
    return colour_in(process.env.get("env") or {}, proxy, variable)


def colour_in(env: Dict[str, Any], proxy: ProxyOptions, variable: str) -> Optional[str]:
    """:param env: the variables of a process or of a saved one."""
    told = env.get(variable)
    for colour in COLOURS:
        if told is not None and variable_text(told) == str(proxy.addresses[colour]):
            return colour
    return None


def live_colour(processes: Iterable[Process], app: App) -> Optional[str]:
    """The colour that serves: that of the app's processes; ``None`` when they have none, or have both."""
    proxy = app.cutover.proxy
    if proxy is None:
        return None
    found: List[Optional[str]] = [
        colour_of(item, proxy, app.cutover.candidate_variable) for item in processes if item.name == app.name
    ]
    return found[0] if found and len(set(found)) == 1 else None


def spare_colour(live: Optional[str]) -> str:
    """Where the candidate goes."""
    return other(live) if live else BLUE
