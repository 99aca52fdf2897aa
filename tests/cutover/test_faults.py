# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""kill -9 of whoever takes part in a cutover but the daemon: the site serves, and the next run comes to what is wanted.

Several kills in a row on one host: each begins where the one before ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.faults import BETWEEN, PATIENCE, STEPS, App, Host, Point, Traffic, around, at, in_parts
from support.playbook import Controller
from support.pm2_host import descendants, is_alive, wait_for
from support.run_module import ModuleFailed

Record = Callable[[str, object], None]


def assert_nothing_was_touched(app: App, point: Point, before: list[int], release: str) -> None:
    """What served is there, or what follows it, whole."""
    if not point.is_committed:
        assert set(before) <= set(app.pids())
        return
    directory = str(app.root / "releases" / release)
    new = [process for process in app.processes() if process.env["pm_cwd"] == directory]
    assert len(new) == 2
    assert all(process.is_running() for process in new)


@in_parts([*STEPS, *BETWEEN], 5)
def test_the_runner(host: Host, points: list[Point]) -> None:
    app = host.app()
    app.cutover(app.stage())
    with Traffic([app]) as traffic:
        for point in points:
            with traffic.at(point):
                before = app.pids()
                release = app.stage()
                with app.stopped(point, release) as run:
                    run.kill()
                assert_nothing_was_touched(app, point, before, release)
                repaired = app.run_on(release)
                assert [text.split()[-1] for text in repaired] == [
                    "finished." if point.is_committed else "undone." for _journal in range(point.has_journal)
                ]
                host.assert_clean()
    traffic.assert_none_lost()


BAD = [
    *STEPS[:2],
    Point("_generation.Generation.start", "after"),
    *around("_transaction.undo"),
    *around("_journal.end"),
    *around("_activate.judge"),
]


@in_parts(BAD, 2)
def test_the_runner_with_a_bad_release(host: Host, points: list[Point]) -> None:
    app = host.app()
    app.cutover(app.stage())
    before = app.pids()
    with Traffic([app]) as traffic:
        for point in points:
            with traffic.at(point):
                release = app.stage("answers_500")
                with app.stopped(point, release, healthy_deadline=1.5) as run:
                    run.kill()
                assert set(before) <= set(app.pids())
                failure = app.cutover(release, fails=True, healthy_deadline=1.5)
                known = (point.function, point.when) == ("_activate.judge", "after")
                assert ("was marked bad" if known else "was rejected") in failure["msg"]
                assert release in app.releases().history.bad
                assert not app.cutover("v1")["changed"]
                app.assert_live("v1")
                assert app.pids() == before
                host.assert_clean()
    traffic.assert_none_lost()
    assert traffic.answers() == {"v1"}


def test_another_release_is_next(host: Host) -> None:
    """The run after a kill is not the same again: back to what was live, or on to the next one."""
    app = host.app()
    app.cutover(app.stage())
    with Traffic([app]) as traffic:
        for point in STEPS[1:8:2]:
            with traffic.at(point):
                live = app.releases().live
                assert live
                with app.stopped(point, app.stage()) as run:
                    run.kill()
                assert len(app.run_on(app.stage() if point.is_committed else live)) == 1
                host.assert_clean()
    traffic.assert_none_lost()


# the breach marks it, then the second journal brings the old one back
REVERT = [
    *around("_activate.judge"),
    *[Point("_journal.write", point.when, point.step, 2) for point in STEPS],
    *around("_journal.end", count=2),
]


@in_parts(REVERT, 4)
def test_a_revert(host: Host, points: list[Point]) -> None:
    """The same release again: it is watched again and reverted again, or it is known as bad."""
    app = host.app()
    app.cutover(app.stage())
    with Traffic([app]) as traffic:
        for point in points:
            with traffic.at(point):
                bad = app.stage("fails_later", seconds=0.1)
                with app.stopped(point, bad, bake_time=30.0) as run:
                    run.kill()
                failure = app.cutover(bad, fails=True, bake_time=30.0)
                assert ("was marked bad" if point.is_committed else "is not healthy") in failure["msg"]
                assert bad in app.releases().history.bad
                # refused at once, it settles nothing
                assert app.cutover("v1")["changed"] is (str(point) == "before _journal.end 2")
                app.assert_live("v1")
                host.assert_clean()
    # what the bad one answers is its own
    assert all(result.failed == 0 for result in traffic.results())


ROLLBACK = [*STEPS, *around("_activate.go_live"), *around("_activate.judge"), Point("_journal.end", "before")]


@in_parts(ROLLBACK, 4)
def test_a_rollback(host: Host, points: list[Point]) -> None:
    """Again the same: one release back, not two."""
    app = host.app()
    for _number in range(2):
        app.cutover(app.stage())
    with Traffic([app]) as traffic:
        for point in points:
            with traffic.at(point):
                left = app.stage()
                app.cutover(left)
                with app.stopped(point, None) as run:
                    run.kill()
                result = app.cutover(None)
                assert (result["release"], result["abandoned"]) == ("v2", left)
                assert left in app.releases().history.bad
                app.assert_live("v2")
                host.assert_clean()
    traffic.assert_none_lost()


# at any moment ------------------------------------------------------------------------------------------------------


def kill_at_random(app: App, chance: random.Random, times: int) -> int:
    """So many cutovers, good and bad ones; how many were hit."""
    hits = 0
    live = app.releases().live or ""
    for _number in range(times):
        is_good = chance.random() < 0.7
        release = app.stage(*(["good"] if is_good else chance.choice([["answers_500"], ["throws_at_boot"]])))
        delay = chance.uniform(0.0, 2.2)
        with ThreadPoolExecutor(1) as pool, at(f"{app.name}, {release}, good: {is_good}, {delay:.3f} s"):
            run = pool.submit(app.cutover, release, healthy_deadline=60.0 if is_good else 1.5)
            wait_for(lambda: app.holder is not None or run.done(), "no runner", PATIENCE)  # noqa: B023 - called at once
            runner = app.holder
            time.sleep(delay)
            if runner and runner == app.holder:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(runner, signal.SIGKILL)
                    hits += 1
            with contextlib.suppress(ModuleFailed):
                run.result()
            if is_good:
                app.run_on(release)
                live = release
            else:
                app.cutover(release, fails=True, healthy_deadline=1.5)
                assert release in app.releases().history.bad
                assert not app.cutover(live)["changed"]
                app.assert_live(live)
    return hits


@pytest.mark.parametrize("seed", [1, 2])
def test_the_runner_at_any_moment(host: Host, seed: int, record_property: Record) -> None:
    apps = [host.app(name) for name in ("web", "api", "shop")]
    with ThreadPoolExecutor(len(apps)) as pool:
        list(pool.map(lambda app: app.cutover(app.stage()), apps))
        with Traffic(apps, rate=20.0) as traffic:
            runs = [pool.submit(kill_at_random, app, random.Random(f"{seed} {app.name}"), 10) for app in apps]
            while not all(run.done() for run in runs):
                time.sleep(1.0)
                traffic.renew()
            hits = [run.result() for run in runs]
    record_property("kills", sum(hits))
    assert sum(hits) >= 25
    host.assert_clean()
    traffic.assert_none_lost()


# who asked for it ---------------------------------------------------------------------------------------------------


def test_the_module_alone(host: Host) -> None:
    """The transaction ends by itself."""
    app = host.app()
    app.cutover(app.stage())
    with Traffic([app]) as traffic:
        for point in [STEPS[1], STEPS[3], STEPS[5], STEPS[7]]:
            with traffic.at(point):
                release = app.stage()
                with app.stopped(point, release) as run:
                    os.kill(run.module, signal.SIGKILL)
                    wait_for(lambda: not is_alive(run.module), "SIGKILL")  # noqa: B023 - called at once
                    run.go()
                    app.wait_until_over()
                app.assert_live(release)
                assert release in app.releases().history.proven
                assert not app.cutover(release)["changed"]
                host.assert_clean()
    traffic.assert_none_lost()


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Callable[[App, str], subprocess.Popen[str]]]:
    """Starts ``ansible-playbook``, which cuts over to a release on this machine and takes its time at the gate."""
    started: list[subprocess.Popen[str]] = []

    def start(app: App, release: str) -> subprocess.Popen[str]:
        directory = tmp_path / f"controller-{app.name}"
        directory.mkdir()
        place = {"pm2_home": str(app.host.home), "pm2_executable": app.host.executable}
        options = {**app.options(release, min_healthy_time=4.0), **place}
        tasks = [{"name": "Cut over", "zerodown.pm2.cutover": options}]
        (directory / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
        started.append(Controller(directory).start("play.yml"))
        return started[-1]

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_the_controller(host: Host, play: Callable[[App, str], subprocess.Popen[str]]) -> None:
    """Killed alone; with all that it has on the host, but the runner; interrupted at the keyboard, where the module
    clears away what it was imported from."""
    apps = [host.app(name) for name in ("web", "api", "shop")]
    for app in apps:
        app.cutover(app.stage())
    with Traffic(apps, rate=20.0) as traffic:
        releases = [app.stage() for app in apps]
        plays = [play(app, release) for app, release in zip(apps, releases, strict=True)]
        for app in apps:
            app.wait_until_begun()
        alone, with_all, at_keyboard = plays
        os.kill(alone.pid, signal.SIGKILL)
        for pid in [with_all.pid, *descendants(with_all.pid)]:
            os.kill(pid, signal.SIGKILL)
        os.killpg(at_keyboard.pid, signal.SIGINT)
        for process in plays:
            process.communicate(timeout=PATIENCE)
        for app, release in zip(apps, releases, strict=True):
            app.wait_until_over()
            app.assert_live(release)
            assert not app.cutover(release)["changed"]
    host.assert_clean()
    traffic.assert_none_lost()
