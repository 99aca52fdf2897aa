# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module ``daemon`` against real daemons that no unit manages: started, stopped, replaced by another version."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from support.pm2_host import is_alive, pm2_package, wait_for
from support.run_module import run_module

from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process, parse_all

# ends after a while, as an app with open requests does, and says so
SLOW_TO_END = """
process.on('SIGINT', () => setTimeout(() => {
  require('fs').writeFileSync(process.env.FAREWELL, 'done'); process.exit(0)
}, 500))
setInterval(() => {}, 1000)
require('fs').writeFileSync(process.env.READY, '')
"""


def executable(version: str) -> str:
    return str(pm2_package(version) / "bin" / "pm2")


def daemon_module(home: Path, version: str, **arguments: Any) -> dict[str, Any]:
    return run_module("daemon", pm2_home=str(home), pm2_executable=executable(version), **arguments)


def start_app(home: Path, directory: Path, name: str, **more: Any) -> None:
    """Waits until it has its handler: before, SIGINT would end it at once."""
    script, ready = directory / f"{name}.js", directory / f"{name}.ready"
    script.write_text(SLOW_TO_END)
    Rpc(str(home / "rpc.sock")).prepare(
        {
            "name": name,
            "namespace": "default",
            "pm_exec_path": str(script),
            "pm_cwd": str(directory),
            "exec_mode": "fork_mode",
            "args": [],
            "node_args": [],
            "env": {
                "PATH": os.environ["PATH"],
                "FAREWELL": str(directory / f"{name}.farewell"),
                "READY": str(ready),
            },
            "pm_out_log_path": str(home / "logs" / f"{name}-out.log"),
            "pm_err_log_path": str(home / "logs" / f"{name}-error.log"),
            "pm_pid_path": str(home / "pids" / f"{name}.pid"),
            "kill_timeout": 5000,
            "autorestart": True,
            "autostart": True,
            "vizion": False,
            "instance_var": "NODE_APP_INSTANCE",
            **more,
        },
        30,
    )
    wait_for(ready.exists, f"{name} does not come to its script")


def processes(home: Path) -> list[Process]:
    return parse_all(Rpc(str(home / "rpc.sock")).processes())


def test_running_and_stopped(pm2_home: Path, pm2_version: str, tmp_path: Path) -> None:
    assert daemon_module(pm2_home, pm2_version, state="stopped")["changed"] is False
    predicted = daemon_module(pm2_home, pm2_version, check=True)
    assert predicted["changed"] is True
    assert list(pm2_home.iterdir()) == []

    started = daemon_module(pm2_home, pm2_version)
    assert (started["changed"], started["running"], started["unit"]) == (True, True, "")
    assert started["version"] == predicted["version"] == started["installed_version"]
    again = daemon_module(pm2_home, pm2_version)
    assert (again["changed"], again["pid"]) == (False, started["pid"])

    start_app(pm2_home, tmp_path, "one")
    (app,) = processes(pm2_home)
    assert daemon_module(pm2_home, pm2_version, state="stopped", check=True)["changed"] is True
    assert is_alive(started["pid"])
    stopped = daemon_module(pm2_home, pm2_version, state="stopped")
    assert (stopped["changed"], stopped["running"]) == (True, False)
    assert "warnings" not in stopped
    assert not is_alive(started["pid"])
    assert not is_alive(app.pid or 0)
    assert (tmp_path / "one.farewell").exists(), "it got the time to end that it was promised"

    # stopping saved the list
    back = run_module("dump", pm2_home=str(pm2_home), pm2_executable=executable(pm2_version), state="resurrected")
    assert back["started"] == ["one"]


@pytest.mark.parametrize("old", ["5", "6"])
def test_updated_brings_every_app_back_on_the_new_version(old: str, pm2_home: Path, tmp_path: Path) -> None:
    first = daemon_module(pm2_home, old)
    start_app(pm2_home, tmp_path, "fork")
    start_app(pm2_home, tmp_path, "cluster", exec_mode="cluster_mode", instances=2)
    start_app(pm2_home, tmp_path, "halted")
    Rpc(str(pm2_home / "rpc.sock")).stop(3, 30)
    before = {process.pid for process in processes(pm2_home)}

    mismatch = daemon_module(pm2_home, "7")
    assert mismatch["changed"] is False
    assert "use state: updated" in str(mismatch["warnings"])
    assert mismatch["version"] == first["version"] != mismatch["installed_version"]
    assert daemon_module(pm2_home, "7", state="updated", check=True)["changed"] is True
    assert {process.pid for process in processes(pm2_home)} == before

    start = time.monotonic()
    updated = daemon_module(pm2_home, "7", state="updated")

    assert updated["changed"] is True
    assert updated["version"] == updated["installed_version"] == mismatch["installed_version"]
    assert 0 < updated["outage"] < time.monotonic() - start
    after = processes(pm2_home)
    assert [(process.name, process.status) for process in after] == [
        ("fork", "online"),
        ("cluster", "online"),
        ("cluster", "online"),
        ("halted", "stopped"),
    ]
    assert not {process.pid for process in after if process.pid} & before
    assert daemon_module(pm2_home, "7", state="updated")["changed"] is False


def test_an_app_that_does_not_end_is_killed_in_time_and_told(pm2_home: Path, tmp_path: Path) -> None:
    daemon_module(pm2_home, "7")
    start_app(pm2_home, tmp_path, "stubborn", kill_timeout=3600000)
    script = tmp_path / "stubborn.js"
    ready = str(tmp_path / "ready")
    script.write_text(
        f"process.on('SIGINT', () => {{}}); setInterval(() => {{}}, 1000); require('fs').writeFileSync({ready!r}, '')"
    )
    rpc = Rpc(str(pm2_home / "rpc.sock"))
    rpc.signal(0, "SIGKILL")
    wait_for(lambda: processes(pm2_home)[0].restarts == 1 and processes(pm2_home)[0].is_running(), "not restarted")
    # until it has its handler, SIGINT would end it
    wait_for((tmp_path / "ready").exists, "not ready")
    pid = processes(pm2_home)[0].pid

    stopped = daemon_module(pm2_home, "7", state="stopped", options={"timeout": 4})

    assert "stubborn" in str(stopped["warnings"])
    assert not is_alive(pid or 0)
    assert not rpc.is_alive()


def test_bad_input(pm2_home: Path, tmp_path: Path) -> None:
    missing = run_module("daemon", pm2_home=str(pm2_home), pm2_executable=str(tmp_path / "pm2"), fails=True)
    assert "PM2 was not found" in missing["msg"]
    relative = run_module("daemon", pm2_home="relative/home", fails=True)
    assert "pm2_home" in relative["msg"] or "belongs" in relative["msg"]
    bare = run_module("daemon", pm2_home=str(pm2_home), pm2_executable=str(tmp_path / "pm2"), check=True)
    assert bare["changed"] is True
    assert list(pm2_home.iterdir()) == []
