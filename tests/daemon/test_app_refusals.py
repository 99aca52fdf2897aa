# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bad input: one sentence with its remedy, and the host as it was."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.pm2_host import pm2_package, start_daemon, wait_for
from support.run_module import run_module

from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process

App = Callable[..., dict[str, Any]]
Processes = Callable[[str], list[Process]]
pytestmark = pytest.mark.parametrize("pm2_version", ["7"], indirect=True)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "a b", "script": "{dir}/quiet.sh"}, "must be made of letters"),
        ({"name": "web; rm -rf /", "script": "{dir}/quiet.sh"}, "must be made of letters"),
        ({"name": "$(id)", "script": "{dir}/quiet.sh"}, "must be made of letters"),
        ({"name": "../web", "script": "{dir}/quiet.sh"}, "must be made of letters"),
        ({"name": "all", "script": "{dir}/quiet.sh"}, "must be made of letters"),
        ({"name": "7", "script": "{dir}/quiet.sh"}, "must be made of letters"),
        ({"name": "web", "max_memory_restart": "300M"}, "needs script beside max_memory_restart"),
        ({"name": "web", "script": "{dir}/none.js"}, "the script {dir}/none.js does not exist; deploy it first"),
        ({"name": "web", "script": "{dir}"}, "is a directory; name the file to run"),
        ({"name": "web", "script": "none.js"}, "cwd is needed"),
        ({"name": "web", "script": "no-such-command", "cwd": "{dir}"}, "and is no command on its PATH"),
        ({"name": "web", "script": "quiet.sh", "cwd": "{dir}/none"}, "the directory cwd {dir}/none does not exist"),
        ({"name": "web", "script": "quiet.sh", "cwd": "relative"}, "cwd must be an absolute path"),
        ({"name": "web", "script": "{dir}/quiet.sh", "interpreter": "nosuch"}, "the interpreter nosuch was not found"),
        ({"name": "web", "script": "{dir}/quiet.js", "interpreter": "node@20"}, "is for nvm in a shell"),
        ({"name": "web", "script": "{dir}/loop.py", "exec_mode": "cluster"}, "cluster is for Node only"),
        ({"name": "web", "script": "{dir}/quiet.js", "instances": "many"}, "instances must be a whole number or 'max'"),
        ({"name": "web", "script": "{dir}/quiet.js", "max_memory_restart": "300MB"}, "such as 300M, not '300MB'"),
        ({"name": "web", "script": "{dir}/quiet.js", "kill_timeout": "-1"}, "kill_timeout must be a time"),
        ({"name": "web", "script": "{dir}/quiet.js", "cron_restart": "61 * * * *"}, "'61' is no minute"),
        ({"name": "web", "script": "{dir}/quiet.js", "cron_restart": "every day"}, "five fields"),
        ({"name": "web", "script": "{dir}/quiet.js", "env": {"name": "x"}}, "has the name of an option of PM2"),
        ({"name": "web", "script": "{dir}/quiet.js", "env": {"pm_id": "1"}}, "has the name of an option of PM2"),
        ({"name": "web", "script": "{dir}/quiet.js", "env": {"A=B": "1"}}, "cannot be the name of a variable"),
        ({"name": "web", "script": "{dir}/quiet.js", "env": {"A": None}}, "the variable A in env has no value"),
        ({"name": "web", "script": "{dir}/quiet.js", "env": {"A": "1\0"}}, "holds a NUL byte"),
        ({"name": "web", "script": "{dir}/quiet.js", "port": 70000}, "port must be from 1 to 65535"),
        ({"name": "web", "script": "{dir}/quiet.js", "port": 1, "env": {"PORT": 2}}, "port and env.PORT differ"),
        (
            {"name": "web", "script": "{dir}/quiet.js", "time": True, "log_date_format": "x"},
            "time sets log_date_format",
        ),
        ({"name": "web", "script": "{dir}/quiet.js", "trace": True, "disable_trace": True}, "contradict each other"),
        ({"name": "web", "script": "{dir}/quiet.js", "trace": True}, "trace needs the OpenTelemetry packages"),
        ({"name": "web", "script": "{dir}/quiet.js", "disable_trace": False}, "trace needs the OpenTelemetry packages"),
        ({"name": "web", "script": "{dir}/quiet.js", "autostart": False}, "PM2 never starts it"),
        ({"name": "web", "script": "{dir}/quiet.js", "namespace": "null"}, "PM2 takes for 'none'"),
        ({"name": "web", "script": "{dir}/quiet.js", "gid": "root"}, "gid needs uid"),
        ({"name": "web", "script": "{dir}/quiet.js", "script_typo": 1}, "Unsupported parameters"),
        ({"name": "web", "script": "{dir}/quiet.js", "exec_mode": "clustered"}, "value of exec_mode must be one of"),
        ({"name": "web", "apps": []}, "mutually exclusive"),
        ({"apps": [{"script": "{dir}/quiet.js"}, {"name": "quiet"}]}, "App quiet is declared 2 times"),
        ({"apps": [{"state": "absent"}]}, "An app needs a name"),
        ({"name": "web", "script": "sleep 1 && true", "cwd": "{dir}", "args": "x"}, "write them into the line"),
        ({"name": "web", "script": "{dir}/app.ts"}, "needs bun, or an interpreter"),
        ({"name": "web", "script": "{dir}/quiet.js", "pm2_home": "relative"}, "pm2_home must be an absolute path"),
        ({"name": "web", "script": "{dir}/quiet.js", "pm2_executable": "/no/pm2"}, "PM2 was not found at /no/pm2"),
        ({"name": "web", "script": "{dir}/quiet.js", "out_file": "{dir}/quiet.sh/x.log"}, "logs cannot be written to"),
    ],
)
def test_bad_input_is_refused(app: App, scripts: Path, pm2_home: Path, options: dict[str, Any], message: str) -> None:
    (scripts / "app.ts").write_text("")

    def filled(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("{dir}", str(scripts))
        if isinstance(value, dict):
            return {key: filled(item) for key, item in value.items()}
        return [filled(item) for item in value] if isinstance(value, list) else value

    result = app(filled(options), fails=True)
    assert filled(message) in result["msg"]
    assert not result.get("changed")
    # nothing was started or written
    assert list(pm2_home.iterdir()) == []


def test_in_check_mode_what_an_earlier_task_may_create_is_a_warning(app: App, scripts: Path, pm2_home: Path) -> None:
    result = app(
        {"name": "web", "script": "main.py", "cwd": str(scripts / "later"), "interpreter": "python99"}, check=True
    )
    assert [action["action"] for action in result["plan"]] == ["start_daemon", "create"]
    warnings = json.dumps(result["warnings"])
    for text in ("later does not exist", "main.py does not exist", "python99 was not found"):
        assert text in warnings
    without_pm2 = app({"name": "web", "script": str(scripts / "quiet.sh"), "pm2_executable": "/no/pm2"}, check=True)
    assert "PM2 was not found at /no/pm2" in json.dumps(without_pm2["warnings"])
    assert list(pm2_home.iterdir()) == []


def test_a_port_that_somebody_else_has(
    app: App, scripts: Path, processes: Processes, free_port: Callable[[], int]
) -> None:
    port = free_port()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        declared = {"name": "web", "script": str(scripts / "server.js"), "port": port}
        message = app(declared, fails=True)["msg"]
        assert f"port {port} is taken by process {os.getpid()} (" in message
        assert message in json.dumps(app(declared, check=True)["warnings"])
    app(declared)
    wait_for(lambda: listens(port), "the app does not listen")
    # what is not in the daemon's own hands is not for another app's workers
    cluster = {"name": "other", "script": str(scripts / "server.js"), "port": port, "instances": 1}
    assert f"port {port} is taken by process" in app(cluster, fails=True)["msg"]
    # its own port is not taken, neither for a restart nor in another mode
    app({**declared, "state": "restarted"})
    app({**declared, "instances": 2})
    app({**declared, "instances": 1, "env": {"A": "1"}})
    # PM2 calls a process online before its script has come to listen
    wait_for(lambda: listens(port), "the app does not listen")
    other = {"name": "other", "script": str(scripts / "server.js"), "env": {"PORT": port}}
    assert f"port {port} is taken by process" in app(other, fails=True)["msg"]
    assert processes("other") == []


def test_two_versions_of_pm2(app: App, scripts: Path, pm2_home: Path, processes: Processes) -> None:
    start_daemon(pm2_home, pm2_package("6"))
    declared = {"name": "web", "script": str(scripts / "quiet.sh")}
    with_six = {**declared, "pm2_executable": str(pm2_package("6") / "bin" / "pm2")}
    app(with_six)
    before = processes("web")[0].pid
    result = app({**declared, "state": "restarted"}, fails=True)
    assert "runs version 6." in result["msg"]
    assert "zerodown.pm2.daemon (state updated)" in result["msg"]
    assert processes("web")[0].pid == before
    assert app(declared)["plan"] == []
    assert [action["action"] for action in app({"name": "web", "state": "absent"})["plan"]] == ["delete"]


def test_another_node_in_cluster_mode(app: App, scripts: Path) -> None:
    node = scripts / "node"
    shutil.copy(os.path.realpath(str(shutil.which("node"))), node)
    declared = {"name": "web", "script": str(scripts / "quiet.js"), "interpreter": str(node)}
    assert "in cluster mode it runs with the daemon's" in app({**declared, "instances": 1}, fails=True)["msg"]
    app(declared)
    assert "in cluster mode it runs with the daemon's" in app({**declared, "instances": 1}, fails=True)["msg"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to somebody else")
def test_a_home_of_somebody_else(app: App, scripts: Path, pm2_home: Path) -> None:
    os.chown(pm2_home, 65534, 65534)
    assert "belongs to user nobody" in app({"name": "web", "script": str(scripts / "quiet.sh")}, fails=True)["msg"]
    assert list(pm2_home.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run the module as somebody else")
def test_the_uid_is_for_root(pm2_home: Path, pm2_executable: str) -> None:
    os.chown(pm2_home, 65534, 65534)
    result = run_module(
        "app",
        prefix=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
        options={
            "name": "web",
            "script": "/bin/sh",
            "uid": "root",
            "pm2_home": str(pm2_home),
            "pm2_executable": pm2_executable,
        },
        fails=True,
    )
    assert "uid can only be set by a daemon of root" in result["msg"]
