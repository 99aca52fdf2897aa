# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a user says about an app that stands behind a proxy: its two colours, the way to the proxy, and the canary."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._health_spec import Endpoint
from ansible_collections.zerodown.pm2.plugins.module_utils._home import user_name

BLUE = "blue"
GREEN = "green"
COLOURS = (BLUE, GREEN)

# what the role proxy makes for the user who runs PM2, and for each backend of his
SOCKET = "/run/haproxy/zerodown-{0}.sock"
STATE_FILE = "/var/lib/zerodown-proxy/{0}/{1}"

NAME = re.compile(r"[A-Za-z0-9_.:-]+")
# bytes (unix(7), sun_path without its NUL)
_SOCKET_PATH_MAX = 107


def proxy_arguments() -> Dict[str, Any]:
    """The argument specification of one app; documented in doc_fragments/proxy.py."""
    return {
        "proxy": {
            "type": "dict",
            "options": {
                "ports": {"type": "list", "elements": "int"},
                "sockets": {"type": "list", "elements": "path"},
                "backend": {"type": "str"},
                "socket": {"type": "path"},
                "state_file": {"type": "path"},
                "command": {"type": "list", "elements": "str"},
            },
        },
        "canary": {"type": "list", "elements": "int"},
        "canary_time": {"type": "float"},
        "canary_requests": {"type": "int"},
        "canary_deadline": {"type": "float"},
        "canary_errors_max": {"type": "float"},
        "canary_slowdown_max": {"type": "float"},
        "standby_time": {"type": "float"},
    }


@dataclass(frozen=True)
class ProxyOptions:
    """Plain data, so that a journal can hold it.

    :ivar addresses: where the app listens, by colour: a port on 127.0.0.1, or the path of a unix socket.
    :ivar backend: its name in HAProxy.
    :ivar socket: the path of HAProxy's Runtime API.
    :ivar state_file: the path from which HAProxy learns at its start which colour serves.
    :ivar command: a program of the user's that speaks to another proxy; then the three before mean nothing.
    """

    addresses: Dict[str, Any]
    backend: str
    socket: str
    state_file: str
    command: Optional[List[str]] = None

    def endpoint(self, colour: str) -> Endpoint:
        address = self.addresses[colour]
        return address if isinstance(address, str) else ("127.0.0.1", int(address))

    def port(self, colour: str) -> Optional[int]:
        """``None`` for a unix socket."""
        address = self.addresses[colour]
        return None if isinstance(address, str) else int(address)


@dataclass(frozen=True)
class CanaryOptions:
    """
    :ivar shares: percent of the traffic that the candidate gets, one step after another.
    :ivar time: seconds of a step, at least.
    :ivar requests: that the candidate must have answered in a step, at least.
    :ivar deadline: seconds of a step, at most.
    :ivar errors_max: percent of its requests that may fail more than of those of the live colour.
    :ivar slowdown_max: how many times as long as the live colour it may take to answer; ``None`` without a limit.
    """

    shares: Tuple[int, ...] = (100,)
    time: float = 60.0
    requests: int = 20
    deadline: float = 3600.0
    errors_max: float = 1.0
    slowdown_max: Optional[float] = None


def other(colour: str) -> str:
    return GREEN if colour == BLUE else BLUE


def parse_proxy(name: str, given: Optional[Dict[str, Any]]) -> Optional[ProxyOptions]:
    """
    :param name: of the app.
    :raises Pm2Error: naming the app, the option and what it must be.
    """
    if given is None:
        return None
    given = {key: value for key, value in given.items() if value is not None}
    user = user_name(os.geteuid())
    backend = given.get("backend", "zerodown_" + name)
    if not NAME.fullmatch(backend):
        raise _wrong(name, "proxy.backend must be letters, digits and . _ : -, not {0!r}".format(backend))
    command = given.get("command")
    if command is not None and not command:
        raise _wrong(name, "proxy.command must name a program")
    if command and {"backend", "socket", "state_file"} & set(given):
        raise _wrong(name, "proxy.command speaks to another proxy, so backend, socket and state_file mean nothing")
    for option in ("socket", "state_file"):
        if option in given and not os.path.isabs(given[option]):
            raise _wrong(name, "proxy.{0} must be an absolute path, not {1!r}".format(option, given[option]))
    return ProxyOptions(
        addresses=dict(zip(COLOURS, _addresses(name, given))),
        backend=backend,
        socket=given.get("socket", SOCKET.format(user)),
        state_file=given.get("state_file", STATE_FILE.format(user, backend)),
        command=command,
    )


def _addresses(name: str, given: Dict[str, Any]) -> List[Any]:
    if ("ports" in given) == ("sockets" in given):
        raise _wrong(name, "proxy needs ports or sockets, one for each of two colours")
    addresses: List[Any] = given.get("ports") or given.get("sockets") or []
    if len(addresses) != len(COLOURS) or len(set(addresses)) != len(COLOURS):
        raise _wrong(name, "proxy needs two different {0}".format("ports" if "ports" in given else "sockets"))
    for address in addresses:
        if isinstance(address, int):
            if not 0 < address < 65536:
                raise _wrong(name, "proxy.ports must be from 1 to 65535, not {0}".format(address))
        elif not os.path.isabs(address) or len(os.fsencode(address)) > _SOCKET_PATH_MAX or "\0" in address:
            raise _wrong(name, "proxy.sockets must be absolute paths of at most {0} bytes".format(_SOCKET_PATH_MAX))
    return addresses


def parse_canary(name: str, options: Dict[str, Any]) -> Optional[CanaryOptions]:
    """``None`` when nothing is said about one.

    :param options: of the app, by their names in the argument specification.
    :raises Pm2Error: naming the app, the option and what it must be.
    """
    prefix = "canary_"
    given = {
        key[len(prefix) :]: options[key]
        for key in proxy_arguments()
        if key.startswith(prefix) and options.get(key) is not None
    }
    shares = options.get("canary")
    if shares is None:
        if given:
            raise _wrong(name, "{0} needs canary, the steps".format(", ".join(prefix + key for key in sorted(given))))
        return None
    if not shares or any(not 0 < share <= 100 for share in shares) or shares != sorted(set(shares)):
        raise _wrong(name, "canary must be rising percentages from 1 to 100, such as [5, 25, 100]")
    parsed = CanaryOptions(shares=tuple(shares), **given)
    if not 0 <= parsed.time <= parsed.deadline <= 86400:
        raise _wrong(name, "canary_time must be at most canary_deadline, and that at most 86400 seconds")
    if parsed.requests < 1:
        raise _wrong(name, "canary_requests must be 1 or more")
    if not 0 <= parsed.errors_max < 100:
        raise _wrong(name, "canary_errors_max must be a percentage from 0 to below 100")
    if parsed.slowdown_max is not None and not parsed.slowdown_max >= 1:
        raise _wrong(name, "canary_slowdown_max must be 1 or more")
    return parsed


def _wrong(name: str, text: str) -> Pm2Error:
    return Pm2Error("App {0}: {1}.".format(name, text))
