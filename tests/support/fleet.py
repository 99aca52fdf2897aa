# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fleet on this machine: hosts of Ansible that share it, each with a PM2_HOME, a root of apps and a port."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.ansible_output import failed
from support.pm2_host import find_free_port, pm2_package, private_home, wait_for

ROOT = Path(__file__).resolve().parents[2]
SERVER = """
const http = require('http')
const { HOST, PORT, GREETING } = process.env
http.createServer((request, response) => response.end(`VERSION ${HOST} ${GREETING}`)).listen(PORT, '127.0.0.1')
"""


@dataclass
class Host:
    name: str
    directory: Path
    home: Path
    port: int

    def root(self, app: str) -> Path:
        return self.directory / self.name / app

    def answer(self) -> str:
        found: list[str] = []

        def ask() -> bool:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5) as response:
                    found.append(response.read().decode())
            except OSError:
                return False
            return True

        wait_for(ask, f"{self.name} does not answer")
        return found[0].split()[0]

    def live(self, app: str = "shop") -> str | None:
        try:
            return os.path.basename(os.readlink(self.root(app) / "current"))
        except FileNotFoundError:
            return None

    def log(self, app: str = "shop") -> list[tuple[str, str]]:
        lines = (self.root(app) / "deploys.jsonl").read_text().splitlines()
        return [(event["event"], event["release"]) for event in map(json.loads, lines)]


@dataclass
class Fleet:
    """
    :ivar variables: of all hosts, beside what each has.
    :ivar apps: what a host runs; by default each runs the shop.
    """

    directory: Path
    hosts: list[Host]
    variables: dict[str, Any] = field(default_factory=dict)
    apps: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def repository(self) -> Path:
        return self.directory / "repository"

    @property
    def log(self) -> Path:
        """Of all rollouts, on the controller."""
        return self.directory / "state" / "zerodown" / "deploys.jsonl"

    def commit(self, version: str, text: str = SERVER, **files: str) -> str:
        """A release of the shop; gives back the commit."""
        if not self.repository.exists():
            self.repository.mkdir()
            self._git("init", "--quiet", "--initial-branch", "main")
        for name, content in {"server.js": text.replace("VERSION", version), **files}.items():
            (self.repository / name).write_text(content)
        self._git("add", "--all")
        identity = ["-c", "user.name=Ann", "-c", "user.email=ann@example.com"]
        self._git(*identity, "commit", "--quiet", "--allow-empty", "--message", f"Make it {version}")
        return self._git("rev-parse", "HEAD")

    def _git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=self.repository, check=True, capture_output=True, text=True
        ).stdout.strip()

    def shop(self, host: Host, **more: Any) -> dict[str, Any]:
        process = {
            "script": "server.js",
            "exec_mode": "cluster",
            "env": {"HOST": host.name, "PORT": host.port, "GREETING": "hello", "API_TOKEN": "s3cret-s3cret"},
            "health": [{"path": "/"}],
        }
        return {
            "name": "shop",
            "source": {"type": "git", "repo": str(self.repository), "version": "main"},
            "needs_build": False,
            "min_healthy_time": 0.5,
            "processes": [process],
            **more,
        }

    def inventory(self) -> dict[str, Any]:
        hosts = {
            host.name: {
                "pm2_home": str(host.home),
                "pm2_apps_root": str(host.directory / host.name),
                "pm2_apps": self.apps.get(host.name, [self.shop(host)]),
            }
            for host in self.hosts
        }
        shared = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "pm2_scope": "user",
            "pm2_executable": str(pm2_package("7") / "bin" / "pm2"),
            "node_executable": shutil.which("node"),
            **self.variables,
        }
        return {"all": {"hosts": hosts, "vars": shared}}

    def start(self, playbook: str, *arguments: str) -> subprocess.Popen[str]:
        (self.directory / "inventory.json").write_text(json.dumps(self.inventory(), indent=1))
        program = str(Path(sys.executable).parent / "ansible-playbook")
        return subprocess.Popen(
            [program, "-i", "inventory.json", f"zerodown.pm2.{playbook}", *arguments],
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={
                **os.environ,
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".dev" / "collections"),
                "ANSIBLE_HOME": str(self.directory / "ansible"),
                "ANSIBLE_FORKS": "20",
                "XDG_STATE_HOME": str(self.directory / "state"),
            },
        )

    def run(self, playbook: str, *arguments: str) -> tuple[int, str]:
        with self.start(playbook, *arguments) as process:
            output = process.communicate(timeout=500)[0]
        (self.directory / f"{playbook}.log").write_text(output)
        assert "s3cret-s3cret" not in output
        # a loop over what a role variable is called, too
        assert "is already in use" not in output, output
        return process.returncode, output

    def succeeds(self, playbook: str, *arguments: str) -> str:
        code, output = self.run(playbook, *arguments)
        assert code == 0, failed(playbook, output)
        return output

    def fails(self, playbook: str, *arguments: str) -> str:
        """Gives back all output in one line, because Ansible breaks long ones."""
        code, output = self.run(playbook, *arguments)
        assert code != 0, output
        return " ".join(output.split())

    def answers(self) -> list[str]:
        return [host.answer() for host in self.hosts]


@contextlib.contextmanager
def fleet_of(count: int, directory: Path) -> Iterator[Fleet]:
    with contextlib.ExitStack() as stack:
        homes = [stack.enter_context(private_home()) for _ in range(count)]
        yield Fleet(
            directory,
            [Host(f"web{number}", directory, home, find_free_port()) for number, home in enumerate(homes, 1)],
        )
