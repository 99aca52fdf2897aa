# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Speaks to the gate in a worker (``_gate_script.py``, ``_gate_sitecustomize.py``): one line of JSON each way on its
control socket."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from dataclasses import dataclass
from typing import Any, Dict, FrozenSet, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._health_spec import Endpoint
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._state import pid_exists

HELD = "held"
OPEN = "open"
DRAINING = "draining"

# how much longer than the drain itself its answer may take, seconds
_GRACE = 5.0
_SOCKET = re.compile(r"^([1-9][0-9]*)(-[0-9]+)?$")


class GateError(Pm2Error):
    """A worker did not do what it was told."""


class NotThere(GateError):
    """Nobody answers for this pid: the worker still starts, is gone, or runs without the preload."""


@dataclass(frozen=True)
class Server:
    """One TCP server of a worker.

    :ivar host: as the app named it; ``None`` for all addresses.
    :ivar socket: where this worker, and no other, answers as on the port: the path of a unix socket, or a host and a
        port (Python, while it is held).
    :ivar open: whether it listens on the port.
    """

    host: Optional[str]
    port: int
    socket: Optional[Endpoint]
    open: bool


@dataclass(frozen=True)
class Status:
    """What a worker says about itself.

    :ivar state: ``held``, ``open`` or ``draining``.
    :ivar servers: those that listen, the app's word for it; empty while it has not called ``listen()``.
    :ivar connections: to these servers, those of its private sockets included.
    :ivar ended: how many children that served for it have ended (Python).
    :ivar loose: ports on which it listens although it is held, because nobody could hold them (Python).
    """

    pid: int
    generation: str
    state: str
    servers: List[Server]
    connections: int
    ended: int = 0
    loose: FrozenSet[int] = frozenset()


class Worker:
    """One worker, by pid. Each call is a connection of its own.

    Raises, all methods: :class:`NotThere`, :class:`GateError`.
    """

    def __init__(self, home: Home, pid: int) -> None:
        self.pid = pid
        self._path = os.path.join(home.gate, str(pid))

    def status(self, timeout: float) -> Status:
        """:param timeout: seconds; a worker that is busy answers late."""
        return self._ask({"do": "status"}, timeout)

    def open(self, timeout: float) -> Status:
        """Let it listen on all its ports, or on none when one of them fails. Ends a drain."""
        return self._ask({"do": "open"}, timeout)

    def close(self, timeout: float) -> Status:
        """Let it leave its ports and begin to drain: no new connections, the last answers on those there are."""
        return self._ask({"do": "close"}, timeout)

    def drain(self, seconds: float) -> Status:
        """As :meth:`close`, and wait until no connection is left.

        :param seconds: at their end idle HTTP connections are closed; ``connections`` tells what is left then.
        """
        return self._ask({"do": "drain", "timeout": seconds}, seconds + _GRACE)

    def prefer(self, count: int, newest: bool, timeout: float) -> Status:
        """Let new connections go to some of the processes that listen on its ports (Python; until the next *open*).

        :param count: how many sockets on each port.
        :param newest: whether to the last that began to listen, or to the first.
        """
        return self._ask({"do": "prefer", "count": count, "newest": newest}, timeout)

    def _ask(self, request: Dict[str, Any], timeout: float) -> Status:
        try:
            answer = json.loads(self._exchange(json.dumps(request).encode("ascii") + b"\n", timeout))
            if "error" in answer:
                raise GateError("Worker {0} cannot {1}: {2}.".format(self.pid, request["do"], answer["error"]))
            return Status(
                pid=answer["pid"],
                generation=answer["generation"],
                state=answer["state"],
                servers=[
                    Server(host=item["host"], port=item["port"], socket=_endpoint(item["socket"]), open=item["open"])
                    for item in answer["servers"]
                ],
                connections=answer["connections"],
                ended=answer.get("ended", 0),
                loose=frozenset(answer.get("loose", [])),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise GateError("Worker {0} answers on {1} in an unknown form.".format(self.pid, self._path)) from error

    def _exchange(self, request: bytes, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        answer = bytearray()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            try:
                connection.settimeout(timeout)
                connection.connect(self._path)
                connection.sendall(request)
                while not answer.endswith(b"\n"):
                    # never 0, which would mean not to block
                    connection.settimeout(max(deadline - time.monotonic(), 0.001))
                    data = connection.recv(65536)
                    if not data:
                        raise NotThere("Worker {0} went away before it answered.".format(self.pid))
                    answer += data
            except socket.timeout as error:
                raise GateError(
                    "Worker {0} did not answer on {1} within {2:g} s.".format(self.pid, self._path, timeout)
                ) from error
            except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError, BrokenPipeError) as error:
                raise NotThere("Nobody answers on {0} for worker {1}.".format(self._path, self.pid)) from error
            except OSError as error:
                raise GateError("The socket {0} cannot be used: {1}.".format(self._path, error)) from error
        return bytes(answer)


def _endpoint(value: Any) -> Optional[Endpoint]:
    if value is None or isinstance(value, str):
        return value
    host, port = value
    return str(host), int(port)


def sweep(home: Home) -> None:
    """Remove the sockets of processes that are gone; a process that is killed leaves its own behind."""
    try:
        names = os.listdir(home.gate)
    except FileNotFoundError:
        return
    for name in names:
        match = _SOCKET.match(name)
        if match and not pid_exists(int(match.group(1))):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(home.gate, name))
