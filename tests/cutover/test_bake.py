# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is seen of a release only once it serves: the smoke checks and the bake, and the way back."""

from __future__ import annotations

from typing import Any

import pytest
from support.gate_apps import write_release
from support.web import Web

FAILED = "Internal Server Error"


def assert_reverted(web: Web, failure: dict[str, Any], says: str) -> None:
    assert says in failure["msg"]
    assert failure["verdict"] == "bad"
    assert failure["serves"] == "v1 serves again."
    web.assert_serves("v1")
    assert web.release("v2")["bad"]
    assert says in web.release("v2")["reason"]
    assert web.release("v1")["live"]
    assert web.release("v1")["proven"]


def test_a_release_that_fails_in_the_bake(web: Web) -> None:
    """Only what the new release itself answered was wrong, and no request is lost, on the way back neither."""
    web.go_live()
    web.stage("fails_later", "v2", seconds=1)
    with web.traffic() as traffic:
        failure = web.cutover("v2", bake_time=20.0, fails=True)
        after = traffic.mark()
    assert_reverted(web, failure, "is not healthy 3 times in a row")
    traffic.assert_none_lost()
    assert traffic.answers() == {"v1", "v2", FAILED}
    assert {sample.status for sample in traffic.samples() if sample.text == FAILED} == {500}
    traffic.assert_only("v1", since=after)


def test_a_smoke_check_that_fails(web: Web) -> None:
    web.go_live()
    web.stage("good", "v2")
    with web.traffic() as traffic:
        failure = web.cutover("v2", smoke=[{"path": "/health", "json": {"version": "v3"}}], fails=True)
        after = traffic.mark()
    assert_reverted(web, failure, "failed its smoke check")
    traffic.assert_only("v1", "v2")
    traffic.assert_only("v1", since=after)


def test_a_release_that_ends_in_the_bake(web: Web) -> None:
    web.go_live()
    web.stage("throws_after", "v2", seconds=5)
    assert_reverted(web, web.cutover("v2", bake_time=30.0, fails=True), "ended while it was watched")


@pytest.mark.whole
def test_a_release_that_needs_far_more_memory(web: Web) -> None:
    web.go_live()
    web.stage("leaks", "v2", seconds=2)
    failure = web.cutover("v2", bake_time=4.0, memory_growth_max=100, fails=True)
    assert_reverted(web, failure, "% more than the")


@pytest.mark.whole
def test_without_the_automatic_way_back(web: Web) -> None:
    web.go_live()
    web.stage("good", "v2")
    smoke = [{"path": "/health", "status": ["418"]}]
    failure = web.cutover("v2", smoke=smoke, auto_revert=False, fails=True)
    assert failure["serves"] == "The new generation still serves, because auto_revert is off."
    web.assert_serves("v2")
    assert web.release("v2")["bad"]


def test_a_first_release_that_fails_has_no_way_back(web: Web) -> None:
    web.stage("good", "v1")
    failure = web.cutover("v1", smoke=[{"path": "/health", "status": ["418"]}], fails=True)
    assert "there is no earlier generation to go back to" in failure["serves"]
    web.assert_serves("v1")


def test_what_somebody_started_by_hand_comes_back(web: Web) -> None:
    """It had no release, so none is live."""
    script = write_release(web.directory / "by-hand", "good", "v0")
    web.pm2("start", str(script), "--name", "web", "-i", "2", PORT=str(web.port))
    web.stage("good", "v1")
    # Node's cluster never answers a request that was on its way to a worker that just ended
    with web.traffic(timeout=10.0) as traffic:
        failure = web.cutover("v1", smoke=[{"path": "/health", "status": ["418"]}], fails=True)
        after = traffic.mark()
    assert failure["serves"] == "What ran before serves again."
    traffic.assert_only("v0", since=after)
    assert [process.env["pm_exec_path"] for process in web.processes()] == [str(script)] * 2
    assert not (web.root / "current").exists()
    assert web.release("v1")["bad"]
    assert not web.release("v1")["live"]
    web.stage("good", "v2")
    web.cutover("v2")
    web.assert_serves("v2")


@pytest.mark.parametrize("bake_time", [pytest.param(0.0, marks=pytest.mark.whole), 2.0])
def test_a_release_is_proven_by_its_bake(web: Web, bake_time: float) -> None:
    web.go_live()
    web.stage("good", "v2")
    command = {"type": "command", "command": ["test", "-f", "app.js"]}
    result = web.cutover("v2", smoke=[{"path": "/health", "json": {"version": "v2"}}, command], bake_time=bake_time)
    assert result["timings"]["bake"] >= bake_time
    web.assert_serves("v2")
    assert web.release("v2")["proven"]
