# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps of a cutover: who is asked at the gate, what each step leaves, what is undone. Workers are stand-ins that
answer on real sockets; with real ones: tests/cutover/."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.fake_client import FakeClient
from support.processes import PRELOAD, declared, member
from support.sites import answering, serving, tcp_socket, unix_socket

from ansible_collections.zerodown.pm2.plugins.module_utils import _dump, _journal
from ansible_collections.zerodown.pm2.plugins.module_utils._bus import Bus
from ansible_collections.zerodown.pm2.plugins.module_utils._cutover_plan import HELD, OWN_PORT, WATCHED
from ansible_collections.zerodown.pm2.plugins.module_utils._definitions import definitions, on_port
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import DaemonNotRunning, Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._gate import Rules
from ansible_collections.zerodown.pm2.plugins.module_utils._health_spec import parse
from ansible_collections.zerodown.pm2.plugins.module_utils._hold import hold, marker
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._journal import COMMIT, OPEN, PROVE, RETIRE, Journal
from ansible_collections.zerodown.pm2.plugins.module_utils._lookout import Rejected
from ansible_collections.zerodown.pm2.plugins.module_utils._move import Move
from ansible_collections.zerodown.pm2.plugins.module_utils._state import GENERATION_KEY, Process
from ansible_collections.zerodown.pm2.plugins.module_utils._transaction import (
    Transaction,
    retire_replaced,
    undo,
    wait_for_daemon,
)

OLD, NEW, PROBE = "r1-0a1b2c", "r2-3d4e5f", "r2-3d4e5f-probe"
WELL = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
ILL = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
# quick checks
HTTP: dict[str, Any] = {"path": "/health", "interval": 0.01}
COMMAND: dict[str, Any] = {"type": "command", "interval": 0.01}
# long enough for a busy machine to get to a verdict before the deadline, short enough where that is the verdict
PATIENT, BRIEF = 60.0, 1.0


class Stage:
    """A host without a daemon: workers that hold their ports, and sites that are there already.

    :ivar candidates: what a worker that is started answers by port; it listens on these.
    """

    def __init__(self, home: Home, stack: contextlib.ExitStack) -> None:
        self.home = home
        self.client = FakeClient(home)
        self.client.run = self._run
        self.candidates: dict[int, bytes] = {}
        self._stack = stack

    def site(self, answer: bytes) -> int:
        """What serves already; its port."""
        listener = tcp_socket()
        self._stack.enter_context(serving(listener, answering(answer)))
        return int(listener.getsockname()[1])

    def _run(self, definition: dict[str, Any]) -> int:
        """A process that exists, with the sockets of the preload where it has that."""
        process = self._stack.enter_context(subprocess.Popen(["sleep", "600"]))
        self._stack.callback(process.kill)
        if PRELOAD in definition["node_args"]:
            self._control(process.pid, definition)
        return process.pid

    def _control(self, pid: int, definition: dict[str, Any]) -> None:
        servers = []
        for number, (port, answer) in enumerate(self.candidates.items(), 1):
            path = Path(self.home.gate, f"{pid}-{number}")
            self._stack.enter_context(serving(unix_socket(path), answering(answer)))
            servers.append({"host": None, "port": port, "socket": str(path), "open": False})
        status = {"pid": pid, "generation": definition[GENERATION_KEY], "state": "held", "servers": servers}
        answer = json.dumps({**status, "connections": 0}).encode() + b"\n"

        def control(connection: socket.socket) -> None:
            connection.recv(1024)
            connection.sendall(answer)

        self._stack.enter_context(serving(unix_socket(Path(self.home.gate, str(pid))), control))

    def move(
        self, name: str = "web", proof: str = HELD, checks: Any = (), rules: Any = None, app: Any = None, **changes: Any
    ) -> Move:
        # a transaction makes their directories
        logs = {option: os.path.join(self.home.logs, option + ".log") for option in ("out_file", "error_file")}
        built = declared(name=name, instances=1, **logs, **(app or {}))
        made = Move(
            name,
            definitions=definitions(built, [0], NEW, self.home, PRELOAD if proof == HELD else None),
            old=[],
            proof=proof,
            outage=False,
            rules=replace(
                Rules(name, 1, None, True, tuple(parse(checks)), min_healthy_time=0.1, healthy_deadline=PATIENT),
                **(rules or {}),
            ),
        )
        return replace(made, **changes)

    def transaction(self, *moves: Move, **journal: Any) -> Transaction:
        names = [move.name for move in moves]
        old = [item.pm_id for move in moves for item in move.old]
        made = Journal(names[0], names, NEW, PROBE, old=old)
        written = _journal.write(self.home, replace(made, **journal))
        return Transaction(self.client, Bus(self.home.pub_socket), list(moves), [], written, print)


@pytest.fixture
def stage() -> Iterator[Stage]:
    # a short path: sockets are made below it
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        home = Home(directory)
        os.mkdir(home.gate, 0o700)
        yield Stage(home, stack)


def rejected(transaction: Transaction) -> Rejected:
    with pytest.raises(Rejected) as caught:
        transaction.prove()
    return caught.value


# who is asked --------------------------------------------------------------------------------------------------------


def test_a_candidate_is_asked_on_its_own_socket(stage: Stage) -> None:
    port = stage.site(ILL)
    stage.candidates = {port: WELL}
    stage.transaction(stage.move(checks=[HTTP], rules={"port": port})).prove()
    assert [item.generation for item in stage.client.list] == [NEW]
    assert os.path.exists(marker(stage.home, NEW))


def test_what_serves_is_not_taken_for_a_candidate_that_listens_on_nothing(stage: Stage) -> None:
    port = stage.site(WELL)
    error = rejected(stage.transaction(stage.move(checks=[HTTP], rules={"port": port, "healthy_deadline": BRIEF})))
    assert f"does not listen on port {port}" in error.message
    assert error.details["verdict"] == "bad"


def test_what_serves_is_not_asked_for_a_candidate_that_answers_wrongly(stage: Stage) -> None:
    port = stage.site(WELL)
    stage.candidates = {port: ILL}
    checks = [{**HTTP, "failures": 1}]
    assert "answered 500" in rejected(stage.transaction(stage.move(checks=checks, rules={"port": port}))).message


def test_a_check_of_a_port_that_the_candidate_has_not(stage: Stage) -> None:
    port, second = stage.site(WELL), stage.site(WELL)
    stage.candidates = {port: WELL}
    checks = [{**HTTP, "port": second, "failures": 1}]
    error = rejected(stage.transaction(stage.move(checks=checks, rules={"port": port})))
    assert f"GET /health at port {second}: nothing listens" in error.message
    stage.candidates = {port: WELL, second: WELL}
    stage.client.list = []
    stage.transaction(stage.move(checks=checks, rules={"port": port})).prove()


def test_a_candidate_whose_port_nobody_declared(stage: Stage) -> None:
    stage.candidates = {5432: WELL}
    stage.transaction(stage.move(checks=[HTTP])).prove()


@pytest.mark.parametrize(("answer", "passes"), [(WELL, True), (ILL, False)], ids=["well", "ill"])
def test_without_the_preload_the_port_is_asked(stage: Stage, answer: bytes, passes: bool) -> None:
    port = stage.site(answer)
    named: dict[str, Any] = {"checks": [{**HTTP, "port": port, "failures": 1}], "rules": {"listens": False}}
    by_declaration: dict[str, Any] = {"checks": [{**HTTP, "failures": 1}], "rules": {"port": port}}
    for how in (named, by_declaration):
        stage.client.list = []
        transaction = stage.transaction(stage.move(proof=WATCHED, **how))
        if passes:
            transaction.prove()
        else:
            assert "answered 500" in rejected(transaction).message


def test_without_the_preload_nobody_listens(stage: Stage) -> None:
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        rules = {"port": port, "healthy_deadline": BRIEF}
        error = rejected(stage.transaction(stage.move(proof=WATCHED, rules=rules)))
    assert f"does not listen on port {port}" in error.message


@pytest.mark.parametrize("port_is_named", [False, True])
@pytest.mark.parametrize(("of_stand_in", "passes"), [(WELL, True), (ILL, False)], ids=["well", "ill"])
def test_a_stand_in_is_asked_where_it_is(stage: Stage, of_stand_in: bytes, passes: bool, port_is_named: bool) -> None:
    port, probe_port = stage.site(ILL if passes else WELL), stage.site(of_stand_in)
    app = declared(instances=1, port=port)
    (one,) = definitions(app, [0], PROBE, stage.home, None)
    move = stage.move(
        proof=OWN_PORT,
        app={"port": port},
        checks=[{**HTTP, "failures": 1, **({"port": port} if port_is_named else {})}],
        rules={"port": port},
        probe=on_port(app, one, probe_port),
        probe_port=probe_port,
    )
    transaction = stage.transaction(move)
    if passes:
        transaction.prove()
    else:
        assert "answered 500" in rejected(transaction).message
    assert [(item.generation, item.env["env"]["PORT"]) for item in stage.client.list] == [(PROBE, str(probe_port))]


# the verdict ---------------------------------------------------------------------------------------------------------


def quiet(stage: Stage, name: str, *commands: str, **rules: Any) -> Move:
    checks = [{**COMMAND, "command": [command], "failures": 1} for command in commands]
    app = {"cwd": stage.home.path, "script": "/srv/app.js"}
    return stage.move(name, WATCHED, checks, {"listens": False, **rules}, app)


def test_each_app_has_its_own_checks(stage: Stage) -> None:
    stage.transaction(quiet(stage, "a"), quiet(stage, "b", "true", "true"), quiet(stage, "c", "true")).prove()
    assert [item.name for item in stage.client.list] == ["a", "b", "c"]


def test_the_app_that_fails_is_named(stage: Stage) -> None:
    moves = [quiet(stage, "a", "true"), quiet(stage, "b", "false"), quiet(stage, "c", "true", min_healthy_time=PATIENT)]
    error = rejected(stage.transaction(*moves))
    assert error.message.startswith("The new generation of app b was rejected: its process 1 is not healthy: ")
    (failure,) = error.details["failures"]
    assert (failure["app"], failure["pm_id"]) == ("b", 1)


def test_one_that_passed_and_breaks_while_another_boots_is_seen(stage: Stage) -> None:
    moves = [quiet(stage, "a", min_healthy_time=0.0), quiet(stage, "b")]
    looks = []

    def boot() -> None:
        stage.client.change(1, status="launching")
        looks.append(1)
        if len(looks) == 10:
            stage.client.change(0, restarts=1)

    stage.client.before_answer = boot
    assert "The new generation of app a was rejected" in rejected(stage.transaction(*moves)).message


def test_what_could_not_be_checked_is_not_called_bad(stage: Stage) -> None:
    error = rejected(stage.transaction(quiet(stage, "a", "/nonexistent", healthy_deadline=BRIEF)))
    assert "could not be checked" in error.message
    assert error.details["verdict"] == "unknown"


def test_it_says_what_the_log_says(stage: Stage) -> None:
    move = quiet(stage, "a", "false")
    transaction = stage.transaction(move)
    log = Path(move.definitions[0]["pm_err_log_path"])
    assert log.parent == Path(stage.home.logs)
    log.write_text("Error: no database\n    at x\n")
    error = rejected(transaction)
    assert f"; {log} says: Error: no database" in error.message
    assert error.details["failures"][0]["log"] == ["Error: no database", "    at x"]


def test_logs_that_have_no_place(stage: Stage) -> None:
    move = quiet(stage, "a")
    move.definitions = [{**move.definitions[0], "pm_out_log_path": "/dev/null/logs/out.log"}]
    with pytest.raises(Pm2Error, match="The directory /dev/null/logs of the logs cannot be made"):
        stage.transaction(move)
    assert stage.client.calls == []


# the commit ----------------------------------------------------------------------------------------------------------

APP = declared(instances=1)


def old_and_new(stage: Stage) -> list[Process]:
    stage.client.list = [member(APP, 0, 0, OLD), member(APP, 1, 0, NEW)]
    return stage.client.list


def save_list(home: Home, *processes: Process) -> None:
    _dump.write(home, [_dump.entry_of(item, stopped=False) for item in processes])


def saved(home: Home) -> list[str]:
    return [entry[GENERATION_KEY] for entry in _dump.load(home).entries]


@pytest.mark.parametrize(
    ("root", "was_saved", "expected"),
    [("/srv/web", False, [NEW]), ("/srv/web", True, [NEW]), (None, True, [NEW]), (None, False, [])],
)
def test_from_the_commit_on_a_boot_starts_the_new_one(
    stage: Stage, root: str | None, was_saved: bool, expected: list[str]
) -> None:
    old, _new = old_and_new(stage)
    if was_saved:
        save_list(stage.home, old)
    transaction = stage.transaction(stage.move(old=[old]), root=root, step=OPEN)
    transaction.commit()
    assert saved(stage.home) == expected
    assert transaction.journal.step == RETIRE
    assert _journal.read(stage.home, "web") == transaction.journal
    assert stage.client.calls == []


def test_a_list_that_cannot_be_written_is_no_commit(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    old, _new = old_and_new(stage)
    save_list(stage.home, old)
    transaction = stage.transaction(stage.move(old=[old]), root="/srv/web", step=OPEN)

    def full(_home: Home, _entries: Any) -> None:
        raise Pm2Error("No space left on device.")

    monkeypatch.setattr(_dump, "write", full)
    with pytest.raises(Pm2Error, match="No space"):
        transaction.commit()
    assert transaction.journal.step == COMMIT
    assert not _journal.is_committed(stage.home, transaction.journal)
    assert saved(stage.home) == [OLD]


# from the journal alone ----------------------------------------------------------------------------------------------


def generations(stage: Stage) -> list[tuple[str, str | None]]:
    return [(item.name, item.generation) for item in stage.client.list]


@pytest.mark.parametrize("step", [PROVE, OPEN, COMMIT])
def test_undoing_removes_the_candidate_and_touches_nothing_else(stage: Stage, step: str) -> None:
    api = declared(name="api", instances=1)
    kept = [member(APP, 0, 0, OLD), member(api, 5, 0, NEW), member(APP, 6, 0, "r9-ffffff")]
    stage.client.list = [*kept, member(APP, 1, 0, NEW), member(APP, 2, 0, PROBE)]
    journal = Journal("web", ["web"], NEW, PROBE, step, old=[0])
    _journal.save_before(stage.home, "web", kept[:1])
    for generation in (NEW, PROBE):
        hold(stage.home, generation)
    assert undo(stage.client, journal) == []
    assert stage.client.list == kept
    assert sorted(stage.client.calls) == [("delete", 1), ("delete", 2)]
    assert not os.path.exists(marker(stage.home, NEW))
    # whoever was killed in the middle of it is followed by one who does it again
    assert undo(stage.client, journal) == []
    assert stage.client.list == kept


def test_undoing_brings_back_what_had_to_go_first(stage: Stage) -> None:
    script = Path(stage.home.path, "app.js")
    script.touch()
    app = declared(instances=2, script=str(script))
    old = [member(app, 0, 0, OLD), member(app, 1, 1, OLD)]
    _journal.save_before(stage.home, "web", old)
    stage.client.list = [old[1], member(app, 2, 0, NEW)]
    journal = Journal("web", ["web"], NEW, PROBE, OPEN, old=[0, 1])
    assert undo(stage.client, journal) == []
    assert [(item.generation, item.env["NODE_APP_INSTANCE"]) for item in stage.client.list] == [(OLD, 1), (OLD, 0)]
    # what cannot come back is told
    script.unlink()
    stage.client.list = []
    assert undo(stage.client, journal) == [f"web: its script {script} is missing."] * 2


def test_retiring_leaves_the_new_generation_alone(stage: Stage) -> None:
    api = declared(name="api", instances=1)
    gone = declared(name="gone", instances=1)
    stage.client.list = [
        member(APP, 0, 0, OLD),
        member(APP, 1, 0, NEW),
        member(APP, 2, 0, "by-hand-000000"),
        member(APP, 3, 0, OLD, fields={"pmx_module": True}),
        member(api, 4, 0, OLD),
        member(gone, 5, 0, OLD),
    ]
    retire_replaced(stage.client, Journal("web", ["web", "gone"], NEW, PROBE, RETIRE, old=[0, 5], drain_timeout=0.0))
    assert sorted(stage.client.calls) == [("delete", 0), ("delete", 2), ("delete", 5)]


@pytest.mark.parametrize(("failures", "patience", "revived"), [(0, PATIENT, 0), (3, PATIENT, 0), (10**6, 0.2, 1)])
def test_a_daemon_that_died_is_waited_for_and_then_started(
    stage: Stage, failures: int, patience: float, revived: int
) -> None:
    looks = []

    def die() -> None:
        looks.append(1)
        if len(looks) <= failures:
            raise DaemonNotRunning("It is gone.")

    stage.client.before_answer = die
    calls: list[int] = []
    wait_for_daemon(stage.client, lambda: calls.append(1), patience)
    assert len(calls) == revived
