# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The differences between a declared app and a process, and what must be sent to remove them.

Only fields that PM2 acts on are compared: after a reload by PM2's command line, ``script``, ``cwd`` and ``out_file``
hold the new values while ``pm_exec_path``, ``pm_cwd`` and ``pm_out_log_path`` still hold the old ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Dict, List, Set

from ansible_collections.zerodown.pm2.plugins.module_utils import _gate_python
from ansible_collections.zerodown.pm2.plugins.module_utils._app import App
from ansible_collections.zerodown.pm2.plugins.module_utils._gate_script import is_ours, strip
from ansible_collections.zerodown.pm2.plugins.module_utils._gates import runtime_of
from ansible_collections.zerodown.pm2.plugins.module_utils._options import (
    BY_FIELD,
    CLUSTER,
    RELOAD,
    RESTART,
    Option,
    is_field,
    scalar_text,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._runtime import PYTHON
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process

# the option of _cutover_options.py that shows in node_args, or in a variable
PRELOAD = "preload"

# over the socket, this text removes a field (PM2 lib/Utility.js extendMix)
REMOVE = "null"

LOG_FIELDS = ("pm_out_log_path", "pm_err_log_path", "pm_log_path")
PID_FIELD = "pm_pid_path"
# what PM2 itself puts into the environment of a process
_OWN_VARIABLES = frozenset(["unique_id", "vizion_running"])
# a variable that was removed from env by PM2's command line stays beside it; PM2's own fields are not written so
_VARIABLE = re.compile(r"^[A-Z][A-Z0-9_]*$")


@dataclass(frozen=True)
class Difference:
    """
    :ivar option: its name; ``env.<NAME>`` for one variable, whose value is a secret.
    :ivar before: what the process has, in the parsed form; ``None`` for nothing.
    :ivar after: what is declared; ``None`` for nothing.
    :ivar change: how it is applied, see _options.py.
    """

    option: str
    before: Any
    after: Any
    change: str

    @property
    def is_variable(self) -> bool:
        return self.option.startswith("env.")


def differences(app: App, process: Process) -> List[Difference]:
    """In the order of the options' table; ``app`` has a definition."""
    found: List[Difference] = []
    for name, option in BY_FIELD.items():
        if name == "env":
            found.extend(_variables(app, process))
        elif not _is_ignored(name, app, process):
            before, after = actual(name, app, process), wanted(name, app)
            if before != after:
                found.append(Difference(option.name, before, after, option.change))
    if runtime_of(process.env) not in (None, app.gate):
        found.append(Difference(PRELOAD, True, False, RESTART))
    return found


def actual(name: str, app: App, process: Process) -> Any:
    """What the process has in a field, in the form of :func:`wanted`."""
    value = _parsed(BY_FIELD[name], process.env.get(name))
    if name == "node_args":
        return strip(value)
    if isinstance(value, str) and _has_number(name, app):
        # a process that PM2 brought back from its dump may write to the log of an earlier number
        return re.sub(r"-[0-9]+(\.log|\.pid)$", r"-*\1", value)
    return value


def wanted(name: str, app: App) -> Any:
    """What is declared for a field, with ``*`` in a path where PM2 puts the number of the process."""
    value = _parsed(BY_FIELD[name], app.definition.get(name))
    return _numbered(value, "*") if _has_number(name, app) else value


def field_value(app: App, name: str, number: int) -> Any:
    """The field as the process of this number must have it."""
    value = app.definition.get(name)
    if _has_number(name, app):
        return _numbered(str(value), str(number))
    return REMOVE if value is None else value


def changed_fields(app: App, process: Process, found: List[Difference]) -> Dict[str, Any]:
    """What must be merged into the ``pm2_env`` of the process when it is restarted.

    :param found: what :func:`differences` gave.
    """
    changes: Dict[str, Any] = {}
    fields = {option.name: name for name, option in BY_FIELD.items()}
    # the files of a generation bear the number of the instance, see _definitions.py
    number = process.pm_id if process.generation is None else instance_number(process)
    for difference in found:
        if difference.is_variable:
            continue
        if difference.option == PRELOAD and runtime_of(process.env) == PYTHON:
            continue
        name = "node_args" if difference.option == PRELOAD else fields[difference.option]
        # the pid file is PM2's own affair
        changes[name] = field_value(app, name, process.pm_id if name == PID_FIELD else number)
        if name in LOG_FIELDS:
            changes["merge_logs"] = app.merge_logs or process.generation is not None
        elif name == "node_args" and app.takes_preload:
            has = process.env.get("node_args") or []
            # the pair is in front
            changes[name] = [*(has[:2] if is_ours(has) else []), *changes[name]]
        elif name == "instance_var":
            changes[str(difference.before)] = REMOVE
            changes[str(difference.after)] = instance_number(process)
    variables = [difference for difference in found if difference.is_variable]
    if variables or (runtime_of(process.env) == PYTHON and app.gate != PYTHON):
        changes["env"] = _environment(app, process)
        if _gate_python.is_ours(process.env) and _gate_python.VARIABLE not in changes["env"]:
            # PM2 has each variable beside env, too
            changes[_gate_python.VARIABLE] = REMOVE
        for difference in variables:
            name = difference.option[len("env.") :]
            if difference.after is None and not is_field(name):
                changes.setdefault(name, REMOVE)
    return changes


def instance_number(process: Process) -> int:
    """PM2's number of the process among those of its name; the pm_id for one that PM2 did not number."""
    try:
        return int(process.env[process.env.get("instance_var") or "NODE_APP_INSTANCE"])
    except (KeyError, ValueError, TypeError):
        return process.pm_id


def variable_text(value: Any) -> str:
    """A variable as the process gets it; started by an ecosystem file it may be a number or a boolean."""
    return scalar_text(value) if isinstance(value, (str, int, float, bool)) else str(value)


def _is_ignored(name: str, app: App, process: Process) -> bool:
    if name == "exec_interpreter":
        # a worker runs with the Node of the daemon, whatever the field says
        return app.is_cluster and process.env.get("exec_mode") == CLUSTER
    if name == "source_map_support":
        return not app.declared & {"source_map_support", "disable_source_map_support"}
    return False


def _parsed(option: Option, value: Any) -> Any:
    if value is None or value == "":
        return option.default
    try:
        return option.parse(value)
    except ValueError:
        return value


def _has_number(name: str, app: App) -> bool:
    """Whether PM2 puts the number of the process into this path (PM2 lib/God.js executeApp)."""
    path = app.definition.get(name)
    if not isinstance(path, str):
        return False
    if name == PID_FIELD:
        return path.endswith(".pid")
    return name in LOG_FIELDS and not app.merge_logs and path.endswith(".log")


def _numbered(path: str, number: str) -> str:
    return re.sub(r"(-[0-9]+)?(\.log|\.pid)$", r"-{0}\2".format(number), path)


def _variables(app: App, process: Process) -> List[Difference]:
    wanted_ones: Dict[str, str] = app.definition["env"]
    has = {
        name: variable_text(value)
        for name, value in _gate_python.strip(process.env.get("env") or {}).items()
        # PM2's command line puts the settings of a module of the app's name there, which it has not (Modularizer.js)
        if not isinstance(value, dict) and (name, value) != (app.name, "{}")
    }
    left_over = _left_over(process, set(has) | {app.name})
    counted = process.env.get("increment_var")
    found = []
    for name in sorted(set(wanted_ones) | set(has) | left_over):
        if name in _OWN_VARIABLES or (name == counted and counted == app.definition.get("increment_var")):
            continue
        before = has.get(name, "" if name in left_over else None)
        after = wanted_ones.get(name)
        if before != after:
            found.append(Difference("env." + name, before, after, RELOAD))
    return found


def _left_over(process: Process, variables: Set[str]) -> Set[str]:
    """Variables that the process has although its ``env`` does not: removed since by PM2's command line."""
    number = process.env.get("instance_var") or "NODE_APP_INSTANCE"
    counted = process.env.get("increment_var")
    return {
        name
        for name, value in _gate_python.strip(process.env).items()
        if _VARIABLE.match(name)
        and name not in variables
        and name not in (number, counted)
        and isinstance(value, (str, int, float, bool))
    }


def _environment(app: App, process: Process) -> Dict[str, Any]:
    env: Dict[str, Any] = dict(app.definition["env"])
    has = process.env.get("env") or {}
    for name in (*_OWN_VARIABLES, process.env.get("increment_var")):
        if name in has and (name in _OWN_VARIABLES or name == app.definition.get("increment_var")):
            env[str(name)] = has[name]
    if app.gate == PYTHON and _gate_python.is_ours(has):
        return _gate_python.put(env, _gate_python.added(has)[0])
    return env
