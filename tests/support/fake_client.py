# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A process list without a daemon, for decisions that only need one. What PM2 does is shown on real daemons."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ansible_collections.zerodown.pm2.plugins.module_utils._client import Client
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process, parse


class FakeClient(Client):
    """
    :ivar list: its processes.
    :ivar run: makes the process of a definition; its pid.
    :ivar calls: what was done: prepare with the number of the instance, delete with the pm_id.
    :ivar before_answer: called before each answer with the list.
    """

    def __init__(self, home: Home, *processes: Process) -> None:
        self.home = home
        self.list = list(processes)
        self.run: Callable[[dict[str, Any]], int] = lambda _definition: os.getpid()
        self.calls: list[tuple[str, Any]] = []
        self.before_answer: Callable[[], None] = lambda: None

    def version(self) -> str:
        return "6.0.0"

    def processes(self) -> list[Process]:
        self.before_answer()
        return list(self.list)

    def everything(self) -> list[Process]:
        return self.processes()

    def prepare(self, definition: dict[str, Any], timeout: float) -> None:  # noqa: ARG002 - the real one's
        self.calls.append(("prepare", definition.get("NODE_APP_INSTANCE")))
        pm_id = max((item.pm_id for item in self.list), default=-1) + 1
        stopped = definition.get("status") == "stopped"
        env = {**definition, "status": "stopped" if stopped else "online"}
        pid = None if stopped else self.run(definition)
        self.list.append(parse({"pm_id": pm_id, "pid": pid, "pm2_env": env}))

    def delete(self, pm_id: int, timeout: float) -> None:  # noqa: ARG002 - the real one's
        self.calls.append(("delete", pm_id))
        self.list = [item for item in self.list if item.pm_id != pm_id]

    def change(self, pm_id: int, **changes: Any) -> None:
        self.list = [replace(item, **changes) if item.pm_id == pm_id else item for item in self.list]
