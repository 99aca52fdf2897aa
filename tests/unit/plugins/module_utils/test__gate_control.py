"""What a worker answers, and every way in which it does not."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.sites import serving, unix_socket

from ansible_collections.zerodown.pm2.plugins.module_utils._gate_control import (
    GateError,
    NotThere,
    Server,
    Status,
    Worker,
    sweep,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home

PID = 4321
ANSWER = {
    "pid": PID,
    "generation": "web.1",
    "state": "open",
    "servers": [{"host": None, "port": 3000, "socket": "/h/gate/4321-1", "open": True}],
    "connections": 2,
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "gate").mkdir()
    return Home(str(tmp_path))


@pytest.fixture
def path(home: Home) -> Path:
    return Path(home.gate, str(PID))


def answering(answer: bytes, heard: list[Any]) -> Callable[[socket.socket], None]:
    def behave(connection: socket.socket) -> None:
        heard.append(json.loads(connection.makefile("rb").readline()))
        # in pieces
        for start in range(0, len(answer), 50):
            connection.sendall(answer[start : start + 50])
            time.sleep(0.001)

    return behave


@pytest.mark.parametrize(
    ("ask", "request_"),
    [
        (lambda worker: worker.status(5), {"do": "status"}),
        (lambda worker: worker.open(5), {"do": "open"}),
        (lambda worker: worker.close(5), {"do": "close"}),
        (lambda worker: worker.drain(1.5), {"do": "drain", "timeout": 1.5}),
    ],
)
def test_each_call_is_one_line_and_its_answer_a_status(
    home: Home, path: Path, ask: Callable[[Worker], Status], request_: dict[str, Any]
) -> None:
    heard: list[Any] = []
    with serving(unix_socket(path), answering(json.dumps(ANSWER).encode() + b"\n", heard)):
        status = ask(Worker(home, PID))
    assert heard == [request_]
    server = Server(host=None, port=3000, socket="/h/gate/4321-1", open=True)
    assert status == Status(pid=PID, generation="web.1", state="open", servers=[server], connections=2)


def test_what_it_cannot_do_it_says(home: Home, path: Path) -> None:
    answer = b'{"error": "listen EADDRINUSE: address already in use :::3000"}\n'
    with serving(unix_socket(path), answering(answer, [])), pytest.raises(GateError) as failure:
        Worker(home, PID).open(5)
    assert failure.value.message == "Worker 4321 cannot open: listen EADDRINUSE: address already in use :::3000."
    assert not isinstance(failure.value, NotThere)


@pytest.mark.parametrize(
    "answer", [b"\n", b"hello\n", b"[]\n", b"{}\n", b"3\n", b"\xff\n", b'{"pid": 1}\n', b'{"servers": 3}\n']
)
def test_an_answer_in_another_form_is_refused(home: Home, path: Path, answer: bytes) -> None:
    with serving(unix_socket(path), answering(answer, [])), pytest.raises(GateError, match="unknown form"):
        Worker(home, PID).status(5)


def test_a_worker_that_still_starts_is_not_there(home: Home) -> None:
    with pytest.raises(NotThere, match=str(PID)):
        Worker(home, PID).status(5)


def test_a_worker_that_has_died_is_not_there(home: Home, path: Path) -> None:
    unix_socket(path).close()
    with pytest.raises(NotThere):
        Worker(home, PID).status(5)


@pytest.mark.parametrize("answer", [b"", b'{"pid": 43'])
def test_a_worker_that_dies_meanwhile_is_not_there(home: Home, path: Path, answer: bytes) -> None:
    with serving(unix_socket(path), answering(answer, [])), pytest.raises(NotThere, match="went away"):
        Worker(home, PID).status(5)


def test_a_worker_that_is_busy_is_not_waited_for_beyond_the_time(home: Home, path: Path) -> None:
    with unix_socket(path), pytest.raises(GateError, match=r"within 0.2 s") as failure:
        Worker(home, PID).status(0.2)
    assert not isinstance(failure.value, NotThere)


def test_a_worker_that_never_ends_its_line_is_not_waited_for_either(home: Home, path: Path) -> None:
    def drip(connection: socket.socket) -> None:
        while True:
            connection.sendall(b" ")
            time.sleep(0.05)

    with serving(unix_socket(path), drip), pytest.raises(GateError, match=r"within 0.5 s"):
        Worker(home, PID).status(0.5)


def test_sweeping_removes_the_sockets_of_the_dead_and_nothing_else(home: Home) -> None:
    with subprocess.Popen(["true"]) as process:
        dead = process.pid
    mine = os.getpid()
    gone = {f"{dead}", f"{dead}-1", f"{dead}-17"}
    kept = {f"{mine}", f"{mine}-1", "web.json", "web.lock", "1.held", f"{dead}.held", "preload-01234567.cjs", "0"}
    for name in gone | kept:
        Path(home.gate, name).touch()
    sweep(home)
    assert set(os.listdir(home.gate)) == kept


def test_without_a_directory_there_is_nothing_to_sweep(tmp_path: Path) -> None:
    sweep(Home(str(tmp_path)))
