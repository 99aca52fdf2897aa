# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts are taken out of load balancers and put back, by the task files of the role app; each balancer is a HAProxy."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.ansible_output import failed
from support.pm2_host import find_free_port, wait_for

from ansible_collections.zerodown.pm2.plugins.module_utils._haproxy import ProxyError, RuntimeApi

ROOT = Path(__file__).resolve().parents[2]
HAPROXY = "/usr/sbin/haproxy"
# two servers, both are this one
CONFIGURATION = """
global
    stats socket {directory}/{name}.sock level admin
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend web
    bind 127.0.0.1:{port}
    default_backend web
backend web
    server web1 127.0.0.1:{app} check inter 100ms
    server web2 127.0.0.1:{app} check inter 100ms
"""
APP = """
import http.server, sys, time
SECONDS = {'/slow': 3, '/stuck': 120}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path in SECONDS:
            time.sleep(SECONDS[self.path])
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'ok')
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
"""


@dataclass
class Balancers:
    directory: Path
    stack: ExitStack
    app: int = field(default_factory=find_free_port)
    ports: dict[str, int] = field(default_factory=dict)

    def start(self) -> None:
        self._run(sys.executable, "-c", APP, str(self.app))
        wait_for(lambda: self._listens(self.app), "the app does not start", 20.0)
        for name in ("lb1", "lb2"):
            self.ports[name] = find_free_port()
            file = self.directory / f"{name}.cfg"
            file.write_text(
                CONFIGURATION.format(directory=self.directory, name=name, port=self.ports[name], app=self.app)
            )
            self._run(HAPROXY, "-db", "-f", str(file))
            wait_for(lambda name=name: self._answers(name), f"{name} does not start", 10.0)  # type: ignore[misc]

    def _run(self, *command: str) -> None:
        process = self.stack.enter_context(
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )
        self.stack.callback(process.kill)

    def _listens(self, port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def _answers(self, name: str) -> bool:
        try:
            return bool(self.states(name))
        except ProxyError:
            return False

    def api(self, name: str) -> RuntimeApi:
        return RuntimeApi(f"{self.directory}/{name}.sock")

    def states(self, name: str) -> dict[str, str]:
        return {server.name: server.state for server in self.api(name).servers("web").values()}

    def sessions(self) -> int:
        return sum(self.api("lb1").counters("web")[server].sessions for server in ("web1", "web2"))

    def run(self, *files: str, fails: bool = False, hosts: tuple[str, ...] = ("web1", "web2"), **balancer: Any) -> str:
        """The task files, one after another, on these hosts; all output in one line.

        :param balancer: more options of each balancer.
        """
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "deploy_balancers": [
                {"host": name, "backend": "web", "socket": f"{self.directory}/{name}.sock", "become": False, **balancer}
                for name in ("lb1", "lb2")
            ],
        }
        inventory = {
            "all": {
                "children": {
                    "web": {"hosts": dict.fromkeys(hosts, {})},
                    "balancers": {"hosts": {"lb1": {}, "lb2": self.unreachable}},
                },
                "vars": variables,
            }
        }
        (self.directory / "hosts.yml").write_text(yaml.safe_dump(inventory))
        look = {"name": "Look", "ansible.builtin.command": {"argv": ["cat", "/dev/null"]}}
        roles = [
            {"name": file, "ansible.builtin.include_role": {"name": "zerodown.pm2.app", "tasks_from": file}}
            for file in files
        ]
        rescue = {"ansible.builtin.fail": {"msg": "{{ inventory_hostname }} was rescued"}}
        book = [{"hosts": "web", "gather_facts": False, "tasks": [{"block": [*roles, look], "rescue": [rescue]}]}]
        (self.directory / "play.yml").write_text(yaml.safe_dump(book, sort_keys=False))
        process = subprocess.run(
            [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "hosts.yml", "play.yml"],
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env={
                **os.environ,
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".dev" / "collections"),
                "ANSIBLE_HOME": str(self.directory / "ansible"),
                "ANSIBLE_REMOTE_TMP": str(self.directory / "ansible" / "tmp"),
            },
        )
        output = process.stdout + process.stderr
        assert (process.returncode != 0) is fails, failed("the play", output)
        return " ".join(output.split())

    unreachable: dict[str, Any] = field(default_factory=dict)


@pytest.fixture
def balancers(tmp_path: Path) -> Iterator[Balancers]:
    with ExitStack() as stack:
        found = Balancers(tmp_path, stack)
        found.start()
        yield found


def test_a_host_is_out_of_all_and_back(balancers: Balancers) -> None:
    balancers.run("balancers_drain", hosts=("web1",))
    for name in ("lb1", "lb2"):
        assert balancers.states(name) == {"web1": "drain", "web2": "ready"}
    balancers.run("balancers_ready", hosts=("web1",))
    for name in ("lb1", "lb2"):
        assert balancers.states(name) == {"web1": "ready", "web2": "ready"}


def test_requests_under_way_end_first(balancers: Balancers) -> None:
    answers: list[int] = []

    def ask() -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{balancers.ports['lb1']}/slow", timeout=20) as response:
            answers.append(response.status)

    client = threading.Thread(target=ask)
    client.start()
    wait_for(lambda: balancers.sessions() == 1, "the request does not arrive", 10.0)
    before = time.monotonic()
    balancers.run("balancers_drain")
    assert answers == [200] or time.monotonic() - before > 3
    client.join()
    assert answers == [200]
    # both were told, one after another or at once
    assert balancers.states("lb1") == {"web1": "drain", "web2": "drain"}


def test_one_that_does_not_drain_in_time_is_put_back_everywhere_and_fails(balancers: Balancers) -> None:
    with ExitStack() as stack:
        # in turn, so that each server has one
        for _ in range(2):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", balancers.ports["lb1"])))
            client.sendall(b"GET /stuck HTTP/1.1\r\nHost: shop\r\n\r\n")
        wait_for(lambda: balancers.sessions() == 2, "the requests do not arrive", 10.0)
        output = balancers.run("balancers_drain", hosts=("web1",), drain_timeout=0.1, fails=True)
    assert (
        "web1 could not be drained, so nothing of it is changed. On lb1: The server web1 of web gets nothing" in output
    )
    assert "web1 was rescued" in output
    for name in ("lb1", "lb2"):
        assert balancers.states(name) == {"web1": "ready", "web2": "ready"}


def test_a_balancer_that_cannot_be_reached_refuses_the_cutover_and_the_other_is_put_back(balancers: Balancers) -> None:
    balancers.unreachable = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": find_free_port()}
    output = balancers.run("balancers_drain", fails=True)
    for host in ("web1", "web2"):
        assert f"{host} could not be drained, so nothing of it is changed. On lb2:" in output
        # the hosts are in the play still, so that the fleet can be settled
        assert f"{host} was rescued" in output
    assert balancers.states("lb1") == {"web1": "ready", "web2": "ready"}

    balancers.unreachable = {}
    balancers.run("balancers_drain")
    balancers.unreachable = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": find_free_port()}
    output = balancers.run("balancers_ready", fails=True)
    assert "web1 is not back in every load balancer; look there whether its server is ready, and up. On lb2:" in output
    assert balancers.states("lb1") == {"web1": "ready", "web2": "ready"}
    assert balancers.states("lb2") == {"web1": "drain", "web2": "drain"}


def test_a_server_that_was_in_maintenance_stays_in_it(balancers: Balancers) -> None:
    balancers.api("lb2").set_state("web", "web1", "maint")
    balancers.run("balancers_drain", "balancers_ready")
    assert balancers.states("lb1") == {"web1": "ready", "web2": "ready"}
    assert balancers.states("lb2") == {"web1": "maint", "web2": "ready"}


def test_what_a_killed_run_has_left_drained(balancers: Balancers) -> None:
    balancers.run("balancers_drain", hosts=("web1",))
    balancers.api("lb1").set_state("web", "web2", "maint")
    balancers.run("balancers_left")
    assert balancers.states("lb1") == {"web1": "ready", "web2": "maint"}
    assert balancers.states("lb2") == {"web1": "ready", "web2": "ready"}


def test_a_balancer_that_is_gone_is_told_of_when_it_is_needed(balancers: Balancers) -> None:
    balancers.unreachable = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": find_free_port()}
    balancers.run("balancers_left")
