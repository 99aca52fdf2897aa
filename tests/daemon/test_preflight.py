# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module preflight: what it sees of a host, with real daemons that hold ports."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.pm2_host import wait_for
from support.run_module import run_module

from ansible_collections.zerodown.pm2.plugins.module_utils._ports import listeners
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc

App = Callable[..., dict[str, Any]]
Look = Callable[..., dict[str, Any]]
newest = pytest.mark.parametrize("pm2_version", ["7"], indirect=True)


@pytest.fixture
def look(tmp_path: Path, pm2_home: Path, pm2_executable: str) -> Look:
    """The module, for an app that is not there yet."""

    def run(fails: bool = False, check: bool = False, **options: Any) -> dict[str, Any]:
        place = {"path": str(tmp_path / "srv/shop"), "pm2_home": str(pm2_home), "pm2_executable": pm2_executable}
        before = sorted(tmp_path.rglob("*"))
        result = run_module("preflight", fails=fails, check=check, options={**place, "disk": 1, **options})
        assert not result["changed"]
        assert sorted(tmp_path.rglob("*")) == before
        return result

    return run


def serve(app: App, scripts: Path, name: str, port: int, **options: Any) -> None:
    """Until it listens."""
    app({"name": name, "script": str(scripts / "server.js"), "env": {"PORT": port}, **options})
    wait_for(lambda: bool(listeners(port)), f"{name} does not listen")


@newest
def test_a_host_that_has_nothing(look: Look, pm2_home: Path) -> None:
    begun = time.time()
    result = look(
        pm2_home=str(pm2_home / "none"),
        runtime={"node": ">=18", "python": ">=3"},
        env_required=["PORT", "DEBUG"],
        env={"PORT": 3000, "DEBUG": False},
        clock=begun,
        memory=1,
        ports=[],
    )
    assert result["faults"] == []
    assert result["disk_free"] > 0
    assert result["inodes_free"] is None or result["inodes_free"] > 0
    assert result["memory_available"] > 0
    assert (result["pm2"][0], result["pm2_daemon"]) == ("7", None)
    assert result["node"] == subprocess.check_output(["node", "--version"], text=True).strip().lstrip("v")
    assert result["python"].startswith("3.")
    assert 0 <= result["clock_difference"] < 30
    assert not (pm2_home / "none").exists()


@newest
def test_everything_that_is_wrong_is_told_at_once(look: Look, free_port: Callable[[], int]) -> None:
    port, silent = free_port(), free_port()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        result = look(
            fails=True,
            disk=10**9,
            inodes=10**15,
            memory=10**9,
            ports=[port],
            runtime={"node": "<10", "python": "2.7"},
            linked_files=["config.json", "../x"],
            env_required=["DATABASE_URL", "TOKEN", "PORT"],
            env={"TOKEN": "", "PORT": 3000},
            clock=time.time() + 100,
            reach=[f"127.0.0.1:{silent}"],
        )
    faults = result["faults"]
    assert result["msg"] == " ".join(faults)
    for expected in [
        "node is version",
        "and 2.7 is needed",
        "config.json is missing",
        "'../x' must be a plain path",
        "and 1000000000 are needed; free some",
        "and 1000000000000000 are needed; remove some",
        "MiB of memory are available",
        f"Port {port} is taken by process {os.getpid()} (",
        "The variable DATABASE_URL is not declared",
        "The variable TOKEN is empty",
        "s behind that of the controller",
        f"127.0.0.1:{silent} cannot be reached from here: connection refused",
    ]:
        assert [fault for fault in faults if expected in fault] != [], expected
    assert "PORT" not in result["msg"]
    # it was measured all the same
    assert result["disk_free"] > 0
    assert result["ports"] == [{"port": port, "state": "taken"}]
    assert result["reach"] == [{"address": f"127.0.0.1:{silent}", "milliseconds": None}]


@newest
def test_what_an_earlier_task_may_bring_is_a_warning_in_check_mode(look: Look, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "pm2_executable": str(tmp_path / "pm2"),
        "python_executable": str(tmp_path / "python"),
        "runtime": {"node": "<10", "python": "3"},
        "linked_files": ["config.json"],
    }
    warned = look(check=True, **options)
    assert len(warned["warnings"]) == 4
    failed = look(fails=True, **options)
    assert len(failed["faults"]) == 4
    assert [text for text in failed["faults"] if json.dumps(text)[1:-1] not in json.dumps(warned["warnings"])] == []
    assert (failed["pm2"], failed["python"]) == (None, None)
    assert "env" in look(check=True, fails=True, env_required=["A"])["msg"]
    # an app that is not run by PM2's own daemon here
    assert look(pm2=False, pm2_executable=str(tmp_path / "pm2"))["pm2"] is None


def test_ports_of_the_app_itself(app: App, look: Look, scripts: Path, free_port: Callable[[], int]) -> None:
    """In cluster mode PM2's daemon holds them, for all its apps."""
    web, other, fork, free = (free_port() for _ in range(4))
    serve(app, scripts, "web", web, instances=2)
    serve(app, scripts, "other", other, instances=1)
    serve(app, scripts, "single", fork, exec_mode="fork")
    result = look(ports=[web, fork, free], names=["web", "single"])
    assert [item["state"] for item in result["ports"]] == ["own", "own", "free"]
    assert result["pm2_daemon"] == result["pm2"]

    failed = look(fails=True, ports=[web, other, fork], names=["web"])
    assert [item["state"] for item in failed["ports"]] == ["own", "taken", "taken"]
    cluster, single = failed["faults"]
    assert f"Port {other} is taken by process " in cluster
    assert "of the app other; stop that" in cluster
    assert f"Port {fork} is taken by process " in single
    assert ") of the app single; stop that" in single
    assert look(fails=True, ports=[web])["ports"] == [{"port": web, "state": "taken"}]


@newest
def test_the_port_of_a_child(app: App, look: Look, tmp_path: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    script = tmp_path / "parent.sh"
    listen = f"import socket, time; s = socket.socket(); s.bind(('', {port})); s.listen(); time.sleep(1000)"
    script.write_text(f'#!/bin/sh\n{sys.executable} -c "{listen}"\ntrue\n')
    script.chmod(0o755)
    app({"name": "parent", "script": str(script)})
    wait_for(lambda: bool(listeners(port)), "it does not listen")
    assert look(ports=[port], names=["parent"])["ports"] == [{"port": port, "state": "own"}]
    assert "of the app parent" in look(fails=True, ports=[port])["msg"]


@newest
def test_a_daemon_of_another_version(look: Look, daemon: Rpc, pm2_executable: str) -> None:
    other = pm2_executable.replace("/pm2/7/", "/pm2/5/")
    result = look(fails=True, pm2_executable=other)
    assert result["msg"].endswith(
        "bring the daemon to it with zerodown.pm2.daemon (state updated), or set pm2_executable."
    )
    assert result["pm2_daemon"] == daemon.version()


@newest
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_as_a_user_who_may_not(look: Look, tmp_path: Path, pm2_home: Path) -> None:
    """The collection itself lies where that user may not read, so only the rights of the files are somebody else's."""
    os.chown(pm2_home, 12345, 12345)
    assert "belongs to user 12345" in look(fails=True)["msg"]
    os.chown(pm2_home, 0, 0)
    (tmp_path / "srv").write_text("")
    assert f"{tmp_path}/srv is not a directory" in look(fails=True)["msg"]


@newest
def test_nothing_secret_is_shown(look: Look, free_port: Callable[[], int]) -> None:
    port = free_port()
    result = look(
        fails=True,
        env_required=["EMPTY"],
        env={"TOKEN": "s3cret-s3cret", "GREETING": "hello-hello"},
        reach=[f"postgres://shop:s3cret-s3cret@127.0.0.1:{port}/shop"],
    )
    assert f"127.0.0.1:{port} cannot be reached" in result["msg"]
    assert "s3cret-s3cret" not in json.dumps(result)
    assert "hello-hello" not in json.dumps(result)


@newest
def test_what_can_be_reached(look: Look) -> None:
    with socket.socket(socket.AF_INET6) as listener:
        listener.bind(("::1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        (reached,) = look(reach=[f"[::1]:{port}"])["reach"]
    assert reached["address"] == f"[::1]:{port}"
    assert reached["milliseconds"] > 0


@newest
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "srv"}, "must be the absolute path"),
        ({"disk": -1}, "disk must be 0 or more"),
        ({"ports": [70000]}, "ports must be from 1 to 65535, not 70000"),
        ({"runtime": {"node": "20.x"}}, "runtime.node is '20.x'; write a version such as 20"),
        ({"reach": ["db"]}, "'db' in reach is no address"),
        ({"reach_timeout": 0}, "reach_timeout must be"),
    ],
)
def test_what_is_refused(look: Look, options: dict[str, Any], message: str) -> None:
    result = look(fails=True, **options)
    assert message in result["msg"]
    assert "faults" not in result
