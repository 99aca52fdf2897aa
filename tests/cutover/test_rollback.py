# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way back that somebody asks for: code, variables and options of then, through the gate, and no request lost."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest
from support.web import HEALTH, Web


def three_releases(web: Web) -> None:
    """``v1`` to ``v3``, each with another greeting and another number of processes; ``v3`` serves."""
    for number in (1, 2, 3):
        version = f"v{number}"
        web.stage("good", version)
        app = {"env": {"GREETING": f"hello {number}"}, "instances": number, "max_memory_restart": f"{number}00M"}
        web.cutover(version, app, min_healthy_time=0.3)


def greeting(web: Web) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{web.port}/health", timeout=10) as answer:
        return json.load(answer)["greeting"]


def test_to_the_last_proven_release(web: Web) -> None:
    three_releases(web)
    with web.traffic() as traffic:
        result = web.roll_back(reason="wrong prices")
        after = traffic.mark()
    assert result["changed"]
    assert (result["release"], result["abandoned"]) == ("v2", "v3")
    traffic.assert_only("v2", "v3")
    assert traffic.answers(after) == {"v2"}
    web.assert_serves("v2", 2)
    assert greeting(web) == "hello 2"
    assert {process.env["max_memory_restart"] for process in web.processes()} == {200 * 2**20}
    left = web.release("v3")
    assert (left["bad"], left["reason"]) == (True, "wrong prices")
    assert web.release("v2")["proven"]

    web.roll_back()
    web.assert_serves("v1", 1)
    assert greeting(web) == "hello 1"
    before = web.pids()
    failure = web.roll_back(fails=True)
    assert "no proven release before v1" in failure["msg"]
    assert web.pids() == before
    web.assert_serves("v1", 1)


def test_to_a_chosen_release(web: Web) -> None:
    three_releases(web)
    assert web.roll_back(release="v1")["abandoned"] == "v3"
    web.assert_serves("v1", 1)
    assert web.release("v3")["bad"]
    assert not web.release("v2")["bad"]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        pytest.param("v3", "is the live one", marks=pytest.mark.whole),
        ("v2", "was marked bad"),
        pytest.param("v9", "is not on this host", marks=pytest.mark.whole),
        ("v4", "was never proven"),
    ],
)
def test_what_cannot_be_gone_back_to(web: Web, target: str, says: str) -> None:
    """It says what can be."""
    web.go_live(version="v1")
    web.stage("throws_at_boot", "v2")
    web.cutover("v2", fails=True)
    web.go_live(version="v3")
    web.stage("good", "v4")
    before = web.pids()
    failure = web.roll_back(release=target, fails=True)
    assert says in failure["msg"]
    assert failure["msg"].endswith("There are: v1.")
    assert web.pids() == before
    web.assert_serves("v3")


def test_in_an_emergency_without_the_gate(web: Web) -> None:
    """A check that fails for a reason of its own keeps nobody from going back, when he says so."""
    sign = web.directory / "sign"
    sign.touch()
    web.options["health"] = [HEALTH, {"type": "command", "command": ["test", "-e", str(sign)], "interval": 0.2}]
    web.go_live(version="v1")
    web.go_live(version="v2")
    sign.unlink()
    before = web.pids()
    failure = web.roll_back(healthy_deadline=3.0, fails=True)
    assert "is not healthy" in failure["msg"]
    assert web.pids() == before
    web.assert_serves("v2")
    assert not web.release("v1")["bad"]

    with web.traffic() as traffic:
        web.roll_back(gate="none")
    traffic.assert_only("v1", "v2")
    web.assert_serves("v1")
    assert web.release("v2")["bad"]
