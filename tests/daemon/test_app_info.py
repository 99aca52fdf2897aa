# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module app_info against real daemons."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.run_module import run_module

from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc

App = Callable[..., dict[str, Any]]
newest = pytest.mark.parametrize("pm2_version", ["7"], indirect=True)


def test_what_runs(app: App, scripts: Path, pm2_home: Path, pm2_executable: str, pm2_version: str) -> None:
    web = {
        "name": "web",
        "script": str(scripts / "quiet.js"),
        "instances": 2,
        "env": {"DB_PASSWORD": "very-secret", "GREETING": "hello-hello"},
    }
    app({"apps": [web, {"name": "mail", "script": str(scripts / "quiet.sh"), "state": "stopped"}]})
    common: dict[str, Any] = {"pm2_home": str(pm2_home), "pm2_executable": pm2_executable}
    result = run_module("app_info", **common)
    assert not result["changed"]
    rpc = Rpc(str(pm2_home / "rpc.sock"))
    assert result["daemon"] == {"running": True, "version": rpc.version(), "pid": rpc.daemon_pid()}
    assert result["daemon"]["version"].startswith(pm2_version)
    assert [(item["name"], item["status"], item["instances"]) for item in result["apps"]] == [
        ("mail", "stopped", 1),
        ("web", "online", 2),
    ]
    process = result["apps"][1]["processes"][0]
    assert process["script"] == web["script"]
    assert process["cwd"] == str(scripts)
    assert process["exec_mode"] == "cluster"
    assert process["out_file"] == str(pm2_home / "logs" / f"web-out-{process['pm_id']}.log")
    assert {"DB_PASSWORD", "GREETING", "PATH"} <= set(process["env"])
    assert process["memory"] > 0
    assert process["uptime"] > 0
    assert "very-secret" not in json.dumps(result)
    assert "hello-hello" not in json.dumps(result)
    named = run_module("app_info", names=["web", "nosuch"], **common)
    assert [(item["name"], item["status"]) for item in named["apps"]] == [("web", "online"), ("nosuch", "absent")]


@newest
def test_whether_a_boot_brings_it_back(app: App, scripts: Path, pm2_home: Path) -> None:
    def saved() -> dict[str, bool]:
        apps = run_module("app_info", pm2_home=str(pm2_home))["apps"]
        return {item["name"]: item["saved"] for item in apps}

    web = {"name": "web", "script": str(scripts / "quiet.sh"), "instances": 2}
    app(web)
    assert saved() == {"web": False}
    run_module("dump", state="saved", pm2_home=str(pm2_home))
    assert saved() == {"web": True}
    app({"apps": [web, {"name": "mail", "script": str(scripts / "quiet.sh")}]})
    assert saved() == {"web": True, "mail": False}
    app({**web, "env": {"A": "1"}})
    assert saved() == {"web": False, "mail": False}


@newest
def test_what_differs(app: App, scripts: Path, pm2_home: Path, pm2_executable: str) -> None:
    common: dict[str, Any] = {"pm2_home": str(pm2_home), "pm2_executable": pm2_executable}
    web = {"name": "web", "script": str(scripts / "quiet.sh")}
    before = run_module("app_info", apps=[web], **common)
    assert [step["action"] for step in before["plan"]] == ["start_daemon", "create"]
    assert list(pm2_home.iterdir()) == []
    app(web)
    assert run_module("app_info", apps=[web], **common)["plan"] == []
    changed = run_module("app_info", apps=[{**web, "env": {"TOKEN": "very-secret"}}], **common)
    assert changed["plan"] == [
        {"action": "update", "app": "web", "pm_id": 0, "options": ["env.TOKEN"], "by": "restart"}
    ]
    assert "very-secret" not in json.dumps(changed)


def test_without_pm2(pm2_home: Path) -> None:
    result = run_module("app_info", pm2_home=str(pm2_home / "none"), env={"PATH": "/nowhere", "HOME": "/"})
    assert result["daemon"] == {"running": False, "version": None, "pid": None}
    assert result["apps"] == []
    assert not (pm2_home / "none").exists()
