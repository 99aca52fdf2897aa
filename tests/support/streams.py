# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What lasts longer than a request: a WebSocket, server-sent events, one connection of HTTP/2 with many requests; an
app that has them, and clients that write down what they were told and when."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from types import TracebackType

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from support.pm2_host import pm2_package, wait_for
from support.web import Web

# PM2 depends on it
WS = pm2_package("7").parent / "ws"
# seconds between two messages, both ways
INTERVAL = 0.05
TIMEOUT = 10.0

NODE = """
const { WebSocketServer } = require(process.env.WS);
new WebSocketServer({ server, path: '/ws' }).on('connection', (socket) => {
  socket.on('message', () => socket.send(how.version));
});
const [answer] = server.listeners('request');
server.removeAllListeners('request');
server.on('request', (request, response) => {
  if (request.url !== '/events') return answer(request, response);
  let number = 0;
  const write = () => response.write(`data: ${how.version} ${++number}\\n\\n`);
  response.writeHead(200, { 'Content-Type': 'text/event-stream' });
  const timer = setInterval(write, 50);
  response.on('close', () => clearInterval(timer));
});
"""
PYTHON = """
from fastapi import WebSocket
from fastapi.responses import StreamingResponse


@app.websocket("/ws")
async def echo(socket: WebSocket):
    await socket.accept()
    async for _message in socket.iter_text():
        await socket.send_text(how["version"])


@app.get("/events")
async def events():
    async def write():
        number = 0
        while True:
            number += 1
            yield "data: %s %d\\n\\n" % (how["version"], number)
            await asyncio.sleep(0.05)
    return StreamingResponse(write(), media_type="text/event-stream")
"""


def stage_with_streams(web: Web, version: str) -> str:
    """A good release that has them, for FastAPI or for Node, which finds ``WS`` in a variable of this name."""
    web.stage("good", version)
    for name, text in (("app.py", PYTHON), ("app.js", NODE)):
        script = web.path(version) / name
        if script.exists():
            script.write_text(script.read_text() + text)
    return version


class Stream:
    """
    :ivar told: when (monotonic clock) which version said something.
    :ivar end: how it ended, once it has.
    :ivar ended: when.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.told: list[tuple[float, str]] = []
        self.end: str | None = None
        self.ended = 0.0
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        wait_for(lambda: bool(self.told or self.end), f"{url} says nothing", TIMEOUT)

    def _run(self) -> None:
        try:
            self._listen()
            self.end = "ended"
        except ConnectionClosed as error:
            self.end = str(error.rcvd.code if error.rcvd else None)
        except (OSError, ValueError, httpx.HTTPError) as error:
            self.end = f"{type(error).__name__}: {error}"
        self.ended = time.monotonic()

    def _listen(self) -> None:
        raise NotImplementedError

    @property
    def versions(self) -> set[str]:
        return {version for _when, version in self.told}

    @property
    def longest_gap(self) -> float:
        """Seconds without a message."""
        times = [when for when, _version in self.told]
        return max((later - earlier for earlier, later in zip(times, times[1:], strict=False)), default=0.0)

    def says_more(self) -> bool:
        """Whether it goes on from here."""
        count = len(self.told)
        wait_for(lambda: len(self.told) > count + 2 or self.end is not None, f"{self.url} says no more", TIMEOUT)
        return self.end is None

    def wait_for_end(self, timeout: float) -> str:
        wait_for(lambda: self.end is not None, f"{self.url} does not end", timeout)
        return str(self.end)

    def leave(self) -> None:
        self._left.set()
        self._thread.join(TIMEOUT)


class WebSocketStream(Stream):
    """It is asked all the time, and every question must be answered. Its end is the code of its closing."""

    def _listen(self) -> None:
        with connect(self.url, open_timeout=TIMEOUT, proxy=None) as socket:
            while not self._left.is_set():
                socket.send("who?")
                self.told.append((time.monotonic(), str(socket.recv(TIMEOUT))))
                time.sleep(INTERVAL)


class Events(Stream):
    """Server-sent events, of which none is left out."""

    def __init__(self, url: str, http2: bool = False) -> None:
        self._http2 = http2
        super().__init__(url)

    def _listen(self) -> None:
        client = httpx.Client(http1=not self._http2, http2=self._http2, timeout=TIMEOUT, trust_env=False)
        with client, client.stream("GET", self.url) as response:
            for line in response.iter_lines():
                if line:
                    _data, version, number = line.split()
                    if int(number) != len(self.told) + 1:
                        raise ValueError(f"{number} came after {len(self.told)}")
                    self.told.append((time.monotonic(), version))
                if self._left.is_set():
                    break


class Http2:
    """``with Http2(url) as load: ...``: requests over one connection, several at a time.

    :ivar answers: body -> how many.
    :ivar errors: text -> how many.
    :ivar connections: the ports of ours that were used.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.connections: set[int] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Http2:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(2 * TIMEOUT)

    async def _run(self) -> None:
        # without TLS nobody is asked whether he speaks it
        async with httpx.AsyncClient(http1=False, http2=True, timeout=TIMEOUT, trust_env=False) as client:
            # what comes before the first connection is there would open others
            await self._ask(client, "")
            await asyncio.gather(*(self._ask_on(client, path) for path in ["slow?ms=1000", "", "", ""]))

    async def _ask_on(self, client: httpx.AsyncClient, path: str) -> None:
        while not self._ended.is_set():
            await self._ask(client, path)
            await asyncio.sleep(INTERVAL)

    async def _ask(self, client: httpx.AsyncClient, path: str) -> None:
        try:
            response = await client.get(self.url + path)
        except httpx.HTTPError as error:
            self.errors[f"{type(error).__name__}: {error}"] += 1
            return
        is_right = response.status_code == 200 and response.http_version == "HTTP/2"
        (self.answers if is_right else self.errors)[response.text] += 1
        self.connections.add(response.extensions["network_stream"].get_extra_info("client_addr")[1])
