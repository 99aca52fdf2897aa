# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.module_utils._app import App, Host, build
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import check_definition


def refuse(sentence: str) -> None:
    raise Pm2Error(sentence)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name, text in {
        "server.js": "",
        "main.py": "",
        "run.sh": "",
        "bin/www": "#!/usr/bin/env node\n",
        "bin/tool": "#!/usr/bin/env python3\n",
        "bin/binary": "\x7fELF\0\0",
        "bin/plain": "console.log(1)",
        "with space.js": "",
        "mapped.js": "",
        "mapped.js.map": "",
        **{f"commands/{name}": "#!/bin/sh\n" for name in ("node", "python3", "bash", "tool")},
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    return tmp_path


def made(place: Path, state: str = "online", **options: Any) -> App:
    host = Host(home=Home("/home/deploy/.pm2"), node=str(place / "commands" / "node"), refuse=refuse)
    env = {"PATH": str(place / "commands"), **options.pop("env", {})}
    return build({"name": "web", "script": "server.js", "cwd": str(place), "env": env, **options}, state, host)


def field(place: Path, name: str, **options: Any) -> Any:
    return made(place, **options).definition.get(name)


def test_a_definition_is_complete(place: Path) -> None:
    app = made(place)
    check_definition(app.definition)
    assert app.definition["pm_exec_path"] == str(place / "server.js")
    # PM2 would take another app's flags for a worker without its own
    assert app.definition["node_args"] == []
    defaults = {"vizion": True, "autorestart": True, "autostart": True, "pmx": True, "automation": True}
    more = {"treekill": True, "windowsHide": True, "kill_retry_time": 100, "instance_var": "NODE_APP_INSTANCE"}
    for name, value in {**defaults, **more, "namespace": "default", "watch": False}.items():
        assert app.definition[name] == value
    assert "instances" not in app.definition


def test_the_environment_is_small_and_declared(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "1.2.3.4")
    host = Host(home=Home("/home/deploy/.pm2"), node="/opt/node/bin/node", refuse=print)
    env = build({"name": "web", "script": str(place / "server.js"), "env": {"A": 1}}, "online", host).definition["env"]
    assert set(env) == {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "PM2_HOME", "A"}
    assert env["PATH"].split(":")[0] == "/opt/node/bin"
    assert env["PM2_HOME"] == "/home/deploy/.pm2"


@pytest.mark.parametrize(
    ("value", "text"),
    [("x", "x"), ("", ""), (1, "1"), (1.5, "1.5"), (True, "true"), (False, "false"), ({"a": [1]}, '{"a": [1]}')],
)
def test_values_of_variables(place: Path, value: Any, text: str) -> None:
    assert field(place, "env", env={"A": value})["A"] == text


@pytest.mark.parametrize(
    ("options", "script", "args", "interpreter", "mode"),
    [
        ({}, "server.js", [], "node", "fork_mode"),
        ({"instances": 1}, "server.js", [], "node", "cluster_mode"),
        ({"instances": 2, "exec_mode": "fork"}, "server.js", [], "node", "fork_mode"),
        ({"instances": 2, "execute_command": True}, "server.js", [], "node", "fork_mode"),
        ({"exec_mode": "cluster"}, "server.js", [], "node", "cluster_mode"),
        ({"script": "bin/www", "instances": "max"}, "bin/www", [], "node", "cluster_mode"),
        ({"script": "bin/tool", "instances": 2}, "bin/tool", [], "none", "fork_mode"),
        ({"script": "bin/binary"}, "bin/binary", [], "none", "fork_mode"),
        ({"script": "bin/plain"}, "bin/plain", [], "node", "fork_mode"),
        ({"script": "main.py", "instances": 2}, "main.py", [], "python3", "fork_mode"),
        ({"script": "run.sh", "args": "-a b"}, "run.sh", ["-a", "b"], "bash", "fork_mode"),
        ({"script": "with space.js"}, "with space.js", [], "node", "fork_mode"),
        ({"script": "tool --port 1"}, "commands/bash", ["-c", "tool --port 1"], "none", "fork_mode"),
        ({"script": "tool", "args": ["--port", 1]}, "commands/tool", ["--port", "1"], "none", "fork_mode"),
        ({"script": "bin/plain", "interpreter": "none"}, "bin/plain", [], "none", "fork_mode"),
        ({"interpreter": "commands/node"}, "server.js", [], "{place}/commands/node", "fork_mode"),
        ({"script": "{place}/server.js", "cwd": None}, "server.js", [], "node", "fork_mode"),
    ],
)
def test_what_is_run(
    place: Path, options: dict[str, Any], script: str, args: list[str], interpreter: str, mode: str
) -> None:
    filled = {
        name: value.replace("{place}", str(place)) if isinstance(value, str) else value
        for name, value in options.items()
    }
    definition = made(place, **filled).definition
    assert definition["pm_exec_path"] == str(place / script)
    assert definition["args"] == args
    assert definition["exec_interpreter"] == interpreter.replace("{place}", str(place))
    assert definition["exec_mode"] == mode
    assert definition["pm_cwd"] == str(place)


def test_python_writes_its_output_at_once(place: Path) -> None:
    assert field(place, "env", script="main.py")["PYTHONUNBUFFERED"] == "1"
    assert field(place, "env", script="main.py", env={"PYTHONUNBUFFERED": ""})["PYTHONUNBUFFERED"] == ""
    assert "PYTHONUNBUFFERED" not in field(place, "env")


@pytest.mark.parametrize(
    ("options", "merge", "paths"),
    [
        ({}, True, {"pm_out_log_path": "/home/deploy/.pm2/logs/web-out.log", "pm_log_path": None}),
        ({"instances": 2}, False, {"pm_err_log_path": "/home/deploy/.pm2/logs/web-error.log"}),
        ({"exec_mode": "cluster"}, False, {}),
        ({"instances": 2, "merge_logs": True}, True, {}),
        ({"merge_logs": False}, False, {}),
        ({"name": "my_app.x"}, True, {"pm_pid_path": "/home/deploy/.pm2/pids/my-app.x.pid"}),
        ({"out_file": "logs/out.log"}, True, {"pm_out_log_path": "{place}/logs/out.log"}),
        ({"error_file": "NULL", "out_file": "/dev/null"}, True, {"pm_err_log_path": "/dev/null"}),
        ({"log_file": True}, True, {"pm_log_path": "/home/deploy/.pm2/logs/web.log"}),
        ({"log_file": False}, True, {"pm_log_path": None}),
        ({"log_file": "/var/log/both.log"}, True, {"pm_log_path": "/var/log/both.log"}),
    ],
)
def test_logs(place: Path, options: dict[str, Any], merge: bool, paths: dict[str, str | None]) -> None:
    app = made(place, **options)
    assert app.merge_logs is merge
    for name, path in paths.items():
        assert app.definition.get(name) == (path.replace("{place}", str(place)) if path else None)


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({"time": True}, {"log_date_format": "YYYY-MM-DDTHH:mm:ss"}),
        ({"time": False}, {"log_date_format": None}),
        ({"source_map_support": True}, {"source_map_support": True, "disable_source_map_support": None}),
        ({"source_map_support": False}, {"source_map_support": None, "disable_source_map_support": True}),
        ({"disable_source_map_support": True}, {"source_map_support": None, "disable_source_map_support": True}),
        ({"script": "mapped.js"}, {"source_map_support": True}),
        ({}, {"source_map_support": None, "disable_source_map_support": None, "trace": None}),
        ({"automation": False}, {"pmx": False, "automation": False}),
        ({"disable_trace": False}, {"trace": True}),
        ({"trace": False}, {"trace": None}),
        ({"log_type": "raw"}, {"log_type": None}),
        ({"port": 3000}, {"port": 3000}),
        ({"cron_restart": "0"}, {"cron_restart": None}),
    ],
)
def test_options_that_work_together(place: Path, options: dict[str, Any], fields: dict[str, Any]) -> None:
    definition = made(place, **options).definition
    assert {name: definition.get(name) for name in fields} == fields


def test_port(place: Path) -> None:
    assert made(place, port=3000).definition["env"]["PORT"] == "3000"
    assert made(place, port=3000).port == 3000
    assert made(place, env={"PORT": "8080"}).port == 8080
    assert made(place, env={"PORT": "/run/web.sock"}).port is None
    assert made(place).port is None


def test_instances(place: Path) -> None:
    cpus = os.cpu_count() or 1
    for value, expected in ((None, 1), (3, 3), ("max", cpus), (0, cpus), (-1, max(1, cpus - 1)), (-999, 1)):
        assert made(place, instances=value).instances == expected


def test_a_name_from_the_script(place: Path) -> None:
    assert made(place, name=None).name == "server"


def test_only_the_name() -> None:
    host = Host(home=Home("/h"), node=None, refuse=refuse)
    assert build({"name": "web"}, "restarted", host) == App("web", "restarted")
    # an app that goes needs nothing to be right
    assert build({"name": "web", "script": "/gone.js", "cwd": "/gone"}, "absent", host) == App("web", "absent")
    assert build({"name": "web", "state": "stopped"}, "online", host).state == "stopped"


def test_an_error_never_shows_the_value_of_a_variable(place: Path) -> None:
    for env in ({"A": None}, {"name": "very-secret"}, {"A": "very-secret\0"}, {"A=": "very-secret"}):
        with pytest.raises(Pm2Error) as caught:
            made(place, env=env)
        assert "very-secret" not in caught.value.message
    with pytest.raises(Pm2Error) as caught:
        build({"name": "web", "env": "very-secret"}, "online", Host(Home("/h"), None, refuse))
    assert "very-secret" not in caught.value.message


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.booleans(), st.floats(allow_nan=False))))
def test_every_environment_is_refused_or_becomes_texts(env: dict[str, Any]) -> None:
    host = Host(home=Home("/h"), node=None, refuse=print)
    try:
        app = build({"name": "web", "script": "/x.js", "env": env}, "online", host)
    except Pm2Error:
        return
    for name, value in app.definition["env"].items():
        assert isinstance(value, str)
        assert "\0" not in name + value
        assert "=" not in name
