# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changed options of an app whose release stays, by the module ``cutover`` and by the module ``app``, under traffic."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from support.web import Web

from ansible_collections.zerodown.pm2.plugins.module_utils._gate_script import strip


def apply(web: Web, module: str, app: dict[str, Any], fails: bool = False) -> dict[str, Any]:
    if module == "cutover":
        return web.cutover("v1", app, fails)
    return web.module("app", fails, steady_time=1.0, **web.declare("v1", **app))


def greeting(web: Web) -> str | None:
    with urllib.request.urlopen(f"http://127.0.0.1:{web.port}/health", timeout=10) as answer:
        return json.load(answer).get("greeting")  # type: ignore[no-any-return] # JSON


@pytest.mark.parametrize("module", ["cutover", pytest.param("app", marks=pytest.mark.whole)])
def test_options_alone(web: Web, module: str) -> None:
    web.go_live()
    directory = web.path("v1")
    (directory / "sub").mkdir()
    changes: list[tuple[dict[str, Any], set[str]]] = [
        ({"env": {"GREETING": "hello"}}, {"env.GREETING"}),
        ({"env": {}}, {"env.GREETING"}),
        ({"instances": 3}, {"instances"}),
        ({"instances": 1}, {"instances"}),
        ({"instances": 2, "node_args": ["--stack-size=800"]}, {"instances", "node_args"}),
        ({"cwd": str(directory / "sub"), "script": str(directory / "app.js")}, {"cwd"}),
        ({"max_memory_restart": "300M"}, {"max_memory_restart"}),
    ]
    app: dict[str, Any] = {}
    with web.traffic() as traffic:
        for change, options in changes:
            app.update(change)
            result = apply(web, module, app)
            assert result["changed"]
            if module == "cutover":
                (step,) = result["plan"]
                assert set(step["options"]) == options
            assert greeting(web) == app.get("env", {}).get("GREETING")
            instances = app.get("instances", 2)
            assert [process.env["NODE_APP_INSTANCE"] for process in web.processes()] == list(range(instances))
            assert all(process.is_running() and process.restarts == 0 for process in web.processes())
            web.assert_logs(instances)
            web.assert_clean()
            if module == "cutover":
                assert [entry["NODE_APP_INSTANCE"] for entry in web.dump()] == list(range(instances))
        before = web.pids()
        assert not apply(web, module, app)["changed"]
        assert web.pids() == before
    traffic.assert_only("v1")
    for process in web.processes():
        assert Path(f"/proc/{process.pid}/cwd").resolve() == directory / "sub"
        assert strip(process.env["node_args"]) == ["--stack-size=800"]
        assert process.env["max_memory_restart"] == 300 * 2**20
    assert {entry["max_memory_restart"] for entry in web.dump()} == {300 * 2**20}


@pytest.mark.parametrize("module", ["cutover", pytest.param("app", marks=pytest.mark.whole)])
def test_an_option_with_which_it_does_not_start(web: Web, module: str) -> None:
    """Nothing is lost, and nothing is said against the release, which serves."""
    web.go_live()
    before = web.pids()
    with web.traffic() as traffic:
        failure = apply(web, module, {"node_args": ["--no-such-flag"]}, fails=True)
    assert "ended" in failure["msg"]
    traffic.assert_only("v1")
    assert web.pids() == before
    web.assert_serves("v1")
    assert web.release("v1")["proven"]
    assert not web.release("v1")["bad"]
