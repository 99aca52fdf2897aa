# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small servers on unix and TCP sockets that answer well, badly or not at all."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

# does what it likes with a connection; it is closed afterwards
Behaviour = Callable[[socket.socket], None]


def unix_socket(path: Path, backlog: int = 16) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(backlog)
    return listener


def tcp_socket() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(16)
    return listener


@contextlib.contextmanager
def serving(listener: socket.socket, behaviour: Behaviour) -> Iterator[None]:
    """Serve each connection in a thread of its own."""

    def serve(connection: socket.socket) -> None:
        # whoever asks may leave when he likes
        with connection, contextlib.suppress(OSError):
            behaviour(connection)

    def accept() -> None:
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def request(connection: socket.socket) -> bytes:
    """The head of a request; empty when the other side left."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(65536)
        if not piece:
            return b""
        head += piece
    return head


def answering(answer: bytes) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        request(connection)
        connection.sendall(answer)

    return behave
