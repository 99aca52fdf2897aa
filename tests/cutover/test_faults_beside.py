# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cutover and what else goes on: a second one, a saving of the list, an order to stop, a full disk."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.faults import BETWEEN, PATIENCE, STEPS, App, Host, Point, Traffic, at, in_parts
from support.pm2_host import end_daemon, is_alive, private_home, wait_for

PROVING = Point("_journal.write", "before", "open")
# the list is not being saved yet, and no longer
COMMITTING = Point("_transaction.Transaction.commit", "before")
SAVED = Point("_transaction.Transaction.retire", "before")
RETIRING = Point("_journal.write", "after", "retire")


# another one --------------------------------------------------------------------------------------------------------


def test_a_second_one_is_refused_and_told_whose_the_first_is(host: Host) -> None:
    app = host.app()
    app.cutover(app.stage())
    first, second = app.stage(), app.stage()
    with app.stopped(PROVING, first, by="anna", reason="summer sale") as run:
        refused = app.cutover(second, fails=True, lock_timeout=0.5)
        assert f"is being cut over by anna (pid {run.runner}, since " in refused["msg"]
        assert "reason: summer sale" in refused["msg"]
        assert refused["holder"]["pid"] == run.runner
        assert refused["holder"]["age"] > 0
        run.result()
    app.assert_live(first)
    host.assert_clean()


def test_a_second_one_waits(host: Host) -> None:
    app = host.app()
    app.cutover(app.stage())
    first, second = app.stage(), app.stage()
    with Traffic([app]) as traffic, ThreadPoolExecutor(1) as pool, app.stopped(PROVING, first) as run:
        waiting = pool.submit(app.cutover, second)
        time.sleep(2.0)
        assert not waiting.done()
        run.result()
        assert waiting.result()["repaired"] == []
    app.assert_live(second)
    assert app.releases().history.proven >= {first, second}
    host.assert_clean()
    traffic.assert_none_lost()


@pytest.mark.parametrize("point", [PROVING, RETIRING], ids=str)
def test_a_second_one_by_force(host: Host, point: Point) -> None:
    """The first undoes what it began, or finishes it when it is committed."""
    app = host.app()
    app.cutover(app.stage())
    first, second = app.stage(), app.stage()
    with Traffic([app]) as traffic, ThreadPoolExecutor(1) as pool, app.stopped(point, first, bake_time=30.0) as run:
        forcing = pool.submit(app.cutover, second, force=True)
        # not let go: it is told to stop where it stands
        assert "told to stop (SIGTERM)" in run.ended(fails=True)["msg"]
        forcing.result()
    assert (first in app.releases().history.sequence) is point.is_committed
    app.assert_live(second)
    host.assert_clean()
    traffic.assert_none_lost()


@pytest.mark.parametrize("point", [PROVING, Point("_dump.write", "before")], ids=str)
def test_two_apps_side_by_side(host: Host, point: Point) -> None:
    """What the one commits has the other as it was."""
    web, api = host.app(), host.app("api")
    for app in (web, api):
        app.cutover(app.stage())
    traffic = Traffic([web, api], rate=20.0)
    with traffic, web.stopped(PROVING, web.stage()) as one, api.stopped(point, api.stage()) as two:
        two.result()
        assert {(entry["name"], Path(entry["pm_cwd"]).name) for entry in host.dump()} == {
            ("web", "v1"),
            ("api", "v2"),
        }
        one.result()
    web.assert_live("v2")
    api.assert_live("v2")
    host.assert_clean()
    traffic.assert_none_lost()


def test_one_that_has_its_outage_meanwhile(host: Host) -> None:
    """It has ended what ran, and its candidate counts for nothing yet: a boot still starts what ran."""
    web, api = host.app(), host.app("api", instances=1, exec_mode="fork", strategy="restart", preload=False)
    for app in (web, api):
        app.cutover(app.stage())
    with api.stopped(COMMITTING, api.stage()) as run:
        assert [Path(process.env["pm_cwd"]).name for process in api.processes()] == ["v2"]
        web.cutover(web.stage())
        assert host.module("dump")["changed"] is False
        host.cut_power(run.runner)
        run.result(fails=True)
    assert host.boot() == 0
    wait_for(lambda: (web.serves(), api.serves()) == ("v2", "v1"), "not what was saved", PATIENCE)
    api.run_on("v2")
    host.assert_clean()


# a saving of the list -----------------------------------------------------------------------------------------------


def test_the_list_is_saved_in_the_middle(host: Host) -> None:
    """By the module ``dump``: without a candidate, without what was replaced."""
    app = host.app()
    app.cutover(app.stage())
    for point in [PROVING, Point("_generation.Generation.open", "after"), COMMITTING, SAVED]:
        with at(point):
            before = app.releases().live
            release = app.stage()
            with app.stopped(point, release) as run:
                assert len(app.processes()) == 4
                host.module("dump")
                assert [Path(entry["pm_cwd"]).name for entry in host.dump()] == [
                    release if point.is_committed else before
                ] * 2
                run.result()
            app.assert_live(release)


# told to stop -------------------------------------------------------------------------------------------------------


@in_parts([*STEPS, *BETWEEN, Point("_bake.watch", "before")], 2)
def test_told_to_stop(host: Host, points: list[Point]) -> None:
    """Before the commit it undoes all, and says so; after it finishes all but the watch."""
    app = host.app()
    app.cutover(app.stage())
    live = "v1"
    with Traffic([app]) as traffic:
        for point in points:
            with traffic.at(point):
                before = app.pids()
                release = app.stage()
                with app.stopped(point, release) as run:
                    os.kill(run.runner, signal.SIGTERM)
                    failure = run.result(fails=True)
                assert "told to stop (SIGTERM)" in failure["msg"]
                assert failure["changed"] is point.is_committed
                if point.is_committed:
                    live = release
                else:
                    assert failure["serves"] == "What served before serves: web (untouched, the same processes)."
                    assert app.pids() == before
                app.assert_live(live)
                assert release not in app.releases().history.proven | app.releases().history.bad
                host.assert_clean()
        app.run_on(live)
    traffic.assert_none_lost()
    assert live in app.releases().history.proven


# a full disk --------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Host]:
    """PM2_HOME is a disk of its own, but for the daemon's log: PM2's daemon dies of a line that it cannot write."""
    with private_home() as home:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", str(home)], check=True)
        (home / "pm2.log").symlink_to(tmp_path / "pm2.log")
        try:
            yield Host(home, tmp_path)
        finally:
            end_daemon(home)
            subprocess.run(["umount", "--lazy", str(home)], check=True)


def fill(directory: Path) -> Path:
    path = directory / "filler"
    with path.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while True:
            stream.write(b"x" * 4096)
    return path


# only root mounts a disk
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small disk")
@in_parts([*STEPS, *BETWEEN], 2)
def test_a_full_disk(small: Host, points: list[Point]) -> None:
    """Nothing is lost. What cannot be written down is not done, or it is done and told."""
    app = small.app()
    app.cutover(app.stage())
    daemon = (small.home / "pm2.pid").read_text()
    with Traffic([app]) as traffic:
        for point in points:
            with traffic.at(point):
                live = app.releases().live
                release = app.stage()
                with app.stopped(point, release) as run:
                    filler = fill(small.home)
                    result = run.outcome()
                if result.get("failed"):
                    assert "no space left on " in result["msg"].lower()
                filler.unlink()
                assert (small.home / "pm2.pid").read_text() == daemon, "the daemon died"
                serves = app.releases().live
                assert serves in (live, release)
                assert {Path(entry["pm_cwd"]).name for entry in small.dump()} == {serves}
                app.run_on(release)
                small.assert_clean()
    traffic.assert_none_lost()


# candidates that get stuck ------------------------------------------------------------------------------------------

DEAF = "process.on('SIGINT', () => {});\nprocess.on('SIGTERM', () => {});\n"
# once it is opened, without a request
OPENED = (
    "const held = require('path').join(process.env.PM2_HOME, 'gate', `${process.env.zerodown_generation}.held`);\n"
    "serve();\n"
    "setInterval(() => { if (!require('fs').existsSync(held)) stuck(); }, 20);\n"
)
AT_THE_GATE = {
    "deaf to signals, and fails": DEAF + "serve();\nsetTimeout(() => { throw new Error('boom'); }, 200);\n",
    "deaf to signals, and not healthy": DEAF + "site.status = 500;\nserve();\n",
    "stuck at boot": "while (true);\n",
    "stuck at the gate": "serve();\nsetTimeout(() => { while (true); }, 200);\n",
    "closes its server": "serve();\nsetTimeout(() => server.close(), 200);\nsetInterval(() => {}, 1000);\n",
}
WHEN_OPENED = {
    "stuck": "const stuck = () => { while (true); };\n" + OPENED,
    "stuck with the first request": (
        "serve();\nserver.prependListener('connection', (socket) => { while (socket.remoteAddress); });\n"
    ),
    "closes its server": "const stuck = () => server.close();\n" + OPENED,
}


def reject(app: App, script: str, **options: Any) -> Traffic:
    """It is undone in time, and what serves is as it was."""
    before = app.pids()
    release = app.stage(script=script)
    with Traffic([app]) as traffic:
        failure = app.cutover(release, fails=True, **options)
    assert "was rejected" in failure["msg"]
    assert release in app.releases().history.bad
    app.assert_live("v1")
    assert app.pids() == before
    app.host.assert_clean()
    return traffic


def test_candidates_that_fail_at_the_gate(host: Host) -> None:
    app = host.app()
    app.cutover(app.stage())
    for name, script in AT_THE_GATE.items():
        with at(name):
            reject(app, script, min_healthy_time=1.0, healthy_deadline=2.0).assert_none_lost()


@pytest.mark.parametrize("script", WHEN_OPENED.values(), ids=WHEN_OPENED)
def test_candidates_that_fail_when_they_are_opened(host: Host, script: str) -> None:
    """The requests that such a worker took are lost: PM2 gives it no more while it answers nothing."""
    app = host.app()
    app.cutover(app.stage())
    traffic = reject(app, script)
    assert traffic.answers() <= {"v1", "v2"}
    assert sum(result.failed for result in traffic.results()) <= 8


def test_a_stuck_candidate_outlives_its_daemon(host: Host) -> None:
    app = host.app()
    app.cutover(app.stage())
    release = app.stage(script=AT_THE_GATE["stuck at boot"])
    with app.stopped(Point("_generation.Generation.start", "after"), release) as run:
        stuck = {item.pid for item in app.processes() if item.pid and not str(item.generation).startswith("v1-")}
        assert len(stuck) == 2
        host.kill_daemon()
        assert all(map(is_alive, stuck))
        run.result(fails=True)
    assert not any(map(is_alive, stuck))
    app.assert_live("v1")
    host.assert_clean()
