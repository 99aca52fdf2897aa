# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls to the PM2 daemon over its RPC socket.

A malformed call kills the daemon and every app below it: an exception in a handler ends the domain it runs in
(PM2 lib/Daemon.js start, modules/pm2-axon-rpc server.js onmessage). So there is no general ``call``: each method
of :class:`Rpc` builds one shape that was tried on PM2 5, 6 and 7, and :func:`check_definition` refuses a process
definition that lacks what ``prepare`` takes for granted.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import socket
import struct
import time
from typing import Any, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._axon import Argument, decode, encode
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import (
    DaemonNotRunning,
    Pm2Error,
    ProtocolError,
    RpcError,
    RpcTimeout,
)

# sun_path holds 108 bytes with the closing NUL (unix(7))
SOCKET_PATH_MAX = 107
# a call that only reads or flips state answers in milliseconds; this is for a host that swaps
READ_TIMEOUT = 10.0
# how long a call that is never answered gets to be read
UNANSWERED_WAIT = 0.2

_SIGNAL = re.compile(r"^SIG[A-Z0-9]+$")
_TEXT_KEYS = ("name", "pm_exec_path", "pm_cwd", "pm_out_log_path", "pm_err_log_path", "pm_pid_path")


def check_definition(definition: Dict[str, Any]) -> None:
    """Refuse what would make the daemon throw in God.prepare, God.nodeApp or God.forkMode (PM2 lib/God).

    :param definition: a ``pm2_env`` as ``prepare`` takes it.
    :raises ValueError: naming the key.
    """
    for key in _TEXT_KEYS:
        value = definition.get(key)
        if not isinstance(value, str) or not value or "\0" in value:
            raise ValueError("a process definition needs {0!r} as a text that is not empty".format(key))
    if not isinstance(definition.get("env"), dict):
        raise ValueError("a process definition needs 'env' as a mapping")
    if definition.get("exec_mode") not in ("fork_mode", "cluster_mode"):
        raise ValueError("a process definition needs 'exec_mode' as fork_mode or cluster_mode")
    # the execArgv of a cluster is one setting for all of it: left out, the previous app's would be used
    for key in ("node_args", "args"):
        value = definition.get(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ValueError("a process definition needs {0!r} as a list of texts".format(key))
    instances = definition.get("instances")
    if instances is not None and (isinstance(instances, bool) or not isinstance(instances, int)):
        raise ValueError("'instances' of a process definition must be a whole number")


def _check_id(pm_id: int) -> int:
    if isinstance(pm_id, bool) or not isinstance(pm_id, int) or pm_id < 0:
        raise ValueError("a pm_id is a whole number from 0, not {0!r}".format(pm_id))
    return pm_id


class Rpc:
    """One daemon. Every method opens a connection of its own, so an instance holds nothing open.

    Raises, all methods: :class:`DaemonNotRunning`, :class:`RpcTimeout`, :class:`RpcError`, :class:`ProtocolError`.
    """

    def __init__(self, socket_path: str, timeout: float = READ_TIMEOUT) -> None:
        """
        :param socket_path: ``$PM2_HOME/rpc.sock``.
        :param timeout: seconds for a call that starts or stops nothing.
        """
        self.socket_path = socket_path
        self.timeout = timeout
        self._ids = itertools.count()

    # what is -----------------------------------------------------------------------------------------------

    def version(self) -> str:
        """The version of the PM2 that the daemon runs."""
        answer = self._call("getVersion", {})
        if not isinstance(answer, str):
            raise ProtocolError("The daemon at {0} names no version.".format(self.socket_path))
        return answer

    def node_version(self) -> str:
        """The version of the Node that runs the daemon, without ``v``. The report it is taken from holds the daemon's
        whole environment, which goes no further."""
        answer = self._call("getReport", {})
        if not isinstance(answer, dict) or not isinstance(answer.get("node_version"), str):
            raise ProtocolError("The daemon at {0} names no Node version.".format(self.socket_path))
        return str(answer["node_version"])

    def processes(self) -> List[Dict[str, Any]]:
        """All processes: ``{pid, name, pm_id, monit: {memory, cpu}, pm2_env}`` each (PM2 lib/God/ActionMethods.js)."""
        answer = self._call("getMonitorData", {})
        if not isinstance(answer, list) or not all(isinstance(item, dict) and "pm2_env" in item for item in answer):
            raise ProtocolError("The daemon at {0} lists its processes in an unknown form.".format(self.socket_path))
        return answer

    def daemon_pid(self) -> int:
        """The pid of the process that listens (SO_PEERCRED, unix(7)); pm2.pid can be stale, this cannot."""
        with self._connect() as connection:
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid: int = struct.unpack("3i", credentials)[0]
        return pid

    def is_alive(self) -> bool:
        """Whether something accepts connections on the socket."""
        try:
            self._connect().close()
        except DaemonNotRunning:
            return False
        return True

    # what changes ------------------------------------------------------------------------------------------

    def prepare(self, definition: Dict[str, Any], timeout: float) -> None:
        """Create and start the processes of one definition (``instances`` of them).

        :param timeout: seconds; the daemon answers when the last one is *online* (or, with ``wait_ready``, ready).
        """
        check_definition(definition)
        self._call("prepare", definition, timeout=timeout)

    def start(self, pm_id: int, timeout: float) -> None:
        self._call("startProcessId", _check_id(pm_id), timeout=timeout)

    def stop(self, pm_id: int, timeout: float) -> None:
        """:param timeout: seconds; must exceed the process' ``kill_timeout``."""
        self._call("stopProcessId", _check_id(pm_id), timeout=timeout)

    def delete(self, pm_id: int, timeout: float) -> None:
        """:param timeout: seconds; must exceed the process' ``kill_timeout``."""
        self._call("deleteProcessId", _check_id(pm_id), timeout=timeout)

    def restart(self, pm_id: int, changes: Dict[str, Any], timeout: float) -> None:
        """Stop and start one process in place.

        :param changes: keys of ``pm2_env`` to replace first; the text ``null`` removes one (PM2 lib/Utility.js
            extendMix). An ``env`` here replaces the whole environment *mapping*; a variable that goes must be
            removed by name beside it, because executeApp spreads the mapping over ``pm2_env``.
        """
        self._call("restartProcessId", {"id": _check_id(pm_id), "env": self._changes(changes)}, timeout=timeout)

    def reload(self, pm_id: int, changes: Dict[str, Any], timeout: float) -> None:
        """PM2's own reload of one process. In fork mode it is a restart; in cluster mode the old worker goes after
        ``listen_timeout`` whatever became of the new one (PM2 lib/God/Reload.js hardReload)."""
        self._call("reloadProcessId", {"id": _check_id(pm_id), "env": self._changes(changes)}, timeout=timeout)

    def reset(self, pm_id: int) -> None:
        """Set the restart counters to 0."""
        self._call("resetMetaProcessId", _check_id(pm_id))

    def signal(self, pm_id: int, name: str) -> None:
        if not _SIGNAL.match(name):
            raise ValueError("a signal is a name such as SIGUSR2, not {0!r}".format(name))
        self._call("sendSignalToProcessId", {"process_id": _check_id(pm_id), "signal": name})

    def watch(self, pm_id: int, enabled: bool) -> None:
        """Turn watching for file changes on or off (needs ``watch`` options to be set already)."""
        if enabled:
            self._call("startWatch", "restartProcessId", {"id": _check_id(pm_id)})
        else:
            self._call("stopWatch", "stopProcessId", _check_id(pm_id))

    def reload_logs(self) -> None:
        """Let every process open its log files anew."""
        self._call("reloadLogs", {})

    def announce_kill(self) -> None:
        """Tell the daemon that it will be killed: from now on it restarts nothing.

        It never answers this call (PM2 lib/God/ActionMethods.js notifyKillPM2 takes no callback).
        """
        with contextlib.suppress(RpcTimeout):
            self._call("notifyKillPM2", {}, timeout=UNANSWERED_WAIT)

    def kill(self, timeout: float) -> None:
        """End the daemon without touching its processes; waits until the socket is gone.

        PM2 sends SIGQUIT to the pid in the call and ignores one that does not exist (lib/Daemon.js close); it never
        answers, it closes the socket.
        """
        with contextlib.suppress(DaemonNotRunning, ProtocolError):
            self._call("killMe", {"pid": 0x7FFFFFFF}, timeout=timeout)
        deadline = time.monotonic() + timeout
        while self.is_alive():
            if time.monotonic() > deadline:
                raise RpcTimeout("The PM2 daemon at {0} did not end within {1:g} s.".format(self.socket_path, timeout))
            time.sleep(0.02)

    # the wire ----------------------------------------------------------------------------------------------

    @staticmethod
    def _changes(changes: Dict[str, Any]) -> Dict[str, Any]:
        for key in ("node_args", "args"):
            if key in changes and not isinstance(changes[key], list):
                raise ValueError("{0!r} must be a list".format(key))
        return {"current_conf": changes} if changes else {}

    def _connect(self) -> socket.socket:
        path = os.fsencode(self.socket_path)
        if len(path) > SOCKET_PATH_MAX:
            raise Pm2Error(
                "The socket path {0} is longer than the {1} bytes that Linux allows; use a shorter PM2_HOME.".format(
                    self.socket_path, SOCKET_PATH_MAX
                )
            )
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self.timeout)
        try:
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            connection.close()
            raise DaemonNotRunning("No PM2 daemon listens on {0}.".format(self.socket_path)) from error
        except PermissionError as error:
            connection.close()
            raise Pm2Error(
                "The PM2 socket {0} belongs to another user; run the task as that user (become_user).".format(
                    self.socket_path
                )
            ) from error
        except OSError as error:
            connection.close()
            raise Pm2Error("The PM2 socket {0} cannot be used: {1}.".format(self.socket_path, error)) from error
        return connection

    def _call(self, method: str, *arguments: Argument, timeout: Optional[float] = None) -> Any:
        limit = self.timeout if timeout is None else timeout
        call_id = "{0}:{1}".format(os.getpid(), next(self._ids))
        request = encode([{"type": "call", "method": method, "args": list(arguments)}, call_id])
        deadline = time.monotonic() + limit
        with self._connect() as connection:
            try:
                connection.sendall(request)
                answer = self._receive(connection, call_id, deadline)
            except socket.timeout as error:
                raise RpcTimeout(
                    "The PM2 daemon at {0} did not answer {1} within {2:g} s.".format(self.socket_path, method, limit)
                ) from error
            except (ConnectionResetError, BrokenPipeError) as error:
                raise DaemonNotRunning(
                    "The PM2 daemon at {0} went away during {1}; its log is pm2.log beside the socket.".format(
                        self.socket_path, method
                    )
                ) from error
        if not isinstance(answer, dict):
            raise ProtocolError("The daemon at {0} answered {1} in an unknown form.".format(self.socket_path, method))
        if answer.get("error"):
            raise RpcError("PM2 refused {0}: {1}".format(method, _error_text(answer["error"])), method=method)
        results = answer.get("args")
        return results[0] if isinstance(results, list) and results else None

    def _receive(self, connection: socket.socket, call_id: str, deadline: float) -> Any:
        buffer = bytearray()
        while True:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise socket.timeout()
            connection.settimeout(remaining)
            chunk = connection.recv(1 << 18)
            if not chunk:
                raise DaemonNotRunning(
                    "The PM2 daemon at {0} closed the connection without an answer; its log is pm2.log beside the "
                    "socket.".format(self.socket_path)
                )
            buffer += chunk
            while _may_be_complete(buffer):
                message, taken = decode(bytes(buffer))
                if not taken:
                    break
                if len(message) >= 2 and message[-1] == call_id:
                    return message[0]
                del buffer[:taken]


def _may_be_complete(buffer: bytearray) -> bool:
    """Spare :func:`decode` a copy of a large answer for every chunk that arrives."""
    if len(buffer) < 5 or buffer[0] >> 4 != 1:
        return bool(buffer)
    return len(buffer) >= 5 + int(struct.unpack_from(">I", buffer, 1)[0])


def _error_text(error: Any) -> str:
    if isinstance(error, dict):
        error = error.get("message") or error.get("msg") or error
    return str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
