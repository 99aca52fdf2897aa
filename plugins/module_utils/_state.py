# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is: PM2's processes as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

# At the top of pm2_env, where PM2 keeps what it does not know and hands it to the process: the generation, and the
# directory of the gate. No variable of an app may be named like this.
OWN_PREFIX = "zerodown_"
GENERATION_KEY = OWN_PREFIX + "generation"
GATE_KEY = OWN_PREFIX + "gate"

ONLINE = "online"
LAUNCHING = "launching"
STOPPED = "stopped"
ERRORED = "errored"


@dataclass(frozen=True)
class Process:
    """One entry of PM2's process list. A worker that a reload is about to remove is not in it (PM2 lib/God/Methods.js
    getFormatedProcesses).

    :ivar pm_id: PM2's number of it.
    :ivar pid: ``None`` while there is no process.
    :ivar status: PM2's word: online, stopped, stopping, launching, errored, ``waiting restart``.
    :ivar started_at: when this pid was started, milliseconds since 1970.
    :ivar memory: bytes of the main process only.
    :ivar cpu: percent of one core.
    :ivar env: the whole ``pm2_env``, secrets included: never return or print it.
    """

    pm_id: int
    name: str
    pid: Optional[int]
    status: str
    restarts: int = 0
    unstable_restarts: int = 0
    started_at: int = 0
    exit_code: Optional[int] = None
    memory: int = 0
    cpu: float = 0.0
    env: Dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def generation(self) -> Optional[str]:
        """``None`` for a process that was started by other means than ours."""
        value = self.env.get(GENERATION_KEY)
        return str(value) if value else None

    @property
    def is_module(self) -> bool:
        """Whether it is one of PM2's own modules (pm2 install), not an app."""
        return bool(self.env.get("pmx_module"))

    def is_running(self) -> bool:
        """PM2 says online, and the pid is really there: a crash-looping app reads *online* nearly always."""
        return self.status == ONLINE and self.pid is not None and pid_exists(self.pid)


def pid_exists(pid: int) -> bool:
    """Whether it runs. One that has ended and waits for its parent to notice (a zombie) does not."""
    try:
        with open("/proc/{0}/stat".format(pid), "rb") as stream:
            content = stream.read()
    except PermissionError:
        # /proc may be mounted so that others' processes can be seen and not read (proc(5), hidepid)
        return True
    except OSError:
        return False
    # the state follows the name in parentheses, which may hold anything (proc_pid_stat(5))
    return content.rpartition(b")")[2].split()[:1] not in ([b"Z"], [b"X"])


def parse(entry: Dict[str, Any]) -> Process:
    """:param entry: one item of ``getMonitorData`` or of ``pm2 jlist``, which have the same shape."""
    env = entry.get("pm2_env") or {}
    monit = entry.get("monit") or {}
    exit_code = env.get("exit_code")
    return Process(
        pm_id=int(entry["pm_id"]),
        name=str(env.get("name", entry.get("name", ""))),
        pid=entry.get("pid") or None,
        status=str(env.get("status", "")),
        restarts=int(env.get("restart_time") or 0),
        unstable_restarts=int(env.get("unstable_restarts") or 0),
        started_at=int(env.get("pm_uptime") or 0),
        exit_code=exit_code if isinstance(exit_code, int) else None,
        memory=int(monit.get("memory") or 0),
        cpu=float(monit.get("cpu") or 0.0),
        env=env,
    )


def parse_all(entries: List[Dict[str, Any]]) -> List[Process]:
    """In the order of the pm_ids."""
    return sorted(map(parse, entries), key=lambda process: process.pm_id)
