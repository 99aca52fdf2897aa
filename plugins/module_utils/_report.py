# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes as modules return them: plain data without a value of their environment."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._drift import instance_number
from ansible_collections.zerodown.pm2.plugins.module_utils._plan import is_up
from ansible_collections.zerodown.pm2.plugins.module_utils._state import ERRORED, ONLINE, STOPPED, Process

ABSENT = "absent"
PARTLY = "partly"


def process_data(process: Process, now: float) -> Dict[str, Any]:
    """
    :param now: seconds since 1970.
    :returns: ``uptime`` in seconds (``None`` while it does not run), ``memory`` in bytes, ``cpu`` in percent of a core.
    """
    uptime: Optional[float] = None
    if process.is_running() and process.started_at:
        uptime = round(max(0.0, now - process.started_at / 1000), 1)
    return {
        "pm_id": process.pm_id,
        "instance": instance_number(process),
        "pid": process.pid,
        "status": process.status,
        "restarts": process.restarts,
        "uptime": uptime,
        "memory": process.memory,
        "cpu": process.cpu,
        "exit_code": process.exit_code,
    }


def app_data(name: str, processes: List[Process], now: float) -> Dict[str, Any]:
    """One app; ``status`` is online, stopped, errored, absent, or partly when its processes differ."""
    return {
        "name": name,
        "status": _status(processes),
        "instances": len(processes),
        "processes": [process_data(process, now) for process in processes],
    }


def process_details(process: Process, now: float) -> Dict[str, Any]:
    """What :func:`process_data` says and how it was declared; of its environment only the names. Arguments are left
    out, as they may hold secrets."""
    env = process.env
    return {
        **process_data(process, now),
        "namespace": env.get("namespace"),
        "exec_mode": str(env.get("exec_mode", "")).replace("_mode", ""),
        "script": env.get("pm_exec_path"),
        "cwd": env.get("pm_cwd"),
        "interpreter": env.get("exec_interpreter"),
        "node_version": env.get("node_version"),
        "unstable_restarts": process.unstable_restarts,
        "out_file": env.get("pm_out_log_path"),
        "error_file": env.get("pm_err_log_path"),
        "log_file": env.get("pm_log_path"),
        "env": sorted(str(name) for name in env.get("env") or {}),
    }


def _status(processes: List[Process]) -> str:
    if not processes:
        return ABSENT
    if all(process.is_running() for process in processes):
        return ONLINE
    if any(process.status == ERRORED for process in processes):
        return ERRORED
    if all(process.status == STOPPED for process in processes):
        return STOPPED
    return PARTLY if any(is_up(process) for process in processes) else processes[0].status
