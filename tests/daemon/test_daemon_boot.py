# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program that the unit runs, as the unit runs it: one file, no Ansible, an almost empty environment."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.pm2_host import end_daemon, is_alive, pm2_package, start_daemon

from ansible_collections.zerodown.pm2.plugins.module_utils import _dump
from ansible_collections.zerodown.pm2.plugins.module_utils._boot_program import build
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from ansible_collections.zerodown.pm2.plugins.module_utils._state import parse_all


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "boot.pyz"
    path.write_bytes(build())
    return path


class Boot:
    def __init__(self, program: Path, home: Path, executable: str) -> None:
        self.program, self.home, self.executable = program, home, executable

    def run(self, command: str, timeout: int = 60) -> "subprocess.CompletedProcess[str]":
        node = shutil.which("node")
        assert node
        return subprocess.run(
            [sys.executable, "-I", str(self.program), command, "--home", str(self.home), "--pm2", self.executable]
            + ["--node", node, "--timeout", str(timeout)],
            env={"PATH": "/usr/bin:/bin"},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture
def boot(program: Path, pm2_home: Path, pm2_executable: str) -> Boot:
    return Boot(program, pm2_home, pm2_executable)


def definition(home: Path, name: str, script: Path) -> dict[str, object]:
    return {
        "name": name,
        "namespace": "default",
        "pm_exec_path": str(script),
        "pm_cwd": str(script.parent),
        "exec_mode": "fork_mode",
        "args": [],
        "node_args": [],
        "env": {"SECRET": "hunter2"},
        "pm_out_log_path": str(home / "logs" / f"{name}-out.log"),
        "pm_err_log_path": str(home / "logs" / f"{name}-error.log"),
        "pm_pid_path": str(home / "pids" / f"{name}.pid"),
        "autorestart": True,
        "autostart": True,
        "vizion": False,
    }


def test_a_stray_daemon_is_taken_over_and_its_apps_come_back(
    boot: Boot, pm2_home: Path, pm2_version: str, tmp_path: Path
) -> None:
    script = tmp_path / "app.js"
    script.write_text("setInterval(() => {}, 1000)")
    stray = start_daemon(pm2_home, pm2_package(pm2_version))
    rpc = Rpc(str(pm2_home / "rpc.sock"))
    rpc.prepare(definition(pm2_home, "one", script), 30)

    taken = boot.run("take-over")
    assert taken.returncode == 0, taken.stderr
    assert not is_alive(stray)
    assert "hunter2" not in taken.stdout + taken.stderr

    assert boot.run("wait", timeout=1).returncode == 2, "no daemon answers"
    start_daemon(pm2_home, pm2_package(pm2_version))
    assert boot.run("wait").returncode == 0
    back = boot.run("resurrect")
    assert back.returncode == 0, back.stderr
    assert "1 of 1 saved processes started" in back.stderr
    (process,) = parse_all(rpc.processes())
    assert process.is_running()

    saved = (pm2_home / "dump.pm2").read_bytes()
    stopped = boot.run("stop")
    assert stopped.returncode == 0, stopped.stderr
    assert not rpc.is_alive()
    assert not is_alive(process.pid or 0)
    assert (pm2_home / "dump.pm2").read_bytes() == saved, "a stop saves nothing"
    assert boot.run("stop").returncode == 0, "nothing to stop is no error"
    assert boot.run("take-over").returncode == 0


@pytest.mark.parametrize("pm2_version", ["7"], indirect=True)
def test_what_cannot_come_back_is_told_and_keeps_nobody_down(
    boot: Boot, pm2_home: Path, pm2_version: str, tmp_path: Path
) -> None:
    script, lost = tmp_path / "app.js", tmp_path / "lost.js"
    for path in (script, lost):
        path.write_text("setInterval(() => {}, 1000)")
    start_daemon(pm2_home, pm2_package(pm2_version))
    rpc = Rpc(str(pm2_home / "rpc.sock"))
    rpc.prepare(definition(pm2_home, "lost", lost), 30)
    rpc.prepare(definition(pm2_home, "here", script), 30)
    _dump.write(Home(str(pm2_home)), _dump.snapshot([parse_all(rpc.processes())]).entries)
    end_daemon(pm2_home)
    lost.unlink()
    start_daemon(pm2_home, pm2_package(pm2_version))

    back = boot.run("resurrect")

    assert back.returncode == 1
    assert f"Not started: lost: its script {lost} is missing." in back.stderr
    assert [process.name for process in parse_all(rpc.processes())] == ["here"]

    # damaged, and no backup to take its place: nothing is run, and it is said why
    (pm2_home / "dump.pm2").write_text("process.exit(7)")
    assert boot.run("resurrect").returncode == 2
    assert rpc.is_alive()
