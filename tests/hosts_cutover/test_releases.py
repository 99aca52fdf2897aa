# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The main rows of the table over ssh, under 200 requests/s to each host: none is lost, the right release serves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hosts_cutover.fleet import Fleet, Host, State
from support.web import Moment, Traffic

Record = Callable[[str, object], None]

# the goal for a whole deploy: seconds on a slow line, each
EXECUTIONS_MAX = 10


def processes(states: list[State]) -> list[list[int]]:
    return [state.pids for state in states]


def moments(traffic: Traffic, text: str, since: Moment) -> list[float]:
    """When these answers came, seconds."""
    return [
        sample.ended - since[name]
        for name, result in traffic.results.items()
        for sample in result.samples
        if sample.text == text and sample.ended > since[name]
    ]


@pytest.mark.parametrize(("kind", "how"), [("good", {}), ("boots_in", {"seconds": 8})])
def test_a_good_release_takes_over(fleet: Fleet, record_property: Record, kind: str, how: dict[str, Any]) -> None:
    old, new = fleet.live(), fleet.put(kind, **how)
    before = fleet.look()
    with fleet.traffic(record_property) as traffics:
        run = fleet.deploy(new, "-vvv")
        after = [traffic.mark() for traffic in traffics]
    for traffic, moment in zip(traffics, after, strict=True):
        traffic.assert_only(old, new)
        assert traffic.answers() == {old, new}
        assert traffic.answers(moment) == {new}
    states = fleet.assert_serves(new)
    assert not {pid for state in states for pid in state.pids} & {pid for state in before for pid in state.pids}
    assert [state.current for state in states] != [state.current for state in before]
    record_property("seconds of the deploy", round(run.seconds, 1))
    record_property("ssh executions of the deploy", sorted(run.executions.values()))
    assert sorted(run.executions) == sorted(host.address for host in fleet.hosts)
    assert max(run.executions.values()) <= EXECUTIONS_MAX

    fleet.assert_nothing_to_do(new)
    assert processes(fleet.look()) == processes(states)


@pytest.mark.parametrize(
    ("kind", "how", "variables", "says"),
    [
        ("throws_at_boot", {}, {}, "boom at boot"),
        ("throws_after", {"seconds": 2}, {"site_healthy_time": 5}, "boom later"),
        ("answers_500", {}, {"site_failures": 3}, "500"),
    ],
)
def test_a_bad_release_is_never_seen(
    fleet: Fleet, record_property: Record, kind: str, how: dict[str, Any], variables: dict[str, Any], says: str
) -> None:
    old, new = fleet.live(), fleet.put(kind, **how)
    before = fleet.look()
    with fleet.traffic(record_property) as traffics:
        run = fleet.fail("deploy", site_version=new, **variables)
    for traffic in traffics:
        traffic.assert_only(old)
    states = fleet.assert_serves(old)
    assert processes(states) == processes(before)
    assert [state.current for state in states] == [state.current for state in before]
    assert [state.deploys[-1]["event"] for state in states] == ["bad"] * len(states)
    assert run.text.count("The new generation of app web was rejected") >= len(states)
    assert says in run.text
    assert "What served before serves: web (untouched, the same processes)." in run.text


def test_a_release_that_fails_in_its_bake_is_reverted(fleet: Fleet, record_property: Record) -> None:
    """What it answers before that is its own doing; no request is lost."""
    old, new = fleet.live(), fleet.put("fails_later", seconds=0.5)
    before = fleet.look()
    with fleet.traffic(record_property) as traffics:
        run = fleet.fail("deploy", site_version=new, site_bake_time=30, site_failures=5)
        after = [traffic.mark() for traffic in traffics]
    for traffic, moment in zip(traffics, after, strict=True):
        traffic.assert_none_lost()
        assert traffic.answers() == {old, new, "Internal Server Error"}
        traffic.assert_only(old, since=moment)
    states = fleet.assert_serves(old)
    assert [state.current for state in states] == [state.current for state in before]
    bad = [[event["release"] for event in state.deploys if event["event"] == "bad"][-1] for state in states]
    assert [state.events(release) for state, release in zip(states, bad, strict=True)] == [["live", "bad"]] * len(
        states
    )
    assert "serves again" in run.text


def test_an_option_alone(fleet: Fleet, record_property: Record) -> None:
    """The same release with other options is another generation."""
    version = fleet.live()
    before = fleet.look()
    greeting = f"hello {time.time()}"
    with fleet.traffic(record_property) as traffics:
        run = fleet.deploy(version, site_greeting=greeting)
    for traffic in traffics:
        traffic.assert_only(version)
    states = fleet.assert_serves(version)
    assert {recap.changed for recap in run.recaps.values()} == {1}
    assert [state.current for state in states] == [state.current for state in before]
    assert {process["greeting"] for state in states for process in state.processes} == {greeting}
    assert {json.loads(answer)["greeting"] for answer in fleet.each(lambda host: host.answer("health"))} == {greeting}


def test_rollback(fleet: Fleet, record_property: Record) -> None:
    old, new = fleet.live(), fleet.put()
    before = fleet.look()
    fleet.deploy(new)
    with fleet.traffic(record_property) as traffics:
        begun = [traffic.mark() for traffic in traffics]
        run = fleet.run("rollback", reason="wrong prices")
        after = [traffic.mark() for traffic in traffics]
    for traffic, moment in zip(traffics, after, strict=True):
        traffic.assert_only(old, new)
        assert traffic.answers(moment) == {old}
    states = fleet.assert_serves(old)
    assert [state.current for state in states] == [state.current for state in before]
    assert [state.deploys[-1]["event"] for state in states] == ["bad"] * len(states)
    assert {state.deploys[-1]["reason"] for state in states} == {"wrong prices"}
    assert run.text.count(f"web runs {states[0].current} again") >= 1

    for traffic, moment in zip(traffics, begun, strict=True):
        record_property("seconds to the first answer of the old code", round(min(moments(traffic, old, moment)), 1))
        record_property("seconds to the last answer of the new code", round(max(moments(traffic, new, moment)), 1))
    status = fleet.run("status")
    for state in states:
        assert state.current in status.text

    # it was marked bad, and says so
    refused = fleet.fail("deploy", site_version=new)
    assert "wrong prices" in refused.text
    assert processes(fleet.assert_serves(old)) == processes(states)


def test_two_controllers(fleet: Fleet) -> None:
    """The second is refused, with the name of the first, or it waits."""
    new = fleet.put()
    fleet.each(lambda host: host.stop_at("prove"))
    first = fleet.start("deploy", site_version=new, app_by="anna")
    fleet.each(Host.stopped)
    refused = fleet.fail("deploy", site_version=new, app_by="bert", app_lock_timeout=0)
    waits = fleet.start("deploy", site_version=new, app_by="cleo")
    # so long that it surely waits; if not, it has nothing to do either
    time.sleep(5)
    fleet.each(Host.go_on)
    done = first.end()
    assert done.code == 0, done.output
    assert refused.text.count("App web is being cut over by anna") >= len(fleet.hosts)
    waited = waits.end()
    assert waited.code == 0, waited.output
    assert {recap.changed for recap in waited.recaps.values()} == {0}
    for state in fleet.assert_serves(new):
        assert {event["by"] for event in state.deploys if event["release"] == state.current} == {"anna"}
