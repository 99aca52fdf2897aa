# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gate of Python apps, one process at a time: held, asked in private, opened, drained; and unseen by the app."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.load import Load
from support.pm2_host import descendants, find_free_port, is_alive, wait_for
from support.python_servers import python_servers

from ansible_collections.zerodown.pm2.plugins.module_utils import _gate_python
from ansible_collections.zerodown.pm2.plugins.module_utils._gate_control import GateError, NotThere, Status, Worker
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home

TIMEOUT = 20.0
# of the Pythons that a host may have, the oldest and the newest for which there are servers, and that of the tests
PYTHONS = [None, "3.9", pytest.param("3.13", marks=pytest.mark.whole)]

ASGI = """
import os
import signal
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    text = os.environ["VERSION"].encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
    await send({"type": "http.response.body", "body": text})
"""
WSGI = """
import os
import signal
def app(environ, start_response):
    text = os.environ["VERSION"].encode()
    start_response("200 OK", [("Content-Length", str(len(text)))])
    return [text]
"""
AIOHTTP = """
import os, sys
from aiohttp import web
async def answer(request):
    return web.Response(text=os.environ["VERSION"])
app = web.Application()
app.router.add_get("/", answer)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""
STREAMS = """
import asyncio, os, sys
loop_of = __import__(sys.argv[2])
async def serve(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    text = os.environ["VERSION"].encode()
    writer.write(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(text), text))
    await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(serve, sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1", int(sys.argv[1]))
    print("NAMES", sorted(sock.getsockname()[:2] for sock in server.sockets), flush=True)
    async with server:
        await server.serve_forever()
loop = loop_of.new_event_loop()
asyncio.set_event_loop(loop)
loop.run_until_complete(main())
"""
# its main thread never comes back
THREAD = """
import http.server, os, socketserver, sys, threading, ctypes
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        text = os.environ["VERSION"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
ctypes.CDLL(None).select(0, None, None, None, None)
while True:
    ctypes.CDLL(None).sleep(3600)
"""


class Site:
    """Processes of one app, as PM2 would start them, but without PM2."""

    def __init__(self, root: Path) -> None:
        self.home = Home(str(root / "pm2"))
        self.directory = root / "app"
        self.directory.mkdir()
        self.preload = _gate_python.install(self.home)
        self.port = find_free_port()
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, command: list[str], generation: str = "v1", held: bool = True, **env: str) -> int:
        if held:
            self.mark(generation).touch()
        variables = {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", "VERSION": generation, **env}
        keys = {"zerodown_gate": self.home.gate, "zerodown_generation": generation}
        with self.log(generation).open("wb") as log:
            process = subprocess.Popen(
                command,
                env={**_gate_python.put(variables, self.preload), **keys},
                cwd=self.directory,
                stdout=log,
                stderr=log,
                # a shell lets what it runs in the background ignore it
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - before exec
            )
        self.started.append(process)
        return process.pid

    def mark(self, generation: str) -> Path:
        return Path(self.home.gate, f"{generation}.held")

    def log(self, generation: str) -> Path:
        return self.directory / f"{generation}.log"

    def write(self, name: str, text: str) -> str:
        path = self.directory / name
        path.write_text(text)
        return str(path)

    def worker(self, pid: int) -> Worker:
        return Worker(self.home, pid)

    def wait(self, pid: int, generation: str = "v1") -> Status:
        """Until it listens."""
        found: list[Status] = []

        def listens() -> bool:
            with contextlib.suppress(NotThere):
                found.append(self.worker(pid).status(TIMEOUT))
                return bool(found[-1].servers)
            return False

        wait_for(listens, f"{generation} does not listen: {self.log(generation).read_text()}")
        return found[-1]

    def end(self) -> None:
        for process in self.started:
            below = descendants(process.pid)
            process.kill()
            process.wait(TIMEOUT)
            for pid in below:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)


@pytest.fixture
def site() -> Iterator[Site]:
    # a short path: sockets are made below it
    with tempfile.TemporaryDirectory() as directory:
        made = Site(Path(directory))
        try:
            yield made
        finally:
            made.end()


def get(address: Any) -> str:
    connection = http.client.HTTPConnection(address[0], address[1], timeout=TIMEOUT)
    with contextlib.closing(connection):
        connection.request("GET", "/")
        return connection.getresponse().read().decode()


def is_refused(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), timeout=TIMEOUT).close()
    except ConnectionRefusedError:
        return True
    return False


SERVERS = {
    "uvicorn, h11": ["uvicorn", "asgi:app", "--loop", "asyncio", "--http", "h11", "--no-access-log", "--port"],
    "uvicorn, httptools": [
        "uvicorn",
        "asgi:app",
        "--loop",
        "uvloop",
        "--http",
        "httptools",
        "--no-access-log",
        "--port",
    ],
    "uvicorn, 2 workers": ["uvicorn", "asgi:app", "--workers", "2", "--no-access-log", "--port"],
    "gunicorn, gthread": ["gunicorn", "wsgi:app", "--threads", "4", "--workers", "2", "-b"],
    "hypercorn, 2 workers": ["hypercorn", "asgi:app", "--workers", "2", "-b"],
    "aiohttp": ["python", "of_aiohttp.py"],
    "asyncio": ["python", "streams.py", "{port}", "asyncio"],
    "uvloop": ["python", "streams.py", "{port}", "uvloop"],
    "a thread": ["python", "of_thread.py"],
}
SCRIPTS = {"asgi.py": ASGI, "wsgi.py": WSGI, "of_aiohttp.py": AIOHTTP, "streams.py": STREAMS, "of_thread.py": THREAD}


def command(site: Site, server: str, version: str | None) -> list[str]:
    for name, text in SCRIPTS.items():
        site.write(name, text)
    program, *args = SERVERS[server]
    where = f"127.0.0.1:{site.port}" if args[-1] == "-b" else str(site.port)
    args = [item.format(port=site.port) for item in args]
    return [str(python_servers(version) / program), *args, *([] if str(site.port) in args else [where])]


@pytest.mark.parametrize("version", PYTHONS, ids=str)
@pytest.mark.parametrize("server", SERVERS)
def test_held_opened_and_swapped(site: Site, server: str, version: str | None) -> None:
    started = command(site, server, version)
    old = site.start(started)
    held = site.wait(old)
    assert (held.pid, held.generation, held.state, held.loose) == (old, "v1", "held", frozenset())
    [listener] = held.servers
    assert (listener.host, listener.port, listener.open) == ("127.0.0.1", site.port, False)
    wait_for(lambda: get(listener.socket) == "v1", "it does not answer in private")
    assert is_refused(site.port)
    opened = site.worker(old).open(TIMEOUT)
    assert (opened.state, opened.servers[0].open, opened.servers[0].socket) == ("open", True, None)
    assert get(("127.0.0.1", site.port)) == "v1"
    assert listener.socket
    assert is_refused(int(listener.socket[1]))

    with Load(f"http://127.0.0.1:{site.port}/", 50) as kept, Load(
        f"http://127.0.0.1:{site.port}/", 50, False
    ) as single:
        new = site.start(started, "v2")
        [listener] = site.wait(new, "v2").servers
        wait_for(lambda: get(listener.socket) == "v2", "it does not answer in private")
        site.worker(new).open(TIMEOUT)
        site.worker(new).prefer(1, True, TIMEOUT)
        assert {get(("127.0.0.1", site.port)) for _turn in range(20)} == {"v2"}
        assert site.worker(old).drain(TIMEOUT).connections == 0
        os.kill(old, 2)
        wait_for(lambda: not is_alive(old), "it does not end") if server != "a thread" else os.kill(old, 9)
    for result in (kept.result(), single.result()):
        assert (result.errors, result.wrong) == ({}, 0)
        assert set(result.by_body) <= {"v1", "v2"}


def test_all_addresses(site: Site) -> None:
    """Those of IPv4 and IPv6 are two sockets, and tell the address that they will have."""
    started = [*command(site, "asyncio", None), ""]
    pid = site.start(started)
    status = site.wait(pid)
    assert sorted((server.host, server.port) for server in status.servers) == [
        ("0.0.0.0", site.port),
        ("::", site.port),
    ]
    names = f"NAMES [('0.0.0.0', {site.port}), ('::', {site.port})]"
    wait_for(lambda: names in site.log("v1").read_text(), "it names other addresses")
    for server in status.servers:
        assert get(server.socket) == "v1"
    site.worker(pid).open(TIMEOUT)
    for host in ("127.0.0.1", "::1"):
        assert get((host, site.port)) == "v1"


def test_a_port_that_is_taken(site: Site) -> None:
    """None is opened, and all answer in private as before."""
    with contextlib.closing(socket.socket()) as other:
        other.bind(("127.0.0.1", site.port))
        other.listen(1)
        pid = site.start(command(site, "asyncio", None))
        site.wait(pid)
        with pytest.raises(GateError, match=f"cannot open: listen EADDRINUSE: .* 127.0.0.1:{site.port}"):
            site.worker(pid).open(TIMEOUT)
        status = site.worker(pid).status(TIMEOUT)
        assert status.state == "held"
        assert get(status.servers[0].socket) == "v1"
    site.worker(pid).open(TIMEOUT)
    assert get(("127.0.0.1", site.port)) == "v1"


def test_once_it_is_let_through_it_opens_by_itself(site: Site) -> None:
    """Also beside another one: the kernel lets them share."""
    for generation in ("v1", "v2"):
        pid = site.start(command(site, "asyncio", None), generation, held=False)
        status = site.wait(pid, generation)
        assert (status.state, status.servers[0].open) == ("open", True)
    assert {get(("127.0.0.1", site.port)) for _turn in range(40)} == {"v1", "v2"}


def test_new_connections_go_where_they_are_told(site: Site) -> None:
    pids = {}
    for generation in ("v1", "v2", "v3"):
        pids[generation] = site.start(command(site, "asyncio", None), generation, held=False)
        site.wait(pids[generation], generation)

    def served() -> set[str]:
        return {get(("127.0.0.1", site.port)) for _turn in range(60)}

    assert served() == {"v1", "v2", "v3"}
    site.worker(pids["v3"]).prefer(2, True, TIMEOUT)
    assert served() == {"v2", "v3"}
    site.worker(pids["v1"]).prefer(1, False, TIMEOUT)
    assert served() == {"v1"}
    # what is preferred is gone: the kernel takes whoever there is
    os.kill(pids["v1"], 9)
    wait_for(lambda: not is_alive(pids["v1"]), "it runs")
    assert served() <= {"v2", "v3"}
    site.worker(pids["v2"]).open(TIMEOUT)
    assert served() == {"v2", "v3"}


def test_a_wrong_address_fails_at_once(site: Site) -> None:
    """As it would without the gate."""
    started = [*command(site, "asyncio", None), "192.0.2.1"]
    site.start(started)
    wait_for(
        lambda: "Cannot assign requested address" in site.log("v1").read_text().replace("cannot", "Cannot"), "no error"
    )


def test_a_child_that_binds_cannot_be_held(site: Site) -> None:
    text = """
import multiprocessing, socket, sys, time
def child():
    sock = socket.socket()
    sock.bind(("127.0.0.1", int(sys.argv[1])))
    sock.listen(1)
    time.sleep(3600)
if __name__ == "__main__":
    multiprocessing.get_context(sys.argv[2]).Process(target=child).start()
"""
    python = str(python_servers() / "python")
    script = site.write("children.py", text)
    for method in ("fork", "spawn"):
        site.start([python, script, str(site.port), method], method)
        wait_for(lambda m=method: "put the app behind a proxy" in site.log(m).read_text(), "no error")  # type: ignore[misc]
    assert is_refused(site.port)


def test_granian_cannot_be_held(site: Site) -> None:
    command(site, "asyncio", None)
    started = [str(python_servers() / "granian"), "--interface", "asgi", "asgi:app", "--port", str(site.port)]
    old = site.start(started, held=False)
    wait_for(lambda: not is_refused(site.port), "it does not listen")
    assert is_alive(old)
    new = site.start(started, "v2")
    wait_for(lambda: not is_alive(new), "it runs")
    assert "put the app behind a proxy" in site.log("v2").read_text()
    assert {get(("127.0.0.1", site.port)) for _turn in range(20)} == {"v1"}


def test_sockets_that_nobody_made_in_python_are_told(site: Site) -> None:
    text = """
import _socket, sys, time
sock = _socket.socket()
sock.bind(("127.0.0.1", int(sys.argv[1])))
sock.listen(1)
time.sleep(3600)
"""
    pid = site.start([str(python_servers() / "python"), site.write("raw.py", text), str(site.port)])

    def told() -> bool:
        with contextlib.suppress(NotThere):
            return site.worker(pid).status(TIMEOUT).loose == {site.port}
        return False

    wait_for(told, "nobody tells")


def test_workers_that_end_are_counted(site: Site) -> None:
    site.write("broken.py", "import os\nos._exit(1)\n")
    pid = site.start([str(python_servers() / "uvicorn"), "broken:app", "--workers", "2", "--port", str(site.port)])

    def counted() -> bool:
        with contextlib.suppress(NotThere):
            return site.worker(pid).status(TIMEOUT).ended >= 3
        return False

    wait_for(counted, "nobody counts")


# unseen --------------------------------------------------------------------------------------------------------------

SHOW = """
import json, os, socket, subprocess, sys
inner = [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"]
print(json.dumps({
    "env": dict(os.environ), "path": sys.path, "is_patched": hasattr(socket.socket.bind, "__code__"),
    "child": json.loads(subprocess.check_output(inner)),
    "sitecustomize": getattr(sys.modules.get("sitecustomize"), "MARK", None),
}))
"""
KEYS = {"zerodown_gate", "zerodown_generation"}


def shown(site: Site, generation: str) -> dict[str, Any]:
    wait_for(lambda: site.log(generation).read_text().endswith("}\n"), site.log(generation).read_text())
    return dict(json.loads(site.log(generation).read_text()))


@pytest.mark.parametrize("version", PYTHONS, ids=str)
@pytest.mark.parametrize("declared", [None, "/srv/lib:/srv/more"])
def test_the_app_sees_what_was_declared(site: Site, declared: str | None, version: str | None) -> None:
    python = str(python_servers(version) / "python")
    declared_env: dict[str, Any] = {"PYTHONPATH": declared} if declared else {}
    site.start([python, site.write("show.py", SHOW)], **declared_env)
    told = shown(site, "v1")
    for env in (told["env"], told["child"]):
        assert env.get("PYTHONPATH") == declared
        assert set(env) & KEYS == {"zerodown_generation"}
    assert site.preload not in told["path"]
    assert told["is_patched"]


def test_another_sitecustomize_runs_too(site: Site) -> None:
    other = site.directory / "other"
    other.mkdir()
    (other / "sitecustomize.py").write_text("MARK = 'other'\n")
    site.start([str(python_servers() / "python"), site.write("show.py", SHOW)], PYTHONPATH=str(other))
    assert shown(site, "v1")["sitecustomize"] == "other"


@pytest.mark.parametrize("why", ["no keys", "no directory", "a long path"])
def test_without_a_gate_the_app_is_as_it_is(site: Site, why: str) -> None:
    gate = {"no keys": "", "no directory": "/gone", "a long path": f"{site.home.path}/{'x' * 100}"}[why]
    if why == "a long path":
        os.mkdir(gate)
    log = site.log("v1")
    with log.open("wb") as stream:
        command = [str(python_servers() / "python"), site.write("show.py", SHOW)]
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": site.preload,
            "zerodown_generation": "v1",
            "zerodown_gate": gate,
        }
        subprocess.run(command, env=env, stdout=stream, stderr=stream, check=True)
    assert not shown(site, "v1")["is_patched"]


def test_a_program_that_becomes_another_hands_it_on(site: Site) -> None:
    command_line = command(site, "asyncio", None)
    text = "import os, sys\nos.execl(sys.argv[1], *sys.argv[1:])\n"
    pid = site.start([command_line[0], site.write("become.py", text), *command_line])
    assert site.wait(pid).state == "held"
    assert is_refused(site.port)


def test_it_leaves_no_files_behind(site: Site) -> None:
    pid = site.start([str(python_servers() / "python"), site.write("show.py", SHOW)])
    shown(site, "v1")
    wait_for(lambda: not is_alive(pid), "it runs")
    assert sorted(os.listdir(site.home.gate)) == [_gate_python.name(), "v1.held"]
