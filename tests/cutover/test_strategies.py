# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Apps that cannot be held beside what serves: in fork mode, without a port, without the preload."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.web import HEALTH, Web

FORK: dict[str, Any] = {"exec_mode": "fork", "health": [HEALTH]}
RESTART = {**FORK, "strategy": "restart"}
WORKER: dict[str, Any] = {"exec_mode": "fork", "listens": False}


# fork mode ------------------------------------------------------------------------------------------------------------


def test_a_fork_that_listens_is_refused(web: Web) -> None:
    web.options = FORK
    web.go_live()
    web.stage("good", "v2")
    before = web.pids()
    failure = web.cutover("v2", fails=True)
    assert "in fork mode it cannot be replaced without an outage" in failure["msg"]
    assert not failure["changed"]
    assert web.pids() == before
    web.assert_serves("v1", 1, mode="fork")
    assert not web.release("v2")["bad"]


def test_a_fork_with_an_outage_that_was_accepted(web: Web) -> None:
    """It is out of service for milliseconds, not for as long as it takes to start: it has started when it gets the
    port."""
    web.options = RESTART
    boot = 4
    web.go_live()
    web.stage("boots_in", "v2", seconds=boot)
    with web.traffic() as traffic:
        result = web.cutover("v2")
        after = traffic.mark()
    assert result["plan"][0]["outage"]
    assert traffic.longest_gap < boot
    assert traffic.answers() == {"v1", "v2"}
    traffic.assert_only("v2", since=after)
    web.assert_serves("v2", 1, mode="fork")
    assert not web.cutover("v2")["changed"]


@pytest.mark.parametrize("kind", ["throws_at_boot", pytest.param("answers_500", marks=pytest.mark.whole)])
def test_a_bad_fork_costs_no_outage(web: Web, kind: str) -> None:
    web.options = RESTART
    web.go_live()
    web.stage(kind, "v2")
    before = web.pids()
    with web.traffic() as traffic:
        web.cutover("v2", healthy_deadline=4.0, fails=True)
    traffic.assert_only("v1")
    assert web.pids() == before
    web.assert_serves("v1", 1, mode="fork")
    assert web.release("v2")["bad"]


@pytest.mark.parametrize("before", ["fork", pytest.param("cluster", marks=pytest.mark.whole)])
def test_a_fork_that_listens_and_nobody_said_so(web: Web, before: str) -> None:
    """It is told what is missing, and with an outage that was accepted it goes."""
    web.options = {"args": [str(web.port)], "env": {"PORT": None}, "exec_mode": before}
    web.go_live("port_argument")
    web.options["exec_mode"] = "fork"
    web.stage("port_argument", "v2")
    pids = web.pids()
    with web.traffic() as traffic:
        failure = web.cutover("v2", fails=True)
    assert "EADDRINUSE" in failure["msg"]
    assert "declare its port (port, or PORT in env)" in failure["msg"]
    traffic.assert_only("v1")
    assert web.pids() == pids
    assert not web.release("v2")["bad"]

    web.options["strategy"] = "restart"
    assert web.cutover("v2")["plan"][0]["outage"]
    web.assert_serves("v2", 1, mode="fork")
    assert not web.cutover("v2")["changed"]


# without a port -------------------------------------------------------------------------------------------------------


@contextmanager
def most_at_once(web: Web) -> Iterator[list[int]]:
    """The largest number of processes that ran at one moment of the block."""
    most = [0]
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            running = [process for process in web.processes() if process.is_running()]
            most[0] = max(most[0], len(running))
            time.sleep(0.01)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield most
    finally:
        ended.set()
        watcher.join()


@pytest.mark.parametrize(("overlap", "at_once"), [(True, 2), (False, 1)])
def test_a_worker(web: Web, overlap: bool, at_once: int) -> None:
    web.options = {**WORKER, "overlap": overlap}
    web.go_live("worker")
    web.stage("worker", "v2")
    before = web.pids()
    with most_at_once(web) as most:
        web.cutover("v2")
    assert most == [at_once]
    assert web.pids() != before
    web.assert_serves("v2", 1, mode="fork")
    assert not web.cutover("v2")["changed"]


@pytest.mark.parametrize("overlap", [True, pytest.param(False, marks=pytest.mark.whole)])
def test_a_worker_that_is_bad(web: Web, overlap: bool) -> None:
    web.options = {**WORKER, "overlap": overlap}
    web.go_live("worker")
    web.stage("throws_at_boot", "v2")
    before = web.pids()
    with most_at_once(web) as most:
        failure = web.cutover("v2", fails=True)
    assert "boom at boot" in failure["msg"]
    if overlap:
        assert web.pids() == before
    else:
        # it had ended, and has come back
        assert "started again" in failure["serves"]
        assert most == [1]
    web.assert_serves("v1", 1, mode="fork")
    assert web.release("v2")["bad"]


@pytest.mark.whole
def test_workers_that_listen_on_nothing_in_cluster_mode(web: Web) -> None:
    web.options = {"instances": 2, "listens": False}
    web.go_live("worker")
    web.stage("worker", "v2")
    web.cutover("v2")
    web.assert_serves("v2")


# without the preload --------------------------------------------------------------------------------------------------

PLAIN: dict[str, Any] = {"instances": 2, "preload": False, "health": [HEALTH]}


def by_variable(_web: Web) -> tuple[str, dict[str, Any]]:
    return "good", {"candidate_variable": "PORT"}


def by_argument(web: Web) -> tuple[str, dict[str, Any]]:
    return "port_argument", {"args": [str(web.port)], "candidate_args": ["{port}"]}


@pytest.mark.parametrize("way", [by_variable, pytest.param(by_argument, marks=pytest.mark.whole)])
def test_a_candidate_on_a_port_of_its_own(web: Web, way: Any) -> None:
    kind, options = way(web)
    web.options = {**PLAIN, **options}
    web.go_live(kind)
    web.stage(kind, "v2")
    # Node's cluster never answers a request that was on its way to a worker that just ended
    with web.traffic(timeout=10.0) as traffic:
        result = web.cutover("v2")
        after = traffic.mark()
    assert result["plan"][0]["proof"] == "own_port"
    assert "web: a candidate is checked on port" in json.dumps(result["warnings"])
    # what it does with requests in flight when it is told to stop is its own affair
    traffic.assert_only("v2", since=after)
    web.assert_serves("v2")
    assert not web.cutover("v2")["changed"]


@pytest.mark.parametrize(
    "kind",
    [
        "throws_at_boot",
        pytest.param("answers_500", marks=pytest.mark.whole),
        pytest.param("wrong_port", marks=pytest.mark.whole),
    ],
)
def test_a_bad_candidate_on_a_port_of_its_own(web: Web, kind: str) -> None:
    web.options = PLAIN
    web.go_live()
    web.stage(kind, "v2", **({"port": web.other_port} if kind == "wrong_port" else {}))
    before = web.pids()
    with web.traffic() as traffic:
        web.cutover("v2", healthy_deadline=4.0, fails=True)
    traffic.assert_only("v1")
    assert web.pids() == before
    web.assert_serves("v1")
    assert web.release("v2")["bad"]
