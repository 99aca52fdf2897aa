# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The release that is live and proven gets other options: they are confirmed, or the host goes back to those before."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest
from cutover.test_confirmation import (
    LONG,
    ROLLOUT,
    boot,
    cut_power,
    go_live,
    info,
    kill_waiter,
    let_time_pass,
    say,
    wait_until_back,
)
from support.web import Web


def change(web: Web, greeting: str = "bye", **options: Any) -> dict[str, Any]:
    result: dict[str, Any] = go_live(web, "v1", app={"env": {"GREETING": greeting}}, **options)
    return result


def greeting(web: Web) -> str | None:
    with urllib.request.urlopen(f"http://127.0.0.1:{web.port}/health", timeout=20) as response:
        told: str | None = json.load(response).get("greeting")
    return told


@pytest.fixture
def served(web: Web) -> Web:
    web.go_live(app={"env": {"GREETING": "hello"}})
    return web


def assert_gone_back(web: Web, reason: str) -> None:
    assert greeting(web) == "hello"
    web.assert_serves("v1")
    found = info(web)
    assert found["awaiting"] is None
    assert (web.release("v1")["live"], web.release("v1")["proven"], web.release("v1")["bad"]) == (True, True, False)
    last = found["log"][-1]
    assert (last["event"], last["release"], last["rollout"], last["reason"]) == ("withdrawn", "v1", ROLLOUT, reason)
    # as if it had never been
    pids = web.pids()
    assert not go_live(web, "v1", rollout="r9", app={"env": {"GREETING": "hello"}})["changed"]
    assert (web.pids(), info(web)["awaiting"]) == (pids, None)


def test_given(served: Web) -> None:
    result = change(served)
    assert (result["changed"], result["awaiting"]["options"], result["awaiting"]["release"]) == (True, True, "v1")
    assert served.release("v1")["proven"]
    pids = served.pids()
    assert say(served, "given", "v1")["changed"]
    assert (greeting(served), served.pids(), info(served)["awaiting"]) == ("bye", pids, None)
    assert not say(served, "given", "v1")["changed"]
    assert not change(served, rollout="r2")["changed"]
    # and they are what the next change goes back to
    change(served, "hello again", rollout="r3")
    say(served, "withdrawn", "v1", rollout="r3")
    assert greeting(served) == "bye"


def test_nobody_confirms(served: Web) -> None:
    with served.traffic() as traffic:
        change(served, timeout=3.0)
        assert greeting(served) == "bye"
        wait_until_back(served)
    traffic.assert_only("v1")
    failure = say(served, "given", "v1", fails=True)
    assert "went back to what release v1 was run as before, at 20" in failure["msg"]
    assert failure["msg"].endswith("because its changed options were not confirmed within 3 s by anna.")
    assert_gone_back(served, "not confirmed within 3 s by anna")


def test_withdrawn(served: Web) -> None:
    change(served)
    assert say(served, "withdrawn", "v1", check=True)["plan"][0]["action"] == "cutover"
    with served.traffic() as traffic:
        result = say(served, "withdrawn", "v1", reason="web7 failed")
    traffic.assert_only("v1")
    assert result["serves"] == "What changed of release v1 was withdrawn by bob; it serves as it did before."
    assert (result["changed"], result["live"]) == (True, "v1")
    assert not say(served, "withdrawn", "v1")["changed"]
    assert_gone_back(served, "web7 failed")
    # once more, of another rollout
    change(served, rollout="r2")
    say(served, "withdrawn", "v1", rollout="r2")
    assert [entry["rollout"] for entry in info(served)["log"] if entry["event"] == "withdrawn"] == [ROLLOUT, "r2"]


def test_options_with_which_it_does_not_hold(served: Web) -> None:
    """At the gate and in the bake: nothing is awaited then."""
    pids = served.pids()
    options = {"node_args": ["--no-such-flag"], "env": {"GREETING": "bye"}}
    assert "ended" in go_live(served, "v1", app=options, fails=True)["msg"]
    assert (served.pids(), greeting(served), info(served)["awaiting"]) == (pids, "hello", None)

    with served.traffic() as traffic:
        failure = change(served, smoke=[{"path": "/health", "json": {"greeting": "hello"}}], fails=True)
    traffic.assert_only("v1")
    assert "failed its smoke check" in failure["msg"]
    assert (greeting(served), info(served)["awaiting"]) == ("hello", None)
    assert served.release("v1")["proven"]
    assert not go_live(served, "v1", app={"env": {"GREETING": "hello"}})["changed"]


def test_a_killed_waiter_and_a_power_cut(served: Web) -> None:
    change(served)
    kill_waiter(served)
    let_time_pass(served)
    failure = say(served, "given", "v1", fails=True)
    assert "its changed options were not confirmed within 3600 s" in failure["msg"]
    assert_gone_back(served, f"not confirmed within {LONG:g} s by anna")

    change(served, rollout="r2")
    cut_power(served)
    let_time_pass(served)
    boot(served)
    wait_until_back(served)
    assert greeting(served) == "hello"


def test_what_only_starts_again_awaits_nothing(served: Web) -> None:
    """There are no other options to go back to."""
    served.pm2("stop", "0")
    result = go_live(served, "v1", app={"env": {"GREETING": "hello"}})
    assert result["changed"]
    assert info(served)["awaiting"] is None
