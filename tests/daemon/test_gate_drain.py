# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the preload lets go of connections, told to by the control socket or by a stop signal: no request is lost."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.gate import TIMEOUT, Site, client, get, is_refused
from support.load import Load
from support.pm2_host import is_alive, wait_for

from ansible_collections.zerodown.pm2.plugins.module_utils._gate_control import GateError
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc

ONE_PM2 = pytest.mark.parametrize("pm2_version", ["7"], indirect=True)
BOTH_MODES = pytest.mark.parametrize("mode", ["cluster", "fork"])

# /slow takes 2 s; /stream has sent its head before that; /proxied says keep-alive itself, as proxies do
WEB = """
const http = require('http')
const server = http.createServer((request, response) => {
  if (request.url === '/proxied') response.setHeader('connection', 'keep-alive')
  if (request.url === '/proxied-2') response.writeHead(200, { Connection: 'keep-alive', 'Keep-Alive': 'timeout=60' })
  if (request.url === '/stream') response.write('begun, ')
  setTimeout(() => response.end(`${process.pid}`), /slow|stream/.test(request.url) ? 2000 : 0)
})
server.keepAliveTimeout = 60000
server.listen(process.env.PORT, '127.0.0.1')
"""
CLOSES_ITSELF = """
process.on('SIGINT', () => server.close((error) => {
  console.log('closed', error)
  process.exit(7)
}))
"""


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory below which apps find what they require."""
    directory = tmp_path_factory.mktemp("packages")
    (directory / "package.json").write_text('{"private": true}')
    wanted = ["express@5", "fastify@5", "ws@8", "signal-exit@4"]
    subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", *wanted], cwd=directory, check=True, stdin=subprocess.DEVNULL
    )
    return directory


@pytest.fixture
def site(pm2_home: Path, daemon: Rpc, packages: Path, tmp_path: Path) -> Iterator[Site]:
    scripts = packages / tmp_path.name
    yield Site(pm2_home, daemon, scripts)
    shutil.rmtree(scripts, ignore_errors=True)


@contextlib.contextmanager
def in_flight(site: Site, path: str) -> Iterator[http.client.HTTPConnection]:
    """A request that the app has taken."""
    with client(site.port) as connection:
        connection.request("GET", path)
        wait_for(lambda: sum(status.connections for status in site.status()) > 0, "the request did not arrive")
        time.sleep(0.1)
        yield connection


def connection_header(connection: http.client.HTTPConnection, path: str = "/") -> str | None:
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    return response.headers["Connection"]


@ONE_PM2
@BOTH_MODES
def test_everything_is_answered_and_the_last_answer_says_so(site: Site, mode: str) -> None:
    site.start(WEB, mode=mode)
    [worker] = site.workers()
    with client(site.port) as idle, in_flight(site, "/slow") as slow, in_flight(site, "/stream") as stream:
        assert connection_header(idle) == "keep-alive"
        with ThreadPoolExecutor() as pool:
            drain = pool.submit(worker.drain, 15)
            wait_for(lambda: worker.status(TIMEOUT).state == "draining", "no drain")
            wait_for(lambda: is_refused(site.port), "the port is still open")
            # an idle one is not closed under its client, who may be sending just now
            assert connection_header(idle) == "close"
            for connection, header in ((slow, "close"), (stream, "keep-alive")):
                response = connection.getresponse()
                assert response.headers["Connection"] == header
                assert response.read().endswith(str(worker.pid).encode())
            assert connection_header(stream) == "close"
            assert drain.result().connections == 0
    # the app has seen nothing of it
    assert worker.status(TIMEOUT).servers[0].port == site.port
    assert site.pids() == [worker.pid]


@ONE_PM2
@pytest.mark.parametrize("path", ["/proxied", "/proxied-2"])
def test_an_app_that_says_keep_alive_itself_does_not_in_its_last_answer(site: Site, path: str) -> None:
    site.start(WEB)
    [worker] = site.workers()
    with client(site.port) as connection:
        assert connection_header(connection, path) == "keep-alive"
        worker.close(TIMEOUT)
        assert connection_header(connection, path) == "close"
        wait_for(lambda: worker.status(TIMEOUT).connections == 0, "the connection stays")


@ONE_PM2
def test_at_the_end_of_the_time_only_idle_connections_are_closed(site: Site) -> None:
    site.start(WEB)
    [worker] = site.workers()
    with client(site.port) as idle, in_flight(site, "/slow") as slow:
        assert connection_header(idle) == "keep-alive"
        status = worker.drain(0.5)
        assert (status.state, status.connections) == ("draining", 1)
        assert idle.sock.recv(1) == b""
        assert slow.getresponse().read() == str(worker.pid).encode()


@ONE_PM2
def test_a_drain_that_is_taken_back(site: Site) -> None:
    site.start(WEB)
    [worker] = site.workers()
    with client(site.port) as idle, ThreadPoolExecutor() as pool:
        assert connection_header(idle) == "keep-alive"
        drain = pool.submit(worker.drain, 30)
        wait_for(lambda: worker.status(TIMEOUT).state == "draining", "no drain")
        worker.open(TIMEOUT)
        assert drain.result(timeout=10).state == "open"
        assert connection_header(idle) == "keep-alive"
        assert get(site.port) == str(worker.pid)


H2_CLIENT = """
const http2 = require('http2')
const session = http2.connect('http://127.0.0.1:' + process.argv[2])
const ask = (path) => new Promise((resolve, reject) => {
  const stream = session.request({ ':path': path })
  let body = ''
  stream.on('data', (data) => { body += data }).on('end', () => resolve(body)).on('error', reject)
})
session.on('goaway', (code) => console.log('goaway', code))
session.on('close', () => console.log('closed'))
ask('/').then((body) => {
  console.log('first', body)
  return ask('/slow')
}).then((body) => console.log('slow', body))
"""


@ONE_PM2
def test_an_http2_session_is_told_and_its_streams_end(site: Site) -> None:
    source = WEB.replace("http.createServer", "require('http2').createServer").replace("http = require", "x = require")
    site.start(source, instances=1)
    [worker] = site.workers()
    with subprocess.Popen(
        ["node", "-e", H2_CLIENT, "client", str(site.port)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == f"first {worker.pid}\n"
        time.sleep(0.2)
        assert worker.drain(10).connections == 0
        output, _errors = process.communicate(timeout=TIMEOUT)
    lines = output.splitlines()
    assert lines[0] == "goaway 0"
    assert [line for line in lines if line != "goaway 0"] == [f"slow {worker.pid}", "closed"]


WEBSOCKETS = """
const http = require('http')
const { WebSocketServer } = require('ws')
const sockets = new WebSocketServer({ noServer: true })
sockets.on('connection', (socket) => {
  socket.on('message', (data) => {
    console.log('message', String(data))
    socket.send(`echo ${data}`)
  })
  socket.on('close', (code) => console.log('closed', code))
})
const server = http.createServer().listen(process.env.PORT, '127.0.0.1')
server.on('upgrade', (request, socket, head) => {
  const accept = () => sockets.handleUpgrade(request, socket, head, (ready) => sockets.emit('connection', ready))
  setTimeout(accept, request.url === '/late' ? 1000 : 0)
})
"""


@contextlib.contextmanager
def websocket(port: int, path: str = "/") -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        yield connection


def switched(connection: socket.socket) -> None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        assert byte, head
        head += byte
    assert head.startswith(b"HTTP/1.1 101 "), head


GOING_AWAY = b"\x88\x02\x03\xe9"


@ONE_PM2
@BOTH_MODES
def test_websockets_are_told_to_go_and_may_say_goodbye(site: Site, mode: str) -> None:
    site.start(WEBSOCKETS, mode=mode)
    [worker] = site.workers()
    with websocket(site.port) as early, websocket(site.port, "/late") as late, ThreadPoolExecutor() as pool:
        switched(early)
        early.sendall(b"\x81\x82\0\0\0\0hi")
        assert early.recv(100) == b"\x81\x07echo hi"
        drain = pool.submit(worker.drain, 10)
        # not in the midst of a handshake, but after it
        switched(late)
        for connection in (early, late):
            assert connection.recv(len(GOING_AWAY), socket.MSG_WAITALL) == GOING_AWAY
            # what it still says arrives; then its own close frame, masked as a client's must be
            connection.sendall(b"\x81\x82\0\0\0\0hi" + b"\x88\x82\0\0\0\0\x03\xe9")
            while connection.recv(100):
                pass
            connection.close()
        assert drain.result().connections == 0
    wait_for(lambda: site.read_log().count("closed 1001") == 2, f"not closed in order: {site.read_log()}")
    assert site.read_log().count("message hi") == 3


@ONE_PM2
def test_a_stop_signal_tells_websockets_also_when_the_app_handles_it(site: Site, pm2_home: Path) -> None:
    site.start(WEBSOCKETS + CLOSES_ITSELF)
    with websocket(site.port) as connection, ThreadPoolExecutor() as pool:
        switched(connection)
        stop = pool.submit(site.rpc.stop, site.processes("one")[0]["pm_id"], TIMEOUT)
        assert connection.recv(len(GOING_AWAY), socket.MSG_WAITALL) == GOING_AWAY
        connection.sendall(b"\x88\x82\0\0\0\0\x03\xe9")
        while connection.recv(100):
            pass
        connection.close()
        stop.result()
    assert "SIGKILL" not in (pm2_home / "pm2.log").read_text()
    assert "closed undefined" in site.read_log()


@ONE_PM2
def test_what_speaks_no_http_is_left_to_the_app(site: Site) -> None:
    site.start("require('net').createServer((s) => s.pipe(s)).listen(process.env.PORT, '127.0.0.1')", held=True)
    [worker] = site.workers()
    worker.open(TIMEOUT)
    with socket.create_connection(("127.0.0.1", site.port), timeout=TIMEOUT) as connection:
        connection.sendall(b"hello")
        assert connection.recv(100) == b"hello"
        assert worker.drain(0.3).connections == 1
        connection.sendall(b"still here")
        assert connection.recv(100) == b"still here"
    assert worker.drain(10).connections == 0


FRAMEWORKS = {
    "express": (
        "app.js",
        "const app = require('express')()\n"
        "app.get('/', (request, response) => response.send(`${process.pid}`))\n"
        "app.listen(process.env.PORT, '127.0.0.1')",
    ),
    "fastify": (
        "app.mjs",
        "import Fastify from 'fastify'\n"
        "const app = Fastify()\n"
        "app.get('/', async () => `${process.pid}`)\n"
        "await app.listen({ port: Number(process.env.PORT) })",
    ),
    "an ES module": (
        "app.mjs",
        "import { createServer } from 'node:http'\n"
        "const server = createServer((request, response) => response.end(`${process.pid}`))\n"
        "server.listen(Number(process.env.PORT))",
    ),
    "https": (
        "app.js",
        "require('https').createServer(require('./tls.js'), (request, response) => response.end(`${process.pid}`))"
        ".listen(process.env.PORT)",
    ),
    "http2, 1.1 allowed": (
        "app.js",
        "require('http2').createSecureServer({ ...require('./tls.js'), allowHTTP1: true },"
        " (request, response) => response.end(`${process.pid}`)).listen(process.env.PORT)",
    ),
}


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``tls.js``, which exports a key and its certificate."""
    directory = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
        + ["-keyout", "key", "-out", "cert"],
        cwd=directory,
        check=True,
        capture_output=True,
    )
    keys = {name: (directory / name).read_text() for name in ("key", "cert")}
    (directory / "tls.js").write_text(f"module.exports = {json.dumps(keys)}")
    return directory / "tls.js"


def answer(connection: socket.socket, secure: bool) -> tuple[str, str]:
    """The Connection header and the body."""
    if secure:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = context.wrap_socket(connection)
    with connection:
        http_client = http.client.HTTPConnection("localhost")
        http_client.sock = connection
        http_client.request("GET", "/")
        response = http_client.getresponse()
        return response.headers["Connection"], response.read().decode()


@ONE_PM2
@BOTH_MODES
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_it_is_the_same_for_every_kind_of_server(site: Site, certificate: Path, name: str, mode: str) -> None:
    file, source = FRAMEWORKS[name]
    (site.scripts / "one").mkdir(parents=True)
    shutil.copy(certificate, site.scripts / "one")
    site.start(source, file=file, held=True, mode=mode)
    secure = "tls.js" in source
    [worker] = site.workers()
    pid = str(worker.pid)
    for server in worker.status(TIMEOUT).servers:
        private = socket.socket(socket.AF_UNIX)
        private.settimeout(TIMEOUT)
        private.connect(str(server.socket))
        assert answer(private, secure) == ("keep-alive", pid)
    assert is_refused(site.port)
    worker.open(TIMEOUT)
    address = ("localhost", site.port)
    assert answer(socket.create_connection(address, timeout=TIMEOUT), secure) == ("keep-alive", pid)
    with socket.create_connection(address, timeout=TIMEOUT) as accepted:
        wait_for(lambda: worker.status(TIMEOUT).connections >= 1, "not accepted")
        worker.close(TIMEOUT)
        assert answer(accepted, secure) == ("close", pid)
    assert worker.drain(10).connections == 0


@pytest.mark.parametrize(
    ("addition", "code", "signal"),
    [
        pytest.param("", 0, "SIGINT", id="nothing"),
        pytest.param(CLOSES_ITSELF, 7, "SIGINT", id="closes its server"),
        pytest.param(
            "require('signal-exit').onExit(() => console.log('cleaned up'))", 0, "SIGINT", id="a library cleans up"
        ),
    ],
)
@ONE_PM2
@BOTH_MODES
def test_a_stop_signal_waits_for_what_is_in_flight(
    site: Site, pm2_home: Path, mode: str, addition: str, code: int, signal: str
) -> None:
    """Whether the app does something about the signal or nothing: the answer comes, and nobody waits for nothing."""
    site.start(WEB + addition, mode=mode)
    [pid] = site.pids()
    with in_flight(site, "/slow") as slow, ThreadPoolExecutor() as pool:
        begun = time.monotonic()
        stop = pool.submit(site.rpc.stop, site.processes("one")[0]["pm_id"], TIMEOUT)
        wait_for(lambda: is_refused(site.port), "the port is still open")
        response = slow.getresponse()
        assert response.headers["Connection"] == "close"
        assert response.read() == str(pid).encode()
        stop.result()
        # kill_timeout is 8 s
        assert time.monotonic() - begun < 6
    # PM2 writes SIGINT for no signal, and 0 for no code
    assert f"exited with code [{code}] via signal [{signal}]" in (pm2_home / "pm2.log").read_text()
    assert "SIGKILL" not in (pm2_home / "pm2.log").read_text()
    assert not [name for name in os.listdir(site.home.gate) if name[0].isdigit()]
    assert addition != CLOSES_ITSELF or "closed undefined" in site.read_log()
    assert "signal-exit" not in addition or "cleaned up" in site.read_log()


@ONE_PM2
@BOTH_MODES
def test_an_idle_connection_does_not_cost_the_app_its_end(site: Site, pm2_home: Path, mode: str) -> None:
    """Its client is silent: it is closed in time, not by SIGKILL at kill_timeout."""
    site.kill_timeout = 2000
    site.start(WEB, mode=mode)
    with client(site.port) as idle:
        assert connection_header(idle) == "keep-alive"
        site.rpc.stop(site.processes("one")[0]["pm_id"], TIMEOUT)
        assert idle.sock.recv(1) == b""
    assert "SIGKILL" not in (pm2_home / "pm2.log").read_text()


@ONE_PM2
@BOTH_MODES
def test_an_app_that_is_held_or_has_no_server_stops_at_once(site: Site, pm2_home: Path, mode: str) -> None:
    site.start(WEB, mode=mode, held=True)
    site.start("setInterval(() => {}, 1000)", "two", mode=mode, gated=False, node_args=["-r", site.preload])
    processes = site.rpc.processes()
    begun = time.monotonic()
    for process in processes:
        site.rpc.stop(process["pm_id"], TIMEOUT)
    assert time.monotonic() - begun < 5
    assert "SIGKILL" not in (pm2_home / "pm2.log").read_text()
    assert not any(is_alive(process["pid"]) for process in processes)


@ONE_PM2
@BOTH_MODES
def test_the_message_shutdown_begins_a_drain_as_well(site: Site, mode: str) -> None:
    source = WEB + CLOSES_ITSELF.replace("'SIGINT', () =>", "'message', (m) => m === 'shutdown' &&")
    site.start(source, mode=mode, shutdown_with_message=True)
    [worker] = site.workers()
    with in_flight(site, "/slow") as slow, ThreadPoolExecutor() as pool:
        stop = pool.submit(site.rpc.stop, site.processes("one")[0]["pm_id"], TIMEOUT)
        wait_for(lambda: worker.status(TIMEOUT).state == "draining", "no drain")
        assert slow.getresponse().headers["Connection"] == "close"
        stop.result()
    assert "closed undefined" in site.read_log()


@ONE_PM2
def test_what_stops_is_not_opened_again(site: Site) -> None:
    site.start(WEB)
    [worker] = site.workers()
    with in_flight(site, "/slow"), ThreadPoolExecutor() as pool:
        stop = pool.submit(site.rpc.stop, site.processes("one")[0]["pm_id"], TIMEOUT)
        wait_for(lambda: worker.status(TIMEOUT).state == "draining", "no drain")
        with pytest.raises(GateError, match="is stopping"):
            worker.open(TIMEOUT)
        stop.result()


def load_on(site: Site, keep_alive: bool) -> Load:
    """Gentle and patient: what a busy machine delays is not lost."""
    return Load(f"http://127.0.0.1:{site.port}/", rate=60, keep_alive=keep_alive, timeout=60)


@pytest.mark.parametrize("keep_alive", [True, False], ids=["keep-alive", "one request a connection"])
def test_a_swap_under_load_loses_nothing(site: Site, keep_alive: bool) -> None:
    site.start(WEB, "g0", instances=2)
    with load_on(site, keep_alive) as load:
        for number in range(2):
            old, new = f"g{number}", f"g{number + 1}"
            site.start(WEB, new, instances=2, held=True)
            site.open(new)
            site.retire(old)
        time.sleep(0.5)
    result = load.result()
    assert (result.failed, result.wrong) == (0, 0), result.errors
    assert set(map(str, site.pids("g2"))) <= set(result.by_body)
    assert len(result.by_body) == 6


@pytest.mark.parametrize("addition", ["", CLOSES_ITSELF], ids=["no handler", "closes its server"])
def test_pm2_s_own_reload_loses_nothing_either(site: Site, pm2: Callable[..., str], addition: str) -> None:
    site.start(WEB + addition, instances=2)
    with load_on(site, keep_alive=False) as load:
        for _turn in range(2):
            pm2("reload", "site")
        time.sleep(0.5)
    result = load.result()
    assert (result.failed, result.wrong) == (0, 0), result.errors
    assert len(result.by_body) == 6
    assert not re.search("rror", site.read_log())
