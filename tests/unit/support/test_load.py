# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The load hides nothing: what a server does to requests is exactly what is counted."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle

import pytest
from support.load import TESTS, Load, Sample, summarize
from support.pm2_host import find_free_port, is_alive, wait_for

EVERY = 20
CLIENTS = 20
KILLED = """
import os, sys
from support.load import Load
with Load(sys.argv[1]) as load:
    print(load.pid, flush=True)
    os.kill(os.getpid(), 9)
"""
MISDEEDS = ["reset", "close", "cut short", "500", "302"]
LOST = {
    "reset": "HTTPConnectionClosed: connection closed.",
    "close": "HTTPConnectionClosed: connection closed.",
    "cut short": "HTTPParseError: Incomplete response.",
}


class Server:
    """Answers ``v1``, but each EVERYth request gets one of the misdeeds, in turn.

    :ivar done: which misdeed how often.
    :ivar last_ones: requests after which the client wants no other on their connection.
    """

    def __init__(self, misdeeds: list[str]) -> None:
        self.requests = self.connections = self.last_ones = self.port = 0
        self.done = Counter[str]()
        self._misdeeds = cycle(misdeeds)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=500)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._answer(await reader.readuntil(b"\r\n\r\n"), writer):
                pass
        except (asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    async def _answer(self, head: bytes, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection may stay."""
        self.requests += 1
        close = b"\r\nConnection: close" in head
        self.last_ones += close
        misdeed = next(self._misdeeds) if self.requests % EVERY == 0 else ""
        self.done.update([misdeed] * bool(misdeed))
        status, body = {"500": (b"500 Oops", b"x" * 9000), "302": (b"302 Found\r\nLocation: /", b"")}.get(
            misdeed, (b"200 OK", b"v1")
        )
        if misdeed == "reset":
            connection: socket.socket = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        if misdeed == "cut short":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\nv1")
        if misdeed == "hang":
            await asyncio.sleep(60)
        if misdeed == "dawdle":
            await asyncio.sleep(0.2)
        if misdeed in LOST:
            return False
        writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n" % (status, len(body)))
        writer.write((b"Connection: close\r\n\r\n" if close else b"\r\n") + body)
        return not close


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """With the misdeeds of the test's parameter."""
    it = Server(getattr(request, "param", [""]))
    it.start()
    yield it
    it.stop()


@pytest.mark.parametrize("server", [MISDEEDS], indirect=True)
@pytest.mark.parametrize("keep_alive", [True, False])
def test_whatever_happens_to_a_request_is_counted_once(server: Server, keep_alive: bool) -> None:
    with Load(server.url, rate=300, keep_alive=keep_alive, clients=CLIENTS) as load:
        time.sleep(1)
    result = load.result()
    done = server.done
    assert result.requests == server.requests
    assert result.errors == dict(Counter(LOST[name] for name in done.elements() if name in LOST))
    assert result.failed == done["reset"] + done["close"] + done["cut short"]
    assert result.wrong == done["500"] + done["302"]
    assert result.by_status == {200: result.requests - done.total(), 500: done["500"], 302: done["302"]}
    assert result.by_body == {"v1": result.requests - done.total(), "x" * 200: done["500"], "": done["302"]}
    if keep_alive:
        assert server.last_ones < server.requests
        assert server.connections <= CLIENTS + server.last_ones + result.failed
    else:
        assert server.connections == server.last_ones == server.requests


@pytest.mark.parametrize("server", [["hang"]], indirect=True)
def test_what_gets_no_answer_holds_nothing_else_back(server: Server) -> None:
    with Load(server.url, rate=200, clients=2, timeout=3.0) as load:
        wait_for(lambda: server.done["hang"] > 2, "nothing else was sent")
    result = load.result()
    assert result.errors == {"TimeoutError: no whole answer within 3.0 s": server.done["hang"]}
    assert result.failed == server.done["hang"] == server.requests // EVERY
    # if a client waited for the answer to one, the third could only follow the first
    hung = sorted(sample for sample in result.samples if not sample.status)
    assert hung[2].sent < hung[0].ended


@pytest.mark.parametrize("server", [["dawdle"]], indirect=True)
def test_a_client_keeps_one_connection(server: Server) -> None:
    with Load(server.url, rate=200, clients=2) as load:
        wait_for(lambda: server.last_ones > 0, "no request had a connection for itself")
    assert load.result().failed == 0
    assert server.connections <= 2 + server.last_ones


def test_an_outage_is_counted_in_full() -> None:
    with Load(f"http://127.0.0.1:{find_free_port()}/") as load:
        time.sleep(0.3)
        seconds = load.elapsed()
    result = load.result()
    assert result.errors == {"ConnectionRefusedError: [Errno 111] Connection refused": result.requests}
    assert result.failed == result.requests > 0
    assert result.longest_gap == result.seconds >= seconds


def test_a_load_ends_by_itself(server: Server) -> None:
    with pytest.raises(AssertionError, match="longer than the load"), Load(server.url, limit=0.2):
        time.sleep(0.5)
    with pytest.raises(ValueError, match="at most 600 s"):
        Load(server.url, limit=601)


def test_a_test_that_fails_leaves_no_load(server: Server) -> None:
    load = Load(server.url)
    with pytest.raises(ZeroDivisionError), load:
        raise ZeroDivisionError
    assert not os.path.exists(f"/proc/{load.pid}")


def test_a_test_that_is_killed_leaves_no_load(server: Server) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, server.url], env={"PYTHONPATH": str(TESTS)}, check=False, stdout=subprocess.PIPE
    )
    assert killed.returncode == -signal.SIGKILL
    wait_for(lambda: not is_alive(int(killed.stdout)), "the load goes on")


def test_the_sum() -> None:
    samples = [
        Sample(0.0, 0.1, 200, "v1"),
        Sample(0.2, 0.3, 0, "refused"),
        Sample(0.4, 0.5, 500, "oops"),
        Sample(0.6, 1.1, 201, "v2"),
        Sample(1.2, 2.4, 200, "v2"),
    ]
    result = summarize(samples, 2.0)
    assert (result.requests, result.failed, result.wrong, result.rate) == (5, 1, 1, 2.5)
    assert (result.longest_gap, result.gap_from) == (1.0, 0.1)
    assert (result.first_failure, result.last_failure) == (0.2, 0.2)
    assert result.by_status == {200: 2, 500: 1, 201: 1}
    assert result.by_body == {"v1": 1, "oops": 1, "v2": 2}
    assert result.errors == {"refused": 1}
    of_version_2 = summarize(samples, 2.0, lambda sample: sample.text == "v2")
    assert (of_version_2.failed, of_version_2.wrong, of_version_2.longest_gap) == (1, 2, 1.1)
    # no answer at all is one gap
    assert summarize([], 3.0).longest_gap == 3.0
