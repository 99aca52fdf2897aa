# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What docs/python.md promises of its examples: what is in hand is ended, no process is left, the log says so."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from docs.test_guides import ROOT, home, srv, tasks_of
from support.pm2_host import find_free_port, pm2_package, start_daemon, wait_for
from support.run_module import run_module

__all__ = ["home", "srv"]

MODULE = "zerodown.pm2.app"
TASKS = {task[MODULE]["name"]: task[MODULE] for task in tasks_of(ROOT / "docs" / "python.md")}


class Pm2:
    """One daemon, and what the guide declares under it."""

    def __init__(self, home: Path, srv: Path) -> None:
        self.home = home
        self.srv = srv

    def app(self, **options: Any) -> dict[str, Any]:
        executable = str(pm2_package("7") / "bin" / "pm2")
        return run_module("app", options={"pm2_home": str(self.home), "pm2_executable": executable, **options})

    def start(self, name: str, port: int = 0) -> None:
        """As the guide declares it, but on another port."""
        text = json.dumps(TASKS[name]).replace('"/srv/', f'"{self.srv}/')
        for written in range(8101, 8107):
            text = text.replace(str(written), str(port))
        self.app(**json.loads(text))

    def log(self, name: str) -> str:
        return (self.home / "logs" / f"{name}-out.log").read_text()

    def processes(self) -> list[str]:
        """The command lines of all that runs in the app's directory."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/cwd").startswith(str(self.srv)):
                    found.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
        return found


def ask(port: int, path: str = "/") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return str(answer.read().decode())


def answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        return ask(port) == "ok"
    return False


@pytest.fixture
def pm2(home: Path, srv: Path) -> Pm2:
    start_daemon(home, pm2_package("7"))
    return Pm2(home, srv)


@pytest.mark.parametrize("name", ["uvicorn", "gunicorn", "gunicorn-asgi", "hypercorn", "granian"])
def test_a_server_ends_what_it_has_in_hand(pm2: Pm2, name: str) -> None:
    port = find_free_port()
    pm2.start(name, port)
    wait_for(lambda: answers(port), f"{name} does not answer")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        slow = pool.submit(ask, port, "/slow")
        wait_for(lambda: "slow" in pm2.log(name), "what the app prints is not in the log")
        pm2.app(name=name, state="stopped")
        assert slow.result() == "ok"
    assert pm2.processes() == []


def test_a_worker_ends_what_it_has_in_hand(pm2: Pm2) -> None:
    pm2.start("jobs")
    wait_for(lambda: "up" in pm2.log("jobs"), "what the worker prints is not in the log")
    pm2.app(name="jobs", state="stopped")
    assert "ended what it had in hand" in pm2.log("jobs")
    assert pm2.processes() == []


def test_a_command_line_with_bash_as_interpreter(pm2: Pm2) -> None:
    port = find_free_port()
    pm2.start("taught", port)
    wait_for(lambda: answers(port), "uvicorn does not answer")
    assert [line for line in pm2.processes() if "uvicorn" not in line] == []
