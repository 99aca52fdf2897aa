# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gates by runtime: which one a process has, and how a definition gets one. Both speak one protocol, see
_gate_control.py."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Mapping, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils import _gate_python, _gate_script
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._runtime import NODE, PYTHON

# their paths, by runtime
Preloads = Dict[str, str]


def install(home: Home) -> Preloads:
    """Write what is not there yet.

    :raises Pm2Error: the directory is not ours alone, or cannot be written.
    """
    return {NODE: _gate_script.install(home), PYTHON: _gate_python.install(home)}


def runtime_of(env: Mapping[str, Any]) -> Optional[str]:
    """Of a process with a gate; ``None`` for one without.

    :param env: its ``pm2_env``, or a definition.
    """
    if _gate_script.is_ours(env.get("node_args") or []):
        return NODE
    return PYTHON if _gate_python.is_ours(env.get("env") or {}) else None


def is_gated(env: Mapping[str, Any]) -> bool:
    return runtime_of(env) is not None


def put(definition: Mapping[str, Any], preload: Optional[str]) -> Dict[str, Any]:
    """The definition with this gate, and no other.

    :param preload: one of the paths of :func:`install`; ``None`` for none.
    """
    changed = dict(definition)
    changed["node_args"] = _gate_script.strip(definition.get("node_args") or [])
    changed["env"] = _gate_python.strip(definition.get("env") or {})
    if preload is not None and _gate_python.is_directory(preload):
        changed["env"] = _gate_python.put(changed["env"], preload)
    elif preload is not None:
        changed["node_args"] = ["-r", preload, *changed["node_args"]]
    return changed


def with_present(entry: Dict[str, Any], home: Home) -> Dict[str, Any]:
    """The entry of a dump with the gate of this collection when the file that it names is gone: Node would refuse to
    start, and Python would have a port to itself."""
    paths: List[str] = []
    runtime = runtime_of(entry)
    if runtime == NODE:
        paths = _gate_script.added(entry["node_args"])
    elif runtime == PYTHON:
        paths = [os.path.join(path, _gate_python.FILE_NAME) for path in _gate_python.added(entry["env"])]
    if runtime is None or all(map(os.path.exists, paths)):
        return entry
    return put(entry, install(home)[runtime])
