# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Power cuts in the middle of a cutover, at random instants and at each step."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable

import pytest
from hosts_cutover.fleet import Fleet, Host, wait_for

Record = Callable[[str, object], None]

# each with a power cut of every host
ROUNDS = 5
# what a cutover takes here from its first step to its end, roughly
LONGEST = 4.0
SEED = int(os.environ.get("ZERODOWN_SEED", time.time()))
# the journal's steps, and moments between them at which something is decided; see halt.py
POINTS = ["prove", "open", "commit", "dump", "retire", "record", "current", "end"]
# from these on it is finished and no longer undone
COMMITTED = POINTS[POINTS.index("dump") :]


def comes_back(host: Host, *versions: str) -> float:
    """What a boot must bring: the site, whole, on one of these versions. Seconds since one could log in."""
    seconds = wait_for(lambda: host.answer() in versions, f"{host.name} to serve")
    wait_for(lambda: host.look().unit == "active", f"PM2 of {host.name}")
    state = host.look()
    state.assert_whole()
    assert [[pid, text] for pid, text in state.owned if pid not in (state.daemon, *state.pids)] == []
    return round(seconds, 2)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_at_a_random_instant(fleet: Fleet, record_property: Record, number: int) -> None:
    chance = random.Random(SEED + number)
    instants = {host.name: chance.uniform(0, LONGEST) for host in fleet.hosts}
    record_property("seed", SEED + number)
    old, new = fleet.live(), fleet.put()

    def cut(host: Host) -> str:
        host.wait_for_cutover()
        time.sleep(instants[host.name])
        fleet.crash(host)
        return f"{host.name} after {instants[host.name]:.2f} s"

    controller = fleet.start("deploy", site_version=new)
    record_property("power cut", fleet.each(cut))
    controller.kill()
    fleet.power_on(*fleet.hosts)
    record_property("seconds to serve", fleet.each(lambda host: comes_back(host, old, new)))
    fleet.settle(new)


@pytest.mark.parametrize("points", list(zip(POINTS[::2], POINTS[1::2], strict=True)), ids="-".join)
def test_at_a_step(fleet: Fleet, record_property: Record, points: tuple[str, ...]) -> None:
    """Each host at its own."""
    old, new = fleet.live(), fleet.put()
    point_of = dict(zip((host.name for host in fleet.hosts), points, strict=True))
    fleet.each(lambda host: host.stop_at(point_of[host.name]))
    controller = fleet.start("deploy", site_version=new)
    fleet.each(Host.stopped)
    fleet.crash(*fleet.hosts)
    controller.kill()
    fleet.power_on(*fleet.hosts)
    seconds = fleet.each(lambda host: comes_back(host, new if point_of[host.name] in COMMITTED else old))
    record_property("seconds to serve", seconds)
    fleet.settle(new)
