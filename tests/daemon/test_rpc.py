"""The client against real daemons: it kills none, whatever it is asked, and the command line stands in for it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.pm2_host import start_daemon

from ansible_collections.zerodown.pm2.plugins.module_utils._client import connect
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error, ProtocolError
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import find_pm2
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc

TEXT = st.text(max_size=20)
NO_ID = st.integers(1000, 2**40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
CALLS: dict[str, st.SearchStrategy[Any]] = {
    "version": st.just(()),
    "processes": st.just(()),
    "start": st.tuples(JSON | NO_ID, st.just(5.0)),
    "stop": st.tuples(JSON | NO_ID, st.just(5.0)),
    "delete": st.tuples(JSON | NO_ID, st.just(5.0)),
    "restart": st.tuples(JSON | NO_ID, st.dictionaries(TEXT, JSON, max_size=3), st.just(5.0)),
    "reload": st.tuples(JSON | NO_ID, st.dictionaries(TEXT, JSON, max_size=3), st.just(5.0)),
    "reset": st.tuples(JSON | NO_ID),
    "signal": st.tuples(JSON | NO_ID, TEXT | st.sampled_from(["SIGUSR2", "SIGNOSUCH"])),
    "watch": st.tuples(JSON | NO_ID, st.booleans()),
    "reload_logs": st.just(()),
    "prepare": st.tuples(st.dictionaries(st.sampled_from(["name", "env", "args", "pm_cwd"]), JSON), st.just(5.0)),
}


def test_no_call_that_the_client_sends_kills_the_daemon(daemon: Rpc) -> None:
    """Every verb with hostile arguments, none of which names a process: refused by the client or by PM2."""
    pid = daemon.daemon_pid()

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.sampled_from(sorted(CALLS)).flatmap(lambda verb: CALLS[verb].map(lambda arguments: (verb, arguments))))
    def send(call: tuple[str, tuple[Any, ...]]) -> None:
        verb, arguments = call
        with contextlib.suppress(ValueError, TypeError, Pm2Error):
            getattr(daemon, verb)(*arguments)
        assert daemon.daemon_pid() == pid

    send()
    assert daemon.processes() == []


def definition(home: Path, directory: Path) -> dict[str, Any]:
    script = directory / "app.js"
    script.write_text("setInterval(() => {}, 1000)")
    return {
        "name": "quiet",
        "pm_exec_path": str(script),
        "pm_cwd": str(directory),
        "pm_out_log_path": str(home / "out.log"),
        "pm_err_log_path": str(home / "err.log"),
        "pm_pid_path": str(home / "quiet.pid"),
        "exec_mode": "fork_mode",
        "exec_interpreter": "node",
        "env": {"GREETING": "hello", "PATH": os.environ["PATH"]},
        "args": ["one two"],
        "node_args": [],
        "autorestart": True,
        "autostart": True,
        "merge_logs": True,
        "treekill": True,
    }


def test_the_verbs(daemon: Rpc, pm2_home: Path, tmp_path: Path) -> None:
    daemon.prepare(definition(pm2_home, tmp_path), timeout=20)
    (entry,) = daemon.processes()
    pid = entry["pid"]
    daemon.stop(0, timeout=20)
    assert daemon.processes()[0]["pm2_env"]["status"] == "stopped"
    daemon.start(0, timeout=20)
    daemon.restart(0, {"GREETING": "null", "env": {"PATH": os.environ["PATH"]}, "args": ["three"]}, timeout=20)
    (entry,) = daemon.processes()
    assert entry["pid"] != pid
    environment = Path(f"/proc/{entry['pid']}/environ").read_bytes().split(b"\0")
    assert not [variable for variable in environment if variable.startswith(b"GREETING=")]
    assert entry["pm2_env"]["args"] == ["three"]
    daemon.reset(0)
    assert daemon.processes()[0]["pm2_env"]["restart_time"] == 0
    daemon.delete(0, timeout=20)
    assert daemon.processes() == []
    daemon.announce_kill()
    daemon.kill(timeout=20)
    assert not daemon.is_alive()


@contextlib.contextmanager
def something_else_listens(path: Path) -> Iterator[None]:
    """A server on PM2's socket that speaks another protocol."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def serve() -> None:
        while True:
            try:
                connection, _address = server.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.recv(4096)
                connection.sendall(b"\x25unknown")

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def test_the_command_line_stands_in_when_the_socket_speaks_something_unknown(
    pm2_home: Path, pm2_executable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real daemon listens elsewhere, where only PM2's own command line is told to look."""
    elsewhere = {"PM2_DAEMON_RPC_PORT": str(pm2_home / "r2"), "PM2_DAEMON_PUB_PORT": str(pm2_home / "p2")}
    for name, value in elsewhere.items():
        monkeypatch.setenv(name, value)
    install = find_pm2(pm2_executable)
    start_daemon(pm2_home, Path(install.package), extra=elsewhere)
    from ansible_collections.zerodown.pm2.plugins.module_utils import _cli

    original: Callable[..., dict[str, str]] = vars(_cli)["base_environment"]
    monkeypatch.setattr(_cli, "base_environment", lambda *arguments: {**original(*arguments), **elsewhere})
    warnings: list[str] = []
    with something_else_listens(pm2_home / "rpc.sock"):
        with pytest.raises(ProtocolError):
            Rpc(str(pm2_home / "rpc.sock")).version()
        client = connect(Home(str(pm2_home)), lambda: install, warnings.append)
        assert client.processes() == []
        assert [text for text in warnings if "command line" in text]
        client.prepare(definition(pm2_home, tmp_path), timeout=60)
        (process,) = client.processes()
        assert process.is_running()
        assert process.env["args"] == ["one two"]
        client.restart(int(process.pm_id), {"args": ["three"], "max_memory_restart": 10**9}, timeout=60)
        (process,) = client.processes()
        assert process.is_running()
        assert (process.env["args"], process.env["max_memory_restart"]) == (["three"], 10**9)
        assert process.env["env"]["GREETING"] == "hello"
        client.stop(int(process.pm_id), timeout=60)
        assert client.processes()[0].status == "stopped"
        client.start(int(process.pm_id), timeout=60)
        client.reset(int(process.pm_id))
        client.delete(int(process.pm_id), timeout=60)
        assert client.processes() == []
    assert len(warnings) == 1
    assert not [path.name for path in pm2_home.glob("ecosystem.*")], "a file with an environment was left behind"
    assert json.loads((pm2_home / "module_conf.json").read_text()) == {}
