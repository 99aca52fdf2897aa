# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Differences and plans as data: what PM2 has, what is declared, what follows."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest
from support.processes import NOW, declared, member, process

from ansible_collections.zerodown.pm2.plugins.module_utils._app import App
from ansible_collections.zerodown.pm2.plugins.module_utils._drift import (
    changed_fields,
    differences,
    instance_number,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._plan import (
    by_cutover,
    describe,
    has_done_its_work,
    make,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process


def plan(app: App, *processes: Process) -> list[dict[str, Any]]:
    return [action.as_data() for action in make(app, list(processes), NOW, 2.0).actions]


def kinds(app: App, *processes: Process) -> list[tuple[str, int | None]]:
    return [(action["action"], action.get("pm_id")) for action in plan(app, *processes)]


# differences ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("had", "has", "options"),
    [
        ({}, {}, []),
        ({}, {"script": "/srv/web/other.js"}, ["script"]),
        ({}, {"cwd": "/srv"}, ["cwd"]),
        ({}, {"args": "-a"}, ["args"]),
        ({"args": "-a"}, {}, ["args"]),
        ({}, {"interpreter": "/opt/node"}, ["interpreter"]),
        ({"node_args": "-r x"}, {"node_args": ["-r", "y"]}, ["node_args"]),
        ({}, {"exec_mode": "cluster"}, ["exec_mode", "out_file", "error_file"]),
        ({}, {"instances": 2, "exec_mode": "fork"}, ["out_file", "error_file"]),
        ({}, {"out_file": "/l/x.log"}, ["out_file"]),
        ({"log_file": True}, {}, ["log_file"]),
        ({}, {"env": {"A": "1"}}, ["env.A"]),
        ({"env": {"A": "1", "B": "2"}}, {"env": {"A": "2"}}, ["env.A", "env.B"]),
        ({"env": {"A": 1}}, {"env": {"A": "1"}}, []),
        ({"port": 3000}, {"port": 3001}, ["env.PORT", "port"]),
        ({"max_memory_restart": "1G"}, {"max_memory_restart": "1024M"}, []),
        ({"max_memory_restart": "1G"}, {}, ["max_memory_restart"]),
        ({}, {"kill_timeout": 1600, "max_restarts": 16, "min_uptime": "1s", "listen_timeout": "3s"}, []),
        ({}, {"autorestart": False}, ["autorestart"]),
        ({"autorestart": False}, {}, ["autorestart"]),
        ({"cron_restart": "0 1 * * *"}, {"cron_restart": "0"}, ["cron_restart"]),
        ({"time": True}, {}, ["log_date_format"]),
        ({"time": True}, {"log_date_format": "YYYY-MM-DDTHH:mm:ss"}, []),
        ({"instance_var": "A"}, {}, ["instance_var"]),
        ({"source_map_support": False}, {}, ["disable_source_map_support"]),
        ({}, {"source_map_support": True}, ["source_map_support"]),
        ({"pmx": False}, {}, ["pmx"]),
        ({"watch": True}, {"watch": ["src"]}, ["watch"]),
        ({"pid_file": "/p/x.pid"}, {}, ["pid_file"]),
    ],
)
def test_differences(had: dict[str, Any], has: dict[str, Any], options: list[str]) -> None:
    found = differences(declared(**has), process(declared(**had)))
    assert [difference.option for difference in found] == options


@pytest.mark.parametrize(
    "fields",
    [
        # what PM2's command line, its dump and its own restarts leave behind
        {"filter_env": [], "km_link": False, "username": "x", "versioning": None, "vizion_running": False},
        {"axm_monitor": {}, "created_at": 1, "restart_time": 7, "prev_restart_delay": 0, "exit_code": 0},
        {"merge_logs": False},
        {"instances": 7},
        {"args": ""},
        {"script": "/old.js", "cwd": "/old", "out_file": "/old.log"},
        {"pm_pid_path": "/h/pids/web-7.pid"},
        {"watch": None},
        {"kill_timeout": "1600"},
        {"max_memory_restart": None},
    ],
)
def test_what_pm2_does_by_itself_is_no_difference(fields: dict[str, Any]) -> None:
    app = declared()
    assert differences(app, process(app, fields=fields)) == []


def test_settings_of_a_module_of_the_same_name_are_no_variable() -> None:
    app = declared()
    env = {**app.definition["env"], "web": {}, "unique_id": "y"}
    assert differences(app, process(app, fields={"env": env})) == []


def test_the_interpreter_of_a_worker_does_not_matter() -> None:
    app = declared(exec_mode="cluster")
    assert differences(app, process(app, fields={"exec_interpreter": "/usr/bin/node"})) == []


def test_a_counted_variable_is_each_process_own() -> None:
    app = declared(instances=2, exec_mode="fork", env={"PORT": 3000}, increment_var="PORT")
    second = process(app, 1, 1, fields={"env": {**app.definition["env"], "PORT": "3001"}, "PORT": "3001"})
    assert differences(app, second) == []
    changed = declared(instances=2, exec_mode="fork", env={"PORT": 3000, "A": "1"}, increment_var="PORT")
    assert changed_fields(changed, second, differences(changed, second))["env"]["PORT"] == "3001"


def test_what_is_sent_to_change_a_process() -> None:
    had = declared(args="-a", max_memory_restart="1G", env={"A": "1", "B": "2"}, instance_var="N")
    has = declared(cwd="/srv", script="/srv/web/server.js", env={"A": "2"}, merge_logs=False)
    one = process(had, pm_id=4, number=1)
    changes = changed_fields(has, one, differences(has, one))
    env = changes.pop("env")
    assert env == {**has.definition["env"], "unique_id": "x"}
    assert changes == {
        "pm_cwd": "/srv",
        "args": [],
        "max_memory_restart": "null",
        "instance_var": "NODE_APP_INSTANCE",
        "NODE_APP_INSTANCE": 1,
        "N": "null",
        "B": "null",
        "merge_logs": False,
        "pm_out_log_path": "/h/logs/web-out-4.log",
        "pm_err_log_path": "/h/logs/web-error-4.log",
    }


def test_a_variable_with_the_name_of_a_field_removes_no_field() -> None:
    app = declared()
    # started by hand in a shell that had a variable "watch"
    one = process(app, fields={"env": {**app.definition["env"], "watch": "yes"}, "watch": "yes"})
    changes = changed_fields(app, one, differences(app, one))
    assert changes["watch"] is False
    assert "watch" not in changes["env"]


def test_numbers() -> None:
    app = declared()
    assert instance_number(process(app, 5, 3)) == 3
    assert instance_number(process(app, 5, fields={"NODE_APP_INSTANCE": None})) == 5
    assert instance_number(process(declared(instance_var="N"), 5, 2)) == 2


# plans ---------------------------------------------------------------------------------------------------------------


def test_nothing_to_do() -> None:
    app = declared(instances=2)
    assert plan(app, process(app, 0, 0), process(app, 1, 1)) == []


def test_a_new_app() -> None:
    assert plan(declared(instances=3)) == [{"action": "create", "app": "web", "count": 3}]


def test_one_change_of_a_forked_and_of_a_cluster_app() -> None:
    assert plan(declared(env={"A": "1"}), process(declared())) == [
        {"action": "update", "app": "web", "pm_id": 0, "options": ["env.A"], "by": "restart"}
    ]
    app = declared(exec_mode="cluster")
    changed = declared(exec_mode="cluster", env={"A": "1"})
    assert plan(changed, process(app))[0]["by"] == "reload"
    # what a reload does not apply, or not safely
    for options in ({"cron_restart": "0 1 * * *"}, {"node_args": "-r x"}, {"watch": True, "env": {"A": "1"}}):
        assert plan(declared(exec_mode="cluster", **options), process(app))[0]["by"] == "restart"
    assert plan(changed, process(app, status="stopped", pid=None))[0]["by"] == "restart"


def test_another_mode_stops_all_first() -> None:
    app, changed = declared(instances=2), declared(instances=2, exec_mode="fork")
    assert kinds(changed, process(app, 0, 0), process(app, 1, 1)) == [
        ("stop", 0),
        ("stop", 1),
        ("update", 0),
        ("update", 1),
    ]


def test_scaling() -> None:
    two, four = declared(instances=2), declared(instances=4)
    old = [process(two, 3, 0), process(two, 7, 1)]
    assert plan(four, *old) == [{"action": "create", "app": "web", "count": 2}]
    now = [process(four, number, number) for number in range(4)]
    assert kinds(two, *now) == [("delete", 2), ("delete", 3)]
    # the numbers count, not the pm_ids
    mixed = [process(four, 0, 3), process(four, 1, 2), process(four, 2, 1), process(four, 3, 0)]
    assert sorted(kinds(two, *mixed)) == [("delete", 0), ("delete", 1)]
    # one that is as declared is worth more than a low number
    foreign = process(four, 0, 0, fields={"pm_cwd": "/elsewhere"})
    assert kinds(two, foreign, *now[1:3]) == [("delete", 0)]


def test_watching() -> None:
    off, on = declared(), declared(watch=True)
    some, others = declared(watch=["a"]), declared(watch=["b"])
    assert kinds(on, process(off)) == [("watch", 0)]
    assert kinds(off, process(on)) == [("watch", 0)]
    assert kinds(off, process(some)) == [("watch", 0)]
    assert kinds(others, process(some)) == [("replace", 0)]
    assert kinds(some, process(off)) == [("replace", 0)]
    assert kinds(declared(watch=["a"], cwd="/srv"), process(some)) == [("replace", 0)]
    assert kinds(declared(watch=True, ignore_watch="x"), process(on)) == [("update", 0)]


@pytest.mark.parametrize("status", ["stopped", "errored", "waiting restart", "stopping", "online"])
def test_one_that_does_not_run_is_started(status: str) -> None:
    app = declared()
    assert kinds(app, process(app, status=status, pid=None)) == [("start", 0)]


def test_one_that_is_starting_is_left_alone() -> None:
    app = declared()
    assert plan(app, process(app, status="launching")) == []


def test_a_job_that_is_done() -> None:
    job = declared(autorestart=False)
    ended: dict[str, Any] = {"status": "stopped", "pid": None}
    assert plan(job, process(job, **ended, exit_code=0)) == []
    assert kinds(job, process(job, **ended, exit_code=1)) == [("start", 0)]
    assert kinds(job, process(job, **ended, exit_code=None)) == [("start", 0)]
    codes = declared(stop_exit_codes=[3])
    assert has_done_its_work(process(codes, **ended, exit_code=3))
    assert not has_done_its_work(process(codes, **ended, exit_code=0))


def test_a_process_that_was_restarted_just_now_is_suspicious() -> None:
    app = declared()
    recent = int((NOW - 1) * 1000)
    assert make(app, [process(app, restarts=3, started_at=recent)], NOW, 2.0).suspicious
    assert not make(app, [process(app, restarts=0, started_at=recent)], NOW, 2.0).suspicious
    assert not make(app, [process(app, restarts=3)], NOW, 2.0).suspicious


def test_verbs() -> None:
    app = declared(exec_mode="cluster")
    old = process(app, 0, 0)
    assert kinds(replace(app, state="restarted"), old) == [("restart", 0)]
    assert kinds(replace(app, state="reloaded"), old) == [("reload", 0)]
    assert kinds(replace(app, state="reloaded"), replace(old, status="stopped", pid=None)) == [("start", 0)]
    assert kinds(replace(app, state="absent"), old) == [("delete", 0)]
    changed = declared(exec_mode="cluster", env={"A": "1"}, state="restarted")
    assert plan(changed, old)[0]["by"] == "restart"


def test_only_the_name() -> None:
    old = process(declared(), 0)
    assert plan(App("web", "online"), old) == []
    assert kinds(App("web", "stopped"), old) == [("stop", 0)]
    assert kinds(App("web", "restarted"), old) == [("restart", 0)]
    assert plan(App("web", "stopped")) == plan(App("web", "absent")) == []
    with pytest.raises(Pm2Error, match="PM2 has no app web"):
        plan(App("web", "online"))
    woken = process(declared(cron_restart="0 1 * * *"), 0)
    assert "cron_restart" in make(App("web", "stopped"), [woken], NOW, 2.0).warnings[0]


def test_stopped() -> None:
    app = declared(instances=2, state="stopped")
    assert kinds(app) == [("register", None)] * 2
    assert [action.number for action in make(app, [], NOW, 2.0).actions] == [0, 1]
    running = process(app, 0, 1)
    actions = make(app, [running], NOW, 2.0).actions
    assert [(action.kind, action.number) for action in actions] == [("stop", 0), ("register", 0)]
    resting = [process(app, number, number, status="stopped", pid=None) for number in (0, 1)]
    assert plan(app, *resting) == []
    assert kinds(app, replace(resting[0], status="errored"), resting[1]) == [("stop", 0)]
    changed = declared(instances=2, env={"A": "1"}, state="stopped")
    assert kinds(changed, *resting) == [("delete", 0), ("register", None), ("delete", 1), ("register", None)]
    # its cron pattern would start it
    job = declared(cron_restart="0 1 * * *", state="stopped")
    assert kinds(job, process(declared(cron_restart="0 1 * * *"))) == [("delete", 0), ("register", None)]
    assert "cron_restart" not in make(job, [], NOW, 2.0).app.definition


def test_others_are_not_touched() -> None:
    app = declared()
    module = process(app, 1, fields={"pmx_module": True})
    other = replace(process(app, 3), name="other")
    assert plan(replace(app, state="absent"), module, other) == []
    assert plan(app, process(app, 0), module, other) == []


# replaced by a cutover -----------------------------------------------------------------------------------------------


def cut_over(app: App, *processes: Process) -> list[dict[str, Any]]:
    return [action.as_data() for action in by_cutover(make(app, list(processes), NOW, 2.0)).actions]


@pytest.mark.parametrize("started", [process, member])
def test_what_would_be_changed_in_place_is_replaced(started: Any) -> None:
    app = declared(instances=2)
    changed = declared(instances=2, env={"A": "1"}, max_memory_restart="1G")
    assert cut_over(changed, started(app, 0, 0), started(app, 1, 1)) == [
        {"action": "cutover", "app": "web", "count": 2, "options": ["env.A", "max_memory_restart"]}
    ]


def test_all_of_them_are_replaced_when_one_must_be() -> None:
    app = declared(instances=3)
    one_differs = [member(app, 0, 0), member(app, 1, 1, fields={"args": ["-a"]})]
    assert cut_over(app, *one_differs) == [{"action": "cutover", "app": "web", "count": 3, "options": ["args"]}]


@pytest.mark.parametrize(
    ("had", "has", "kinds"),
    [
        ({"instances": 2}, {"instances": 2}, []),
        ({"instances": 2}, {"instances": 2, "state": "reloaded"}, ["cutover"]),
        ({"instances": 2, "watch": ["a"]}, {"instances": 2, "watch": ["b"]}, ["cutover"]),
        # nothing that serves is touched
        ({"instances": 2}, {"instances": 1}, ["delete"]),
        ({"instances": 2}, {"instances": 4}, ["create"]),
        ({"instances": 2}, {"instances": 2, "watch": True}, ["watch", "watch"]),
        # somebody said how
        ({"instances": 2}, {"instances": 2, "state": "restarted"}, ["restart", "restart"]),
        ({"instances": 2}, {"instances": 2, "args": "-a", "strategy": "restart"}, ["update", "update"]),
        ({"instances": 2}, {"instances": 2, "args": "-a", "strategy": "generation"}, ["cutover"]),
        # a port has one owner in fork mode
        ({}, {"args": "-a"}, ["update", "update"]),
        ({"instances": 2}, {"exec_mode": "fork", "instances": 2}, ["stop", "stop", "update", "update"]),
        ({"exec_mode": "fork", "instances": 2}, {"instances": 2}, ["stop", "stop", "update", "update"]),
    ],
)
def test_which_plans_become_a_cutover(had: dict[str, Any], has: dict[str, Any], kinds: list[str]) -> None:
    before, after = declared(**had), declared(**has)
    if "instances" not in has:
        after = replace(after, instances=2)
    found = cut_over(after, process(before, 0, 0), process(before, 1, 1))
    assert [action["action"] for action in found] == kinds


def test_what_does_not_run_is_changed_in_place() -> None:
    app, changed = declared(instances=1), declared(instances=1, args="-a")
    resting = member(app, status="stopped", pid=None)
    assert [action["action"] for action in cut_over(changed, resting)] == ["update"]
    # one of two runs
    assert [action["action"] for action in cut_over(changed, resting, member(app, 1, 0))] == ["cutover"]


def test_a_diff_of_a_cutover_counts_the_new_ones() -> None:
    app = declared(instances=2)
    old = [member(app, number, number, fields={"args": ["-a"]}) for number in range(3)]
    before, after = describe(by_cutover(make(app, old, NOW, 2.0)))
    assert "  processes: 3 online\n" in before
    assert "  processes: 2 online\n" in after


# for people ----------------------------------------------------------------------------------------------------------


def test_a_diff_shows_options_and_never_a_variable() -> None:
    old = declared(env={"KEPT": "secret-1", "OLD": "secret-2", "CHANGED": "secret-3"}, max_memory_restart="1G")
    new = declared(env={"KEPT": "secret-1", "NEW": "secret-4", "CHANGED": "secret-5"}, instances=2, exec_mode="fork")
    before, after = describe(make(new, [process(old)], NOW, 2.0))
    assert before == (
        "web:\n  processes: 1 online\n  script: /srv/web/server.js\n  exec_mode: fork_mode\n"
        "  env.CHANGED: <hidden>\n  env.KEPT: <hidden>\n  env.OLD: <hidden>\n"
        "  out_file: /h/logs/web-out.log\n  error_file: /h/logs/web-error.log\n  max_memory_restart: 1073741824\n"
    )
    assert after == (
        "web:\n  processes: 2 online\n  script: /srv/web/server.js\n  exec_mode: fork_mode\n"
        "  env.CHANGED: <hidden, changed>\n  env.KEPT: <hidden>\n  env.NEW: <hidden>\n"
        "  out_file: /h/logs/web-out-*.log\n  error_file: /h/logs/web-error-*.log\n"
    )


@pytest.mark.parametrize(
    ("state", "statuses", "before", "after"),
    [
        ("online", [], "", "2 online"),
        ("online", ["online"], "1 online", "2 online"),
        ("online", ["stopped", "errored"], "1 errored, 1 stopped", "2 online"),
        ("online", ["online", "online", "online"], "3 online", "2 online"),
        ("stopped", ["online", "online"], "2 online", "2 stopped"),
        ("absent", ["online"], "1 online", ""),
    ],
)
def test_a_diff_counts_processes(state: str, statuses: list[str], before: str, after: str) -> None:
    app = declared(instances=2, exec_mode="fork", state="online")
    processes = [
        process(app, number, number, status=status, pid=os.getpid() if status == "online" else None)
        for number, status in enumerate(statuses)
    ]
    texts = describe(make(replace(app, state=state), processes, NOW, 2.0))
    assert len(texts) == 2
    for text, expected in zip(texts, (before, after)):
        assert (f"  processes: {expected}\n" in text) if expected else text == ""
