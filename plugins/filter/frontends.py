# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From declared apps to the frontends and backends of HAProxy; contradictions are refused."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple

from ansible.errors import AnsibleFilterError

from ansible_collections.zerodown.pm2.plugins.module_utils._maintenance import SUFFIX
from ansible_collections.zerodown.pm2.plugins.module_utils._proxy_options import COLOURS, NAME, SOCKET, STATE_FILE

DOCUMENTATION = r"""
name: frontends
short_description: What HAProxy needs to know of declared apps
version_added: 0.1.0
description:
  - Takes C(pm2_apps) and returns the frontends and backends that the role P(zerodown.pm2.proxy#role) writes, for each
    process that has C(frontend).
  - Refuses what contradicts itself, for example two apps on one port without host names.
positional: user
options:
  _input:
    description: The declared apps.
    type: list
    elements: dict
    required: true
  user:
    description: Who runs them.
    type: str
    required: true
  chroot:
    description: The directory that HAProxy is confined to, when colours are sockets. Empty when it is not confined.
    type: str
    default: ''
  foreign:
    description: The lines with C(bind) of other files of HAProxy's configuration, each after C(<file>:).
    type: list
    elements: str
    default: []
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: On which ports do the apps answer?
  ansible.builtin.debug:
    msg: "{{ (pm2_apps | zerodown.pm2.frontends('shop')).frontends | map(attribute='port') }}"
"""

RETURN = r"""
_value:
  description: C(frontends), one for each address and port, and C(backends), one for each process.
  type: dict
"""

# the retries of a held request; HAProxy waits as long as a connection may take before it tries the same server again
RETRIES_PER_SECOND = 2
STATUS_CODES = (200, 403, 404, 410, 500, 502, 503, 504)

_HOST = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
# what needs no quoting in HAProxy's configuration
_PATH = re.compile(r"/[A-Za-z0-9_./@:+,=~-]*")
_URL_PATH = re.compile(r"/[A-Za-z0-9_./~!&()*+,;=:@%?-]*")
_BIND = re.compile(r"(?P<file>[^:]+):\s*bind\s+(?P<addresses>\S+)")
_BIND_ADDRESS = re.compile(r"(?:ipv[46]@)?(?P<address>.*?):(?P<first>\d+)(?:-(?P<last>\d+))?")
_EVERYWHERE = ("", "*", "0.0.0.0", "::")

OPTIONS = {
    "address",
    "certificate",
    "check",
    "hold_time",
    "hosts",
    "maintenance",
    "port",
    "redirect_port",
    "server_timeout",
    "tunnel_timeout",
}


@dataclass(frozen=True)
class Backend:
    """One process behind its two colours.

    :ivar servers: name and address of each colour.
    :ivar page: the file on the controller with the page of maintenance; empty for the role's.
    :ivar allow: networks that see the app during maintenance.
    """

    name: str
    servers: List[Dict[str, str]]
    state_file: str
    check: Optional[Dict[str, str]]
    retries: int
    server_timeout: float
    tunnel_timeout: float
    maintenance: str
    maintenance_state_file: str
    page: str
    status: int
    allow: List[str]


@dataclass(frozen=True)
class Frontend:
    """
    :ivar bind: the address and port as HAProxy takes them.
    :ivar routes: C(hosts) and C(suffixes) of each C(backend), or of the C(redirect) to a port with TLS.
    :ivar default: the route of every other name, if any.
    """

    name: str
    address: str
    port: int
    bind: str
    certificates: List[str] = field(default_factory=list)
    routes: List[Dict[str, Any]] = field(default_factory=list)
    default: Optional[Dict[str, Any]] = None


def frontends(
    apps: Sequence[Dict[str, Any]], user: str, chroot: str = "", foreign: Sequence[str] = ()
) -> Dict[str, List[Dict[str, Any]]]:
    """What HAProxy needs to know of declared apps.

    :raises AnsibleFilterError: naming the process, what contradicts what, and what to do.
    """
    found = [
        _Process(str(process.get("name") or app["name"]), process, user, chroot)
        for app in apps
        for process in app["processes"]
        if process.get("frontend") is not None
    ]
    backends = [process.backend() for process in found]
    _refuse_twice(found, backends)
    _refuse_own_ports(apps, found)
    fronts = _frontends(found, user)
    _refuse_foreign(fronts, foreign)
    return {"frontends": [asdict(front) for front in fronts], "backends": [asdict(backend) for backend in backends]}


class _Process:
    """One process with a frontend: its options, checked."""

    def __init__(self, name: str, declared: Dict[str, Any], user: str, chroot: str) -> None:
        self.name = name
        self.user = user
        self.chroot = chroot
        if not isinstance(declared["frontend"], dict):
            raise self.refused("frontend must be a dictionary with port, not {0!r}.".format(declared["frontend"]))
        self.front: Dict[str, Any] = declared["frontend"]
        self.proxy: Dict[str, Any] = declared.get("proxy") or {}
        unknown = sorted(set(self.front) - OPTIONS)
        if unknown:
            raise self.refused(
                "frontend has no option {0}; it has {1}.".format(", ".join(unknown), ", ".join(sorted(OPTIONS)))
            )
        self._check_proxy()
        self.port = self._port("frontend.port", self.front.get("port"))
        self.address = str(self.front.get("address") or "*")
        self.certificate = str(self.front.get("certificate") or "")
        self._check_address()
        self.hosts = [self._host(host) for host in self.front.get("hosts") or []]
        redirect = self.front.get("redirect_port")
        self.redirect_port = None if redirect is None else self._port("frontend.redirect_port", redirect)
        if self.redirect_port is not None and not self.certificate:
            raise self.refused("frontend.redirect_port leads to TLS, which needs frontend.certificate.")
        self.ports = [self._port("proxy.ports", port) for port in self.proxy.get("ports") or []]
        self.sockets = [str(path) for path in self.proxy.get("sockets") or []]

    def refused(self, text: str) -> AnsibleFilterError:
        return AnsibleFilterError("App {0}: {1}".format(self.name, text))

    def backend(self) -> Backend:
        name = str(self.proxy.get("backend") or "zerodown_" + self.name)
        if not NAME.fullmatch(name):
            raise self.refused("{0!r} cannot be a name in HAProxy; set proxy.backend.".format(name))
        maintenance = self.front.get("maintenance") or {}
        unknown = sorted(set(maintenance) - {"page", "status", "allow"})
        if unknown:
            raise self.refused("frontend.maintenance has page, status and allow, not {0}.".format(", ".join(unknown)))
        status = maintenance.get("status", 503)
        if status not in STATUS_CODES:
            raise self.refused(
                "frontend.maintenance.status must be one of {0}, not {1!r}.".format(
                    ", ".join(map(str, STATUS_CODES)), status
                )
            )
        hold_time = self._seconds("hold_time", 30)
        return Backend(
            name=name,
            servers=self._servers(),
            state_file=self._path("proxy.state_file", self.proxy.get("state_file"))
            or STATE_FILE.format(self.user, name),
            check=self._check(),
            # not fewer than HAProxy has by default
            retries=max(3, round(hold_time * RETRIES_PER_SECOND)),
            server_timeout=self._seconds("server_timeout", 60),
            tunnel_timeout=self._seconds("tunnel_timeout", 3600),
            maintenance=name + SUFFIX,
            maintenance_state_file=STATE_FILE.format(self.user, name + SUFFIX),
            page=str(maintenance.get("page") or ""),
            status=status,
            allow=[self._network(network) for network in maintenance.get("allow") or []],
        )

    # of one option -------------------------------------------------------------------------------------------

    def _check_proxy(self) -> None:
        if self.proxy.get("command"):
            raise self.refused(
                "frontend is for the HAProxy of the role proxy, and proxy.command for another one; give one of the two."
            )
        ports, sockets = self.proxy.get("ports") or [], self.proxy.get("sockets") or []
        if bool(ports) == bool(sockets):
            raise self.refused("frontend needs either proxy.ports or proxy.sockets, where blue and green listen.")
        if len(set(map(str, ports or sockets))) != 2 or len(ports or sockets) != 2:
            raise self.refused("proxy.{0} must be two different ones.".format("ports" if ports else "sockets"))
        socket = self.proxy.get("socket")
        if socket and socket != SOCKET.format(self.user):
            raise self.refused(
                "the role proxy makes the socket {0}; leave proxy.socket out.".format(SOCKET.format(self.user))
            )

    def _check_address(self) -> None:
        if self.address != "*":
            try:
                ipaddress.ip_address(self.address)
            except ValueError:
                raise self.refused(
                    "frontend.address must be an IP address, * (all of IPv4) or :: (all), not {0!r}.".format(
                        self.address
                    )
                ) from None
        self._path("frontend.certificate", self.certificate)

    def _servers(self) -> List[Dict[str, str]]:
        addresses = ["127.0.0.1:{0}".format(port) for port in self.ports] or [
            "unix@" + self._inside_chroot(path) for path in self.sockets
        ]
        return [{"name": name, "address": address} for name, address in zip(COLOURS, addresses)]

    def _inside_chroot(self, path: str) -> str:
        """The path of a socket as a confined HAProxy sees it."""
        self._path("proxy.sockets", path)
        root = self.chroot.rstrip("/")
        if not path.startswith(root + "/"):
            raise self.refused(
                "HAProxy is confined to {0} (chroot) and cannot reach the socket {1}; put it below {0}/zerodown/{2}, "
                "or use proxy.ports.".format(root, path, self.user)
            )
        return path[len(root) :]

    def _check(self) -> Optional[Dict[str, str]]:
        check = self.front.get("check")
        if not check:
            return None
        path, host = str(check.get("path") or ""), str(check.get("host") or "localhost")
        if set(check) - {"path", "host"} or not _URL_PATH.fullmatch(path):
            raise self.refused("frontend.check has path, such as /health, and host.")
        return {"path": path, "host": self._host(host)}

    def _port(self, option: str, value: Any) -> int:
        text = str(value)
        if not re.fullmatch(r"[1-9]\d{0,4}", text) or int(text) > 65535:
            raise self.refused("{0} must be a port from 1 to 65535, not {1!r}.".format(option, value))
        return int(text)

    def _seconds(self, option: str, default: float) -> float:
        value = self.front.get(option, default)
        # written so that NaN is refused too
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 86400:
            raise self.refused("frontend.{0} must be from 0 to 86400 seconds, not {1!r}.".format(option, value))
        return value

    def _host(self, value: Any) -> str:
        host = str(value).lower()
        if not _HOST.fullmatch(host):
            raise self.refused("{0!r} is no host name; write it like shop.example.com or *.example.com.".format(value))
        return host

    def _path(self, option: str, value: Any) -> str:
        path = str(value or "")
        if path and not _PATH.fullmatch(path):
            raise self.refused("{0} must be an absolute path without blanks, not {1!r}.".format(option, path))
        return path

    def _network(self, value: Any) -> str:
        try:
            return str(ipaddress.ip_network(str(value), strict=False))
        except ValueError:
            raise self.refused(
                "{0!r} is no network; write it like 192.0.2.0/24 or 2001:db8::/32.".format(value)
            ) from None


def _refuse_twice(processes: Sequence[_Process], backends: Sequence[Backend]) -> None:
    names = _more_than_once(name for backend in backends for name in (backend.name, backend.maintenance))
    if names:
        raise AnsibleFilterError(
            "Two processes have the backend {0}; give one of them another proxy.backend.".format(names[0])
        )
    colours = _more_than_once(place for process in processes for place in [*process.ports, *process.sockets])
    if colours:
        users = [process.name for process in processes if colours[0] in [*process.ports, *process.sockets]]
        raise AnsibleFilterError(
            "{0} both have the colour {1}; each needs two of its own (proxy).".format(" and ".join(users), colours[0])
        )


def _refuse_own_ports(apps: Sequence[Dict[str, Any]], processes: Sequence[_Process]) -> None:
    """A port of HAProxy that an app takes for itself."""
    taken = {port: process.name for process in processes for port in process.ports}
    for app in apps:
        for declared in app["processes"]:
            text = str(declared.get("port") or (declared.get("env") or {}).get("PORT") or "")
            if text.isdigit() and declared.get("frontend") is None:
                taken.setdefault(int(text), str(declared.get("name") or app["name"]))
    for process in processes:
        for port in (process.port, process.redirect_port):
            if port is not None and port in taken:
                raise process.refused(
                    "HAProxy is to listen on port {0}, where {1} listens itself; give one of them another port.".format(
                        port, taken[port]
                    )
                )


def _frontends(processes: Sequence[_Process], user: str) -> List[Frontend]:
    found: Dict[Tuple[str, int], Frontend] = {}

    def at(address: str, port: int) -> Frontend:
        bind = "{0}:{1}{2}".format(address, port, " v4v6" if address == "::" else "")
        name = "zerodown_{0}_{1}_{2}".format(user, "all" if address == "*" else address.replace(":", "-"), port)
        return found.setdefault((address, port), Frontend(name, address, port, bind))

    for process in processes:
        front = at(process.address, process.port)
        if process.certificate and process.certificate not in front.certificates:
            front.certificates.append(process.certificate)
        found[process.address, process.port] = _routed(front, process, {"backend": process.backend().name})
        if process.redirect_port is not None:
            plain = at(process.address, process.redirect_port)
            found[process.address, process.redirect_port] = _routed(plain, process, {"redirect": process.port})
    for process in processes:
        if process.redirect_port is not None and found[process.address, process.redirect_port].certificates:
            raise process.refused(
                "port {0} has TLS itself; frontend.redirect_port must be a plain one.".format(process.redirect_port)
            )
    return list(found.values())


def _routed(front: Frontend, process: _Process, goal: Dict[str, Any]) -> Frontend:
    """``front`` with one more route."""
    if not process.hosts:
        # several may send everything to one port with TLS
        if front.default is not None and (front.default != goal or "backend" in goal):
            raise process.refused(
                "port {0} has another app without hosts; say frontend.hosts, so that they can be told apart.".format(
                    front.port
                )
            )
        return Frontend(**{**front.__dict__, "default": goal})
    known = {host for route in front.routes for host in route["names"]}
    for host in process.hosts:
        if host in known:
            raise process.refused("port {0} has {1} for another app already.".format(front.port, host))
    front.routes.append(
        {
            **goal,
            "names": process.hosts,
            "hosts": [host for host in process.hosts if not host.startswith("*")],
            "suffixes": [host[1:] for host in process.hosts if host.startswith("*")],
        }
    )
    return front


def _refuse_foreign(fronts: Sequence[Frontend], lines: Sequence[str]) -> None:
    """Ports that another file of the configuration has: HAProxy would give each request to either at random."""
    for line in lines:
        match = _BIND.match(line)
        if match is None:
            continue
        for text in match.group("addresses").split(","):
            bind = _BIND_ADDRESS.fullmatch(text)
            if bind is None:
                continue
            first, last = int(bind.group("first")), int(bind.group("last") or bind.group("first"))
            for front in fronts:
                if first <= front.port <= last and _same_place(bind.group("address").strip("[]"), front.address):
                    raise AnsibleFilterError(
                        "{0} listens on port {1} already; take that out, or use another frontend.port.".format(
                            match.group("file"), front.port
                        )
                    )


def _same_place(one: str, other: str) -> bool:
    return one == other or (one in _EVERYWHERE and other in _EVERYWHERE)


def _more_than_once(values: Iterable[Any]) -> List[Any]:
    return [value for value, count in Counter(values).items() if count > 1]


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Dict[str, Callable[..., Any]]:
        return {"frontends": frontends}
