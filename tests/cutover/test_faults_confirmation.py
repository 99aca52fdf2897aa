# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whoever dies while a release is to be confirmed: the host goes back by itself, or it never came to it."""

from __future__ import annotations

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from support.faults import PATIENCE, STEPS, App, Host, Point, Traffic, around, at, in_parts, stopping
from support.playbook import Controller
from support.pm2_host import descendants, is_alive, wait_for

from ansible_collections.zerodown.pm2.plugins.module_utils import _confirmation, _journal
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home

# armed first, and again when its time begins
ARMED, BEGUN = around("_confirmation.write"), around("_confirmation.write", count=2)
POINTS = [*ARMED, *STEPS, Point("_bake.watch", "before"), *BEGUN]
AWAITED: dict[str, Any] = {"confirm_timeout": 3.0, "rollout": "r1", "by": "anna"}


def awaiting(app: App) -> _confirmation.Awaiting | None:
    return _confirmation.read(app.layout)


def answer(app: App, release: str, **options: Any) -> dict[str, Any]:
    place: dict[str, Any] = {"path": str(app.root), "release": release, "rollout": "r1"}
    return app.host.module("confirmation", **{**place, **options})


def assert_gone_back(app: App, left: str) -> None:
    """``v1`` is live, nothing is left to do, and nothing is said against what was left."""
    home = Home(str(app.host.home))
    wait_for(lambda: awaiting(app) is None and _journal.read_all(home) == [], "it does not go back", PATIENCE)
    app.wait_until_over()
    app.wait_until_serves("v1")
    app.assert_live("v1")
    assert left not in app.releases().history.bad
    assert not app.cutover("v1")["changed"]
    app.host.assert_clean()


@in_parts(POINTS, 4)
def test_power(host: Host, points: list[Point]) -> None:
    """The boot finishes or undoes what was begun, lets the time begin, and goes back; nobody comes."""
    app = host.app()
    app.cutover(app.stage())
    for point in points:
        with at(point):
            release = app.stage()
            with app.stopped(point, release, **AWAITED) as run:
                host.cut_power(run.runner)
                assert "was killed" in run.ended(fails=True)["msg"]
            assert host.boot() == 0
            assert_gone_back(app, release)


@in_parts(POINTS, 4)
def test_power_while_options_change(host: Host, points: list[Point]) -> None:
    """The same release, run with what it was run with before."""
    app = host.app()
    release = app.stage()
    app.cutover(release)
    for number, point in enumerate(points):
        with at(point):
            changed = {"env": {"PORT": str(app.port), "NUMBER": str(number)}}
            with app.stopped(point, release, app=changed, **AWAITED) as run:
                host.cut_power(run.runner)
                assert "was killed" in run.ended(fails=True)["msg"]
            assert host.boot() == 0
            assert_gone_back(app, release)
            assert release in app.releases().history.proven


@in_parts(POINTS, 4)
def test_the_runner(host: Host, points: list[Point]) -> None:
    """Nobody waits then. The next run goes on with it."""
    app = host.app()
    app.cutover(app.stage())
    with Traffic([app]) as traffic:
        for point in points:
            with traffic.at(point):
                release = app.stage()
                with app.stopped(point, release, **AWAITED) as run:
                    run.kill()
                # its time may be over
                app.cutover(release, **{**AWAITED, "confirm_timeout": 600.0})
                found = awaiting(app)
                assert found
                assert found.until
                app.assert_live(release)
                answer(app, release, state="withdrawn")
                assert_gone_back(app, release)
    traffic.assert_none_lost()


BACK = [*STEPS, *around("_activate.withdraw"), *around("_confirmation.drop"), *around("_journal.end")]


@in_parts(BACK, 4)
def test_who_goes_back(host: Host, points: list[Point]) -> None:
    """The next run goes on with what was decided."""
    app = host.app()
    app.cutover(app.stage())
    with Traffic([app]) as traffic:
        for point in points:
            with traffic.at(point):
                release = app.stage()
                app.cutover(release, **{**AWAITED, "confirm_timeout": 600.0})
                withdraw = partial(answer, app, release, state="withdrawn")
                with app.stopped(point, None, run=withdraw) as run:
                    run.kill()
                assert withdraw()["live"] == "v1"
                assert_gone_back(app, release)
                assert not withdraw()["changed"]
                withdrawn = [event for event in app.releases().events if event["event"] == "withdrawn"]
                assert [event["release"] for event in withdrawn].count(release) == 1
    traffic.assert_none_lost()


def test_the_module(host: Host) -> None:
    """Dead in the middle of the cutover: the host finishes it, and goes back when nobody confirms."""
    app = host.app()
    app.cutover(app.stage())
    with Traffic([app]) as traffic:
        for point in [STEPS[1], STEPS[5]]:
            with traffic.at(point):
                release = app.stage()
                with app.stopped(point, release, **AWAITED) as run:
                    os.kill(run.module, signal.SIGKILL)
                    wait_for(lambda: not is_alive(run.module), "SIGKILL")  # noqa: B023 - called at once
                    run.go()
                    wait_for(lambda: app.releases().live == release, "not live")  # noqa: B023 - called at once
                    assert_gone_back(app, release)
                events = [event["event"] for event in app.releases().events if event["release"] == release]
                assert events == ["live", "withdrawn"]
    traffic.assert_none_lost()


def test_the_controller(host: Host, tmp_path: Path) -> None:
    """Killed with all that it has on the host, but the process that waits: that has no file of Ansible's left."""
    app = host.app()
    app.cutover(app.stage())
    release = app.stage()
    place: dict[str, Any] = {"pm2_home": str(host.home), "pm2_executable": host.executable}
    options = {**app.options(release, min_healthy_time=3.0, **AWAITED), **place}
    tasks = [{"name": "Cut over", "zerodown.pm2.cutover": options}]
    (tmp_path / "controller").mkdir()
    (tmp_path / "controller" / "play.yml").write_text(
        json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}])
    )
    with Traffic([app]) as traffic:
        play = Controller(tmp_path / "controller").start("play.yml")
        try:
            app.wait_until_begun()
        finally:
            for pid in [play.pid, *descendants(play.pid)]:
                os.kill(pid, signal.SIGKILL)
            play.communicate(timeout=PATIENCE)
        wait_for(lambda: app.releases().live == release, "not live")
        assert_gone_back(app, release)
    traffic.assert_none_lost()


def test_the_daemon(host: Host) -> None:
    """Down when the time is over: the host goes back once it is up again."""
    app = host.app()
    app.cutover(app.stage())
    release = app.stage()
    app.cutover(release, **AWAITED)
    host.kill_daemon()
    found = awaiting(app)
    assert found
    wait_for(lambda: _confirmation.remaining(found, time.time()) == 0, "its time is not over")
    assert host.boot() == 0
    assert_gone_back(app, release)


def test_the_host_is_first(host: Host, tmp_path: Path) -> None:
    """Who confirms while it goes back waits, and is told so."""
    app = host.app()
    app.cutover(app.stage())
    release = app.stage()
    point = Point("_cutover.go_back", "before")
    app.cutover(release, prelude=stopping(point, tmp_path), **AWAITED)
    wait_for((tmp_path / "reached").exists, "it does not go back")
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(answer, app, release, fails=True)
        (tmp_path / "go").touch()
        failure = late.result(PATIENCE)
    assert "went back to v1 at 20" in failure["msg"]
    assert "by itself, because release v2 was not confirmed within 3 s by anna." in failure["msg"]
    assert_gone_back(app, release)


def test_the_confirmation_is_first(host: Host) -> None:
    """Its time is over while it is on its way; what is decided stays, also when who decided it is killed."""
    app = host.app()
    app.cutover(app.stage())
    for killed in (False, True):
        release = app.stage()
        app.cutover(release, **AWAITED)
        found = awaiting(app)
        assert found
        point = Point("_activate.judge", "before")
        with app.stopped(point, None, run=partial(answer, app, release)) as run:
            wait_for(lambda: time.time() > (found.until or 0) + 1, "its time is not over")  # noqa: B023
            if killed:
                run.kill()
            else:
                assert run.result()["changed"]
        wait_for(lambda: awaiting(app) is None, "it is awaited still")
        app.wait_until_over()
        app.assert_live(release)
        assert release in app.releases().history.proven
        host.assert_clean()
