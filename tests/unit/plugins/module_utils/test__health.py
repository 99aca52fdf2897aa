"""Attempts of health checks, on real sockets and with real programs."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import socket
import ssl
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sites import Behaviour, answering, request, serving, tcp_socket, unix_socket

from ansible_collections.zerodown.pm2.plugins.module_utils._health import run
from ansible_collections.zerodown.pm2.plugins.module_utils._health_spec import Endpoint, parse
from ansible_collections.zerodown.pm2.plugins.module_utils._probe import HEALTHY, UNHEALTHY, UNKNOWN, Outcome
from ansible_collections.zerodown.pm2.plugins.module_utils._state import pid_exists

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
# seconds that something takes which only the time limit of the check can end
FOR_EVER = 60.0
PYTHON = sys.executable
ENVIRONMENT = {"PATH": os.environ["PATH"], "DB_PASSWORD": "hunter22"}


@pytest.fixture
def place() -> Iterator[Path]:
    """Its path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="health-") as directory:
        yield Path(directory)


def attempt(endpoint: Endpoint | None, cwd: str = "/", **options: Any) -> Outcome:
    (check,) = parse([options])
    return run(check, endpoint, ENVIRONMENT, cwd)


@contextlib.contextmanager
def site(behaviour: Behaviour) -> Iterator[Endpoint]:
    with tcp_socket() as listener, serving(listener, behaviour):
        yield listener.getsockname()


# HTTP that works ---------------------------------------------------------------------------------------------------


def test_over_a_unix_socket(place: Path) -> None:
    path = place / "s"
    with serving(unix_socket(path), answering(OK)):
        assert attempt(str(path), path="/health") == Outcome(HEALTHY, "GET /health answered 200")


def test_over_tcp() -> None:
    with site(answering(OK)) as endpoint:
        assert attempt(endpoint, body="^ok$", name="front") == Outcome(HEALTHY, "front (GET /) answered 200")


def test_what_is_sent() -> None:
    heads = []

    def remember(connection: socket.socket) -> None:
        heads.append(request(connection).decode().split("\r\n"))
        connection.sendall(OK)

    with site(remember) as endpoint:
        attempt(endpoint, path="/health?deep=1", host="shop.example.com:8443")
        attempt(endpoint, method="POST", headers={"user-agent": "mine", "X-Key": "k"})
    assert heads[0] == [
        *("GET /health?deep=1 HTTP/1.1", "Accept-Encoding: identity", "Host: shop.example.com:8443"),
        *("User-Agent: zerodown.pm2", "Accept: */*", "Connection: close", "", ""),
    ]
    assert heads[1] == [
        *("POST / HTTP/1.1", "Accept-Encoding: identity", "Host: localhost", "Accept: */*", "Content-Length: 0"),
        *("user-agent: mine", "X-Key: k", "Connection: close", "", ""),
    ]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + OK,
    ],
)
def test_ways_to_answer(answer: bytes) -> None:
    with site(answering(answer)) as endpoint:
        assert attempt(endpoint, body="^ok$").verdict == HEALTHY


def test_the_charset_of_the_answer() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=%s\r\n\r\n"
    for charset, body in ((b"latin-1", b"gr\xfcn"), (b"utf-8", b"gr\xc3\xbcn"), (b"nonsense", b"gr\xc3\xbcn")):
        with site(answering(head % charset + body)) as endpoint:
            assert attempt(endpoint, body="^grün$").verdict == HEALTHY


def test_no_more_than_the_first_mib_is_read() -> None:
    sent = []

    def stream(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nbegin")
        while True:
            sent.append(connection.send(b"x" * 65536))

    with site(stream) as endpoint:
        assert attempt(endpoint, body="^begin", timeout=FOR_EVER).verdict == HEALTHY
        outcome = attempt(endpoint, json={"a": 1}, timeout=FOR_EVER)
    assert outcome == Outcome(
        UNHEALTHY, "GET / answered 200, but its body is longer than the 1 MiB that JSON may have here"
    )


# TLS ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "server_name"), [("shop.example.com:8443", "shop.example.com"), ("[::1]:8443", None), ("127.0.0.1", None)]
)
def test_tls_with_a_certificate_of_somebody_else(place: Path, host: str, server_name: str | None) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("other.example.com").configure_cert(context)
    names = []
    context.sni_callback = lambda _connection, name, _context: names.append(name)

    def encrypted(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as stream:
            answering(OK)(stream)

    with serving(unix_socket(place / "s"), encrypted):
        assert attempt(str(place / "s"), scheme="https", host=host) == Outcome(HEALTHY, "GET / answered 200")
    assert names == [server_name]


def test_tls_asked_of_plain_http() -> None:
    with site(answering(OK)) as endpoint:
        outcome = attempt(endpoint, scheme="https", timeout=2)
    assert outcome.verdict == UNHEALTHY
    assert "TLS failed" in outcome.detail or "within" in outcome.detail


def test_tls_that_hangs() -> None:
    with site(lambda _connection: time.sleep(FOR_EVER)) as endpoint:
        assert attempt(endpoint, scheme="https", timeout=0.5) == Outcome(
            UNHEALTHY, "GET /: no whole answer within 0.5 s"
        )


# HTTP that does not work -------------------------------------------------------------------------------------------


def reset(connection: socket.socket) -> None:
    request(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(
    ("behaviour", "detail"),
    [
        (
            answering(b"HTTP/1.1 500 No\r\n\r\nInternal\nServer Error"),
            "answered 500, expected 200-299: Internal Server",
        ),
        (
            answering(b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n"),
            r"answered 302 \(to /login\), expected 200-299$",
        ),
        (answering(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), "answered 101, expected"),
        (answering(b""), ": the connection was closed without an answer$"),
        (lambda _connection: None, ": the connection was (closed without an answer|reset|closed)$"),
        (reset, ": the connection was reset$"),
        (answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"), ": the answer broke off$"),
        (answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nok"), ": the answer broke off$"),
        (answering(b"SSH-2.0-OpenSSH\r\n"), r": the answer is not HTTP/1.1 \(BadStatusLine\)$"),
        (answering(b"HTTP/2.0 200 OK\r\n\r\n"), r": the answer is not HTTP/1.1 \(UnknownProtocol\)$"),
        (answering(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 99999), r": the answer is not HTTP/1.1 \(LineTooLong\)$"),
    ],
)
def test_bad_answers(behaviour: Behaviour, detail: str) -> None:
    with site(behaviour) as endpoint:
        outcome = attempt(endpoint)
    assert outcome.verdict == UNHEALTHY
    assert outcome.detail.startswith("GET /")
    assert re.search(detail, outcome.detail), outcome.detail


def drip(head: bytes, piece: bytes) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(head)
        end = time.monotonic() + FOR_EVER
        while time.monotonic() < end:
            connection.sendall(piece)
            time.sleep(0.05)

    return behave


@pytest.mark.parametrize(
    "behaviour",
    [
        lambda _connection: time.sleep(FOR_EVER),
        drip(b"", b"H"),
        drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", b"x"),
        drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        drip(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    ],
    ids=["hangs", "status line", "headers", "body", "chunks", "continue", "hints"],
)
def test_the_time_limit_is_for_all_of_it(behaviour: Behaviour) -> None:
    started = time.monotonic()
    with site(behaviour) as endpoint:
        assert attempt(endpoint, timeout=0.5) == Outcome(UNHEALTHY, "GET /: no whole answer within 0.5 s")
    assert 0.5 <= time.monotonic() - started < FOR_EVER / 2


@pytest.mark.parametrize("type_", ["http", "tcp"])
def test_nothing_listens(place: Path, type_: str) -> None:
    with tcp_socket() as listener:
        closed = listener.getsockname()
    unix_socket(place / "left behind").close()
    for endpoint in (None, str(place / "nothing"), str(place / "left behind"), closed):
        outcome = attempt(endpoint, type=type_)
        assert outcome.verdict == UNHEALTHY
        assert outcome.detail.endswith((": nothing listens", ": the connection was refused"))


@pytest.mark.parametrize("type_", ["http", "tcp"])
def test_a_queue_that_is_full(place: Path, type_: str) -> None:
    with unix_socket(place / "s", backlog=0), socket.socket(socket.AF_UNIX) as first:
        first.connect(str(place / "s"))
        outcome = attempt(str(place / "s"), type=type_, timeout=0.3)
    assert outcome.verdict == UNHEALTHY
    assert outcome.detail.endswith("within 0.3 s")


def test_a_queue_that_is_full_for_a_moment(place: Path) -> None:
    with unix_socket(place / "s", backlog=0) as listener, socket.socket(socket.AF_UNIX) as first:
        first.connect(str(place / "s"))
        timer = threading.Timer(0.3, listener.accept)
        timer.start()
        assert attempt(str(place / "s"), type="tcp", timeout=FOR_EVER).verdict == HEALTHY
        timer.join()


def test_a_connection_that_is_taken() -> None:
    with site(lambda _connection: None) as endpoint:
        assert attempt(endpoint, type="tcp", port=25) == Outcome(HEALTHY, "TCP connection at port 25 was taken")


PIECES = st.sampled_from(
    [
        *(
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 ",
            b"HTTP/9 ",
            b"103 \r\n",
            b"\r\n",
            b"\r\n\r\n",
            b"\n",
            b": ",
            b"x",
            b"\0",
        ),
        *(b"Content-Length: 5\r\n", b"Content-Length: -5\r\n", b"Content-Length: 9" + b"9" * 5000 + b"\r\n"),
        *(
            b"Transfer-Encoding: chunked\r\n",
            b"5\r\nabcde\r\n",
            b"0\r\n\r\n",
            b"-1\r\n",
            b"zz\r\n",
            b"f" * 5000 + b"\r\n",
        ),
        *(b"Content-Type: text/plain; charset=utf-7\r\n", b"Content-Type: x; charset=base64\r\n", b'{"a": 1}', b"\xff"),
    ]
)


@settings(deadline=None, max_examples=150)
@given(st.lists(PIECES | st.binary(max_size=20), max_size=8))
def test_any_answer_gets_a_verdict(pieces: list[bytes]) -> None:
    with site(answering(b"".join(pieces))) as endpoint:
        outcome = attempt(endpoint, body="x", json={"a": 1}, timeout=FOR_EVER)
    assert outcome.verdict in (HEALTHY, UNHEALTHY)
    assert outcome.detail.isprintable()


# when the check itself cannot be made ------------------------------------------------------------------------------


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """Root may everything, so it becomes somebody else for the while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_no_right_to_open_the_socket(place: Path) -> None:
    with serving(unix_socket(place / "s"), answering(OK)):
        (place / "s").chmod(0)
        with without_rights():
            outcome = attempt(str(place / "s"))
    assert outcome == Outcome(UNKNOWN, "GET / could not be made: Permission denied")


def test_out_of_file_descriptors(place: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with serving(unix_socket(place / "s"), answering(OK)):
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            outcomes = [
                attempt(str(place / "s")),
                attempt(None, type="command", command=["true"]),
            ]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert outcomes == [
        Outcome(UNKNOWN, "GET / could not be made: Too many open files"),
        Outcome(UNKNOWN, "command true could not be run in /: Too many open files"),
    ]


def test_a_path_that_is_too_long_for_a_socket() -> None:
    outcome = attempt("/" + "x" * 200)
    assert outcome.verdict == UNKNOWN
    assert "too long" in outcome.detail


# commands ----------------------------------------------------------------------------------------------------------


def command(*argv: str, cwd: str = "/", **options: Any) -> Outcome:
    return attempt(None, cwd=cwd, type="command", command=list(argv), **{"timeout": FOR_EVER, **options})


def test_a_command_runs_in_the_release_with_the_environment_of_the_app(place: Path) -> None:
    program = place / "check"
    program.write_text('#!/bin/sh\ntest "$PWD" = "$1" && test "$DB_PASSWORD" = hunter22 && test -z "$LEAK"\n')
    program.chmod(0o755)
    assert command("./check", str(place), cwd=str(place)) == Outcome(
        HEALTHY, f"command ./check {place} ended with exit code 0"
    )
    assert command("./check", "/elsewhere", cwd=str(place)).detail.endswith("ended with exit code 1")


def test_the_last_line_tells() -> None:
    program = "import sys; print('one', flush=True); sys.stderr.write('two hunter22\\n\\n \\n'); sys.exit(3)"
    assert command(PYTHON, "-c", program, name="queue") == Outcome(
        UNHEALTHY, f"queue (command {PYTHON} -c) ended with exit code 3: two <hidden>"
    )


def test_ended_by_a_signal() -> None:
    outcome = command(PYTHON, "-c", "import os; os.kill(os.getpid(), 9)")
    assert outcome == Outcome(UNHEALTHY, f"command {PYTHON} -c was ended by signal 9")


def test_it_reads_nothing_and_no_shell_sees_it() -> None:
    assert command("cat").verdict == HEALTHY
    assert command("test", "$HOME", "=", "$HOME").verdict == HEALTHY
    assert command("test", "$(id)", "=", "`id`").verdict == UNHEALTHY


@pytest.mark.parametrize("content", [None, "no program", "#!/nonexistent/interpreter\n"])
def test_what_cannot_be_run(place: Path, content: str | None) -> None:
    if content is not None:
        (place / "check").write_text(content)
        (place / "check").chmod(0o755 if "#!" in content else 0o644)
    outcome = command("./check", cwd=str(place))
    assert outcome.verdict == UNKNOWN
    assert outcome.detail.startswith(f"command ./check could not be run in {place}: ")


def test_no_such_directory() -> None:
    assert command("true", cwd="/nonexistent").verdict == UNKNOWN
    assert command("nosuchprogram").verdict == UNKNOWN


# starts a program that only a signal ends, writes its pid, and goes on
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])
open({pid_file!r}, 'w').write(str(child.pid))
{then}
"""


@pytest.mark.parametrize(
    ("then", "timeout", "end"),
    [
        ("print('waiting', flush=True); time.sleep(600)", 3.0, "did not end within 3 s: waiting"),
        ("print('bad'); sys.exit(2)", FOR_EVER, "ended with exit code 2: bad"),
        ("", FOR_EVER, "ended with exit code 0"),
    ],
    ids=["hangs", "fails", "passes"],
)
def test_nothing_that_it_started_stays_behind(place: Path, then: str, timeout: float, end: str) -> None:
    """Not even what keeps its output open."""
    pid_file = place / "pid"
    started = time.monotonic()
    outcome = command(PYTHON, "-c", PARENT.format(pid_file=str(pid_file), then=then), timeout=timeout)
    assert outcome.detail == f"command {PYTHON} -c {end}"
    assert time.monotonic() - started < FOR_EVER / 2
    pid = int(pid_file.read_text())
    deadline = time.monotonic() + FOR_EVER
    while pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not pid_exists(pid)


def test_it_prints_without_end() -> None:
    outcome = command("yes", "hunter22 and more", timeout=1)
    assert outcome.verdict == UNHEALTHY
    assert outcome.detail.endswith("did not end within 1 s: <hidden> and more")


def test_it_closes_its_output() -> None:
    assert command(PYTHON, "-c", "import os, time; os.close(1); os.close(2); time.sleep(0.5)").verdict == HEALTHY
    assert command(PYTHON, "-c", "import os, time; os.close(1); os.close(2); time.sleep(600)", timeout=1).verdict == (
        UNHEALTHY
    )


# secrets -----------------------------------------------------------------------------------------------------------


def test_what_an_app_quotes_of_our_secrets_is_not_shown() -> None:
    def echo(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 500 No\r\n\r\nno hunter22 for " + request(connection).split(b"\r\n")[-4])

    with site(echo) as endpoint:
        outcome = attempt(endpoint, headers={"Authorization": "Bearer s3cr3t-t0ken"})
    assert outcome.detail.startswith("GET / answered 500, expected 200-299: no <hidden> for Authorization")
    assert "s3cr3t" not in outcome.detail
    assert "hunter22" not in outcome.detail
