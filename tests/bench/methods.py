# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ways to bring a new version live, each on a host of its own: a private PM2_HOME with a daemon of PM2 7."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.rows import CLUSTER, NEW, OLD, PROXIED, VERSIONS, Row
from support.gate_apps import write_release
from support.pm2_host import pm2_package, run_pm2
from support.proxied import Haproxy
from support.python_apps import write_python_release
from support.python_servers import python_servers
from support.python_web import SERVERS
from support.run_module import ModuleFailed, run_module

PM2 = str(pm2_package("7") / "bin" / "pm2")
NAME = "web"
CHANGE_TIMEOUT = 120.0


@dataclass(frozen=True)
class Site:
    """Where one run takes place.

    :ivar directory: for the releases.
    :ivar other_port: one that nobody asks.
    :ivar haproxy: in front of the app; ``None`` when it listens on the port itself.
    """

    row: Row
    home: Path
    directory: Path
    port: int
    other_port: int
    haproxy: Haproxy | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.haproxy.port if self.haproxy else self.port}/"

    @property
    def writes(self) -> Callable[..., Path]:
        return write_release if self.row.runs_as in (CLUSTER, PROXIED) else write_python_release

    def release(self, directory: Path, version: str) -> Path:
        """Write the old or the new release; its script."""
        if version == OLD:
            return self.writes(directory, self.row.before, VERSIONS[OLD])
        of_this_run: dict[str, dict[str, Any]] = {
            "wrong_port": {"port": self.other_port},
            "forks_child": {"pid_file": self.directory / "children"},
        }
        return self.writes(
            directory, self.row.kind, VERSIONS[NEW], **self.row.how, **of_this_run.get(self.row.kind, {})
        )

    def app(self, script: Path) -> dict[str, Any]:
        """In the words that PM2 has, too."""
        common = {"name": NAME, "cwd": str(script.parent), **self.row.options}
        if self.row.runs_as not in (CLUSTER, PROXIED):
            program, *args = SERVERS[self.row.runs_as]
            return {
                **common,
                "script": str(python_servers() / program),
                "args": [item.format(port=self.port) for item in args],
                "interpreter": "none",
                # as PM2's page on Python advises
                "kill_timeout": 8000,
            }
        port = self.haproxy.addresses[0] if self.haproxy else self.port
        how = {"exec_mode": "fork"} if self.haproxy else {"exec_mode": "cluster", "instances": self.row.instances}
        return {**common, "script": str(script), **how, "env": {"PORT": str(port)}}


@dataclass(frozen=True)
class Method:
    """
    :ivar start: brings the old version live.
    :ivar change: the new one; what it said of how that went.
    """

    title: str
    start: Callable[[Site], None]
    change: Callable[[Site], str]


def start_stock(site: Site) -> None:
    ecosystem = site.directory / "ecosystem.json"
    app = site.app(site.release(site.directory / "app", OLD))
    ecosystem.write_text(json.dumps({"apps": [app]}))
    run_pm2(site.home, PM2, "start", str(ecosystem))


def stock(verb: str) -> Callable[[Site], str]:
    """The files are replaced where they are, then PM2 is told."""

    def change(site: Site) -> str:
        site.release(site.directory / "app", NEW)
        try:
            run_pm2(site.home, PM2, verb, NAME)
        except subprocess.CalledProcessError as error:
            return f"exit {error.returncode}"
        except subprocess.TimeoutExpired:
            return "did not end"
        return "exit 0"

    return change


def start_ours(site: Site) -> None:
    swap_ours(site, OLD, min_healthy_time=1.0)


def change_ours(site: Site) -> str:
    try:
        swap_ours(site, NEW)
    except ModuleFailed as failure:
        return str(failure.result["msg"])
    return "live"


def swap_ours(site: Site, version: str, min_healthy_time: float = 10.0) -> None:
    """:param min_healthy_time: by default that of the module."""
    script = site.release(site.directory / "releases" / VERSIONS[version], version)
    health = {"path": "/health", "json": {"status": "ok"}}
    behind_proxy = {"proxy": site.haproxy.options, "env": {}} if site.haproxy else {}
    run_module(
        "cutover",
        timeout=CHANGE_TIMEOUT,
        pm2_home=str(site.home),
        pm2_executable=PM2,
        apps=[{**site.app(script), **behind_proxy, "health": [health], **site.row.ours}],
        min_healthy_time=min_healthy_time,
        healthy_deadline=site.row.deadline,
    )


METHODS = {
    method.title: method
    for method in (
        Method("zerodown.pm2", start_ours, change_ours),
        Method("pm2 reload", start_stock, stock("reload")),
        Method("pm2 restart", start_stock, stock("restart")),
    )
}
