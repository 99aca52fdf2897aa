# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ansible-rulebook with the collection's rulebook, and a copy of the collection in which chosen playbooks are replaced
by ones that write down that they ran and wait for leave to go on."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.checkout import ROOT, copy_to
from support.deliveries import SECRET, Delivery, post
from support.pm2_host import PATIENCE, descendants, find_free_port, is_alive, wait_for
from support.virtual_environments import made_once

SOURCE = ROOT / "extensions" / "eda" / "plugins" / "event_source" / "push.py"
RULEBOOK = ROOT / "extensions" / "eda" / "rulebooks" / "deploy_on_push.yml"


def eda_tools() -> Path:
    """The directory with ansible-rulebook and check-jsonschema."""
    return made_once(ROOT / ".dev" / "eda", ROOT / "tests" / "eda-tools.txt", sys.executable)


def need_java() -> None:
    if not shutil.which("java"):
        pytest.skip("ansible-rulebook needs Java 17 or newer: sudo apt-get install default-jre-headless")


def stand_in(name: str, directory: Path) -> list[dict[str, Any]]:
    """A playbook that adds a line when it begins and when it ends, and waits in between as long as a file is there."""

    def line(moment: str) -> dict[str, Any]:
        text = (
            f"{{{{ {{'playbook': '{name}', 'moment': '{moment}', 'app': app, 'commit': push.json.commit,"
            " 'branch': push.json.branch, 'repository': push.json.repository, 'by': app_by, 'reason': app_reason}"
            " | to_json }}"
        )
        module = {"path": str(directory / "ran"), "line": text, "create": True, "insertafter": "EOF", "regexp": "^$"}
        return {"name": moment, "ansible.builtin.lineinfile": module}

    wait = {"path": str(directory / f"{name}-waits"), "state": "absent", "timeout": 120}
    fail = {"name": "fail", "ansible.builtin.fail": {}, "when": f"'{directory}/{name}-fails' is exists"}
    tasks = [line("began"), {"name": "wait", "ansible.builtin.wait_for": wait}, fail, line("ended")]
    return [{"name": name, "hosts": "all", "gather_facts": False, "tasks": tasks}]


def collection(directory: Path, stand_ins: tuple[str, ...]) -> Path:
    """A path with a copy of this checkout."""
    copy = directory / "collections" / "ansible_collections" / "zerodown" / "pm2"
    copy_to(copy)
    for name in stand_ins:
        (copy / "playbooks" / f"{name}.yml").write_text(yaml.safe_dump(stand_in(name, directory), sort_keys=False))
    return directory / "collections"


@dataclass
class Rulebook:
    """ansible-rulebook, to be started once or more often.

    :ivar variables: of the inventory.
    :ivar then: what is done with a push.
    :ivar in_file: whether the secret is a variable, and not in the environment.
    """

    directory: Path
    variables: dict[str, Any] = field(default_factory=dict)
    then: str = "deploy"
    stand_ins: tuple[str, ...] = ("ci", "deliver", "deploy")
    in_file: bool = False
    port: int = field(default_factory=find_free_port)

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def log(self) -> Path:
        return self.directory / "rulebook.log"

    def prepare(self) -> None:
        self.collections = collection(self.directory, self.stand_ins)
        inventory = self.directory / "inventory"
        (inventory / "group_vars").mkdir(parents=True)
        host = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        # JSON is YAML
        (inventory / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"shop1": host}}}))
        (inventory / "group_vars" / "all.yml").write_text(json.dumps(self.variables))
        settings = {
            "push_app": "shop",
            "push_branches": ["main", "release"],
            "push_state": str(self.state),
            "push_port": self.port,
            "push_then": self.then,
            **({"push_secret": SECRET} if self.in_file else {}),
        }
        (self.directory / "push.yml").write_text(json.dumps(settings))

    def arguments(self) -> list[str]:
        program = str(eda_tools() / "ansible-rulebook")
        rulebook = ["--rulebook", "zerodown.pm2.deploy_on_push"]
        return [program, *rulebook, "--inventory", "inventory", "--vars", "push.yml", "-vv"]

    @contextlib.contextmanager
    def running(self) -> Iterator[Rulebook]:
        """Started, and at the end killed with all that it started."""
        if not self.directory.joinpath("push.yml").exists():
            self.prepare()
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.arguments(),
                cwd=self.directory,
                env={
                    **os.environ,
                    "PATH": f"{eda_tools()}{os.pathsep}{os.environ['PATH']}",
                    "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
                    "ANSIBLE_HOME": str(self.directory / "ansible"),
                    "ANSIBLE_REMOTE_TMP": str(self.directory / "ansible" / "tmp"),
                    **({} if self.in_file else {"ZERODOWN_PUSH_SECRET": SECRET}),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_for(lambda: self._listens() or process.poll() is not None, f"no answer: {self.log.read_text()}")
            assert process.poll() is None, self.log.read_text()
            yield self
        finally:
            everybody = descendants(process.pid) | {process.pid}
            for pid in everybody:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
            wait_for(lambda: not any(map(is_alive, everybody)), "a process survived SIGKILL")

    def _listens(self) -> bool:
        try:
            return post(self.url, Delivery({}, b""))[0] == 401
        except OSError:
            return False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def post(self, delivery: Delivery) -> tuple[int, str]:
        return post(self.url, delivery)

    def hold(self, name: str) -> None:
        """Let the stand-in wait when it comes."""
        (self.directory / f"{name}-waits").touch()

    def release(self, name: str) -> None:
        (self.directory / f"{name}-waits").unlink()

    def fail(self, name: str) -> None:
        (self.directory / f"{name}-fails").touch()

    def ran(self) -> list[dict[str, str]]:
        """What the stand-ins wrote down."""
        file = self.directory / "ran"
        return [json.loads(line) for line in file.read_text().splitlines() if line] if file.exists() else []

    def wait_until_ran(self, name: str, moment: str, commit: str) -> None:
        def has() -> bool:
            return any((x["playbook"], x["moment"], x["commit"]) == (name, moment, commit) for x in self.ran())

        try:
            wait_for(has, "")
        except AssertionError:
            pytest.fail(f"{name} has not {moment} with {commit}, but {self.ran()}:\n{self.log.read_text()}")

    def mailbox(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.state / "push.json").read_text())
        return content

    def wait_until_idle(self) -> None:
        def is_idle() -> bool:
            mailbox = self.mailbox()
            return mailbox["waiting"] is None and mailbox["running"] is None

        # it may be two whole playbooks, beside all else that a busy machine does
        wait_for(is_idle, "a push waits or is running", timeout=5 * PATIENCE)
