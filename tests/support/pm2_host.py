# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A private PM2_HOME with a real daemon, and its end: every process below it, by pid."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Set

from ansible_collections.zerodown.pm2.plugins.module_utils._environment import base_environment
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
# below those that Linux gives to any connection (ip_local_port_range begins at 32768)
PORTS = range(20000, 32768)


def pm2_package(version: str) -> Path:
    """The npm package of this major version (``make deps`` installs it)."""
    return ROOT / ".dev" / "pm2" / version / "node_modules" / "pm2"


@contextlib.contextmanager
def private_home() -> Iterator[Path]:
    """A PM2_HOME with a path short enough for a socket; at the end every process that belongs to it is gone."""
    home = Path(tempfile.mkdtemp(prefix="pm2-"))
    try:
        yield home
    finally:
        end_daemon(home)
        shutil.rmtree(home, ignore_errors=True)


def start_daemon(home: Path, package: Path, extra: dict[str, str] | None = None) -> int:
    """Start PM2's daemon as a service manager would, and wait for its socket; its pid."""
    node = shutil.which("node")
    assert node, "the tests need node on PATH"
    for directory in ("logs", "pids", "modules"):
        (home / directory).mkdir(parents=True, exist_ok=True)
    environment = base_environment([str(Path(node).parent)])
    environment.update(PM2_HOME=str(home), PM2_DISCRETE_MODE="true", **(extra or {}))
    with (home / "pm2.log").open("ab") as log:
        process = subprocess.Popen(
            [node, str(package / "lib" / "Daemon.js")],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    rpc = Rpc(environment.get("PM2_DAEMON_RPC_PORT", str(home / "rpc.sock")))
    wait_for(rpc.is_alive, f"no daemon in {home}: {(home / 'pm2.log').read_text()}")
    return process.pid


def run_pm2(home: Path, executable: str, *arguments: str, cwd: Path = Path("/"), **variables: str) -> str:
    """What PM2's command line prints."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PM2_HOME": str(home), **variables}
    return subprocess.run(
        [executable, *arguments], cwd=cwd, env=environment, capture_output=True, check=True, text=True, timeout=60
    ).stdout


def end_daemon(home: Path) -> None:
    """Kill the daemon of this home and all it started, by pid; the daemon first, so that it restarts nothing."""
    rpc = Rpc(str(home / "rpc.sock"), timeout=5)
    try:
        daemon = rpc.daemon_pid()
    except Pm2Error:
        daemons = []
    else:
        daemons = [daemon]
    apps = {pid for daemon in daemons for pid in descendants(daemon)} | owned(home)
    for pid in [*daemons, *sorted(apps - set(daemons))]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, [*daemons, *apps])), f"processes of {home} survived SIGKILL")


def descendants(pid: int) -> set[int]:
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry))
    found: set[int] = set()
    todo = [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found.update(children)
        todo.extend(children)
    return found


def is_alive(pid: int) -> bool:
    """Whether it runs; a zombie that waits for its parent does not, unless one of its threads has not ended yet, which
    keeps its sockets open."""
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        return state not in ("Z", "X") or len(os.listdir(f"/proc/{pid}/task")) > 1
    return False


def environment_of(pid: int) -> dict[str, str]:
    """What the process was started with; PM2 itself writes more into ``process.env`` of a cluster worker."""
    items = Path(f"/proc/{pid}/environ").read_bytes().decode("utf-8", "replace").split("\0")
    return dict(item.split("=", 1) for item in items if "=" in item)


def wait_for(condition: Callable[[], bool], message: str, timeout: float = PATIENCE) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, message
        time.sleep(0.02)


def find_free_port() -> int:
    """A port that nothing listens on, given out once and by this process alone until it ends: between here and its use
    neither a connection nor the tests of another suite get it."""
    chance = random.SystemRandom()
    while True:
        port = chance.choice(PORTS)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("", port))
            # a byte of the file for each port (fcntl(2), advisory record locking); our own locks do not hold us up
            fcntl.lockf(_ports_file(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            if port not in _given:
                _given.add(port)
                return port


_given: Set[int] = set()


@functools.lru_cache(maxsize=None)
def _ports_file() -> IO[bytes]:
    return (ROOT / ".dev" / "ports.lock").open("ab")


def owned(home: Path) -> set[int]:
    """All processes of this home, also those that outlived their daemon: PM2 and our modules give PM2_HOME to what they
    start."""
    marker = f"PM2_HOME={home}".encode()
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with contextlib.suppress(OSError):
                if marker in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                    found.add(int(entry))
    return found
