# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Apps that do not hold, for each of which PM2 reports success."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.pm2_host import wait_for

from ansible_collections.zerodown.pm2.plugins.module_utils._client import Client
from ansible_collections.zerodown.pm2.plugins.module_utils._generation import retire
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process

App = Callable[..., dict[str, Any]]
Processes = Callable[[str], list[Process]]
newest = pytest.mark.parametrize("pm2_version", ["7"], indirect=True)


@pytest.fixture
def app(app: App) -> App:
    """Holding is asked for longer than Node needs to come to its script on a busy machine."""

    def run(options: dict[str, Any], **how: Any) -> dict[str, Any]:
        return app({"steady_time": 6, **options}, **how)

    return run


def kinds(result: dict[str, Any]) -> list[str]:
    return [action["action"] for action in result["plan"]]


@pytest.mark.parametrize("instances", [None, 2], ids=["fork", "cluster"])
@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ("boot_crash.js", "Error: boom at boot"),
        ("late_crash.js", "Error: boom late"),
        ("no_module.js", "Error: Cannot find module 'no-such-module'"),
    ],
)
def test_a_crash_is_told_with_its_cause(
    app: App, scripts: Path, script: str, cause: str, instances: int | None
) -> None:
    result = app({"name": "web", "script": str(scripts / script), "instances": instances}, fails=True)
    assert result["changed"]
    assert f"says: {cause}" in result["msg"]
    assert result["failures"][0]["cause"] == cause
    assert result["apps"][0]["status"] == "failed"
    assert kinds(result)[-1] == "create"


@newest
def test_an_app_that_ends_well_but_should_not_end(app: App, scripts: Path) -> None:
    result = app({"name": "web", "script": str(scripts / "exit_0.js")}, fails=True)
    assert "ended" in result["msg"]
    assert result["failures"][0]["log"][-1] == "worked"


@newest
def test_a_job_that_fails(app: App, scripts: Path) -> None:
    job = {"name": "job", "script": str(scripts / "exit_3.js"), "autorestart": False}
    result = app(job, fails=True)
    assert result["failures"][0]["exit_code"] == 3
    assert kinds(app(job, fails=True)) == ["start"]


@newest
def test_an_app_without_end_of_crashes_is_seen_without_a_change(app: App, scripts: Path, processes: Processes) -> None:
    broken = {"name": "web", "script": str(scripts / "late_crash.js"), "min_uptime": 100}
    app(broken, fails=True)
    wait_for(lambda: any(map(Process.is_running, processes("web"))), "it is not in its crash loop")
    result = app(broken, fails=True)
    assert "boom late" in result["msg"]


@pytest.mark.parametrize("instances", [1, 2])
def test_a_worker_that_dies_before_it_is_online(app: App, scripts: Path, instances: int) -> None:
    """PM2 5 and 6 never answer the call that starts it."""
    declared = {"name": "web", "script": str(scripts / "quiet.js"), "instances": instances, "start_timeout": 60}
    result = app({**declared, "node_args": "--no-such-flag"}, fails=True)
    assert "bad option: --no-such-flag" in result["msg"]
    assert app(declared)["apps"][0]["instances"] == instances


def test_never_ready(app: App, scripts: Path, processes: Processes) -> None:
    declared = {"name": "web", "wait_ready": True, "listen_timeout": "1s", "instances": 2}
    result = app({**declared, "script": str(scripts / "quiet.js")}, fails=True)
    assert "did not send 'ready' within its listen_timeout of 1000 ms" in result["msg"]
    assert len(result["failures"]) == 2
    app({**declared, "script": str(scripts / "ready.js"), "listen_timeout": "10s"})
    assert all(process.is_running() for process in processes("web"))


def test_a_port_for_two_in_fork_mode(app: App, scripts: Path, free_port: Callable[[], int]) -> None:
    declared = {"name": "web", "script": str(scripts / "server.js"), "port": free_port(), "instances": 2}
    result = app({**declared, "exec_mode": "fork"}, fails=True)
    assert "EADDRINUSE" in result["msg"]
    # which of the two comes first is chance
    assert len(result["failures"]) == 1


@newest
def test_the_others_of_a_list_are_told_apart(app: App, scripts: Path, processes: Processes) -> None:
    good = {"name": "good", "script": str(scripts / "quiet.sh")}
    app(good)
    before = processes("good")[0].pid
    result = app({"apps": [good, {"name": "bad", "script": str(scripts / "boot_crash.js")}]}, fails=True)
    assert [(item["name"], item["status"]) for item in result["apps"]] == [("good", "online"), ("bad", "failed")]
    assert "still running as before: process 0 of app good" in result["msg"]
    assert processes("good")[0].pid == before


@newest
def test_secrets_of_a_log_are_not_returned(app: App, scripts: Path) -> None:
    leaking = {
        "name": "web",
        "script": str(scripts / "leak.js"),
        "env": {"DB_PASSWORD": "hunter2-hunter2", "PORT": 3000},
    }
    result = app(leaking, fails=True)
    assert "cannot log in with ********" in result["msg"]
    # the old value is a secret too when a new one is declared
    leaking["env"] = {"DB_PASSWORD": "another-one-of-them", "PORT": 3000}
    result = app(leaking, fails=True)
    text = json.dumps(result)
    assert "hunter2" not in text
    assert "another-one" not in text
    assert "env.DB_PASSWORD: <hidden, changed>" in result["diff"]["after"]
    assert result["invocation"]["module_args"]["env"] == {"DB_PASSWORD": "<hidden>", "PORT": "<hidden>"}


@newest
def test_only_lines_since_the_change_are_returned(app: App, scripts: Path, pm2_home: Path) -> None:
    declared = {"name": "web", "script": str(scripts / "quiet.sh"), "env": {"A": "1"}}
    app(declared)
    (pm2_home / "logs" / "web-error.log").write_text("Error: from last week\n")
    result = app({**declared, "script": str(scripts / "boot_crash.js")}, fails=True)
    assert "last week" not in json.dumps(result)
    assert "boom at boot" in result["msg"]


@newest
def test_a_program_that_vanished(app: App, scripts: Path, daemon: Rpc) -> None:
    """PM2 says online, without a pid, when the program cannot be run; the reason is in the daemon's log only."""
    assert daemon.is_alive()
    program = scripts / "program"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    result = app({"name": "web", "script": str(program), "interpreter": "none", "start_timeout": 4}, fails=True)
    assert "has no pid: PM2 could not start it" in result["msg"]
    assert "ENOENT" in json.dumps(result["failures"])


@newest
def test_what_crashes_again_and_again_is_removed_for_good(daemon: Rpc, pm2_home: Path) -> None:
    """PM2 may be starting it anew in the very moment in which it is deleted, and then it enters the list again."""
    client = Client(Home(str(pm2_home)), lambda: pytest.fail("the command line is not needed"), print)
    entry: dict[str, Any] = {
        "namespace": "default",
        "pm_exec_path": shutil.which("false"),
        "pm_cwd": "/",
        "exec_mode": "fork_mode",
        "exec_interpreter": "none",
        "autorestart": True,
        "min_uptime": 1,
        "max_restarts": 1000000,
        "vizion": False,
        "env": {},
        "node_args": [],
        "args": [],
    }
    for turn in range(10):
        for number in range(10):
            name = f"loop{turn}-{number}"
            files = {f"pm_{kind}_path": str(pm2_home / f"{name}.{kind}") for kind in ("out_log", "err_log", "pid")}
            daemon.prepare({**entry, **files, "name": name}, 30)
        retire(client, client.processes(), drain_timeout=0.0)
    assert client.processes() == []
    time.sleep(1.0)
    assert client.processes() == []
