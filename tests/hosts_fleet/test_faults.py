# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What may happen in the middle of a rollout, beside the death of its controller. The fleet comes to be on one release,
and the controller never calls that a success which is none."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable

import pytest
from hosts_cutover.fleet import wait_for
from hosts_fleet.fleet import BalancedFleet

pytestmark = pytest.mark.whole
Record = Callable[[str, object], None]

# seconds in which the balancer finds out that a host is gone: two checks, and what one takes to connect
NOTICED = 5.0


@pytest.mark.parametrize("moment", ["in its cutover", "after it"])
def test_a_host_loses_its_power(fleet: BalancedFleet, record_property: Record, moment: str) -> None:
    """It comes back by its boot unit, and goes back without anybody."""
    old, new = fleet.live(), fleet.put()
    before = fleet.releases()
    first, second = fleet.hosts[:2]
    lost = second if moment == "in its cutover" else first
    with fleet.through_balancer(record_property) as traffic:
        # committed, so that its boot brings the new one
        second.stop_at("retire" if lost is second else "prove")
        controller = fleet.start_deploy(new, timer=105)
        second.stopped()
        cut, start = traffic.mark(), time.monotonic()
        fleet.crash(lost)
        if lost is first:
            second.go_on()
        run = controller.end()
        record_property("seconds until the controller was done", round(time.monotonic() - start))
        assert run.code != 0, run.output
        assert f"The rollout failed on {lost.name}." in run.text, run.output
        others = [host for host in fleet.hosts if host is not lost]
        assert {host.answer() for host in others} == {old}
        noticed = {name: elapsed + NOTICED for name, elapsed in cut.items()}
        fleet.power_on(lost)
        start = time.monotonic()
        wait_for(lambda: lost.answer() == old and fleet.releases() == before, f"{lost.name} to go back")
        record_property("seconds from its login until it was back", round(time.monotonic() - start))
    traffic.assert_only(old, new, since=noticed)
    if lost is second:
        # it took no requests
        traffic.assert_only(old, new)
    assert lost.look().deploys[-1]["by"] == "the host"
    fleet.assert_serves(old)
    fleet.deploy(new)
    fleet.assert_serves(new)
    fleet.assert_balanced()


def test_the_controller_is_too_slow(fleet: BalancedFleet, record_property: Record) -> None:
    """Two hosts have gone back before it goes on."""
    old, new = fleet.live(), fleet.put()
    before = fleet.releases()
    with fleet.through_balancer(record_property) as traffic:
        controller = fleet.start_deploy(new, timer=30.5)
        fleet.hosts[2].wait_for_cutover()
        os.killpg(controller.process.pid, signal.SIGSTOP)
        seconds = wait_for(lambda: {host.answer() for host in fleet.hosts[:2]} == {old}, "two hosts to go back")
        os.killpg(controller.process.pid, signal.SIGCONT)
        run = controller.end()
    record_property("seconds that it stood still", round(seconds))
    assert run.code == 2, run.output
    for host in fleet.hosts[:2]:
        said = (
            rf"{host.name} went back to \S+ at \S+Z by itself, because release \S+ was not confirmed within 30.5 s by"
        )
        assert re.search(said, run.text), run.output
    traffic.assert_only(old, new)
    assert fleet.releases() == before
    fleet.assert_serves(old)
    fleet.assert_balanced()


def test_a_go_is_for_what_was_delivered(fleet: BalancedFleet) -> None:
    old, new = fleet.live(), fleet.put()
    output = fleet.run("deliver", deploy_mode="delivery", site_version=new).text
    found = re.search(r"-e go=([0-9a-f]+)", output)
    assert found, output
    run = fleet.start("deploy", deploy_mode="delivery", site_version=new, site_greeting="bye", go=found[1]).end()
    assert run.code == 2, run.output
    assert "web1 web: settings web.env.GREETING" in run.text
    assert fleet.answers() == {old}
    fleet.run("deploy", deploy_mode="delivery", site_version=new, go=found[1])
    fleet.assert_serves(new)
