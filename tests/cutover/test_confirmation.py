# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dead-man timer: a release is confirmed, or the host goes back from it, whoever is killed meanwhile."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.pm2_host import end_daemon, is_alive, pm2_package, start_daemon, wait_for
from support.python_web import PythonWeb
from support.run_module import run_module
from support.web import Web

from ansible_collections.zerodown.pm2.plugins.module_utils._boot_program import build

ROLLOUT = "r1"
# seconds that no test lives to see
LONG = 3600.0


def info(web: Web) -> dict[str, Any]:
    return run_module("release_info", path=str(web.root), events=100)


def go_live(web: Web, version: str = "v2", timeout: float = LONG, rollout: str = ROLLOUT, **options: Any) -> Any:
    """A good release by a cutover that is to be confirmed."""
    if not web.path(version).exists():
        web.stage("good", version)
    options = {"min_healthy_time": 0.3, "by": "anna", **options}
    return web.cutover(version, confirm_timeout=timeout, rollout=rollout, **options)


def say(web: Web, state: str, version: str = "v2", rollout: str = ROLLOUT, **options: Any) -> dict[str, Any]:
    place = {"path": str(web.root), "release": version, "rollout": rollout, "state": state, "by": "bob"}
    return web.module("confirmation", **{**place, **options})


def assert_gone_back(web: Web, reason: str) -> None:
    """``v1`` serves as before; ``v2`` is neither proven nor bad."""
    web.assert_serves("v1")
    left = web.release("v2")
    assert (left["live"], left["proven"], left["bad"]) == (False, False, False)
    found = info(web)
    assert found["awaiting"] is None
    (event,) = [entry for entry in found["log"] if entry["event"] == "withdrawn"]
    assert (event["release"], event["rollout"], event["reason"]) == ("v2", ROLLOUT, reason)


def wait_until_back(web: Web) -> None:
    wait_for(lambda: info(web)["awaiting"] is None, "it does not go back")


def waiter(web: Web) -> int | None:
    """The pid of the process that waits for the confirmation."""
    signs = {path.stat().st_ino for path in (web.home / "gate").glob("*.awaiting")}
    for line in Path("/proc/locks").read_text().splitlines():
        found = re.search(r"FLOCK +ADVISORY +WRITE +(\d+) +\w+:\w+:(\d+) ", line)
        if found and int(found[2]) in signs:
            return int(found[1])
    return None


def wait_for_waiter(web: Web) -> int:
    wait_for(lambda: waiter(web) is not None, "nobody waits for the confirmation")
    pid = waiter(web)
    assert pid
    return pid


def kill_waiter(web: Web) -> None:
    pid = wait_for_waiter(web)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(pid), "SIGKILL")


def let_time_pass(web: Web) -> None:
    """The record, with its time over."""
    path = web.root / "unconfirmed.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "until": time.time() - 1.0}))


def boot(web: Web) -> None:
    """What the unit does after a power cut, with the daemon and the program."""
    web.daemon = start_daemon(web.home, pm2_package(web.pm2_version))
    program = web.directory / "boot.pyz"
    program.write_bytes(build())
    node = shutil.which("node")
    assert node
    options = ["--home", str(web.home), "--timeout", "60", "--pm2", web.executable, "--node", node]
    with (web.directory / "boot.log").open("ab") as log:
        done = subprocess.run(
            [sys.executable, "-I", str(program), "resurrect", *options],
            env={"PATH": "/usr/bin:/bin"}, cwd="/", stdout=log, stderr=log, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 0, (web.directory / "boot.log").read_text()


def cut_power(web: Web) -> None:
    pid = waiter(web)
    if pid:
        os.kill(pid, signal.SIGKILL)
    end_daemon(web.home)


def test_given(web: Web) -> None:
    web.go_live()
    result = go_live(web)
    assert result["changed"]
    awaiting = info(web)["awaiting"]
    assert (awaiting["release"], awaiting["previous"], awaiting["rollout"]) == ("v2", "v1", ROLLOUT)
    assert (awaiting["by"], awaiting["timeout"]) == ("anna", LONG)
    assert LONG - 60 < awaiting["remaining"] <= LONG
    assert not web.release("v2")["proven"]

    planned = say(web, "given", check=True)
    assert planned["changed"]
    assert "awaits: rollout r1 by anna" in planned["diff"]["before"]
    assert planned["diff"]["after"] == "release: v2\n"
    assert info(web)["awaiting"]

    pids = web.pids()
    result = say(web, "given")
    assert result["changed"]
    assert (result["live"], result["awaiting"]) == ("v2", None)
    assert web.release("v2")["proven"]
    assert info(web)["awaiting"] is None
    again = say(web, "given")
    assert not again["changed"]
    assert web.pids() == pids
    assert (web.release("v2")["proven"], info(web)["log"][-1]["rollout"]) == (True, ROLLOUT)
    web.assert_serves("v2")


def test_nobody_confirms(web: Web) -> None:
    """The module has ended long before, and no request is lost."""
    web.go_live()
    with web.traffic() as traffic:
        go_live(web, timeout=4.0)
        web.assert_serves("v2")
        wait_until_back(web)
        after = traffic.mark()
    traffic.assert_only("v1", "v2")
    traffic.assert_only("v1", since=after)
    assert_gone_back(web, "not confirmed within 4 s by anna")

    failure = say(web, "given", fails=True)
    assert "went back to v1 at 20" in failure["msg"]
    assert "by itself, because release v2 was not confirmed within 4 s by anna." in failure["msg"]
    assert failure["withdrawal"]["by"] == "the host"
    assert not say(web, "withdrawn")["changed"]
    assert "is not live" in say(web, "given", rollout="r0", fails=True)["msg"]

    # nothing is said against it
    go_live(web, rollout="r2")
    say(web, "given", rollout="r2")
    web.assert_serves("v2")


def test_nobody_confirms_a_python_app(python_web: PythonWeb) -> None:
    web = python_web
    web.go_live()
    with web.traffic() as traffic:
        go_live(web, timeout=4.0)
        wait_until_back(web)
        after = traffic.mark()
    traffic.assert_only("v1", "v2")
    traffic.assert_only("v1", since=after)
    web.assert_serves("v1", 1, "fork")


@pytest.mark.whole
def test_awaited_anew(web: Web) -> None:
    web.go_live()
    go_live(web, timeout=60.0)
    pid, pids = wait_for_waiter(web), web.pids()

    again = go_live(web, timeout=600.0)
    assert (again["changed"], again["plan"]) == (False, [])
    assert 500 < again["awaiting"]["remaining"] <= 600
    assert say(web, "awaited", timeout=LONG, check=True)["awaiting"]["remaining"] > 600
    assert say(web, "awaited", timeout=1000.0)["awaiting"]["remaining"] > 600
    assert web.pids() == pids
    assert waiter(web) == pid, "one process waits, however often it begins anew"

    say(web, "awaited", timeout=0.5)
    wait_until_back(web)
    assert_gone_back(web, "not confirmed within 0.5 s by anna")
    assert "by itself" in say(web, "awaited", fails=True)["msg"]


def test_withdrawn(web: Web) -> None:
    web.go_live()
    go_live(web)
    assert "of rollout r1 is awaited" in say(web, "withdrawn", rollout="r2", fails=True)["msg"]
    assert "and not v3 of" in say(web, "withdrawn", "v3", fails=True)["msg"]
    planned = say(web, "withdrawn", check=True)
    assert (planned["changed"], planned["live"], planned["plan"][0]["action"]) == (True, "v1", "cutover")
    with web.traffic() as traffic:
        result = say(web, "withdrawn", reason="web7 failed")
        after = traffic.mark()
    traffic.assert_only("v1", "v2")
    traffic.assert_only("v1", since=after)
    assert result["changed"]
    assert (result["live"], result["serves"]) == ("v1", "Release v2 was withdrawn by bob; v1 serves again.")
    assert_gone_back(web, "web7 failed")
    assert not say(web, "withdrawn")["changed"]
    assert "because release v2 was withdrawn by bob (web7 failed)" in say(web, "given", fails=True)["msg"]
    assert "has proven itself" in say(web, "withdrawn", "v1", fails=True)["msg"]
    assert not say(web, "given", "v1")["changed"]


def test_the_first_release(web: Web) -> None:
    """There is nothing to go back to."""
    go_live(web, "v1", timeout=1.0)
    wait_until_back(web)
    web.assert_serves("v1")
    assert "serves because nothing ran before it" in say(web, "given", "v1", fails=True)["msg"]
    go_live(web, "v1", rollout="r2")
    result = say(web, "withdrawn", "v1", rollout="r2")
    assert (result["changed"], result["live"]) == (True, "v1")
    assert "still serves, because there is no earlier generation" in result["serves"]
    go_live(web, "v1", rollout="r3")
    assert say(web, "given", "v1", rollout="r3")["changed"]
    assert web.release("v1")["proven"]


def test_another_rollout(web: Web) -> None:
    web.go_live()
    go_live(web)
    pids = web.pids()
    web.stage("good", "v3")
    ours: list[dict[str, Any]] = [{}, {"confirm_timeout": LONG, "rollout": "r2"}]
    for options in ours:
        for check in (False, True):
            failure = web.cutover("v3", fails=True, check=check, **options)
            assert "Release v2 awaits the confirmation of rollout r1 by anna, since 20" in failure["msg"]
            assert "set force" in failure["msg"]
            assert failure["awaiting"]["rollout"] == ROLLOUT
    web.stage("throws_at_boot", "v0")
    go_live(web, "v0", rollout="r0", force=True, fails=True)
    assert info(web)["awaiting"]["rollout"] == ROLLOUT, "as nothing has changed"
    assert web.pids() == pids
    go_live(web, "v3", rollout="r2", force=True)
    assert info(web)["awaiting"]["rollout"] == "r2"
    say(web, "withdrawn", "v3", rollout="r2")
    # the last one that has proven itself
    web.assert_serves("v1")


@pytest.mark.whole
def test_without_a_rollout_by_force(web: Web) -> None:
    web.go_live()
    go_live(web)
    web.stage("throws_at_boot", "v3")
    web.cutover("v3", force=True, fails=True)
    assert info(web)["awaiting"]["release"] == "v2", "as nothing has changed"
    web.cutover(web.stage("good", "v4"), force=True)
    assert info(web)["awaiting"] is None
    assert web.release("v4")["proven"]
    assert "v4 is, since" in say(web, "given", fails=True)["msg"]


@pytest.mark.whole
def test_a_rollback_by_hand(web: Web) -> None:
    web.go_live()
    go_live(web)
    web.roll_back(reason="wrong prices")
    web.assert_serves("v1")
    assert info(web)["awaiting"] is None
    assert web.release("v2")["bad"]
    assert "v1 is, since" in say(web, "given", fails=True)["msg"]


def test_a_release_that_fails(web: Web) -> None:
    """At the gate and in the bake: nothing is awaited then."""
    web.go_live()
    for kind, version in (("throws_at_boot", "v2"), ("throws_after", "v3")):
        web.stage(kind, version, **({"seconds": 3} if kind == "throws_after" else {}))
        go_live(web, version, bake_time=20.0, fails=True)
        assert info(web)["awaiting"] is None
        assert web.release(version)["bad"]
        web.assert_serves("v1")


def test_what_is_live_and_proven(web: Web) -> None:
    web.go_live()
    result = go_live(web, "v1")
    assert not result["changed"]
    assert "awaiting" not in result
    assert info(web)["awaiting"] is None
    assert not say(web, "given", "v1")["changed"]


def test_in_check_mode(web: Web) -> None:
    web.go_live()
    web.stage("good", "v2")
    assert go_live(web, check=True)["changed"]
    assert info(web)["awaiting"] is None


def test_nobody_waits(web: Web) -> None:
    """Whoever comes next goes back first: who confirms too late, a cutover of the next release."""
    web.go_live()
    go_live(web)
    kill_waiter(web)
    let_time_pass(web)
    assert say(web, "given", check=True, fails=True)["msg"].endswith("the next run goes back from it.")
    failure = say(web, "given", fails=True)
    assert "by itself, because release v2 was not confirmed within" in failure["msg"]
    assert failure["changed"]
    assert_gone_back(web, "not confirmed within 3600 s by anna")

    go_live(web, "v3", rollout="r2")
    kill_waiter(web)
    let_time_pass(web)
    result = go_live(web, "v4", rollout="r3")
    assert result["repaired"] == ["Release v3 was not confirmed within 3600 s by anna; v1 serves again."]
    assert info(web)["awaiting"]["previous"] == "v1"


@pytest.mark.whole
def test_a_killed_waiter_has_a_successor(web: Web) -> None:
    web.go_live()
    go_live(web)
    kill_waiter(web)
    say(web, "awaited", timeout=1.0)
    wait_until_back(web)
    assert_gone_back(web, "not confirmed within 1 s by anna")


def test_a_power_cut(web: Web) -> None:
    """The time counts on while the host is down; the unit does not wait for it."""
    web.go_live()
    go_live(web)
    cut_power(web)
    boot(web)
    wait_for_waiter(web)
    assert info(web)["awaiting"]["release"] == "v2"
    cut_power(web)
    let_time_pass(web)
    boot(web)
    wait_until_back(web)
    wait_for(lambda: [item.env["pm_cwd"] for item in web.processes()] == [str(web.path("v1"))] * 2, "not v1")
    assert not web.release("v2")["bad"]
    assert "not confirmed within 3600 s" in (web.directory / "boot.log").read_text()
