# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Five hosts behind a load balancer are deployed to as one: all run the new release, or all run the old one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hosts_cutover.fleet import wait_for
from hosts_fleet.fleet import BalancedFleet

Record = Callable[[str, object], None]

# what deploy_batches makes of five hosts: one, a quarter of them, the rest
BATCHES = [["web1"], ["web2"], ["web3", "web4", "web5"]]


def test_a_second_run_changes_nothing(fleet: BalancedFleet, record_property: Record) -> None:
    """After molecule converge."""
    version = fleet.live()
    states = fleet.assert_serves(version)
    run = fleet.deploy(version)
    record_property("seconds", round(run.seconds))
    assert {name: recap.changed for name, recap in run.recaps.items()} == {host.name: 0 for host in fleet.hosts}
    assert [state.pids for state in fleet.look()] == [state.pids for state in states]
    fleet.assert_balanced()


def test_a_good_release(fleet: BalancedFleet, record_property: Record) -> None:
    old, new = fleet.live(), fleet.put()
    with fleet.through_balancer(record_property) as traffic:
        run = fleet.deploy(new, deploy_by="anna")
        after = traffic.mark()
        fleet.assert_serves(new)
    traffic.assert_only(old, new)
    assert traffic.answers(after) == {new}
    record_property("seconds", round(run.seconds))
    places = [run.output.index(f"(item={', '.join(batch)})") for batch in BATCHES]
    assert places == sorted(places)
    fleet.assert_balanced()
    record_property("requests by host", {name: server.requests for name, server in fleet.servers().items()})

    record = fleet.log[-1]
    assert (record["result"], record["failures"]) == ("deployed", {})
    assert {name: apps["web"]["state"] for name, apps in record["hosts"].items()} == {
        host.name: "confirmed" for host in fleet.hosts
    }
    for host, state in zip(fleet.hosts, fleet.look(), strict=True):
        assert state.current == record["hosts"][host.name]["web"]["release"]
        assert state.events(state.current)[-2:] == ["live", "proven"]


def test_a_release_that_fails_on_one_host(fleet: BalancedFleet, record_property: Record) -> None:
    old, new = fleet.live(), fleet.put("throws_on", host="web3")
    before = fleet.releases()
    with fleet.through_balancer(record_property) as traffic:
        run = fleet.start("deploy", site_version=new).end()
        assert fleet.answers() == {old}
    assert run.code == 2, run.output
    record_property("seconds", round(run.seconds))
    assert "The rollout failed on web3. web1, web2, web4, web5 went back to what served before. web3: " in run.text
    # the app's own last words
    assert "Error: cannot run on web3" in run.text.partition("The rollout failed on web3.")[2]
    traffic.assert_only(old, new)
    assert fleet.releases() == before
    fleet.assert_balanced()
    for host, state in zip(fleet.hosts, fleet.assert_serves(old), strict=True):
        # elsewhere it was no fault of its own
        assert state.deploys[-1]["event"] == ("bad" if host.name == "web3" else "withdrawn")
    assert fleet.log[-1]["result"] == "reverted"


def test_the_controller_is_killed(fleet: BalancedFleet, record_property: Record) -> None:
    """In the third batch. Each host goes back by itself; the next deploy puts right what was left in the balancer."""
    old, new = fleet.live(), fleet.put()
    before = fleet.releases()
    with fleet.through_balancer(record_property) as traffic:
        controller = fleet.start_deploy(new, timer=27.5)
        fleet.hosts[2].wait_for_cutover()
        controller.kill()
        assert [host.answer() for host in fleet.hosts[:2]] == [new, new]
        seconds = wait_for(lambda: fleet.answers() == {old} and fleet.releases() == before, "all to go back")
        record_property("seconds until all were back", round(seconds))
        record_property("left in the balancer", {name: server.status for name, server in fleet.servers().items()})
        for state in fleet.assert_serves(old):
            assert [(event["event"], event["by"]) for event in state.deploys[-1:]] == [("withdrawn", "the host")]
        fleet.deploy(new)
        fleet.assert_balanced()
    traffic.assert_only(old, new)
    fleet.assert_serves(new)


@pytest.mark.whole
def test_a_server_that_was_left_drained(fleet: BalancedFleet) -> None:
    """Also when there is nothing else to do."""
    version = fleet.live()
    fleet.tell_balancer("set server web/web4 state drain")
    assert fleet.servers()["web4"].status == "DRAIN"
    fleet.deploy(version)
    fleet.assert_balanced()
    fleet.assert_nothing_to_do(version)
