# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes of a generation beside their declaration: what we add to them is no drift, and a change keeps it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.processes import PRELOAD, declared, member, process

from ansible_collections.zerodown.pm2.plugins.module_utils._drift import changed_fields, differences

OLDER = "/h/gate/preload-ffffffff.cjs"


def options(app: Any, one: Any) -> list[str]:
    return [difference.option for difference in differences(app, one)]


@pytest.mark.parametrize("started", [process, member])
@pytest.mark.parametrize(
    "declaration",
    [
        {},
        {"instances": 2},
        {"instances": 2, "node_args": "--max-old-space-size=200 -r ./trace.js"},
        {"instances": 2, "log_file": True, "pid_file": "/p/web.pid"},
        {"instances": 2, "merge_logs": True},
        {"instances": 2, "merge_logs": False, "exec_mode": "fork"},
        {"instances": 2, "exec_mode": "fork", "increment_var": "PORT", "port": 3000},
        {"instances": 2, "instance_var": "NUMBER"},
        {"preload": False},
        {"script": "/srv/web/app.py", "interpreter": "python3"},
    ],
)
def test_what_is_as_declared(started: Any, declaration: dict[str, Any]) -> None:
    app = declared(**declaration)
    assert options(app, started(app, 7, 1)) == []


def test_a_preload_of_an_earlier_version_is_none_either() -> None:
    app = declared(node_args="-r ./trace.js")
    assert options(app, member(app, fields={"node_args": ["-r", OLDER, "-r", "./trace.js"]})) == []


def test_node_args_of_one_that_has_the_preload() -> None:
    old, new = declared(node_args="--a"), declared(node_args="--b")
    assert options(new, member(old)) == ["node_args"]
    (difference,) = differences(new, member(old))
    assert (difference.before, difference.after) == (["--a"], ["--b"])


def test_a_preload_that_is_not_wanted_is_a_difference() -> None:
    app = declared()
    (difference,) = differences(declared(preload=False), member(app))
    assert (difference.option, difference.before, difference.after) == ("preload", True, False)
    # one that is missing is none: it comes with the next generation
    assert options(app, process(app)) == []


@pytest.mark.parametrize(
    ("had", "has", "node_args"),
    [
        ({"node_args": "--a"}, {"node_args": "--b"}, ["-r", PRELOAD, "--b"]),
        ({"node_args": "--a"}, {}, ["-r", PRELOAD]),
        ({}, {"node_args": "-r ./trace.js"}, ["-r", PRELOAD, "-r", "./trace.js"]),
        ({}, {"preload": False}, []),
        ({"node_args": "--a"}, {"node_args": "--a", "preload": False}, ["--a"]),
        ({"node_args": "--a"}, {"node_args": "--b", "preload": False}, ["--b"]),
        ({"preload": False}, {"node_args": "--b", "preload": False}, ["--b"]),
        # who has none is given none in passing
        ({"preload": False}, {"node_args": "--b"}, ["--b"]),
    ],
)
def test_the_preload_stays_in_front_or_goes(had: dict[str, Any], has: dict[str, Any], node_args: list[str]) -> None:
    app, one = declared(**has), member(declared(**had))
    assert changed_fields(app, one, differences(app, one)) == {"node_args": node_args}


def test_another_option_leaves_the_preload_alone() -> None:
    app, one = declared(args="-a"), member(declared())
    assert changed_fields(app, one, differences(app, one)) == {"args": ["-a"]}


def test_log_files_of_a_generation_bear_the_number_of_the_instance() -> None:
    had, has = declared(instances=2, out_file="/old/x.log"), declared(instances=2, out_file="/new/x.log")
    one = member(had, pm_id=7, number=1)
    # the names are complete: PM2 must not add its pm_id
    assert changed_fields(has, one, differences(has, one)) == {"pm_out_log_path": "/new/x-1.log", "merge_logs": True}
    # one that PM2 numbered goes on with its pm_id
    by_pm2 = process(had, pm_id=7, number=1)
    changes = changed_fields(has, by_pm2, differences(has, by_pm2))
    assert changes == {"pm_out_log_path": "/new/x-7.log", "merge_logs": False}


def test_the_pid_file_is_numbered_by_pm2() -> None:
    had, has = declared(pid_file="/p/a.pid"), declared(pid_file="/p/b.pid")
    one = member(had, pm_id=7, number=1)
    assert changed_fields(has, one, differences(has, one)) == {"pm_pid_path": "/p/b-7.pid"}


def test_what_a_person_changed_is_drift() -> None:
    app = declared(instances=2)
    one = member(app, 3, 1)
    for field, value, option in (
        ("pm_cwd", "/elsewhere", "cwd"),
        ("node_args", ["-r", PRELOAD, "--inspect"], "node_args"),
        ("pm_out_log_path", "/tmp/out.log", "out_file"),
    ):
        assert options(app, replace(one, env={**one.env, field: value})) == [option]
