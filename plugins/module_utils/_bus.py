# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What processes write to their standard error and which exceptions they leave uncaught, heard on the daemon's bus.

A cluster worker that throws while it starts is ended before the text is in its log file (PM2 lib/ProcessContainer.js
exits at once after writing to a stream): the bus is the only place where the reason can be had.

An ES module that throws while it is loaded does not even end its cluster worker: PM2 imports it without waiting for
the promise, and its handler of unhandled rejections only reports them (lib/ProcessContainer.js). Such a worker stays
*online* and steady, and serves nothing; measured on 5.4.3, 6.0.14 and 7.0.4.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Any, Dict, List, Optional, Type

from ansible_collections.zerodown.pm2.plugins.module_utils._axon import decode
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import ProtocolError

LOG = "log:err"
EXCEPTION = "process:exception"
# frames of Node's own loader: the exception came out of the import of the script, not out of the running app
_LOADER = "node:internal/modules/esm/"
LINES_MAX = 200
CONNECT_TIMEOUT = 5.0


class Bus:
    """Listens while the ``with`` block runs. A bus that cannot be read is no error: then nothing was heard."""

    def __init__(self, socket_path: str) -> None:
        """:param socket_path: ``$PM2_HOME/pub.sock``."""
        self._path = socket_path
        self._lines: Dict[Any, List[str]] = {}
        self._not_loaded: Dict[Any, str] = {}
        self._socket: Optional[socket.socket] = None

    def __enter__(self) -> "Bus":
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(CONNECT_TIMEOUT)
        try:
            connection.connect(self._path)
        except OSError:
            connection.close()
        else:
            connection.settimeout(None)
            self._socket = connection
            threading.Thread(target=self._listen, args=(connection,), daemon=True).start()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()

    def errors(self, pm_id: Any) -> List[str]:
        """The last lines of the process' standard error since the block began."""
        return list(self._lines.get(pm_id, []))

    def load_error(self, pm_id: Any) -> Optional[str]:
        """Why the script of the process could not be loaded as an ES module, if so."""
        return self._not_loaded.get(pm_id)

    def _listen(self, connection: socket.socket) -> None:
        buffer = b""
        with contextlib.suppress(OSError, ProtocolError):
            while True:
                chunk = connection.recv(1 << 16)
                if not chunk:
                    return
                buffer += chunk
                message, taken = decode(buffer)
                while taken:
                    self._note(message)
                    buffer = buffer[taken:]
                    message, taken = decode(buffer)

    def _note(self, message: List[Any]) -> None:
        if len(message) < 2 or not isinstance(message[1], dict):
            return
        pm_id = (message[1].get("process") or {}).get("pm_id")
        data = message[1].get("data", "")
        if message[0] == LOG:
            lines = self._lines.setdefault(pm_id, [])
            lines.extend(str(data).strip("\n").splitlines())
            del lines[:-LINES_MAX]
        elif message[0] == EXCEPTION and isinstance(data, dict) and _LOADER in str(data.get("stack")):
            self._not_loaded[pm_id] = str(data.get("message") or "no message").splitlines()[0]
