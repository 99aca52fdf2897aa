# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PM2's own command line after a cutover: it does what a person expects, and what he changed is seen the next time."""

from __future__ import annotations

from typing import Any

import pytest
from support.pm2_host import wait_for
from support.web import NAME, Web


@pytest.fixture
def live(web: Web) -> Web:
    """After a cutover, not after a first start."""
    web.go_live()
    web.go_live(version="v2")
    return web


def drift(web: Web) -> list[dict[str, Any]]:
    return list(web.module("app_info", apps=[web.declare("v2")])["plan"])


def bring_back(web: Web) -> None:
    """The next run removes what was changed."""
    assert drift(web) != []
    with web.traffic() as traffic:
        assert web.cutover("v2")["changed"]
    traffic.assert_only("v2")
    web.assert_serves("v2")
    assert drift(web) == []


@pytest.mark.parametrize("verb", ["restart", pytest.param("reload", marks=pytest.mark.whole)])
def test_restart(live: Web, verb: str) -> None:
    assert drift(live) == []
    before = live.pids()
    live.pm2(verb, NAME)
    with live.traffic() as traffic:
        pass
    traffic.assert_only("v2")
    assert not set(before) & set(live.pids())
    assert [process.env["NODE_APP_INSTANCE"] for process in live.processes()] == [0, 1]
    live.assert_logs(2)
    assert drift(live) == []
    assert not live.cutover("v2")["changed"]


def test_a_variable_that_is_set(live: Web) -> None:
    live.pm2("restart", NAME, "--update-env", GREETING="by hand")
    assert {process.env["env"]["GREETING"] for process in live.processes()} == {"by hand"}
    assert "env.GREETING" in {option for step in drift(live) for option in step["options"]}
    bring_back(live)
    assert not any("GREETING" in process.env["env"] for process in live.processes())


@pytest.mark.parametrize("count", [3, pytest.param(1, marks=pytest.mark.whole)])
def test_scale(live: Web, count: int) -> None:
    live.pm2("scale", NAME, str(count))
    wait_for(lambda: sum(process.is_running() for process in live.processes()) == count, "it is not scaled")
    numbers = [process.env["NODE_APP_INSTANCE"] for process in live.processes()]
    assert len(set(numbers)) == count
    with live.traffic() as traffic:
        pass
    traffic.assert_only("v2")
    bring_back(live)


@pytest.mark.whole
def test_one_that_was_stopped(live: Web) -> None:
    live.pm2("stop", str(live.processes()[0].pm_id))
    bring_back(live)


@pytest.mark.whole
def test_logs(live: Web) -> None:
    """By the name of the app, from files with the numbers of its processes."""
    live.go_live("worker", "v3", app={"listens": False, "health": []})
    wait_for(lambda: "working" in (live.home / "logs" / f"{NAME}-out-1.log").read_text(), "it says nothing")
    shown = live.pm2("logs", NAME, "--nostream")
    assert shown.count("working") == 2
