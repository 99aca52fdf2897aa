# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Making an HTTP or TCP check. One clock runs over all of it, so a body that drips does not stretch it."""

from __future__ import annotations

import errno
import http.client
import io
import socket
import ssl
import time
from typing import Any, Dict, Iterable

from ansible_collections.zerodown.pm2.plugins.module_utils._health_answer import BODY_MAX, Answer, fault
from ansible_collections.zerodown.pm2.plugins.module_utils._health_spec import HTTPS, Check, Endpoint, HttpCheck
from ansible_collections.zerodown.pm2.plugins.module_utils._probe import HEALTHY, UNHEALTHY, UNKNOWN, Outcome

# what an app does to a connection; any other error is of this machine or ours
_BY_THE_APP = {
    errno.ECONNREFUSED: "the connection was refused",
    errno.ECONNRESET: "the connection was reset",
    errno.ECONNABORTED: "the connection was reset",
    errno.EPIPE: "the connection was closed",
    errno.ENOENT: "nothing listens",
}
# between two tries when the queue of a unix socket is full
_PAUSE = 0.02


def run(check: Check, endpoint: Endpoint, secrets: Iterable[str]) -> Outcome:
    deadline = _Deadline(check.timeout)
    try:
        with _connect(endpoint, deadline) as connection:
            if not isinstance(check, HttpCheck):
                return Outcome(HEALTHY, "{0} was taken".format(check.title))
            answer = _ask(check, connection, deadline)
    except socket.timeout:
        text = "no whole answer" if isinstance(check, HttpCheck) else "it was not taken"
        return Outcome(UNHEALTHY, "{0}: {1} within {2:g} s".format(check.title, text, check.timeout))
    except ssl.SSLError as error:
        return Outcome(UNHEALTHY, "{0}: TLS failed ({1})".format(check.title, error.reason or error))
    except http.client.RemoteDisconnected:
        return Outcome(UNHEALTHY, "{0}: the connection was closed without an answer".format(check.title))
    except http.client.IncompleteRead:
        return Outcome(UNHEALTHY, "{0}: the answer broke off".format(check.title))
    except http.client.HTTPException as error:
        return Outcome(UNHEALTHY, "{0}: the answer is not HTTP/1.1 ({1})".format(check.title, type(error).__name__))
    except OSError as error:
        if error.errno in _BY_THE_APP:
            return Outcome(UNHEALTHY, "{0}: {1}".format(check.title, _BY_THE_APP[error.errno]))
        return Outcome(UNKNOWN, "{0} could not be made: {1}".format(check.title, error.strerror or error))
    wrong = fault(check, answer, secrets)
    if wrong:
        return Outcome(UNHEALTHY, "{0} {1}".format(check.title, wrong))
    return Outcome(HEALTHY, "{0} answered {1}".format(check.title, answer.status))


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, more than 0.

        :raises socket.timeout: there are none.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise socket.timeout
        return left


def _connect(endpoint: Endpoint, deadline: _Deadline) -> socket.socket:
    connection = socket.socket(_family(endpoint), socket.SOCK_STREAM)
    try:
        while True:
            connection.settimeout(deadline.left())
            try:
                connection.connect(endpoint)
            except BlockingIOError:
                # a unix socket with a full queue says so at once instead of waiting (connect(2), EAGAIN)
                time.sleep(min(_PAUSE, deadline.left()))
            else:
                return connection
    except BaseException:
        connection.close()
        raise


def _family(endpoint: Endpoint) -> socket.AddressFamily:
    if isinstance(endpoint, str):
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in endpoint[0] else socket.AF_INET


def _ask(check: HttpCheck, connection: socket.socket, deadline: _Deadline) -> Answer:
    if check.scheme != HTTPS:
        return _exchange(check, connection, deadline)
    # No certificate is checked: this is a socket of the app itself, which no name belongs to.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    connection.settimeout(deadline.left())
    with context.wrap_socket(connection, server_hostname=_server_name(check.host)) as encrypted:
        return _exchange(check, encrypted, deadline)


def _server_name(host: str) -> str:
    """Without the port and the brackets of IPv6."""
    return host[1 : host.index("]")] if host.startswith("[") else host.partition(":")[0]


def _exchange(check: HttpCheck, connection: socket.socket, deadline: _Deadline) -> Answer:
    exchange = http.client.HTTPConnection(check.host)
    exchange.response_class = _Response
    exchange.sock = _Line(connection, deadline)
    exchange.putrequest(check.method, check.path, skip_host=True)
    for name, value in _headers(check).items():
        exchange.putheader(name, value)
    exchange.endheaders()
    response = exchange.getresponse()
    body = _read(response)
    charset = response.headers.get_content_charset("utf-8")
    try:
        text = body.decode(charset, "replace")
    except LookupError:
        text = body.decode("utf-8", "replace")
    return Answer(response.status, text, response.headers.get("Location"), is_cut=len(body) == BODY_MAX)


def _headers(check: HttpCheck) -> Dict[str, str]:
    headers = {"Host": check.host, "User-Agent": "zerodown.pm2", "Accept": "*/*"}
    if check.method == "POST":
        headers["Content-Length"] = "0"
    own = {name.lower() for name in check.headers}
    headers = {name: value for name, value in headers.items() if name.lower() not in own}
    # no idle connection stays behind
    return {**headers, **check.headers, "Connection": "close"}


def _read(response: http.client.HTTPResponse) -> bytes:
    body = b""
    while len(body) < BODY_MAX:
        piece = response.read(BODY_MAX - len(body))
        if not piece:
            # http.client tells of a body that broke off only when all of it is asked for
            if response.length:
                raise http.client.IncompleteRead(body, response.length)
            break
        body += piece
    return body


class _Response(http.client.HTTPResponse):
    """http.client passes over the interim answer 100 only, and would take 103 (Early Hints) for the answer."""

    def begin(self) -> None:
        super().begin()
        while 100 < self.status < 200 and self.status != http.client.SWITCHING_PROTOCOLS:
            # without headers it reads on
            self.headers = self.msg = None  # type: ignore[assignment]  # as the constructor of http.client does
            super().begin()


class _Line:
    """The part of a socket that http.client uses, with one deadline over all reads and writes."""

    def __init__(self, connection: socket.socket, deadline: _Deadline) -> None:
        self._connection = connection
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._connection.settimeout(self._deadline.left())
        self._connection.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Incoming(self._connection, self._deadline))

    def close(self) -> None:
        """The connection is closed where it was opened."""


class _Incoming(io.RawIOBase):
    def __init__(self, connection: socket.socket, deadline: _Deadline) -> None:
        self._connection = connection
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(self._deadline.left())
        return self._connection.recv_into(buffer)
