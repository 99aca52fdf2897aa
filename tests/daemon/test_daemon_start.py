# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starting a real daemon: one, private, and with an environment that nobody's shell can change."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from stat import S_IMODE

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils._daemon import ensure_running
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import Pm2Install, find_pm2
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc


@pytest.fixture
def install(pm2_executable: str) -> Pm2Install:
    return find_pm2(pm2_executable)


@pytest.fixture
def home(pm2_home: Path) -> Home:
    return Home(str(pm2_home / "made"))


def test_starts_one_private_daemon(home: Home, install: Pm2Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_OPTIONS", "--no-such-flag")
    monkeypatch.setenv("SECRET_OF_THE_SESSION", "hunter2")

    assert ensure_running(home, install, 30) is True
    assert ensure_running(home, install, 30) is False

    rpc = Rpc(home.rpc_socket)
    assert rpc.version() == install.version
    pid = rpc.daemon_pid()
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"SECRET_OF_THE_SESSION" not in environment
    assert f"PM2_HOME={home.path}".encode() in environment.split(b"\0")
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.getsid(pid) == pid
    assert S_IMODE(os.stat(home.path).st_mode) == 0o700
    assert S_IMODE(os.stat(home.daemon_log).st_mode) == 0o600
    rpc.kill(10)


def test_four_at_once_start_one(home: Home, install: Pm2Install) -> None:
    with ThreadPoolExecutor(4) as pool:
        started = list(pool.map(lambda _each: ensure_running(home, install, 60), range(4)))

    assert sorted(started) == [False, False, False, True]
    log = Path(home.daemon_log).read_text()
    assert log.count("New PM2 Daemon started") == 1
    Rpc(home.rpc_socket).kill(10)


def test_a_daemon_that_cannot_start_shows_its_log(home: Home, install: Pm2Install, tmp_path: Path) -> None:
    script = tmp_path / "lib" / "Daemon.js"
    script.parent.mkdir()
    script.write_text("throw new Error('no daemon today')")
    broken = Pm2Install(executable=install.executable, package=str(tmp_path), version="0", node=install.node)

    with pytest.raises(Pm2Error, match="ended at once with return code 1") as caught:
        ensure_running(home, broken, 30)

    assert any("no daemon today" in line for line in caught.value.details["daemon_log"])
