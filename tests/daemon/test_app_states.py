# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The states of an app, its number of processes, and what people did by hand, against real daemons."""

from __future__ import annotations

import contextlib
import json
import os
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.pm2_host import PATIENCE, environment_of, is_alive, wait_for

from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process

App = Callable[..., dict[str, Any]]
Processes = Callable[[str], list[Process]]
newest = pytest.mark.parametrize("pm2_version", ["7"], indirect=True)


def pids(found: list[Process]) -> list[int | None]:
    return [process.pid for process in found]


def kinds(result: dict[str, Any]) -> list[str]:
    return [action["action"] for action in result["plan"]]


def get(port: int) -> str:
    """PM2 calls a process online before its script has come to listen."""
    found: list[str] = []

    def ask() -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            found.append(answer.read().decode())
        return bool(found)

    wait_for(ask, f"nothing answers on port {port}")
    return found[0]


# a host on which nothing runs --------------------------------------------------------------------------------------


@newest
def test_check_mode_starts_nothing_and_tells_what_the_run_will_do(app: App, scripts: Path, pm2_home: Path) -> None:
    declared = {"name": "web", "script": str(scripts / "quiet.js"), "env": {"TOKEN": "very-secret"}}
    predicted = app(declared, check=True)
    assert predicted["changed"]
    assert list(pm2_home.iterdir()) == []
    done = app(declared)
    assert kinds(done) == kinds(predicted) == ["start_daemon", "create"]
    assert done["diff"] == predicted["diff"]
    assert "env.TOKEN: <hidden>" in done["diff"]["after"]
    assert "very-secret" not in json.dumps(done)
    again = app(declared, check=True)
    assert (again["changed"], again["plan"], again["diff"]) == (False, [], {"before": "", "after": ""})


@newest
@pytest.mark.parametrize("state", ["absent", "stopped"])
def test_nothing_is_started_to_have_nothing(app: App, pm2_home: Path, state: str) -> None:
    result = app({"name": "web", "state": state})
    assert not result["changed"]
    assert result["apps"][0]["status"] == "absent"
    assert list(pm2_home.iterdir()) == []


@newest
def test_an_unknown_app_cannot_be_restarted(app: App) -> None:
    assert "PM2 has no app web" in app({"name": "web", "state": "restarted"}, fails=True)["msg"]


# the environment -----------------------------------------------------------------------------------------------------


def test_the_environment_is_what_is_declared(app: App, scripts: Path, processes: Processes, pm2_home: Path) -> None:
    session = {**os.environ, "SSH_CONNECTION": "1.2.3.4", "name": "evil", "instances": "7"}
    app({"name": "web", "script": str(scripts / "quiet.js"), "env": {"GREETING": "hello"}}, env=session)
    (process,) = processes("web")
    assert process.pid
    environment = environment_of(process.pid)
    variables = {name for name in environment if name.isupper()}
    base = {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "PM2_HOME"}
    # NODE_CHANNEL_FD and its like are the channel between PM2 and Node
    assert {name for name in variables if not name.startswith("NODE_")} == {*base, "GREETING"}
    assert environment["name"] == "web"
    assert environment["PM2_HOME"] == str(pm2_home)


@newest
def test_a_variable_that_only_pm2_still_has_is_found(
    app: App, scripts: Path, processes: Processes, pm2: Callable[..., str]
) -> None:
    declared = {"name": "web", "script": str(scripts / "quiet.js"), "env": {"KEPT": "1"}}
    app({**declared, "env": {"KEPT": "1", "GONE": "2"}})
    # what PM2's command line does with an ecosystem file from which a variable was removed
    ecosystem = scripts / "eco.config.json"
    (process,) = processes("web")
    ecosystem.write_text(json.dumps([{**declared, "env": process.env["env"] | {"KEPT": "1"}}]))
    content = json.loads(ecosystem.read_text())
    del content[0]["env"]["GONE"]
    ecosystem.write_text(json.dumps(content))
    pm2("restart", str(ecosystem))
    (process,) = processes("web")
    assert "GONE" not in process.env["env"]
    assert environment_of(process.pid or 0)["GONE"] == "2"
    assert "env.GONE" in app(declared)["plan"][0]["options"]
    assert "GONE" not in environment_of(processes("web")[0].pid or 0)


# how many ------------------------------------------------------------------------------------------------------------


def test_scaling_keeps_the_others_running(
    app: App, scripts: Path, processes: Processes, free_port: Callable[[], int]
) -> None:
    declared = {"name": "web", "script": str(scripts / "server.js"), "port": free_port()}
    app({**declared, "instances": 2})
    two = processes("web")
    grown = app({**declared, "instances": 4})
    assert kinds(grown) == ["create"]
    four = processes("web")
    assert pids(four)[:2] == pids(two)
    assert [process.env["NODE_APP_INSTANCE"] for process in four] == [0, 1, 2, 3]
    shrunk = app({**declared, "instances": 1})
    assert kinds(shrunk) == ["delete"] * 3
    assert pids(processes("web")) == pids(two)[:1]
    # the lowest free numbers are taken again
    app({**declared, "instances": 2})
    assert [process.env["NODE_APP_INSTANCE"] for process in processes("web")] == [0, 1]


@newest
def test_a_gap_in_the_numbers_is_filled(app: App, scripts: Path, processes: Processes, daemon: Rpc) -> None:
    declared = {"name": "web", "script": str(scripts / "quiet.sh"), "instances": 3}
    app(declared)
    daemon.delete(int(processes("web")[1].pm_id), 10)
    app(declared)
    assert sorted(process.env["NODE_APP_INSTANCE"] for process in processes("web")) == [0, 1, 2]


def test_a_new_release_of_a_cluster_is_a_new_generation(
    app: App, scripts: Path, processes: Processes, free_port: Callable[[], int]
) -> None:
    port = free_port()
    declared = {"name": "web", "script": str(scripts / "server.js"), "port": port, "instances": 3}
    app({**declared, "env": {"GREETING": "one"}})
    result = app({**declared, "env": {"GREETING": "two"}})
    assert result["plan"] == [{"action": "cutover", "app": "web", "count": 3, "options": ["env.GREETING"]}]
    assert {get(port).split()[1] for _request in range(9)} == {"two"}
    assert [process.restarts for process in processes("web")] == [0, 0, 0]
    assert [process.env["NODE_APP_INSTANCE"] for process in processes("web")] == [0, 1, 2]
    assert not app({**declared, "env": {"GREETING": "two"}})["changed"]


def test_a_bad_release_of_a_cluster_touches_nothing(
    app: App, scripts: Path, processes: Processes, free_port: Callable[[], int]
) -> None:
    port = free_port()
    declared = {"name": "web", "script": str(scripts / "server.js"), "port": port, "instances": 3}
    app(declared)
    before = pids(processes("web"))
    # longer than Node needs to come to its script on a busy machine
    bad = {**declared, "script": str(scripts / "boot_crash.js"), "steady_time": 5}
    result = app(bad, fails=True)
    assert "boom at boot" in result["msg"]
    assert "web (untouched, the same processes)" in result["msg"]
    assert not result["changed"]
    assert pids(processes("web")) == before
    assert get(port)
    assert not app(declared)["changed"]


# by hand -------------------------------------------------------------------------------------------------------------


def test_what_was_started_by_hand_becomes_what_is_declared(
    app: App, scripts: Path, processes: Processes, pm2: Callable[..., str], daemon: Rpc
) -> None:
    assert daemon.is_alive()
    pm2(
        *("start", str(scripts / "quiet.js"), "--name", "web", "-i", "2", "--max-memory-restart", "200M"),
        *("--no-autorestart", "--restart-delay", "100", "--", "--flag"),
        SHELL_VARIABLE="x",
    )
    by_hand = processes("web")
    declared = {"name": "web", "script": str(scripts / "quiet.js"), "instances": 2, "exec_mode": "cluster"}
    result = app(declared)
    assert {"max_memory_restart", "autorestart", "restart_delay", "args", "env.SHELL_VARIABLE"} <= set(
        result["plan"][0]["options"]
    )
    assert not {process.pm_id for process in processes("web")} & {process.pm_id for process in by_hand}
    assert not app(declared)["changed"]


def test_what_people_do_with_pm2_is_no_difference(
    app: App, scripts: Path, processes: Processes, pm2: Callable[..., str], pm2_home: Path
) -> None:
    declared = {
        "apps": [
            {"name": "web", "script": str(scripts / "quiet.js"), "instances": 2, "listen_timeout": 200},
            {"name": "mail", "script": str(scripts / "quiet.sh"), "max_memory_restart": "300M"},
        ]
    }
    app(declared)
    for deed in ("restart web", "reload all", "stop mail", "start mail", "reset all"):
        pm2(*deed.split())
        if deed != "stop mail":
            assert app(declared)["plan"] == [], deed
    pm2("save")
    pm2("kill")
    wait_for(lambda: not Rpc(str(pm2_home / "rpc.sock")).is_alive(), "the daemon is still there")
    pm2("resurrect")
    wait_for(
        lambda: [process.is_running() for name in ("web", "mail") for process in processes(name)] == [True] * 3,
        "the apps did not come back",
    )
    assert app(declared)["plan"] == []


@newest
def test_of_several_by_one_name_the_right_one_stays(
    app: App, scripts: Path, processes: Processes, pm2: Callable[..., str]
) -> None:
    app({"name": "web", "script": str(scripts / "quiet2.sh")})
    pm2("start", str(scripts / "quiet.sh"), "--name", "web", "--force")
    app({"name": "web", "script": str(scripts / "quiet.sh"), "instances": 2})
    assert len(processes("web")) == 2
    before = pids(processes("web"))
    right = int(processes("web")[1].pm_id)
    result = app({"name": "web", "script": str(scripts / "quiet.sh"), "instances": 1})
    assert kinds(result) == ["delete"]
    assert len(before) == 2
    assert right not in [process.pm_id for process in processes("web")]


@newest
def test_modules_of_pm2_are_never_touched(app: App, scripts: Path, processes: Processes, daemon: Rpc) -> None:
    app({"name": "pm2-logrotate", "script": str(scripts / "quiet.sh")})
    (process,) = processes("pm2-logrotate")
    # what PM2 marks its own modules with (PM2 lib/API.js startApps)
    daemon.restart(int(process.pm_id), {"pmx_module": True}, 10)
    before = pids(processes("pm2-logrotate"))
    assert not app({"name": "pm2-logrotate", "state": "absent"})["changed"]
    assert pids(processes("pm2-logrotate")) == before


# states --------------------------------------------------------------------------------------------------------------


def test_stopped_is_known_and_does_not_run(
    app: App, scripts: Path, processes: Processes, pm2: Callable[..., str], pm2_home: Path
) -> None:
    declared = {"name": "web", "script": str(scripts / "quiet.js"), "instances": 2}
    first = app({**declared, "state": "stopped"})
    assert kinds(first) == ["start_daemon", "register", "register"]
    assert [(process.status, process.pid) for process in processes("web")] == [("stopped", None)] * 2
    assert not app({**declared, "state": "stopped"})["changed"]
    assert "web" in pm2("ls")
    # a person can start it, and each process has its own log
    pm2("start", "web")
    assert all(process.is_running() for process in processes("web"))
    assert not app(declared)["changed"]
    running = pids(processes("web"))
    stopped = app({**declared, "state": "stopped"})
    assert kinds(stopped) == ["stop", "stop"]
    assert not any(is_alive(pid) for pid in running if pid)
    assert len(list((pm2_home / "logs").glob("web-out-*.log"))) == 2
    assert kinds(app(declared)) == ["start", "start"]


@newest
def test_stopped_takes_changed_options_over(app: App, scripts: Path, processes: Processes) -> None:
    declared = {"name": "web", "script": str(scripts / "quiet.sh"), "state": "stopped"}
    app(declared)
    result = app({**declared, "env": {"GREETING": "hello"}})
    assert kinds(result) == ["delete", "register"]
    (process,) = processes("web")
    assert (process.status, process.env["env"]["GREETING"]) == ("stopped", "hello")


def test_a_cron_pattern_does_not_wake_a_stopped_app(app: App, scripts: Path, processes: Processes) -> None:
    every_second = {"name": "job", "script": str(scripts / "quiet.sh"), "cron_restart": "* * * * * *"}
    app({**every_second, "state": "stopped"})
    time.sleep(2.2)
    assert [process.status for process in processes("job")] == ["stopped"]
    never = {**every_second, "cron_restart": "0 0 1 1 *"}
    app(never)
    app({**never, "state": "stopped"})
    app({**never, "cron_restart": "0 0 1 2 *"})
    assert [process.env["cron_restart"] for process in processes("job")] == ["0 0 1 2 *"]


def test_a_cron_pattern_is_registered_anew_when_it_changes(app: App, scripts: Path, processes: Processes) -> None:
    declared = {"name": "job", "script": str(scripts / "quiet.sh"), "steady_time": 0.1}
    app({**declared, "cron_restart": "0 0 1 1 *"})
    # not every second: three restarts while the module looks would be a crash loop to it
    app({**declared, "cron_restart": "*/4 * * * * *"})
    before = processes("job")[0].restarts
    wait_for(lambda: processes("job")[0].restarts > before, "the new pattern is not at work")
    app(declared)
    after = processes("job")[0].restarts
    time.sleep(4.2)
    assert processes("job")[0].restarts == after, "the removed pattern is still at work"


def test_verbs_need_only_the_name(app: App, scripts: Path, processes: Processes) -> None:
    app({"name": "web", "script": str(scripts / "quiet.js"), "instances": 2, "listen_timeout": 200})
    for state, expected in (("restarted", "restart"), ("reloaded", "reload")):
        before = pids(processes("web"))
        result = app({"name": "web", "state": state})
        assert kinds(result) == [expected] * 2
        assert not set(before) & set(pids(processes("web")))
    assert kinds(app({"name": "web", "state": "stopped"})) == ["stop", "stop"]
    assert kinds(app({"name": "web"})) == ["start", "start"]
    assert kinds(app({"name": "web", "state": "absent"})) == ["delete", "delete"]
    assert processes("web") == []


@newest
def test_each_app_of_a_list_can_have_its_own_state(app: App, scripts: Path, processes: Processes) -> None:
    script = str(scripts / "quiet.sh")
    app({"apps": [{"name": "a", "script": script}, {"name": "b", "script": script}, {"name": "c", "script": script}]})
    result = app({"apps": [{"name": "a", "state": "absent"}, {"name": "b", "script": script}, {"name": "c"}]})
    assert [(item["name"], item["status"]) for item in result["apps"]] == [
        ("a", "absent"),
        ("b", "online"),
        ("c", "online"),
    ]
    app({"apps": [{"name": "b"}, {"name": "c", "state": "restarted"}], "state": "stopped"})
    assert [processes(name)[0].status for name in ("b", "c")] == ["stopped", "online"]


# PM2's own ways ------------------------------------------------------------------------------------------------------


@newest
def test_a_job_that_did_its_work_is_left_alone(app: App, scripts: Path, processes: Processes) -> None:
    job = {"name": "job", "script": str(scripts / "exit_0.js"), "autorestart": False}
    app(job)
    wait_for(lambda: processes("job")[0].status == "stopped", "the job does not end")
    assert not app(job)["changed"]
    assert kinds(app({**job, "state": "restarted"})) == ["restart"]
    codes = {"name": "codes", "script": str(scripts / "exit_3.js"), "stop_exit_codes": [3]}
    app(codes)
    wait_for(lambda: processes("codes")[0].status == "stopped", "the job does not end")
    assert not app(codes)["changed"]


@newest
def test_watching_works_and_ends(app: App, scripts: Path, processes: Processes) -> None:
    watched = scripts / "watched"
    watched.mkdir()
    declared = {"name": "web", "script": str(scripts / "quiet.sh"), "cwd": str(watched)}

    def restarts() -> int:
        return processes("web")[0].restarts

    def at_rest() -> int:
        """Once what earlier writes have set off is over."""
        before = -1
        while before != restarts():
            before = restarts()
            time.sleep(2)
        return before

    def restarts_when_changed(name: str, within: float = PATIENCE) -> bool:
        before = at_rest()
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            (watched / name).write_text(str(time.monotonic()))
            time.sleep(0.3)
            if restarts() > before:
                return True
        return False

    app(declared)
    assert kinds(app({**declared, "watch": True})) == ["watch"]
    assert restarts_when_changed("a.txt")
    assert kinds(app({**declared, "watch": True, "ignore_watch": ["*.tmp"]})) == ["update"]
    assert restarts_when_changed("b.txt")
    assert not restarts_when_changed("b.tmp", within=5)
    app(declared)
    assert not restarts_when_changed("c.txt", within=5)


@newest
def test_words_for_the_same(app: App, scripts: Path) -> None:
    app({"name": "web", "script": str(scripts / "quiet.js"), "instances": 1, "exec_mode": "fork"})
    for other in (
        {"exec": str(scripts / "quiet.js"), "instances": "1", "execute_command": True},
        {"cmd": str(scripts / "quiet.js"), "instances": 1, "execMode": "fork_mode", "minUptime": "1s"},
    ):
        assert not app({"name": "web", **other})["changed"], other


@newest
def test_programs_of_all_kinds(app: App, scripts: Path, processes: Processes) -> None:
    result = app(
        {
            "apps": [
                {"name": "python", "script": "loop.py", "cwd": str(scripts)},
                {"name": "binary", "script": "sleep", "args": [1000], "cwd": str(scripts)},
                {"name": "line", "script": "sleep 1000 && true", "cwd": str(scripts)},
                {"name": "shell", "script": "quiet.sh", "cwd": str(scripts)},
            ]
        }
    )
    assert [item["status"] for item in result["apps"]] == ["online"] * 4
    assert processes("python")[0].env["exec_interpreter"] in ("python", "python3")
    assert environment_of(processes("python")[0].pid or 0)["PYTHONUNBUFFERED"] == "1"
    assert processes("binary")[0].env["exec_interpreter"] == "none"
    assert processes("line")[0].env["args"] == ["-c", "sleep 1000 && true"]


@newest
def test_an_app_that_is_never_started(app: App, scripts: Path, processes: Processes) -> None:
    app({"name": "web", "script": str(scripts / "quiet.sh"), "autostart": False, "state": "stopped"})
    assert processes("web")[0].env["autostart"] is False
    app({"name": "web", "script": str(scripts / "quiet.sh")})
    assert processes("web")[0].is_running()
