"""The calls: only shapes that were tried, each with its own refusal of what would kill the daemon."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.module_utils._axon import decode, encode
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import (
    DaemonNotRunning,
    Pm2Error,
    ProtocolError,
    RpcError,
    RpcTimeout,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc, check_definition

GOOD = {
    "name": "web",
    "pm_exec_path": "/srv/web/app.js",
    "pm_cwd": "/srv/web",
    "pm_out_log_path": "/l/out.log",
    "pm_err_log_path": "/l/err.log",
    "pm_pid_path": "/l/web.pid",
    "env": {},
    "exec_mode": "fork_mode",
    "args": [],
    "node_args": [],
}
ANYTHING = (
    st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers(), min_size=1) | st.just({"a": 1})
)


def test_a_complete_definition_is_taken() -> None:
    check_definition(GOOD)


@pytest.mark.parametrize("key", sorted(GOOD))
def test_a_definition_that_lacks_a_key_is_refused_by_name(key: str) -> None:
    with pytest.raises(ValueError, match=repr(key)):
        check_definition({name: value for name, value in GOOD.items() if name != key})


@given(st.sampled_from(sorted(GOOD)), ANYTHING)
def test_a_definition_that_passes_has_the_types_that_the_daemon_takes_for_granted(key: str, value: Any) -> None:
    definition = {**GOOD, key: value}
    try:
        check_definition(definition)
    except ValueError:
        return
    assert isinstance(definition["env"], dict)
    assert definition["exec_mode"] in ("fork_mode", "cluster_mode")
    for name in ("args", "node_args"):
        assert all(isinstance(item, str) for item in definition[name])
    for name in ("name", "pm_exec_path", "pm_cwd", "pm_out_log_path", "pm_err_log_path", "pm_pid_path"):
        assert isinstance(definition[name], str)
        assert definition[name]


# a socket that answers what a test wants: for what no real PM2 would say ---------------------------------------------


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Callable[[Callable[[Any, str], bytes]], Rpc]]:
    """A server whose answer to (call, id) is given by the test."""
    sockets: list[socket.socket] = []

    def start(answer: Callable[[Any, str], bytes]) -> Rpc:
        path = str(tmp_path / "s")
        server = socket.socket(socket.AF_UNIX)
        server.bind(path)
        server.listen()
        sockets.append(server)

        def serve() -> None:
            while True:
                try:
                    connection, _address = server.accept()
                except OSError:
                    return
                with connection:
                    data = b""
                    message: list[Any] = []
                    while not message:
                        chunk = connection.recv(4096)
                        if not chunk:
                            break
                        data += chunk
                        message, _taken = decode(data)
                    if message:
                        connection.sendall(answer(message[0], message[1]))
                        connection.recv(1)

        threading.Thread(target=serve, daemon=True).start()
        return Rpc(path, timeout=30)

    yield start
    for server in sockets:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def test_an_answer_in_small_pieces_and_behind_another_message_is_found(listener: Any) -> None:
    rpc = listener(lambda _call, call_id: encode(["event", {"a": 1}]) + encode([{"args": ["7.0.4"]}, call_id]))
    assert rpc.version() == "7.0.4"


def test_an_error_of_the_daemon_is_told(listener: Any) -> None:
    rpc = listener(lambda _call, call_id: encode([{"error": "9 : id unknown", "stack": "x"}, call_id]))
    with pytest.raises(RpcError, match="PM2 refused stopProcessId: 9 : id unknown"):
        rpc.stop(9, timeout=30)


@pytest.mark.parametrize("answer", [b"HTTP/1.0 200 OK\r\n\r\n", b"\x20"])
def test_another_protocol_is_told_apart(listener: Any, answer: bytes) -> None:
    with pytest.raises(ProtocolError):
        listener(lambda _call, _id: answer).version()


def test_an_answer_of_another_shape_is_a_protocol_error(listener: Any) -> None:
    with pytest.raises(ProtocolError, match="unknown form"):
        listener(lambda _call, call_id: encode([{"args": [{"no": "list"}]}, call_id])).processes()


def test_no_answer_is_a_timeout(listener: Any) -> None:
    rpc = listener(lambda _call, _id: b"\x12")
    rpc.timeout = 0.5
    with pytest.raises(RpcTimeout, match=r"did not answer getVersion within 0\.5 s"):
        rpc.version()


def test_nobody_there(tmp_path: Path) -> None:
    rpc = Rpc(str(tmp_path / "none"))
    assert not rpc.is_alive()
    with pytest.raises(DaemonNotRunning):
        rpc.version()


def test_a_stale_socket_file_is_nobody(tmp_path: Path) -> None:
    path = str(tmp_path / "stale")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
    assert not Rpc(path).is_alive()


def test_a_path_too_long_for_a_socket_names_the_remedy() -> None:
    with pytest.raises(Pm2Error, match="shorter PM2_HOME"):
        Rpc("/" + "x" * 120).version()


@pytest.mark.parametrize("pm_id", ["0", "all", -1, True, None, 1.5])
@pytest.mark.parametrize("verb", ["start", "stop", "delete"])
def test_only_a_number_is_a_pm_id(verb: str, pm_id: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pm_id"):
        getattr(Rpc(str(tmp_path / "none")), verb)(pm_id, timeout=1)


@pytest.mark.parametrize("name", ["9", "sigusr2", "SIGUSR2; x", ""])
def test_only_a_signal_name_is_a_signal(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="signal"):
        Rpc(str(tmp_path / "none")).signal(0, name)
