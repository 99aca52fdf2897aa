# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module ``dump`` against real daemons: what is saved comes back, by us and by ``pm2 resurrect``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from stat import S_IMODE
from typing import Any

import pytest
from support.pm2_host import end_daemon, environment_of, wait_for
from support.run_module import run_module

from ansible_collections.zerodown.pm2.plugins.module_utils._environment import base_environment
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process, parse_all

APP = "require('http').createServer((q, r) => r.end(process.env.GREETING)).listen(process.env.PORT)\n"
NOT_LISTENING = "setInterval(() => {}, 1000)\n"


def definition(home: Path, name: str, script: Path, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": "default",
        "pm_exec_path": str(script),
        "pm_cwd": str(script.parent),
        "exec_mode": "fork_mode",
        "exec_interpreter": "node",
        "args": [],
        "node_args": [],
        "env": {"PATH": os.environ["PATH"]},
        "pm_out_log_path": str(home / "logs" / f"{name}-out.log"),
        "pm_err_log_path": str(home / "logs" / f"{name}-error.log"),
        "pm_pid_path": str(home / "pids" / f"{name}.pid"),
        "merge_logs": False,
        "autorestart": True,
        "autostart": True,
        "vizion": False,
        "instance_var": "NODE_APP_INSTANCE",
        "windowsHide": True,
        **more,
    }


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "app.js"
    path.write_text(NOT_LISTENING)
    return path


@pytest.fixture
def dump(pm2_home: Path, pm2_executable: str) -> Callable[..., dict[str, Any]]:
    def call(**arguments: Any) -> dict[str, Any]:
        return run_module("dump", pm2_home=str(pm2_home), pm2_executable=pm2_executable, **arguments)

    return call


def pm2(executable: str, home: Path, *arguments: str) -> None:
    environment = {**base_environment(os.environ["PATH"].split(":")), "PM2_HOME": str(home), "PM2_DISCRETE_MODE": "1"}
    subprocess.run([executable, "-s", *arguments], env=environment, check=True, timeout=60, capture_output=True)


def warnings(result: dict[str, Any]) -> str:
    return json.dumps(result.get("warnings", []))


def processes(daemon: Rpc) -> list[Process]:
    return parse_all(daemon.processes())


def shape(daemon: Rpc) -> list[tuple[str, Any, bool, dict[str, str]]]:
    """What must be the same after a boot: name, instance number, whether it runs, the environment of the process."""
    result = []
    for process in processes(daemon):
        own = {}
        if process.pid:
            everything = environment_of(process.pid)
            inner = json.loads(everything["pm2_env"]) if "pm2_env" in everything else everything
            own = {key: str(inner[key]) for key in ("GREETING", "PORT", "NODE_APP_INSTANCE") if key in inner}
        result.append((process.name, process.env.get("NODE_APP_INSTANCE"), bool(process.pid), own))
    return result


@pytest.mark.parametrize("by", ["our module", "pm2 resurrect"])
def test_saved_list_comes_back(
    by: str,
    daemon: Rpc,
    dump: Callable[..., dict[str, Any]],
    pm2_home: Path,
    pm2_executable: str,
    tmp_path: Path,
    free_port: Callable[[], int],
) -> None:
    server, worker = tmp_path / "server.js", tmp_path / "worker.js"
    server.write_text(APP)
    worker.write_text(NOT_LISTENING)
    secret = "p4ss-of-the-app"
    web = {"PATH": os.environ["PATH"], "PORT": str(free_port()), "GREETING": secret, "name_of_nothing": "x"}
    daemon.prepare(definition(pm2_home, "web", server, exec_mode="cluster_mode", instances=2, env=web), 30)
    daemon.prepare(definition(pm2_home, "worker", worker, args=["--fast", "a b"]), 30)
    daemon.prepare(definition(pm2_home, "halted", worker), 30)
    daemon.stop(3, 30)
    before = shape(daemon)

    assert dump(check=True)["changed"] is True
    assert not (pm2_home / "dump.pm2").exists()
    result = dump()
    assert result["changed"] is True
    assert secret not in json.dumps(result)
    assert result["processes"] == {
        "halted": {"instances": 1, "stopped": 1},
        "web": {"instances": 2, "stopped": 0},
        "worker": {"instances": 1, "stopped": 0},
    }
    assert dump()["changed"] is False
    content = (pm2_home / "dump.pm2").read_text()
    assert S_IMODE((pm2_home / "dump.pm2").stat().st_mode) == 0o600
    assert content.count(secret) == 2, "once for each instance"

    end_daemon(pm2_home)
    if by == "our module":
        assert dump(state="resurrected", check=True)["changed"] is True
        assert not daemon.is_alive()
        result = dump(state="resurrected")
        assert sorted(result["started"]) == ["halted", "web", "web", "worker"]
        assert dump(state="resurrected")["changed"] is False
    else:
        pm2(pm2_executable, pm2_home, "resurrect")
        wait_for(lambda: sum(process.is_running() for process in processes(daemon)) == 3, "not all back")

    assert sorted(shape(daemon), key=str) == sorted(before, key=str)
    assert dump()["changed"] is False, "the same list, whatever the ids are now"
    halted = next(process for process in processes(daemon) if process.name == "halted")
    pm2(pm2_executable, pm2_home, "ls")
    pm2(pm2_executable, pm2_home, "start", "halted")
    again = next(process for process in processes(daemon) if process.name == "halted")
    assert (again.pm_id, again.is_running(), again.restarts) == (halted.pm_id, True, 0)


def test_gaps_in_the_ids_close_without_a_change(
    daemon: Rpc, dump: Callable[..., dict[str, Any]], pm2_home: Path, script: Path
) -> None:
    for name in ("one", "two", "three"):
        daemon.prepare(definition(pm2_home, name, script), 30)
    daemon.delete(0, 30)
    dump()

    end_daemon(pm2_home)
    dump(state="resurrected")

    assert [(process.pm_id, process.name) for process in processes(daemon)] == [(0, "two"), (1, "three")]
    assert dump()["changed"] is False


def test_an_emptied_list_is_saved_as_empty(
    daemon: Rpc, dump: Callable[..., dict[str, Any]], pm2_home: Path, script: Path
) -> None:
    daemon.prepare(definition(pm2_home, "one", script), 30)
    dump()
    daemon.delete(0, 30)

    result = dump()

    assert result["changed"] is True
    assert result["diff"]["before"] == {"one": {"instances": 1, "stopped": 0}}
    assert json.loads((pm2_home / "dump.pm2").read_text()) == []
    assert dump()["changed"] is False


@pytest.mark.parametrize("pm2_version", ["7"], indirect=True)
def test_an_app_that_crashes_is_not_saved_as_stopped(
    daemon: Rpc, dump: Callable[..., dict[str, Any]], pm2_home: Path, tmp_path: Path
) -> None:
    crash = tmp_path / "crash.js"
    crash.write_text("process.exit(3)\n")
    daemon.prepare(definition(pm2_home, "errored", crash, max_restarts=2), 30)
    daemon.prepare(definition(pm2_home, "looping", crash, min_uptime=1, max_restarts=1000000), 30)
    daemon.prepare(definition(pm2_home, "waiting", crash, restart_delay=100000), 30)
    wait_for(lambda: {process.status for process in processes(daemon)} >= {"errored", "waiting restart"}, "no crash")

    result = dump()

    assert {entry["name"]: entry["status"] for entry in json.loads((pm2_home / "dump.pm2").read_text())} == {
        "errored": "online",
        "looping": "online",
        "waiting": "online",
    }
    assert all(f"{name} (id" in warnings(result) for name in ("errored", "waiting"))


@pytest.mark.parametrize("pm2_version", ["7"], indirect=True)
@pytest.mark.parametrize("damage", [b"", b'[{"name":', b"\0" * 4096], ids=["zero bytes", "truncated", "zeros"])
def test_a_damaged_dump_is_recovered_from_the_backup(
    damage: bytes, daemon: Rpc, dump: Callable[..., dict[str, Any]], pm2_home: Path, script: Path
) -> None:
    daemon.prepare(definition(pm2_home, "one", script), 30)
    dump()
    daemon.prepare(definition(pm2_home, "two", script), 30)
    dump()
    end_daemon(pm2_home)
    (pm2_home / "dump.pm2").write_bytes(damage)

    result = dump(state="resurrected")

    assert result["started"] == ["one"]
    assert result["recovered_from"] == str(pm2_home / "dump.pm2.bak")
    assert str(pm2_home / "dump.pm2") in warnings(result)
    result = dump(state="saved")
    assert result["changed"] is True
    assert len(json.loads((pm2_home / "dump.pm2").read_text())) == 1


@pytest.mark.parametrize("pm2_version", ["7"], indirect=True)
def test_a_dump_that_is_code_is_never_run(dump: Callable[..., dict[str, Any]], pm2_home: Path, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    (pm2_home / "dump.pm2").write_text(f"(require('fs').writeFileSync({str(proof)!r}, ''), [])")
    (pm2_home / "dump.pm2").chmod(0o600)

    result = dump(state="resurrected", fails=True)

    assert "not plain JSON" in result["msg"]
    assert not proof.exists()
    assert not (pm2_home / "rpc.sock").exists(), "refused before anything was started"


@pytest.mark.parametrize("pm2_version", ["7"], indirect=True)
def test_a_dump_that_others_can_write_is_refused(
    daemon: Rpc, dump: Callable[..., dict[str, Any]], pm2_home: Path, script: Path
) -> None:
    daemon.prepare(definition(pm2_home, "one", script), 30)
    dump()
    (pm2_home / "dump.pm2").chmod(0o666)

    assert "can be written by others" in dump(state="resurrected", fails=True)["msg"]

    assert dump()["changed"] is True
    assert S_IMODE((pm2_home / "dump.pm2").stat().st_mode) == 0o600


@pytest.mark.parametrize("pm2_version", ["7"], indirect=True)
def test_what_cannot_run_is_left_out_and_the_rest_comes_back(
    daemon: Rpc, dump: Callable[..., dict[str, Any]], pm2_home: Path, script: Path, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    lost = gone / "lost.js"
    lost.write_text(NOT_LISTENING)
    daemon.prepare(definition(pm2_home, "lost", lost, pm_cwd=str(tmp_path)), 30)
    daemon.prepare(definition(pm2_home, "homeless", script, pm_cwd=str(gone)), 30)
    daemon.prepare(definition(pm2_home, "here", script), 30)
    dump()
    end_daemon(pm2_home)
    lost.unlink()
    gone.rmdir()

    result = dump(state="resurrected")

    assert result["started"] == ["here"]
    assert [sentence.split(":")[0] for sentence in result["skipped"]] == ["lost", "homeless"]


@pytest.mark.parametrize("pm2_version", ["7"], indirect=True)
def test_an_app_whose_node_is_gone_gets_the_daemons(
    daemon: Rpc, dump: Callable[..., dict[str, Any]], pm2_home: Path, script: Path, tmp_path: Path
) -> None:
    old = tmp_path / "node-old" / "bin" / "node"
    old.parent.mkdir(parents=True)
    old.symlink_to(str(shutil.which("node")))
    daemon.prepare(definition(pm2_home, "one", script, exec_interpreter=str(old)), 30)
    dump()
    end_daemon(pm2_home)
    old.unlink()

    assert dump(state="resurrected")["started"] == ["one"]
    assert all(process.is_running() for process in processes(daemon))


@pytest.mark.parametrize("pm2_version", ["7"], indirect=True)
def test_without_a_daemon(dump: Callable[..., dict[str, Any]], pm2_home: Path) -> None:
    assert "module zerodown.pm2.daemon" in dump(fails=True)["msg"]
    result = dump(check=True)
    assert result["changed"] is True
    assert list(pm2_home.iterdir()) == []


def test_absent_forgets_and_stops_nothing(
    daemon: Rpc, dump: Callable[..., dict[str, Any]], pm2_home: Path, script: Path
) -> None:
    daemon.prepare(definition(pm2_home, "one", script), 30)
    dump()

    assert dump(state="absent", check=True)["changed"] is True
    assert (pm2_home / "dump.pm2").exists()
    assert dump(state="absent")["changed"] is True
    assert dump(state="absent")["changed"] is False
    assert not (pm2_home / "dump.pm2").exists()
    assert processes(daemon)[0].is_running()
