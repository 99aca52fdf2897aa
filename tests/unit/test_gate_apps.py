"""The apps that the gate is tested with do what their names say, without PM2."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.gate_apps import KINDS, write_release
from support.pm2_host import find_free_port, is_alive, wait_for

# seconds, for what takes an app no time
PATIENCE = 30.0


class App:
    """One process of an app on a port of its own."""

    def __init__(self, script: Path, *arguments: str) -> None:
        node = shutil.which("node")
        assert node, "the tests need node on PATH"
        self.port = find_free_port()
        self.output = script.parent / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [node, str(script), *arguments],
                env={**os.environ, "PORT": str(self.port), "NODE_APP_INSTANCE": "0"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def get(self, path: str = "/", port: int = 0, timeout: float = PATIENCE) -> tuple[int, str]:
        """Status and body."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port or self.port}{path}", timeout=timeout) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def listens(self, port: int = 0) -> bool:
        with contextlib.suppress(urllib.error.URLError):
            return bool(self.get("/health", port))
        return False

    def wait_until_it_listens(self, port: int = 0) -> None:
        wait_for(lambda: self.listens(port) or self.process.poll() is not None, "it does not listen", PATIENCE)
        assert self.process.poll() is None, self.output.read_text()

    def end(self) -> tuple[int, str]:
        """Exit code and output."""
        return self.process.wait(PATIENCE), self.output.read_text()


Start = Callable[..., App]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started = []

    def start_one(kind: str, *arguments: str, **how: Any) -> App:
        started.append(App(write_release(tmp_path / "release", kind, **how), *arguments))
        return started[-1]

    yield start_one
    for app in started:
        app.process.kill()
        app.process.wait()


@pytest.mark.parametrize("kind", ["good", "es_module"])
def test_good(start: Start, kind: str) -> None:
    app = start(kind, version="v7")
    app.wait_until_it_listens()
    assert app.get() == (200, "v7")
    status, body = app.get("/health")
    assert status == 200
    assert json.loads(body) == {"status": "ok", "version": "v7", "pid": app.process.pid, "instance": "0"}
    begun = time.monotonic()
    assert app.get("/slow?ms=300") == (200, "v7")
    assert time.monotonic() - begun >= 0.3


def test_ignores_signals(start: Start) -> None:
    app = start("ignores_signals")
    app.wait_until_it_listens()
    for number in (signal.SIGINT, signal.SIGTERM):
        app.process.send_signal(number)
        assert app.get() == (200, "ignores_signals")


@pytest.mark.parametrize(
    ("kind", "code", "error"),
    [
        ("throws_at_boot", 1, "Error: boom at boot"),
        ("syntax_error", 1, "SyntaxError"),
        ("missing_module", 1, "Cannot find module 'no-such-module'"),
        ("es_module_throws", 1, "Error: boom in module"),
        ("exits_0", 0, ""),
    ],
)
def test_does_not_boot(start: Start, kind: str, code: int, error: str) -> None:
    ended, output = start(kind).end()
    assert ended == code
    assert error in output


def test_does_not_boot_on_one_host(start: Start) -> None:
    ended, output = start("throws_on", host=socket.gethostname()).end()
    assert ended == 1
    assert f"Error: cannot run on {socket.gethostname()}" in output


def test_wrong_port(start: Start) -> None:
    port = find_free_port()
    app = start("wrong_port", port=port)
    app.wait_until_it_listens(port)
    assert not app.listens()


def test_port_argument(start: Start) -> None:
    port = find_free_port()
    app = start("port_argument", str(port))
    app.wait_until_it_listens(port)
    assert not app.listens()


def test_greeting(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREETING", "hello")
    app = start("good")
    app.wait_until_it_listens()
    assert json.loads(app.get("/health")[1])["greeting"] == "hello"


def test_throws_after(start: Start) -> None:
    app = start("throws_after", seconds=1)
    code, output = app.end()
    assert code == 1
    assert "Error: boom later" in output


def test_answers_500(start: Start) -> None:
    app = start("answers_500")
    app.wait_until_it_listens()
    assert app.get() == (500, "Internal Server Error")
    assert app.get("/health")[0] == 500


def test_wrong_body(start: Start) -> None:
    app = start("wrong_body")
    app.wait_until_it_listens()
    assert app.get() == (200, "something else")
    assert json.loads(app.get("/health")[1])["status"] == "wrong"


def test_hangs(start: Start) -> None:
    app = start("hangs")

    def takes_a_request() -> bool:
        try:
            app.get(timeout=0.5)
        except TimeoutError:
            return True
        except urllib.error.URLError:
            return False
        raise AssertionError("it answered")

    wait_for(takes_a_request, "it does not listen", PATIENCE)


@pytest.mark.parametrize("kind", ["never_listens", "worker"])
def test_stays_and_does_not_listen(start: Start, kind: str) -> None:
    app = start(kind)
    time.sleep(1)
    assert app.process.poll() is None
    assert not app.listens()


def test_boots_in(start: Start) -> None:
    begun = time.monotonic()
    start("boots_in", seconds=1).wait_until_it_listens()
    assert time.monotonic() - begun >= 1


def test_leaks(start: Start) -> None:
    app = start("leaks", mib=150, seconds=1)
    app.wait_until_it_listens()

    def resident() -> int:
        """MiB."""
        pages = int(Path(f"/proc/{app.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") // 2**20

    wait_for(lambda: resident() > 150, "it does not grow", PATIENCE)


@pytest.mark.parametrize("then", ["throws", "fails"])
def test_forks_child(start: Start, tmp_path: Path, then: str) -> None:
    pid_file = tmp_path / "pids"
    app = start("forks_child", pid_file=pid_file, then=then)
    wait_for(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"), "it forks no child", PATIENCE)
    (child,) = map(int, pid_file.read_text().split())
    try:
        if then == "throws":
            assert app.end()[0] == 1
        else:
            app.wait_until_it_listens()
            assert app.get()[0] == 500
            app.process.kill()
            app.process.wait()
        assert is_alive(child)
    finally:
        os.kill(child, signal.SIGKILL)


def test_fails_later_by_time(start: Start) -> None:
    app = start("fails_later", seconds=1)
    app.wait_until_it_listens()
    wait_for(lambda: app.get() == (500, "Internal Server Error"), "it does not fail", PATIENCE)


def test_fails_later_by_file(start: Start, tmp_path: Path) -> None:
    trigger = tmp_path / "fail"
    app = start("fails_later", trigger=trigger)
    app.wait_until_it_listens()
    assert app.get()[0] == 200
    trigger.touch()
    assert app.get() == (500, "Internal Server Error")


def test_fails_some(start: Start) -> None:
    app = start("fails_some", one_of=3)
    app.wait_until_it_listens()
    assert [app.get()[0] for _number in range(6)] == [200, 200, 500, 200, 200, 500]
    assert app.get("/health")[0] == 200


def test_slow(start: Start) -> None:
    app = start("slow", ms=300, version="v7")
    app.wait_until_it_listens()
    begun = time.monotonic()
    assert app.get() == (200, "v7")
    assert time.monotonic() - begun >= 0.3


@pytest.mark.parametrize(("kind", "answer"), [("socket", b"200 OK"), ("answers_500_socket", b"500 Internal")])
def test_a_path_instead_of_a_port(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, answer: bytes
) -> None:
    path = tmp_path / "app.sock"
    monkeypatch.setattr(f"{__name__}.find_free_port", lambda: path)
    start(kind)
    with socket.socket(socket.AF_UNIX) as connection:
        wait_for(lambda: connection.connect_ex(str(path)) == 0, "it does not listen", PATIENCE)
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert answer in connection.recv(4096)


def test_every_kind_is_tried_here() -> None:
    source = Path(__file__).read_text()
    assert [kind for kind in KINDS if f'"{kind}"' not in source] == []


def test_what_a_kind_does_not_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="good takes"):
        write_release(tmp_path, "good", seconds=1)
    with pytest.raises(AssertionError, match="wrong_port needs"):
        write_release(tmp_path, "wrong_port")
