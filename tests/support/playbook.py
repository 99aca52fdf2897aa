# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run ansible-playbook on this machine, as a user of the collection would, with a configuration of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.ansible_output import failed

ROOT = Path(__file__).resolve().parents[2]

_RECAP = re.compile(r"^localhost\s*:.* changed=(\d+) ", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """What one run said.

    :ivar changed: the number of changed tasks, from the recap.
    """

    changed: int
    output: str


@dataclass(frozen=True)
class Controller:
    """A directory with an inventory of this machine alone, and the variables for it.

    :ivar collections: the path on which the collection is found, by default that of the checkout.
    """

    directory: Path
    collections: Path = ROOT / ".dev" / "collections"
    variables: dict[str, Any] = field(default_factory=dict)

    def run(self, playbook: str, *arguments: str, **variables: Any) -> Run:
        """Run a playbook by its FQCN or path; a failure is an AssertionError with the whole output."""
        process = self.start(playbook, *arguments, **variables)
        try:
            output = process.communicate(timeout=600)[0]
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        assert process.returncode == 0, failed(f"{playbook} ended with {process.returncode}", output)
        recap = _RECAP.search(output)
        # Ansible ends with 0 also when no host matched
        assert recap, f"{playbook} had no host:\n{output}"
        return Run(int(recap[1]), output)

    def start(self, playbook: str, *arguments: str, **variables: Any) -> subprocess.Popen[str]:
        """The same, running, in a process group of its own."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "hosts.yml").write_text(
            "all: {hosts: {localhost: {ansible_connection: local, "
            'ansible_python_interpreter: "{{ ansible_playbook_python }}"}}}\n'
        )
        group_vars = self.directory / "group_vars"
        group_vars.mkdir(exist_ok=True)
        # JSON is YAML
        (group_vars / "all.yml").write_text(json.dumps({**self.variables, **variables}, indent=2))
        return subprocess.Popen(
            ["ansible-playbook", playbook, "--inventory", "hosts.yml", *arguments],
            cwd=self.directory,
            env={
                **os.environ,
                "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
                "ANSIBLE_HOME": str(self.directory / "ansible"),
                "ANSIBLE_REMOTE_TMP": str(self.directory / "ansible" / "tmp"),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
