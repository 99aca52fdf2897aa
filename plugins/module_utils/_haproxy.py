# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Speaks to HAProxy over its Runtime API, a unix socket (HAProxy Management Guide, 9.3 "Unix Socket commands")."""

from __future__ import annotations

import csv
import os
import re
import socket
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._health_spec import Endpoint

# what a server may be told to be
READY = "ready"
DRAIN = "drain"
MAINT = "maint"

# seconds; HAProxy answers between two events of its loop
TIMEOUT = 5.0

# bits of srv_admin_state (Management Guide, "show servers state")
_FORCED_MAINT = 0x01
_FROM_CONFIGURATION = 0x04
_FORCED_DRAIN = 0x08
# what cannot be said in one word of the protocol
_NAME = re.compile(r"[A-Za-z0-9_.:-]+")


class ProxyError(Pm2Error):
    """HAProxy cannot be reached, or did not do what it was told."""


@dataclass(frozen=True)
class Server:
    """One server of a backend.

    :ivar state: ``ready``, ``drain`` or ``maint``.
    :ivar is_up: whether its health checks say so; also without checks.
    :ivar weight: from 0 to 256.
    :ivar backend_id: HAProxy's number of the backend.
    """

    name: str
    state: str
    is_up: bool
    weight: int
    backend_id: int


@dataclass(frozen=True)
class Counters:
    """What HAProxy has counted of one server since it started.

    :ivar requests: that were answered.
    :ivar errors: answers with 5xx, connections that failed, and answers that broke off.
    :ivar response_time: milliseconds from request to answer, mean of the last 1,024 requests (of fewer, when there
        were fewer).
    :ivar sessions: that are under way now.
    """

    requests: int = 0
    errors: int = 0
    response_time: float = 0.0
    sessions: int = 0


class RuntimeApi:
    """:param path: of the socket.

    Raises, all methods: :class:`ProxyError`.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def ask(self, command: str) -> str:
        """One command, or several with ``;`` between them; the answer as it is."""
        answer = bytearray()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT)
            try:
                connection.connect(self.path)
                connection.sendall(command.encode("ascii") + b"\n")
                while True:
                    data = connection.recv(65536)
                    if not data:
                        break
                    answer += data
            except (FileNotFoundError, ConnectionRefusedError) as error:
                raise ProxyError(
                    "No HAProxy answers on {0}; start it (systemctl status haproxy), or let the role proxy set it "
                    "up.".format(self.path)
                ) from error
            except PermissionError as error:
                raise ProxyError(
                    "The socket {0} of HAProxy is not for user {1}; let the role proxy make one for the user who runs "
                    "PM2.".format(self.path, os.geteuid())
                ) from error
            except OSError as error:
                raise ProxyError("HAProxy cannot be asked on {0}: {1}.".format(self.path, error)) from error
        return answer.decode("utf-8", "replace")

    def tell(self, command: str) -> None:
        """A command that says something only when it was not carried out."""
        answer = self.ask(command).strip()
        if answer:
            raise ProxyError("HAProxy does not {0!r}: {1}".format(command, answer.splitlines()[0]))

    def servers(self, backend: str) -> Dict[str, Server]:
        """By name."""
        answer = self.ask("show servers state " + _checked(backend))
        lines = [line.split() for line in answer.splitlines() if line.strip()]
        header = next((line[1:] for line in lines if line[0] == "#"), None)
        if header is None:
            raise ProxyError(
                "HAProxy has no backend {0}; let the role proxy write its configuration, or set backend to the name "
                "that it has.".format(backend)
            )
        rows = [dict(zip(header, line)) for line in lines if line[0].isdigit() and len(line) > 1]
        return {row["srv_name"]: _server(row) for row in rows}

    def counters(self, backend: str) -> Dict[str, Counters]:
        """By the name of the server."""
        # by its name HAProxy would take a frontend that is called the same
        text = self.ask("show stat -1 4 -1").lstrip("# ")
        return {row["svname"]: _counters(row) for row in csv.DictReader(text.splitlines()) if row["pxname"] == backend}

    def set_state(self, backend: str, server: str, state: str) -> None:
        """:param state: ``ready``, ``drain`` (it gets no new requests) or ``maint`` (it is not looked at either)."""
        self.tell("set server {0}/{1} state {2}".format(_checked(backend), _checked(server), state))

    def set_weight(self, backend: str, server: str, weight: int) -> None:
        self.tell("set server {0}/{1} weight {2}".format(_checked(backend), _checked(server), weight))

    def set_up(self, backend: str, server: str) -> None:
        """Let it count as up now; the next check may say otherwise."""
        self.tell("set server {0}/{1} health up".format(_checked(backend), _checked(server)))


def state_file(backend: str, backend_id: int, servers: Sequence[Tuple[str, str, Endpoint]]) -> str:
    """The content of a file that tells HAProxy at its start how the servers were (Configuration Manual,
    ``load-server-state-from-file local``); a server counts as up until its first check.

    :param backend_id: HAProxy's number of the backend; another one only makes it say so.
    :param servers: name, state and address of each, in the order of the configuration.
    """
    header = (
        "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
        "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state "
        "srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord"
    )
    admin = {READY: 0, DRAIN: _FORCED_DRAIN, MAINT: _FORCED_MAINT}
    rows = []
    for number, (name, state, address) in enumerate(servers, 1):
        # HAProxy takes over a port that is not the configured one
        host, port = ("-", 0) if isinstance(address, str) else address
        # all but the first are disabled in the configuration, so that one without this file serves with the first only
        bits = admin[state] | (_FROM_CONFIGURATION if number > 1 else 0)
        rows.append(
            "{0} {1} {2} {3} {4} {5} {6} 100 100 0 6 3 2 6 0 0 0 - {7} -".format(
                backend_id, _checked(backend), number, _checked(name), host, 0 if state == MAINT else 2, bits, port
            )
        )
    return "\n".join(["1", "# " + header, *rows]) + "\n"


def _server(row: Dict[str, str]) -> Server:
    admin = int(row["srv_admin_state"])
    state = MAINT if admin & _FORCED_MAINT else DRAIN if admin & _FORCED_DRAIN else READY
    return Server(row["srv_name"], state, row["srv_op_state"] != "0", int(row["srv_uweight"]), int(row["be_id"]))


def _counters(row: Dict[str, str]) -> Counters:
    def number(name: str) -> int:
        return int(row.get(name) or 0)

    answered = sum(number("hrsp_{0}".format(kind)) for kind in ("1xx", "2xx", "3xx", "4xx", "5xx", "other"))
    return Counters(
        requests=answered + number("econ") + number("eresp"),
        errors=number("hrsp_5xx") + number("econ") + number("eresp"),
        response_time=float(number("rtime")),
        sessions=number("scur"),
    )


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ProxyError("{0!r} cannot be a name in HAProxy; use letters, digits and . _ : -.".format(name))
    return name


def find_backend_id(servers: Dict[str, Server]) -> Optional[int]:
    """HAProxy's number of the backend; ``None`` for one without servers."""
    ids: List[int] = [server.backend_id for server in servers.values()]
    return ids[0] if ids else None
