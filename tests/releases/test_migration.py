# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Migrations: run once, in the release, with the app's variables; not twice at once; again when they did not end."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from releases.conftest import App, Repository, make_repository, snapshot
from support.pm2_host import is_alive, wait_for
from support.run_module import run_module

# says where it is and what it finds; what it is told to do comes with its arguments
MIGRATE = """
import json, os, sys, time
marks = sys.argv[1]
with open(os.path.join(marks, "ran"), "a") as stream:
    stream.write(json.dumps({"pid": os.getpid(), "cwd": os.getcwd(), "env": dict(os.environ)}) + "\\n")
for word in sys.argv[2:]:
    if word == "wait":
        while not os.path.exists(os.path.join(marks, "go")):
            time.sleep(0.02)
    elif word == "fail":
        print("cannot log in with " + os.environ["DATABASE_URL"])
        print("password " + os.environ["DATABASE_URL"].split(":")[2].split("@")[0])
        sys.exit(3)
with open(os.path.join(marks, "ended"), "a") as stream:
    stream.write("x")
"""
PATIENCE = 60.0


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = make_repository(tmp_path / "repository")
    made.write({"db/migrate.py": MIGRATE, "server.js": "1\n"})
    return made


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    path = tmp_path / "marks"
    path.mkdir()
    return path


class Migrations:
    """The module, for one release."""

    def __init__(self, app: App, release: str, marks: Path) -> None:
        self.app = app
        self.release = release
        self.marks = marks

    def options(self, *words: str, **options: Any) -> dict[str, Any]:
        argv = [sys.executable, "migrate.py", str(self.marks), *words]
        defaults = {"name": "one", "class": "expand", "argv": argv, "directory": "db", "env": {}, "timeout": 60}
        return {"path": str(self.app.root), "release": self.release, **defaults, **options}

    def run(self, *words: str, check: bool = False, fails: bool = False, **options: Any) -> dict[str, Any]:
        session = {**os.environ, "FROM_THE_SESSION": "1"}
        taken = self.options(*words, **options)
        return run_module("migration", check=check, fails=fails, env=session, options=taken)

    def note(self, **options: Any) -> dict[str, Any]:
        taken = {"name": "one", "class": "expand", "state": "noted", **options}
        return run_module("migration", path=str(self.app.root), release=self.release, options=taken)

    def ran(self) -> list[dict[str, Any]]:
        file = self.marks / "ran"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def file(self) -> Path:
        return self.app.path(self.release) / ".zerodown/migrations.json"

    @property
    def log(self) -> Path:
        return self.app.path(self.release) / ".zerodown/migrations.log"

    def events(self) -> list[tuple[str, str]]:
        return [(event["name"], event["class"]) for event in self.app.info()["log"] if event["event"] == "migrated"]

    def begin(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """The module, in a session of its own, as over ssh."""
        code = (
            "import sys; sys.path[:0] = sys.argv[1:]; import json, signal\n"
            # what is started under nohup ignores the hang-up, as would all its children
            "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
            "from support.run_module import run_module\n"
            "run_module('migration', options=json.load(sys.stdin))"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(Path(__file__).parents[1])], stdin=subprocess.PIPE, start_new_session=True
        )
        assert process.stdin
        process.stdin.write(json.dumps(self.options(*words, **options)).encode())
        process.stdin.close()
        wait_for(lambda: len(self.ran()) == 1, "the migration did not begin")
        return process


@pytest.fixture
def migrations(app: App, repository: Repository, marks: Path) -> Migrations:
    return Migrations(app, app.stage(repository.source, release="r1")["release"]["id"], marks)


def test_it_is_run_once(migrations: Migrations) -> None:
    before = snapshot(migrations.app.root)
    planned = migrations.run(check=True)
    assert (planned["changed"], planned["run"], planned["done"]) == (True, True, [])
    assert planned["diff"] == {"before": {}, "after": {"one": "expand"}}
    assert snapshot(migrations.app.root) == before

    result = migrations.run(env={"DATABASE_URL": "sqlite:shop.db", "PORT": 3000}, by="anna")
    assert (result["changed"], result["run"]) == (True, True)
    (done,) = result["done"]
    assert (done["name"], done["class"], done["seconds"] >= 0) == ("one", "expand", True)
    assert migrations.file.stat().st_mode & 0o777 == 0o600
    assert migrations.log.stat().st_mode & 0o777 == 0o600
    (ran,) = migrations.ran()
    assert ran["cwd"] == str(migrations.app.path("r1") / "db")
    assert "FROM_THE_SESSION" not in ran["env"]
    assert (ran["env"]["DATABASE_URL"], ran["env"]["PORT"]) == ("sqlite:shop.db", "3000")
    event = migrations.app.info()["log"][-1]
    assert {name: event[name] for name in ("event", "release", "name", "class", "by")} == {
        "event": "migrated",
        "release": "r1",
        "name": "one",
        "class": "expand",
        "by": "anna",
    }
    (told,) = migrations.app.info()["releases"][0]["migrations"]
    assert (told["name"], told["class"], told["seconds"]) == ("one", "expand", done["seconds"])

    before = snapshot(migrations.app.root)
    again = migrations.run()
    assert (again["changed"], again["run"], again["done"]) == (False, False, [done])
    assert "diff" not in again
    assert not migrations.run(check=True)["changed"]
    assert snapshot(migrations.app.root) == before
    assert [entry["name"] for entry in migrations.run(name="two")["done"]] == ["one", "two"]
    assert len(migrations.ran()) == 2
    migrations.app.release(state="live", release="r1")
    assert not migrations.run()["changed"]


def test_another_release_runs_it_again(migrations: Migrations, repository: Repository) -> None:
    migrations.run()
    repository.write({"server.js": "2\n"})
    second = migrations.app.stage(repository.source, release="r2")["release"]["id"]
    assert Migrations(migrations.app, second, migrations.marks).run()["run"]
    assert len(migrations.ran()) == 2


def test_one_that_failed_is_run_again_and_shows_no_secret(migrations: Migrations) -> None:
    env = {"DATABASE_URL": "postgres://shop:s3cret-s3cret@db/shop"}
    result = migrations.run("fail", env=env, fails=True)
    assert "Migration 'one' of release r1 failed: return code 3" in result["msg"]
    assert str(migrations.log) in result["msg"]
    assert result["output_tail"][0].startswith("cannot log in with ")
    assert "s3cret-s3cret" not in json.dumps(result)
    assert not migrations.file.exists()
    assert migrations.events() == []
    assert migrations.run(env=env)["run"]
    assert len(migrations.ran()) == 2


def test_a_secret_of_the_release_is_not_shown_either(app: App, repository: Repository, marks: Path) -> None:
    """Tools read its .env by themselves."""
    variables = {"API_TOKEN": "s3cret-s3cret", "MODE": "production"}
    release = app.stage(repository.source, env_file=variables)["release"]["id"]
    result = Migrations(app, release, marks).run(directory=".", fails=True, argv=["cat", ".env", "no-such-file"])
    assert "MODE=production" in result["output_tail"]
    assert "s3cret-s3cret" not in json.dumps(result)


def test_out_of_time(migrations: Migrations) -> None:
    result = migrations.run("wait", timeout=2, fails=True)
    assert "did not end within 2 s and was killed" in result["msg"]
    assert not is_alive(migrations.ran()[0]["pid"])


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_a_lost_session_does_not_stop_it(migrations: Migrations, number: signal.Signals) -> None:
    process = migrations.begin("wait")
    os.killpg(process.pid, number)
    process.wait(PATIENCE)
    assert is_alive(migrations.ran()[0]["pid"])
    (migrations.marks / "go").touch()
    wait_for(lambda: migrations.events() == [("one", "expand")], "it was not written down")
    assert not migrations.run()["changed"]
    assert len(migrations.ran()) == 1


def runner_of(pid: int) -> int:
    """The process that runs a migration."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_the_runner_is_killed(migrations: Migrations) -> None:
    """What it began goes on, and the next run waits for its end before it runs it again."""
    process = migrations.begin("wait")
    pid = migrations.ran()[0]["pid"]
    os.kill(runner_of(pid), signal.SIGKILL)
    process.wait(PATIENCE)
    assert is_alive(pid)
    with (migrations.app.root / "releases/.migrating.lock").open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    results: list[dict[str, Any]] = []
    second = threading.Thread(target=lambda: results.append(migrations.run()))
    second.start()
    (migrations.marks / "go").touch()
    second.join(PATIENCE)
    assert results[0]["run"]
    assert not is_alive(pid)
    assert len(migrations.ran()) == 2
    assert (migrations.marks / "ended").read_text() == "xx"


def test_the_runner_is_told_to_stop(migrations: Migrations) -> None:
    """It takes the migration with it, and the next run does not wait."""
    process = migrations.begin("wait")
    pid = migrations.ran()[0]["pid"]
    os.kill(runner_of(pid), signal.SIGTERM)
    process.wait(PATIENCE)
    assert not is_alive(pid)
    assert not migrations.file.exists()
    assert migrations.run()["run"]


def test_two_at_once(migrations: Migrations) -> None:
    process = migrations.begin("wait")
    results: list[dict[str, Any]] = []
    second = threading.Thread(target=lambda: results.append(migrations.run("wait")))
    second.start()
    (migrations.marks / "go").touch()
    second.join(PATIENCE)
    assert process.wait(PATIENCE) == 0
    assert not results[0]["run"]
    assert len(migrations.ran()) == 1


def test_what_it_left_behind_holds_nobody_up(migrations: Migrations) -> None:
    migrations.run(argv=["sh", "-c", f"sleep 1000 & echo $! >{migrations.marks}/pid"])
    left = int((migrations.marks / "pid").read_text())
    try:
        assert is_alive(left)
        assert migrations.run(name="two")["run"]
    finally:
        os.kill(left, signal.SIGKILL)


def test_what_another_host_ran_is_noted(migrations: Migrations) -> None:
    result = migrations.note(**{"class": "contract"})
    assert (result["changed"], result["run"]) == (True, False)
    assert [(item["name"], item["class"], item["seconds"]) for item in result["done"]] == [("one", "contract", None)]
    assert migrations.events() == [("one", "contract")]
    assert not migrations.note(**{"class": "contract"})["changed"]
    assert not migrations.run(**{"class": "contract"})["changed"]
    assert migrations.ran() == []


def test_a_wrong_class_is_corrected(migrations: Migrations) -> None:
    migrations.run()
    result = migrations.run(**{"class": "irreversible"})
    assert (result["changed"], result["run"]) == (True, False)
    assert result["diff"] == {"before": {"one": "expand"}, "after": {"one": "irreversible"}}
    assert [item["class"] for item in migrations.app.info()["releases"][0]["migrations"]] == ["irreversible"]
    assert len(migrations.ran()) == 1


def test_a_death_between_the_file_and_the_log(migrations: Migrations) -> None:
    migrations.run()
    (migrations.app.root / "deploys.jsonl").unlink()
    result = migrations.run()
    assert (result["changed"], result["run"]) == (True, False)
    assert migrations.events() == [("one", "expand")]
    assert len(migrations.ran()) == 1


def test_programs_of_the_virtual_environment_come_first(app: App, repository: Repository, marks: Path) -> None:
    repository.write({"requirements.txt": ""})
    release = app.stage(repository.source, needs_build=True)["release"]["id"]
    app.build(release, python={"installer": "pip"}, lockfile_required=False)
    migrations = Migrations(app, release, marks)
    assert migrations.run(argv=["python", "migrate.py", str(marks)])["run"]
    env = migrations.ran()[0]["env"]
    assert env["PATH"].split(":")[0] == str(app.path(release) / ".venv/bin")
    assert env["VIRTUAL_ENV"] == str(app.path(release) / ".venv")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"release": "r9"}, "There is no complete release 'r9'"),
        ({"argv": []}, "has an empty argv"),
        ({"argv": ["no-such-program"]}, "no-such-program could not be run"),
        ({"directory": "nowhere"}, "has no directory 'nowhere' to migrate in"),
        ({"directory": "../.."}, "leads out of"),
        ({"timeout": 0}, "timeout must be"),
        ({"name": " "}, "name must say"),
        ({"node_executable": "/nowhere/node"}, "Node was not found at /nowhere/node"),
        ({"env": {"A-B": "1"}}, "The name 'A-B' in env is not valid"),
    ],
)
def test_what_is_refused(migrations: Migrations, options: dict[str, Any], message: str) -> None:
    assert message in migrations.run(fails=True, **options)["msg"]
    assert not migrations.file.exists()


def test_a_release_that_may_not_go_live_is_not_migrated_for(app: App, repository: Repository, marks: Path) -> None:
    release = app.stage(repository.source, needs_build=True)["release"]["id"]
    assert "was not built" in Migrations(app, release, marks).run(fails=True)["msg"]
    app.release(state="bad", release=release, reason="wrong prices")
    assert "was marked bad" in Migrations(app, release, marks).run(fails=True)["msg"]


def test_check_mode_before_the_release_is_there(app: App, marks: Path) -> None:
    result = Migrations(app, "r1", marks).run(check=True)
    assert (result["changed"], result["run"]) == (True, True)
    assert "is not there yet" in json.dumps(result["warnings"])
    assert not app.root.exists()
