# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From staged to live and back: current, verdicts, rollback, retention, removal, and what the log tells."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

from releases.conftest import App, Repository, snapshot


def deploy(app: App, repository: Repository, number: int, proven: bool = True) -> str:
    """Release ``r<number>``; ids tell their order, because several are made in a second."""
    repository.write({"server.js": f"release {number}\n"})
    return app.deploy(repository.source, proven=proven, release=f"r{number}")


def ids(app: App) -> list[str]:
    return [release["id"] for release in app.info()["releases"]]


def test_going_live(app: App, repository: Repository) -> None:
    first = deploy(app, repository, 1)
    assert app.current == app.path(first)
    assert (app.root / "current").readlink() == Path("releases/r1")
    repository.write({"server.js": "release 2\n"})
    second = app.stage(repository.source, release="r2")["release"]["id"]
    before = snapshot(app.root)
    planned = app.release(state="live", release=second, check=True)
    assert planned["changed"]
    assert snapshot(app.root) == before
    result = app.release(state="live", release=second, by="someone", reason="why not")
    assert {**result, "invocation": None} == {**planned, "invocation": None}
    assert (result["live"], result["previous"]) == ("r2", "r1")
    assert result["diff"]["before"]["live"] == "r1"
    assert result["diff"]["after"]["live"] == "r2"
    entry = app.info()["log"][-1]
    assert (entry["event"], entry["previous"], entry["by"], entry["reason"]) == ("live", "r1", "someone", "why not")
    before = snapshot(app.root)
    assert not app.release(state="live", release=second)["changed"]
    assert snapshot(app.root) == before


def test_current_is_never_missing(app: App, repository: Repository) -> None:
    for number in (1, 2):
        deploy(app, repository, number)
    missing = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            try:
                (app.root / "current/server.js").read_text()
            except OSError as error:
                missing.append(error)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in (1, 2, 1):
        app.release(state="live", release=f"r{number}")
    ended.set()
    watcher.join()
    assert missing == []


def test_what_is_not_built_does_not_go_live(app: App, repository: Repository) -> None:
    release = app.stage(repository.source, needs_build=True)["release"]
    assert not release["ready"]
    assert "was not built" in app.release(state="live", release=release["id"], fails=True)["msg"]
    assert not (app.root / "current").exists()
    assert app.info()["log"] == []


def test_what_is_bad_does_not_go_live(app: App, repository: Repository) -> None:
    deploy(app, repository, 1)
    deploy(app, repository, 2, proven=False)
    assert app.release(state="bad", release="r2", reason="slow", check=True)["release"]["bad"]
    assert not app.info()["releases"][1]["bad"]
    assert app.release(state="bad", release="r2", reason="slow")["changed"]
    assert not app.release(state="bad", release="r2", reason="slow")["changed"]
    app.release(state="live", release="r1")
    message = app.release(state="live", release="r2", fails=True)["msg"]
    assert "marked bad (slow)" in message


def test_only_what_was_live_can_be_proven(app: App, repository: Repository) -> None:
    app.stage(repository.source, release="r1")
    assert "never was live" in app.release(state="proven", release="r1", fails=True)["msg"]


def test_rollback(app: App, repository: Repository) -> None:
    deploy(app, repository, 1)
    deploy(app, repository, 2)
    deploy(app, repository, 3, proven=False)
    assert app.info()["rollback_target"] == "r2"
    assert app.release(state="live", rollback=True, check=True)["live"] == "r2"
    assert app.info()["live"] == "r3"
    result = app.release(state="live", rollback=True, reason="broken")
    assert result["live"] == "r2"
    assert (app.current / "server.js").read_text() == "release 2\n"
    app.release(state="bad", release="r3", reason="broken")
    info = app.info()
    assert (info["live"], info["previous"], info["rollback_target"]) == ("r2", "r3", "r1")
    assert info["log"][-2]["event"] == "rollback"
    app.release(state="live", rollback=True, release="r1")
    assert app.info()["rollback_target"] is None
    assert "no proven release" in app.release(state="live", rollback=True, fails=True)["msg"]
    # what is live already is what was asked for
    assert not app.release(state="live", rollback=True, release="r1")["changed"]


def test_a_rollback_that_cannot_be_is_refused_with_what_can(app: App, repository: Repository) -> None:
    for number in (1, 2, 3):
        deploy(app, repository, number)
    app.release(state="bad", release="r2", reason="slow")
    for requested, fault in (("r2", "marked bad (slow)"), ("r3", "is the live one"), ("r9", "is not on this host")):
        message = app.info(rollback_to=requested, fails=True)["msg"]
        assert fault in message
        assert "There are: r1." in message
    assert app.info(rollback_to="r1")["rollback_target"] == "r1"
    assert app.info()["rollback_targets"] == ["r1"]


def test_retention(app: App, repository: Repository, busy_from: Callable[[Path], None]) -> None:
    deploy(app, repository, 1)
    busy_from(app.path("r1"))
    for number in range(2, 8):
        deploy(app, repository, number, proven=number == 2)
    # a process runs from r1, and r2 is the last proven one
    assert ids(app) == ["r1", "r2", "r3", "r4", "r5", "r6", "r7"]
    deploy(app, repository, 8, proven=False)
    assert ids(app) == ["r1", "r2", "r4", "r5", "r6", "r7", "r8"]
    lean = {"state": "live", "release": "r8", "keep": 1, "protect": ["r5"]}
    planned = app.release(**lean, check=True)
    assert planned["removed"] == ["r4", "r6"]
    assert ids(app) == ["r1", "r2", "r4", "r5", "r6", "r7", "r8"]
    assert app.release(**lean)["removed"] == ["r4", "r6"]
    assert ids(app) == ["r1", "r2", "r5", "r7", "r8"]
    assert not app.release(**lean)["changed"]
    removed = [entry["release"] for entry in app.info()["log"] if entry["event"] == "removed"]
    assert removed == ["r3", "r4", "r6"]


def test_removal_follows_no_link(app: App, repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/precious").write_text("stays")
    deploy(app, repository, 1, proven=False)
    (app.path("r1") / "out").symlink_to(tmp_path / "outside")
    for number in (2, 3):
        deploy(app, repository, number)
    assert app.release(state="absent", release="r1")["changed"]
    assert not app.path("r1").exists()
    assert (tmp_path / "outside/precious").read_text() == "stays"


def test_absent(app: App, repository: Repository, busy_from: Callable[[Path], None]) -> None:
    for number in range(1, 6):
        deploy(app, repository, number, proven=number <= 2)
    busy_from(app.path("r1"))
    for release, use in (
        ("r5", "it is live"),
        ("r4", "it was live before"),
        ("r2", "last proven one"),
        ("r1", "a process runs from it"),
    ):
        assert use in app.release(state="absent", release=release, fails=True)["msg"]
    assert "protect" in app.release(state="absent", release="r3", protect=["r3"], fails=True)["msg"]
    assert app.release(state="absent", release="r3", check=True)["changed"]
    assert "r3" in ids(app)
    result = app.release(state="absent", release="r3")
    assert (result["removed"], result["release"]) == (["r3"], None)
    assert ids(app) == ["r1", "r2", "r4", "r5"]
    before = snapshot(app.root)
    assert not app.release(state="absent", release="r3")["changed"]
    assert snapshot(app.root) == before


def test_current_that_is_no_link_is_left_alone(app: App, repository: Repository) -> None:
    app.stage(repository.source, release="r1")
    (app.root / "current").mkdir()
    (app.root / "current/precious").write_text("stays")
    message = app.release(state="live", release="r1", fails=True)["msg"]
    assert "is not a symbolic link; move it away" in message
    assert (app.root / "current/precious").read_text() == "stays"


def test_a_run_that_died_between_switch_and_log_is_completed(app: App, repository: Repository) -> None:
    deploy(app, repository, 1)
    deploy(app, repository, 2)
    log = app.root / "deploys.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(line for line in lines if '"r2"' not in line))
    assert app.info()["rollback_target"] == "r1"
    assert app.release(state="live", release="r2")["changed"]
    assert app.info()["log"][-1]["release"] == "r2"
    assert not app.release(state="live", release="r2")["changed"]


def test_info_of_nothing(app: App) -> None:
    info = app.info()
    assert {
        name: info[name] for name in ("exists", "changed", "live", "previous", "rollback_target", "releases", "log")
    } == {
        "exists": False,
        "changed": False,
        "live": None,
        "previous": None,
        "rollback_target": None,
        "releases": [],
        "log": [],
    }
    assert not app.root.exists()
    assert "it is not on this host. There are none." in app.info(rollback_to="x", fails=True)["msg"]


def test_info(app: App, repository: Repository) -> None:
    deploy(app, repository, 1)
    deploy(app, repository, 2, proven=False)
    app.release(state="bad", release="r2", reason="slow")
    before = snapshot(app.root)
    info = app.info(events=2)
    assert snapshot(app.root) == before
    first, second = info["releases"]
    assert (first["proven"], first["bad"], first["previous"]) == (True, False, True)
    assert (second["live"], second["bad"], second["reason"]) == (True, True, "slow")
    assert [entry["event"] for entry in info["log"]] == ["live", "bad"]
    assert app.info(events=0)["log"] == []


def test_a_damaged_manifest_is_named(app: App, repository: Repository) -> None:
    deploy(app, repository, 1)
    (app.path("r1") / ".zerodown/release.json").write_text("{")
    assert "release.json is damaged" in app.info(fails=True)["msg"]


def test_who_did_it(app: App, repository: Repository) -> None:
    session = {**os.environ, "SUDO_USER": "alice"}
    app.stage(repository.source, release="r1", env=session)
    app.release(state="live", release="r1", env=session)
    assert app.info()["releases"][0]["created_by"] == "alice"
    assert json.loads((app.root / "deploys.jsonl").read_text())["by"] == "alice"


def test_check_mode_goes_on_with_what_only_check_mode_has_staged(app: App, repository: Repository) -> None:
    """As the role app does on a host that has nothing yet."""
    staged = app.release(source=repository.source, needs_build=False, check=True)["release"]
    live = app.release(state="live", release=staged["id"], check=True)
    assert live["changed"]
    assert (live["live"], live["previous"]) == (staged["id"], None)
    assert app.release(state="proven", release=staged["id"], check=True)["diff"]["after"]["verdict"] == "proven"
    assert not app.root.exists()
    app.release(state="live", release=staged["id"], fails=True)
