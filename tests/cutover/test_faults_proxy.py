# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whoever dies at whichever point of a cutover behind a proxy: no request is lost, the next run comes to what is
wanted, and after a power cut the proxy serves the release that comes back."""

from __future__ import annotations

import pytest
from support.faults import STEPS, App, Host, Point, Traffic, at, in_parts
from support.pm2_host import wait_for
from support.proxied import Haproxy

SHARED = Point("_switch.HaproxySwitch.share", "after")
BETWEEN = [
    SHARED,
    Point("_dump.write", "before"),
    Point("_dump.write", "after"),
    Point("_switch.HaproxySwitch.remember", "before"),
    Point("_switch.HaproxySwitch.remember", "after"),
]
# of these, which side of the commit they are on
COMMITTED = {str(point): point.function.endswith("remember") or point.is_committed for point in [*STEPS, *BETWEEN]}
POINTS = [*STEPS, *BETWEEN]


def proxied(host: Host, haproxy: Haproxy, **options: object) -> App:
    return host.app().stand_behind(haproxy, **options)


@in_parts(POINTS, 3)
def test_the_runner(host: Host, haproxy: Haproxy, points: list[Point]) -> None:
    """kill -9: the next run finishes or undoes, and the proxy never gives a request to what is not there."""
    app = proxied(host, haproxy, standby_time=0)
    app.cutover(app.stage())
    with Traffic([app]) as traffic:
        for point in points:
            with traffic.at(point):
                release = app.stage()
                with app.stopped(point, release) as run:
                    run.kill()
                assert app.serves() is not None
                app.run_on(release)
                host.assert_clean()
    traffic.assert_none_lost()


@in_parts(POINTS, 3)
def test_power(host: Host, haproxy: Haproxy, points: list[Point]) -> None:
    """The colour that comes back is the one that HAProxy serves, whatever it remembered."""
    app = proxied(host, haproxy, standby_time=0)
    app.cutover(app.stage())
    for point in points:
        with at(point):
            live = app.releases().live
            release = app.stage()
            with app.stopped(point, release) as run:
                haproxy.kill()
                host.cut_power(run.runner)
            haproxy.start()
            assert host.boot() == 0
            app.wait_until_serves(release if COMMITTED[str(point)] else live)
            assert sorted(haproxy.states().values()) == ["maint", "ready"]
            app.run_on(release)
            host.assert_clean()


@in_parts([*STEPS, SHARED], 2)
def test_a_flip(host: Host, haproxy: Haproxy, points: list[Point]) -> None:
    """A rollback to what is still warm: killed, it is still warm or it serves."""
    app = proxied(host, haproxy, standby_time=600)
    app.cutover(app.stage())
    with Traffic([app]) as traffic:
        for point in points:
            with traffic.at(point):
                target = app.releases().live
                assert target
                app.cutover(app.stage())
                with app.stopped(point, None) as run:
                    run.kill()
                assert app.serves() is not None
                result = app.cutover(None)
                assert result["release"] == target
                app.assert_live(target)
                host.assert_clean()
    traffic.assert_none_lost()


@pytest.mark.parametrize("point", [SHARED, Point("_transaction.Transaction.commit", "after")], ids=str)
def test_power_with_a_standby(host: Host, haproxy: Haproxy, point: Point) -> None:
    """What was warm is gone, and nobody counts on it."""
    app = proxied(host, haproxy, standby_time=600)
    app.cutover(app.stage())
    app.cutover(app.stage())
    with app.stopped(point, app.stage()) as run:
        haproxy.kill()
        host.cut_power(run.runner)
    haproxy.start()
    assert host.boot() == 0
    app.wait_until_serves("v3" if point is not SHARED else "v2")
    app.run_on("v3", app={"standby_time": 0})


def test_the_daemon(host: Host, haproxy: Haproxy) -> None:
    """It takes what is warm along; what it brings back has its address, and the proxy finds it there."""
    app = proxied(host, haproxy, standby_time=600)
    app.cutover(app.stage())
    app.cutover(app.stage())
    assert haproxy.states() == {"blue": "drain", "green": "ready"}
    host.cut_power()
    assert host.boot() == 0
    app.wait_until_serves("v2")
    wait_for(lambda: haproxy.states() == {"blue": "maint", "green": "ready"}, "not aligned", 5.0)
    app.assert_live("v2")
    # the standby being gone, the release is started again
    assert app.cutover(None)["plan"][0]["proof"] == "held"
    app.assert_live("v1")
