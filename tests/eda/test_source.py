# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The event source alone, as ansible-rulebook starts it: what is served to whom, and how it begins."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from support.deliveries import SECRET, Delivery, Sent, commit, post
from support.pm2_host import find_free_port, wait_for
from support.rulebook import SOURCE, eda_tools

# what it puts into its queue is printed
PROGRAM = """
import asyncio, json, runpy, sys

class Printed:
    async def put(self, event):
        print(json.dumps(event), flush=True)

asyncio.run(runpy.run_path(sys.argv[1])["main"](Printed(), json.load(sys.stdin)))
"""


class Inside(http.client.HTTPConnection):
    """To the socket that is the playbook's."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


@dataclass
class Source:
    directory: Path
    port: int

    def start(self, **changes: Any) -> subprocess.Popen[str]:
        args = {"branches": ["main"], "state": str(self.directory / "state"), "port": self.port, **changes}
        process = subprocess.Popen(
            [str(eda_tools() / "python"), "-c", PROGRAM, str(SOURCE)],
            env={"ZERODOWN_PUSH_SECRET": SECRET, "PATH": os.environ["PATH"]},
            stdin=subprocess.PIPE,
            stdout=(self.directory / "events").open("a"),
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin
        process.stdin.write(json.dumps(args))
        process.stdin.close()
        return process

    @contextlib.contextmanager
    def running(self, **changes: Any) -> Iterator[Source]:
        process = self.start(**changes)
        try:
            wait_for(lambda: self._listens() or process.poll() is not None, "it does not listen")
            assert process.poll() is None, process.stderr and process.stderr.read()
            yield self
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5):
            return True
        return False

    def fails(self, **changes: Any) -> str:
        process = self.start(**changes)
        assert process.stderr
        error = process.stderr.read()
        assert process.wait(30) == 1
        return error

    def events(self) -> list[Any]:
        return [json.loads(line) for line in (self.directory / "events").read_text().splitlines()]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/any/path"

    def inside(self, path: str) -> tuple[int, str, str]:
        connection = Inside(self.directory / "state" / "push.sock")
        connection.request("POST", path)
        answer = connection.getresponse()
        return answer.status, answer.reason, answer.read().decode()


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path, find_free_port())


def test_a_push_is_told_once_and_taken_once(source: Source) -> None:
    with source.running():
        assert post(source.url, Sent(commit(1)).github()) == (202, "Accepted.")
        assert post(source.url, Sent(commit(2)).github()) == (202, "Accepted.")
        # nothing of the delivery: it would become extra variables
        assert source.events() == [{"push": "waits"}]
        status, _reason, body = source.inside("/take")
        push = {"repository": "team/shop", "branch": "main", "commit": commit(2), "by": "anna"}
        assert (status, json.loads(body)) == (200, push)
        assert source.inside("/take")[:2] == (404, "No push waits: an earlier run has taken it")
        assert source.inside("/done")[0] == 200
        assert source.inside("/other")[0] == 404


def test_what_waited_and_what_was_running_is_told_again_at_the_next_start(source: Source) -> None:
    for number in (1, 2):
        with source.running():
            post(source.url, Sent(commit(number)).gitlab())
        with source.running():
            assert len(source.events()) == 3 * number - 1
            assert json.loads(source.inside("/take")[2])["commit"] == commit(number)
        with source.running():
            assert len(source.events()) == 3 * number
            assert json.loads(source.inside("/take")[2])["commit"] == commit(number)
            source.inside("/done")
    with source.running():
        assert len(source.events()) == 6


def test_what_is_kept_is_ours_alone(source: Source) -> None:
    with source.running():
        post(source.url, Sent(commit(1)).github())
        state = source.directory / "state"
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [state, *state.iterdir()]}
        assert modes.pop("push.lock") & 0o022 == 0
        assert modes == {"state": 0o700, "push.json": 0o600, "push.sock": 0o600}
        assert SECRET not in (state / "push.json").read_text()


def test_outside_takes_only_signed_deliveries(source: Source) -> None:
    with source.running():
        outside = f"http://127.0.0.1:{source.port}"
        for path in ("/take", "/done", "/"):
            assert post(outside + path, Delivery({}, b""))[0] == 401
        connection = http.client.HTTPConnection("127.0.0.1", source.port, timeout=30)
        connection.request("GET", "/")
        assert connection.getresponse().status == 405
        huge = Delivery({"X-Gitlab-Token": SECRET, "X-Gitlab-Event": "Push Hook"}, b" " * (25 * 1024 * 1024 + 1))
        assert post(outside, huge)[0] == 413
        # as long as a push of very many commits
        pushed = Sent(commit(1)).gitlab()
        long = json.dumps({**json.loads(pushed.body), "commits": ["x" * 1000] * 5000}).encode()
        assert post(outside, Delivery(pushed.headers, long))[0] == 202
        assert post(outside, Delivery({**pushed.headers, "X-Gitlab-Event-UUID": "y"}, b"{"))[0] == 400


def test_with_tls(source: Source, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "certificate.pem")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with source.running(certfile=str(tmp_path / "certificate.pem")):
        url = f"https://localhost:{source.port}/"
        assert post(url, Sent(commit(1)).gitlab(), context=trusting) == (202, "Accepted.")


def test_it_does_not_begin_with_what_cannot_work(source: Source) -> None:
    assert "state is no absolute path" in source.fails(state="here")
    open_to_all = source.directory / "open"
    open_to_all.mkdir(mode=0o755)
    assert f"Others may use {open_to_all}" in source.fails(state=str(open_to_all))
    with source.running():
        assert "is used by another ansible-rulebook" in source.fails(port=find_free_port())
