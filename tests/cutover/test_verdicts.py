# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the gate says, and when: the deadline, checks that give up or cannot be made, the first release of all."""

from __future__ import annotations

import socket

import pytest
from support.web import HEALTH, Web


def test_healthy_too_late(web: Web) -> None:
    """It must have been healthy for ``min_healthy_time`` when the deadline is over."""
    web.go_live()
    web.stage("boots_in", "v2", seconds=2)
    before = web.pids()
    failure = web.cutover("v2", min_healthy_time=4.0, healthy_deadline=5.0, fails=True)
    assert failure["msg"].count("(healthy_deadline 5 s)") == 1
    assert failure["verdict"] == "bad"
    assert web.pids() == before
    web.assert_serves("v1")


def test_a_deadline_that_nothing_could_meet_is_refused(web: Web) -> None:
    web.go_live()
    web.stage("good", "v2")
    failure = web.cutover("v2", min_healthy_time=5.0, healthy_deadline=5.0, fails=True)
    assert "healthy_deadline must be longer than min_healthy_time" in failure["msg"]
    assert not web.release("v2")["bad"]
    web.assert_serves("v1")


def test_a_check_that_gives_up(web: Web) -> None:
    """Long before the deadline."""
    web.go_live()
    web.stage("answers_500", "v2")
    failure = web.cutover("v2", {"health": [{**HEALTH, "failures": 3}]}, healthy_deadline=300.0, fails=True)
    assert "is not healthy" in failure["msg"]
    assert "healthy_deadline" not in failure["msg"]
    assert failure["timings"]["prove"] < 150
    assert failure["verdict"] == "bad"
    web.assert_serves("v1")


def test_a_check_that_cannot_be_made(web: Web) -> None:
    """Nothing is said of the release, which goes live once the check is mended."""
    web.go_live()
    web.stage("good", "v2")
    before = web.pids()
    broken = {"health": [HEALTH, {"type": "command", "command": ["no-such-program"], "interval": 0.2}]}
    failure = web.cutover("v2", broken, healthy_deadline=3.0, fails=True)
    assert "could not be checked" in failure["msg"]
    assert "no-such-program" in failure["msg"]
    assert failure["verdict"] == "unknown"
    assert web.pids() == before
    web.assert_serves("v1")
    assert not web.release("v2")["bad"]
    web.cutover("v2")
    web.assert_serves("v2")


def test_the_first_release(web: Web) -> None:
    web.stage("good", "v1")
    # a command runs with the variables and in the directory of the release
    command = ["sh", "-c", 'test "$GREETING" = hello && test -f how.json']
    app = {"env": {"GREETING": "hello"}, "health": [HEALTH, {"type": "command", "command": command}]}
    result = web.cutover("v1", app)
    assert [step["action"] for step in result["plan"]] == ["create"]
    web.assert_serves("v1")
    assert not web.cutover("v1", app)["changed"]


@pytest.mark.parametrize("kind", ["throws_at_boot", pytest.param("answers_500", marks=pytest.mark.whole)])
def test_a_first_release_that_is_bad(web: Web, kind: str) -> None:
    web.stage(kind, "v1")
    failure = web.cutover("v1", healthy_deadline=3.0, fails=True)
    assert failure["serves"] == "Nothing ran before, nothing runs now."
    assert web.processes() == []
    web.assert_clean()
    assert web.dump() == []
    assert not (web.root / "current").exists()
    assert web.release("v1")["bad"]
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", web.port)) != 0
    web.stage("good", "v2")
    web.cutover("v2")
    web.assert_serves("v2")


def test_check_mode_says_what_would_be_done(web: Web) -> None:
    web.go_live()
    web.stage("good", "v2")
    before, dump = web.pids(), web.dump()
    told = web.cutover("v2", check=True)
    assert web.pids() == before
    assert web.dump() == dump
    web.assert_serves("v1")
    done = web.cutover("v2")
    for key in ("changed", "plan", "diff", "release"):
        assert told[key] == done[key]
    assert not web.cutover("v2", check=True)["changed"]
