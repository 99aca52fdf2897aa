# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Generations of one app with the preload of the gate under a real PM2, started and opened one step at a time."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.zerodown.pm2.plugins.module_utils._gate_control import NotThere, Status, Worker
from ansible_collections.zerodown.pm2.plugins.module_utils._gate_script import install
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from support.pm2_host import find_free_port, wait_for

TIMEOUT = 20.0


class Site:
    """One app. Its port is ``port``, which it finds in ``PORT``."""

    def __init__(self, home: Path, rpc: Rpc, scripts: Path) -> None:
        self.home = Home(str(home))
        self.rpc = rpc
        self.scripts = scripts
        self.port = find_free_port()
        self.kill_timeout = 8000
        self.preload = install(self.home)

    def start(
        self,
        source: str,
        generation: str = "one",
        instances: int = 1,
        mode: str = "cluster",
        held: bool = False,
        file: str = "app.js",
        gated: bool = True,
        env: dict[str, str] | None = None,
        **fields: Any,
    ) -> None:
        """Start the processes of a generation and wait until they listen, unless there is no gate to ask."""
        script = self.scripts / generation / file
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(source, encoding="utf-8")
        if held:
            self.mark(generation).touch()
        definition: dict[str, Any] = {
            "name": "site",
            "pm_exec_path": str(script),
            "pm_cwd": str(script.parent),
            "exec_mode": f"{mode}_mode",
            "exec_interpreter": "node",
            "node_args": ["-r", self.preload] if gated else [],
            "args": [],
            "env": {
                "PATH": os.environ["PATH"],
                "PORT": str(self.port),
                "PM2_HOME": self.home.path,
                "HOME": self.home.path,
                **(env or {}),
            },
            "pm_out_log_path": str(self.log(generation)),
            "pm_err_log_path": str(self.log(generation)),
            "pm_pid_path": os.path.join(self.home.pids, "site.pid"),
            "merge_logs": True,
            "kill_timeout": self.kill_timeout,
            "autorestart": True,
            "autostart": True,
            "treekill": True,
            "vizion": False,
            "namespace": "default",
            "username": "tester",
            **({"zerodown_generation": generation, "zerodown_gate": self.home.gate} if gated else {}),
            **fields,
        }
        for number in range(instances):
            self.rpc.prepare({**definition, "env": {**definition["env"], "NODE_APP_INSTANCE": str(number)}}, TIMEOUT)
        if gated:
            self.wait_until_listening(generation)

    def mark(self, generation: str) -> Path:
        return Path(self.home.gate, f"{generation}.held")

    def log(self, generation: str) -> Path:
        return Path(self.home.logs, f"{generation}.log")

    def processes(self, generation: str) -> list[dict[str, Any]]:
        marked = (
            process for process in self.rpc.processes() if process["pm2_env"].get("zerodown_generation") == generation
        )
        return sorted(marked, key=lambda process: int(process["pm_id"]))

    def pids(self, generation: str = "one") -> list[int]:
        return [process["pid"] for process in self.processes(generation)]

    def workers(self, generation: str = "one") -> list[Worker]:
        return [Worker(self.home, pid) for pid in self.pids(generation)]

    def status(self, generation: str = "one") -> list[Status]:
        return [worker.status(TIMEOUT) for worker in self.workers(generation)]

    def wait_until_listening(self, generation: str = "one") -> None:
        def listening() -> bool:
            with contextlib.suppress(NotThere):
                states = self.status(generation)
                return bool(states) and all(
                    state.servers and (state.state != "open" or all(server.open for server in state.servers))
                    for state in states
                )
            return False

        wait_for(listening, f"{generation} does not listen: {self.read_log(generation)}")

    def read_log(self, generation: str = "one") -> str:
        path = self.log(generation)
        return path.read_text() if path.exists() else ""

    def open(self, generation: str = "one") -> list[Status]:
        self.mark(generation).unlink(missing_ok=True)
        return [worker.open(TIMEOUT) for worker in self.workers(generation)]

    def retire(self, generation: str = "one") -> None:
        for worker in self.workers(generation):
            assert worker.drain(TIMEOUT).connections == 0
        for process in self.processes(generation):
            self.rpc.delete(process["pm_id"], TIMEOUT)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)


@contextlib.contextmanager
def client(where: int | str) -> Iterator[http.client.HTTPConnection]:
    """A connection to a port of 127.0.0.1 or to a unix socket; HTTP keep-alive unless the server says otherwise."""
    connection = (
        _UnixConnection(where)
        if isinstance(where, str)
        else http.client.HTTPConnection("127.0.0.1", where, timeout=TIMEOUT)
    )
    with contextlib.closing(connection):
        yield connection


def get(where: int | str, path: str = "/") -> str:
    with client(where) as connection:
        connection.request("GET", path)
        return connection.getresponse().read().decode()


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT).close()
    except ConnectionRefusedError:
        return True
    return False
