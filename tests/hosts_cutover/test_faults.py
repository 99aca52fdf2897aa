# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever ends in the middle of a cutover: the site serves, and the next deploy puts everything in order."""

from __future__ import annotations

from collections.abc import Callable

from hosts_cutover.fleet import Fleet, Host, wait_for

Record = Callable[[str, object], None]


def test_ssh_and_then_the_controller_are_killed(fleet: Fleet, record_property: Record) -> None:
    """The hosts go on alone."""
    old, new = fleet.live(), fleet.put()
    before = {state.current for state in fleet.look()}

    def has_ended(host: Host) -> bool:
        state = host.look()
        return state.current not in before and "proven" in state.events(state.current)

    with fleet.traffic(record_property) as traffics:
        controller = fleet.start_cutover(new)
        # of one host; of the other one ssh ends with the controller
        fleet.hosts[0].kill_ssh()
        controller.kill()
        fleet.each(lambda host: wait_for(lambda: has_ended(host), "the host to finish"))
    for traffic in traffics:
        traffic.assert_only(old, new)
    states = fleet.assert_serves(new)
    fleet.assert_nothing_to_do(new)
    assert [state.pids for state in fleet.look()] == [state.pids for state in states]


def test_the_runner_is_killed(fleet: Fleet, record_property: Record) -> None:
    old, new = fleet.live(), fleet.put()
    before = fleet.look()
    with fleet.traffic(record_property) as traffics:
        controller = fleet.start_cutover(new)
        fleet.each(Host.kill_runner)
        run = controller.end()
        assert run.code == 2, run.output
        assert run.text.count("was killed; run the task again") >= len(fleet.hosts)
        # the candidate is still there, held; what served serves
        assert fleet.answers() == {old}
        assert all(set(was.pids) <= set(now.pids) for was, now in zip(before, fleet.look(), strict=True))
        fleet.settle(new)
    for traffic in traffics:
        traffic.assert_only(old, new)


def test_the_daemon_is_killed(fleet: Fleet, record_property: Record) -> None:
    """All apps go with it and come back by its unit; the cutover is undone."""
    old, new = fleet.live(), fleet.put()
    before = fleet.look()
    controller = fleet.start_cutover(new)
    fleet.each(Host.kill_daemon)
    seconds = fleet.each(lambda host: wait_for(lambda: host.answer() == old, "the unit to bring the app back"))
    run = controller.end()
    record_property("seconds until it served again", seconds)
    assert run.code == 2, run.output
    states = fleet.assert_serves(old)
    assert [state.current for state in states] == [state.current for state in before]
    # that was not the release's fault
    assert [state.deploys for state in states] == [state.deploys for state in before]
    fleet.settle(new)
