# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hosts of molecule/fleet: five with the app, and HAProxy in front of them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from hosts_cutover.fleet import Controller, Fleet, Host, State, wait_for
from support.web import Traffic

# requests a second, with keep-alive and without
RATE = 50.0
# seconds that an answer may take: on a busy machine it is late, what is lost never comes
TIMEOUT = 60.0
_ASK = """
import socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect("/run/haproxy/admin.sock")
    connection.sendall(sys.argv[1].encode() + b"\\n")
    while True:
        text = connection.recv(65536)
        if not text:
            break
        sys.stdout.write(text.decode())
"""


@dataclass(frozen=True)
class Server:
    """What HAProxy says of a host.

    :ivar status: ``UP``, ``DOWN``, ``DRAIN``, ``MAINT``.
    :ivar requests: that it was sent since HAProxy began, health checks aside.
    """

    status: str
    requests: int


class BalancedFleet(Fleet):
    scenario: ClassVar[str] = "fleet"
    others: ClassVar[tuple[str, ...]] = ("lb",)
    # as Ansible has it; each controller has connections of its own
    ssh_args: ClassVar[str] = "-o ControlMaster=auto -o ControlPersist=60s"

    @property
    def balancer(self) -> Host:
        return self.balancers[0]

    @property
    def log(self) -> list[dict[str, Any]]:
        """Of all rollouts, on the controller."""
        return [json.loads(line) for line in (self.directory / "zerodown" / "deploys.jsonl").read_text().splitlines()]

    def start(self, playbook: str, *arguments: str, **variables: Any) -> Controller:
        return super().start(playbook, *arguments, **{"pm2_hosts": "web", **variables})

    def start_deploy(self, version: str, timer: float) -> Controller:
        """:param timer: seconds after which a host that hears nothing goes back."""
        # what the longest batch may take is counted in, minutes that a test does not wait for
        return self.start("deploy", site_version=version, site_confirm_timeout=timer, __app_batch_longest=0)

    def through_balancer(self, record: Callable[[str, object], None]) -> Traffic:
        """Requests as users send them, while the block lasts."""
        return Traffic(f"http://{self.balancer.address}/", record, rate=RATE, timeout=TIMEOUT)

    def tell_balancer(self, command: str) -> str:
        return self.balancer.run("python3", "-", command, stdin=_ASK.encode())

    def servers(self) -> dict[str, Server]:
        rows = csv.DictReader(io.StringIO(self.tell_balancer("show stat").lstrip("# ")))
        names = [host.name for host in self.hosts]
        return {
            row["svname"]: Server(row["status"].split()[0], int(row["stot"]))
            for row in rows
            if row["pxname"] == "web" and row["svname"] in names
        }

    def assert_balanced(self) -> None:
        """Every host takes requests."""
        assert {name: server.status for name, server in self.servers().items()} == {
            host.name: "UP" for host in self.hosts
        }

    def assert_serves(self, version: str) -> list[State]:
        # who waits for the confirmation on a host looks for it now and then
        wait_for(lambda: not any(state.others for state in self.look()), "all that was started to end")
        return super().assert_serves(version)

    def releases(self) -> dict[str, str]:
        return {host.name: state.current for host, state in zip(self.hosts, self.look(), strict=True)}
