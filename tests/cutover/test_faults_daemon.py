# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The PM2 daemon dies, hangs or goes down with the whole host in the middle of a cutover.

Cluster workers die with their daemon, so these are outages, whoever deploys. They are measured, and must end.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.faults import PATIENCE, STEPS, App, Host, Point, Traffic, around, at, in_parts
from support.pm2_host import wait_for
from support.run_module import ModuleFailed

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error

Record = Callable[[str, object], None]


@contextlib.contextmanager
def unit(host: Host) -> Iterator[None]:
    """Starts the daemon again whenever it has died, and brings back what was saved."""
    stop = threading.Event()
    host.has_unit = True

    def respawn() -> None:
        while not stop.wait(0.2):
            if not host.rpc.is_alive():
                host.boot()

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(respawn)
        try:
            yield
        finally:
            stop.set()
            watching.result(PATIENCE)


# the daemon alone ---------------------------------------------------------------------------------------------------

DAEMON = [*STEPS, Point("_generation.Generation.start", "after"), Point("_bake.watch", "before")]


@in_parts(DAEMON, 3)
def test_the_daemon_dies(host: Host, points: list[Point], record_property: Record) -> None:
    """The runner brings the site back, and undoes or finishes what was begun. Nothing waits for the next run."""
    lose_the_daemon(host, points, record_property)


@in_parts(DAEMON[1::2], 2)
def test_the_daemon_dies_and_has_a_unit(host: Host, points: list[Point], record_property: Record) -> None:
    """The runner leaves it to the unit, which has brought back what was saved before the runner sees anything."""
    with unit(host):
        lose_the_daemon(host, points, record_property)


def lose_the_daemon(host: Host, points: list[Point], record_property: Record) -> None:
    app, other = host.app(), host.app("other")
    for each in (app, other):
        each.cutover(each.stage())
    outages = []
    with Traffic([app]) as traffic:
        for point in points:
            with traffic.at(point):
                live = app.releases().live
                release = app.stage()
                with app.stopped(point, release) as run:
                    killed = time.monotonic()
                    host.kill_daemon()
                    if host.has_unit:
                        wait_for(lambda: other.serves() == "v1", "the unit brings nothing back", PATIENCE)
                    run.go()
                    result = run.outcome()
                    serves = release if point.is_committed or not result.get("failed") else live
                    app.wait_until_serves(serves)
                    outages.append((str(point), killed, time.monotonic()))
                assert serves
                app.assert_live(serves)
                other.assert_live("v1")
                app.run_on(release)
                host.assert_clean()
    for name, since, until in outages:
        record_property(f"down, {name}", round(traffic.outage(since, until), 2))


def cut_over_at_random(app: App, chance: random.Random, times: int) -> str:
    """Good releases one after another, whatever happens meanwhile; the last."""
    release = ""
    for _number in range(times):
        release = app.stage()
        time.sleep(chance.uniform(0.0, 1.0))
        with contextlib.suppress(ModuleFailed):
            app.cutover(release)
    return release


@pytest.mark.parametrize("has_unit", [False, True], ids=["without a unit", "with a unit"])
def test_the_daemon_dies_at_any_moment(host: Host, has_unit: bool, record_property: Record) -> None:
    """With two cutovers under it."""
    apps = [host.app(), host.app("api")]
    for app in apps:
        app.cutover(app.stage())
    chance = random.Random(f"daemon {has_unit}")
    kills = 0
    with unit(host) if has_unit else contextlib.nullcontext(), ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(cut_over_at_random, app, random.Random(app.name), 5) for app in apps]
        while not all(run.done() for run in runs):
            time.sleep(chance.uniform(0.5, 4.0))
            with contextlib.suppress(Pm2Error):
                host.kill_daemon()
                kills += 1
        for app, run in zip(apps, runs, strict=True):
            app.run_on(run.result())
        host.assert_clean()
    record_property("kills", kills)


# the whole host -----------------------------------------------------------------------------------------------------

POWER = [*STEPS, *around("_dump.write"), Point("_generation.Generation.open", "after"), *around("_activate.go_live")]


@in_parts(POWER, 3)
def test_the_power_is_cut(host: Host, points: list[Point], record_property: Record) -> None:
    """A boot starts one generation, the right one."""
    app, other = host.app(), host.app("other")
    for each in (app, other):
        each.cutover(each.stage())
    live = "v1"
    for point in points:
        with at(point):
            release = app.stage()
            with app.stopped(point, release) as run:
                host.cut_power(run.runner)
                run.result(fails=True)
            start = time.monotonic()
            assert host.boot() == 0
            serves = release if point.is_committed else live
            wait_for(lambda: (app.serves(), other.serves()) == (serves, "v1"), serves, PATIENCE)  # noqa: B023 - called at once
            record_property(f"boot, {point}", round(time.monotonic() - start, 2))
            assert len(app.pids()) == 2
            assert app.run_on(release) != [] or not point.has_journal
            other.assert_live("v1")
            host.assert_clean()
            live = release


# PM2's own save, while both generations run
SAVED = [
    Point("_journal.write", "before", "open"),
    Point("_generation.Generation.open", "after"),
    Point("_journal.write", "before", "commit"),
    Point("_journal.write", "after", "retire"),
]


@in_parts(SAVED, 2)
def test_somebody_saves_both_generations(host: Host, points: list[Point]) -> None:
    """With ``pm2 save``. No boot starts two generations: neither one in the middle, nor one after the end."""
    app = host.app()
    app.cutover(app.stage())
    live = "v1"

    def save() -> None:
        host.pm2("save")
        assert len(host.dump()) == 4

    for point in points:
        with at(point):
            release = app.stage()
            with app.stopped(point, release) as run:
                save()
                host.cut_power(run.runner)
            assert host.boot() == 0
            serves = release if point.is_committed else live
            app.wait_until_serves(serves)
            assert len(app.pids()) == 2
            app.run_on(release)

            live = app.stage()
            with app.stopped(point, live) as run:
                save()
                run.result()
            app.assert_live(live)
            host.assert_clean()


def test_somebody_saves_a_candidate_that_is_rejected(host: Host) -> None:
    app = host.app()
    app.cutover(app.stage())
    before = app.pids()
    with app.stopped(Point("_transaction.undo", "before"), app.stage("answers_500"), healthy_deadline=1.0) as run:
        host.pm2("save")
        assert len(host.dump()) == 4
        run.result(fails=True)
    app.assert_live("v1")
    assert app.pids() == before
    host.assert_clean()


# it hangs -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def hanging(host: Host) -> Iterator[None]:
    """It answers nobody and accepts no connection for its workers."""
    daemon = host.rpc.daemon_pid()
    os.kill(daemon, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(daemon, signal.SIGCONT)


@pytest.mark.parametrize(
    "point",
    [Point("_generation.Generation.start", "after"), Point("_journal.write", "after", "retire")],
    ids=str,
)
def test_the_daemon_hangs_for_a_while(host: Host, point: Point) -> None:
    """Longer than a call may take: what was begun is undone, what was committed is finished."""
    app = host.app()
    app.cutover(app.stage())
    release = app.stage()
    with app.stopped(point, release) as run:
        with hanging(host):
            run.go()
            time.sleep(12)
        if point.is_committed:
            run.result()
        else:
            assert "did not answer" in run.result(fails=True)["msg"]
    app.assert_live(release if point.is_committed else "v1")
    host.assert_clean()
    app.run_on(release)


def test_the_daemon_hangs_for_good(host: Host) -> None:
    """The runner gives up, says so, and leaves the rest to the next run."""
    app = host.app()
    app.cutover(app.stage())
    before = app.pids()
    release = app.stage()
    patience = (
        "from ansible_collections.zerodown.pm2.plugins.module_utils import _transaction\n_transaction.HANG_PATIENCE = 1"
    )
    with app.stopped(Point("_generation.Generation.start", "after"), release, prelude=patience) as run:
        with hanging(host):
            failure = run.result(fails=True)
        assert "Not everything could be put back" in failure["msg"]
        assert failure["serves"].startswith("What serves cannot be told")
    assert app.get() == "v1"
    assert set(before) <= set(app.pids())
    assert app.run_on(release) == [f"An interrupted cutover of web to {release} was undone."]
    host.assert_clean()
