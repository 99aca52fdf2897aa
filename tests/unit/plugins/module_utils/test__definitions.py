# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The processes of a generation as PM2 is told to start them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.processes import GENERATION, HOME, PRELOAD, PRELOADS, PYTHON_PRELOAD, declared

from ansible_collections.zerodown.pm2.plugins.module_utils._definitions import (
    definitions,
    in_generation,
    label,
    new_generation,
    on_port,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._state import GATE_KEY, GENERATION_KEY


def made(numbers: list[int], **options: Any) -> list[dict[str, Any]]:
    app = declared(**options)
    return definitions(app, numbers, GENERATION, HOME, PRELOADS.get(app.gate or ""))


def test_each_has_its_number_and_no_count() -> None:
    found = made([0, 2], instances=3)
    assert [definition["NODE_APP_INSTANCE"] for definition in found] == [0, 2]
    assert not any("instances" in definition for definition in found)
    assert [definition["NUMBER"] for definition in made([1], instances=3, instance_var="NUMBER")] == [1]


@pytest.mark.parametrize(
    ("options", "logs"),
    [
        ({}, ["/h/logs/web-out.log", "/h/logs/web-error.log", None]),
        ({"instances": 2}, ["/h/logs/web-out-1.log", "/h/logs/web-error-1.log", None]),
        ({"instances": 2, "merge_logs": True}, ["/h/logs/web-out.log", "/h/logs/web-error.log", None]),
        ({"merge_logs": False}, ["/h/logs/web-out-1.log", "/h/logs/web-error-1.log", None]),
        ({"instances": 2, "log_file": True}, ["/h/logs/web-out-1.log", "/h/logs/web-error-1.log", "/h/logs/web-1.log"]),
        # PM2 numbers no other names
        ({"instances": 2, "out_file": "/l/out", "error_file": "/dev/null"}, ["/l/out", "/dev/null", None]),
        # the number of an earlier process
        ({"instances": 2, "out_file": "/l/out-7.log"}, ["/l/out-1.log", "/h/logs/web-error-1.log", None]),
    ],
)
def test_log_files_bear_the_number_and_pm2_adds_none(options: dict[str, Any], logs: list[str | None]) -> None:
    (definition,) = made([1], **options)
    assert [definition.get(name) for name in ("pm_out_log_path", "pm_err_log_path", "pm_log_path")] == logs
    assert definition["merge_logs"] is True


def test_no_two_processes_of_an_app_share_a_file() -> None:
    found = made([0, 1, 2], instances=3, log_file=True)
    for name in ("pm_out_log_path", "pm_err_log_path", "pm_log_path", "pm_pid_path"):
        assert len({definition[name] for definition in found}) == 3


@pytest.mark.parametrize(
    ("variable", "value", "counted"),
    [("PORT", 3000, [3000, 3001]), ("SHARD", "-1", [-1, 0]), ("SHARD", "a", [0, 1]), ("OTHER", "1", [0, 1])],
)
def test_a_counted_variable(variable: str, value: Any, counted: list[int]) -> None:
    name = "SHARD" if variable == "OTHER" else variable
    found = made([0, 1], exec_mode="fork", instances=2, increment_var=name, env={variable: value})
    for definition, number in zip(found, counted):
        assert definition[name] == definition["env"][name] == number


def test_nothing_is_shared_with_the_declaration() -> None:
    app = declared(exec_mode="fork", instances=2, increment_var="PORT", port=3000)
    before = repr(app.definition)
    definitions(app, [0, 1], GENERATION, HOME, PRELOAD)
    assert repr(app.definition) == before


@pytest.mark.parametrize(
    ("options", "node_args"),
    [
        ({}, ["-r", PRELOAD]),
        ({"node_args": "-r ./trace.js"}, ["-r", PRELOAD, "-r", "./trace.js"]),
        ({"preload": False, "node_args": "--a"}, ["--a"]),
        ({"script": "/srv/web/app.py", "interpreter": "python3"}, []),
    ],
)
def test_the_preload_is_in_front(options: dict[str, Any], node_args: list[str]) -> None:
    (definition,) = made([0], **options)
    assert definition["node_args"] == node_args
    assert (definition[GENERATION_KEY], definition[GATE_KEY]) == (GENERATION, "/h/gate")
    # PM2 hands what is at the top to the process; in env it would be a variable of the user
    assert GENERATION_KEY not in definition["env"]
    assert GATE_KEY not in definition["env"]


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({}, PYTHON_PRELOAD),
        ({"env": {"PYTHONPATH": "/srv/lib:/srv/more"}}, PYTHON_PRELOAD + ":/srv/lib:/srv/more"),
        ({"env": {"PYTHONPATH": ""}}, PYTHON_PRELOAD),
        ({"preload": False}, None),
        ({"preload": False, "env": {"PYTHONPATH": "/srv/lib"}}, "/srv/lib"),
        # it does not look at PYTHONPATH
        ({"node_args": "-I"}, None),
    ],
)
def test_the_gate_of_python_is_first_on_its_path(options: dict[str, Any], path: str | None) -> None:
    (definition,) = made([0], script="/srv/web/app.py", interpreter="python3", **options)
    assert definition["env"].get("PYTHONPATH") == path
    again = in_generation(definition, "r2-ffffff", HOME, "/h/gate/python-76543210" if path != "/srv/lib" else None)
    expected = path.replace("0123abcd", "76543210") if path else "/h/gate/python-76543210"
    assert again["env"]["PYTHONPATH"] == expected


def test_into_another_generation() -> None:
    (one,) = made([1], instances=2, node_args="--a")
    newer = "/h/gate/preload-76543210.cjs"
    again = in_generation(one, "r2-ffffff", HOME, newer)
    assert again == {**one, GENERATION_KEY: "r2-ffffff", "node_args": ["-r", newer, "--a"]}
    assert in_generation(one, "r2-ffffff", HOME, None)["node_args"] == ["--a"]
    assert one["node_args"] == ["-r", PRELOAD, "--a"]


def test_on_another_port() -> None:
    app = declared(port=3000, env={"A": "1"})
    changed = on_port(app, app.definition, 4000)
    assert changed == {**app.definition, "env": {**app.definition["env"], "PORT": "4000"}}
    assert app.definition["env"]["PORT"] == "3000"
    named = declared(port=3000, candidate_variable="HTTP_PORT")
    env = on_port(named, named.definition, 4000)["env"]
    assert (env["HTTP_PORT"], env["PORT"]) == ("4000", "3000")
    by_arguments = declared(port=3000, args="-x", candidate_args=["--listen", "127.0.0.1:{port}", "--admin={port}"])
    changed = on_port(by_arguments, by_arguments.definition, 4000)
    assert changed["args"] == ["--listen", "127.0.0.1:4000", "--admin=4000"]
    assert changed["env"]["PORT"] == "3000"


@given(st.text(max_size=20))
def test_the_id_of_a_generation_fits_everywhere(text: str) -> None:
    one = new_generation(text)
    assert re.fullmatch(r"[A-Za-z0-9._-]+-[0-9a-f]{6}|-[0-9a-f]{6}", one)
    assert one != new_generation(text)


@pytest.mark.parametrize(("path", "name"), [("/srv/web/releases/r1/", "r1"), ("/srv/web", "web"), ("/", "app")])
def test_a_generation_is_called_after_its_directory(path: str, name: str) -> None:
    assert label(path) == name
