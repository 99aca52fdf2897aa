# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run of the module app asks of the daemon: in this process, so that the calls can be counted."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils import _daemon
from ansible_collections.zerodown.pm2.plugins.module_utils._converge import converge
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import ProtocolError
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import Pm2Install
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._options import OPTIONS
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from ansible_collections.zerodown.pm2.plugins.module_utils._settings import Settings
from ansible_collections.zerodown.pm2.plugins.module_utils._state import parse_all


def run(home: Path, executable: str, *apps: dict[str, Any], warnings: list[str] | None = None) -> dict[str, Any]:
    settings = Settings(
        home=Home(str(home)),
        pm2_executable=executable,
        node_executable=None,
        check_mode=False,
        warn=(warnings if warnings is not None else []).append,
        steady_time=0.3,
    )
    nothing = dict.fromkeys(option.name for option in OPTIONS)
    return converge([{**nothing, **app} for app in apps], "online", settings)


def test_without_a_change_the_state_is_read_once(
    daemon: Rpc, pm2_home: Path, pm2_executable: str, scripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert daemon.is_alive()
    apps: list[dict[str, Any]] = [{"name": f"app-{number}", "script": str(scripts / "quiet.sh")} for number in range(5)]
    run(pm2_home, pm2_executable, *apps)
    calls: list[str] = []
    original = Rpc._call

    def counted(self: Rpc, method: str, *arguments: Any, **options: Any) -> Any:
        calls.append(method)
        return original(self, method, *arguments, **options)

    def no_program(*_arguments: Any, **_options: Any) -> None:
        raise AssertionError("a program is run")

    monkeypatch.setattr(Rpc, "_call", counted)
    monkeypatch.setattr(subprocess, "Popen", no_program)
    assert not run(pm2_home, pm2_executable, *apps)["changed"]
    assert calls.count("getMonitorData") == 1
    assert set(calls) == {"getMonitorData", "getVersion"}


@pytest.mark.parametrize("pm2_version", ["7"], indirect=True)
def test_over_the_command_line_when_the_socket_speaks_something_unknown(
    daemon: Rpc, pm2_home: Path, pm2_executable: str, scripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_self: Rpc) -> str:
        raise ProtocolError("The socket does not speak PM2's protocol.")

    monkeypatch.setattr(Rpc, "version", unknown)
    warnings: list[str] = []
    web = {"name": "web", "script": str(scripts / "quiet.js"), "instances": 2, "env": {"A": "1"}}
    run(pm2_home, pm2_executable, web, warnings=warnings)
    assert "Falling back to PM2's command line" in warnings[0]
    assert len(parse_all(daemon.processes())) == 2
    assert not run(pm2_home, pm2_executable, web)["changed"]
    run(pm2_home, pm2_executable, {**web, "env": {"B": "2"}, "max_memory_restart": "300M"})
    for process in parse_all(daemon.processes()):
        assert process.env["env"].get("B") == "2"
        assert "A" not in process.env["env"]
        assert process.env["max_memory_restart"] == 314572800
    run(pm2_home, pm2_executable, {"name": "web", "state": "absent"})
    assert daemon.processes() == []


@pytest.mark.parametrize("pm2_version", ["7"], indirect=True)
def test_a_daemon_that_brings_its_apps_with_it(
    pm2_home: Path, pm2_executable: str, scripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does that systemd starts, with the saved list."""
    web = {"name": "web", "script": str(scripts / "quiet.sh"), "env": {"A": "1"}}
    original = _daemon.ensure_running

    def with_saved_list(_home: Home, _install: Pm2Install, _timeout: float) -> bool:
        monkeypatch.setattr(_daemon, "ensure_running", original)
        run(pm2_home, pm2_executable, {**web, "env": {"A": "old"}})
        return True

    monkeypatch.setattr(_daemon, "ensure_running", with_saved_list)
    result = run(pm2_home, pm2_executable, web)
    assert [step["action"] for step in result["plan"]] == ["start_daemon", "update"]
    assert len(result["apps"][0]["processes"]) == 1
