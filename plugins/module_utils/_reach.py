# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether other machines can be reached over TCP."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass
from typing import Dict, List, Optional
from urllib.parse import urlsplit

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error

MARGIN = 0.5
# of addresses that do not say it
_PORTS = {
    "http": 80,
    "https": 443,
    "postgres": 5432,
    "postgresql": 5432,
    "mysql": 3306,
    "mongodb": 27017,
    "redis": 6379,
    "rediss": 6379,
    "amqp": 5672,
    "amqps": 5671,
}


@dataclass(frozen=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return "{0}:{1}".format("[{0}]".format(self.host) if ":" in self.host else self.host, self.port)


@dataclass(frozen=True)
class Reached:
    """
    :ivar milliseconds: until it was connected, with the look-up of the name; None when it was not.
    :ivar fault: why not.
    """

    address: Address
    milliseconds: Optional[float] = None
    fault: Optional[str] = None


def parse(text: str) -> Address:
    """
    :param text: ``host:port``, or a URL; user, password and path do not matter.
    :raises Pm2Error: it says no host or no port; user and password are not shown.
    """
    try:
        parts = urlsplit(text if "://" in text else "//" + text)
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        host, port = None, None
    if not host or not port:
        raise Pm2Error(
            "{0!r} in reach is no address; write host:port, [IPv6]:port, or a URL with a port.".format(
                text.rpartition("@")[2]
            )
        )
    return Address(host, port)


def reach(addresses: List[Address], timeout: float) -> List[Reached]:
    """Connect to all of them at once.

    :param timeout: seconds for each.
    """
    found: Dict[int, Reached] = {}
    deadline = time.monotonic() + timeout

    def ask(number: int) -> None:
        found[number] = _connect(addresses[number], deadline, timeout)

    # daemons: nothing ends a look-up of a name, and nobody waits for it
    threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(len(addresses))]
    for thread in threads:
        thread.start()
    for thread in threads:
        # what was in time may be a little late to say so
        thread.join(max(0.0, deadline + MARGIN - time.monotonic()))
    late = "no answer within {0:g} s".format(timeout)
    return [found.get(number) or Reached(address, fault=late) for number, address in enumerate(addresses)]


def _connect(address: Address, deadline: float, timeout: float) -> Reached:
    start = time.monotonic()
    fault = "no answer within {0:g} s".format(timeout)
    try:
        places = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return Reached(address, fault="its name is not known here")
    for number, (family, kind, protocol, _name, place) in enumerate(places):
        left = (deadline - time.monotonic()) / (len(places) - number)
        if left <= 0:
            break
        try:
            with socket.socket(family, kind, protocol) as connection:
                connection.settimeout(left)
                connection.connect(place)
        except socket.timeout:
            continue
        except OSError as error:
            fault = (error.strerror or str(error)).lower()
        else:
            return Reached(address, round((time.monotonic() - start) * 1000, 1))
    return Reached(address, fault=fault)
