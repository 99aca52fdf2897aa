# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The processes of a generation, as PM2 is told to start them, and which generation a process belongs to.

Two generations of one name run side by side, so PM2's own numbering cannot be used: it would give a second
generation the numbers N to 2N-1 and log files of other names. Each process is therefore defined by itself, with its
number and its log files written into it (without ``instances`` PM2 leaves both alone: PM2 lib/God.js prepare).
"""

from __future__ import annotations

import os
import re
import secrets
from typing import Any, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._app import App
from ansible_collections.zerodown.pm2.plugins.module_utils._cutover_options import PORT_PLACEHOLDER
from ansible_collections.zerodown.pm2.plugins.module_utils._drift import LOG_FIELDS, PID_FIELD, field_value
from ansible_collections.zerodown.pm2.plugins.module_utils._gates import put
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._state import GATE_KEY, GENERATION_KEY

Definition = Dict[str, Any]


def new_generation(label: str) -> str:
    """An id that was never used: ``<label>-1f3a9c``.

    :param label: the id of a release, or a time.
    """
    return "{0}-{1}".format(re.sub(r"[^A-Za-z0-9._-]", "-", label), secrets.token_hex(3))


def definitions(app: App, numbers: List[int], generation: str, home: Home, preload: Optional[str]) -> List[Definition]:
    """
    :param numbers: the instance numbers to make.
    :param preload: the path of its gate, see _gates.py; ``None`` for an app that takes none.
    """
    return [_definition(app, number, generation, home, preload) for number in numbers]


def _definition(app: App, number: int, generation: str, home: Home, preload: Optional[str]) -> Definition:
    definition: Definition = dict(app.definition)
    for name in (*LOG_FIELDS, PID_FIELD):
        if name in definition:
            definition[name] = field_value(app, name, number)
    # the names are complete: PM2 must not add a pm_id
    definition["merge_logs"] = True
    definition[str(definition["instance_var"])] = number
    counted = definition.get("increment_var")
    if counted:
        # PM2 lib/God.js injectVariables writes it in both places
        definition[counted] = _count(definition["env"].get(counted)) + number
        definition["env"] = {**definition["env"], counted: definition[counted]}
    return in_generation(definition, generation, home, preload)


def in_generation(definition: Definition, generation: str, home: Home, preload: Optional[str]) -> Definition:
    """The same process as a member of another generation."""
    return {**put(definition, preload), GENERATION_KEY: generation, GATE_KEY: home.gate}


def on_port(app: App, definition: Definition, port: int) -> Definition:
    """The same process on another port, by the variable or the arguments that the user named."""
    options = app.cutover
    if options.candidate_args is not None:
        args = [item.replace(PORT_PLACEHOLDER, str(port)) for item in options.candidate_args]
        return {**definition, "args": args}
    return {**definition, "env": {**definition["env"], options.candidate_variable: str(port)}}


def _count(value: Any) -> int:
    return int(value) if re.match(r"^-?[0-9]+$", str(value)) else 0


def label(path: str) -> str:
    """What a generation is called after: the directory that it runs from."""
    return os.path.basename(os.path.normpath(path)) or "app"
