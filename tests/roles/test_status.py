# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook status for programs: one document about all hosts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from support.ansible_output import failed
from support.pm2_host import find_free_port, pm2_package, private_home

ROOT = Path(__file__).resolve().parents[2]
SERVER = "require('http').createServer((q, s) => s.end()).listen(process.env.PORT, '127.0.0.1')"


@dataclass
class Fleet:
    """Two hosts, which are this machine, with a PM2 each, and one that is not there."""

    directory: Path
    homes: dict[str, Path]

    def run(self, playbook: str, *arguments: str, fails: bool = False) -> str:
        hosts = {
            name: {
                "pm2_home": str(home),
                "pm2_apps_root": str(self.directory / name),
                "shop_port": find_free_port(),
            }
            for name, home in self.homes.items()
        }
        gone = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": find_free_port()}
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "pm2_scope": "user",
            "pm2_executable": str(pm2_package("7") / "bin" / "pm2"),
            "node_executable": shutil.which("node"),
            "pm2_apps": [
                {
                    "name": "shop",
                    "source": {"type": "directory", "directory": str(self.directory / "source")},
                    "needs_build": False,
                    "min_healthy_time": 0.5,
                    "processes": [{"script": "server.js", "instances": 2, "env": {"PORT": "{{ shop_port }}"}}],
                }
            ],
        }
        inventory = {"all": {"hosts": {**hosts, "gone": gone}, "vars": variables}}
        (self.directory / "hosts.yml").write_text(yaml.safe_dump(inventory))
        process = subprocess.run(
            [
                *(str(Path(sys.executable).parent / "ansible-playbook"), "-i", "hosts.yml"),
                *(f"zerodown.pm2.{playbook}", *arguments),
            ],
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
        assert (process.returncode != 0) is fails, failed(playbook, process.stdout + process.stderr)
        return process.stdout


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "server.js").write_text(SERVER)
    with private_home() as one, private_home() as two:
        yield Fleet(tmp_path, {"web1": one, "web2": two})


def test_one_document_about_all_hosts(fleet: Fleet) -> None:
    fleet.run("deploy", "-l", "web1", "-e", '{"app_by": "ann", "app_reason": "new prices"}')
    output = fleet.run("status", "-e", "format=json", "-e", "status_file=state.json", fails=True)
    assert output.count("deployed_by") == 2, "web1 and web2, once"
    file = fleet.directory / "state.json"
    assert file.stat().st_mode & 0o777 == 0o600
    state = json.loads(file.read_text())
    assert sorted(state) == ["gone", "web1", "web2"]
    assert state["gone"] == {}

    shop = state["web1"]["shop"]
    assert shop["release"].endswith(shop["revision"][:8])
    assert (shop["proven"], shop["status"], shop["saved"], shop["daemon"]) == (True, "online", True, True)
    assert (shop["deployed_by"], shop["reason"]) == ("ann", "new prices")
    assert [process["status"] for process in shop["processes"]] == ["online", "online"]
    assert shop["memory"] == sum(process["memory"] for process in shop["processes"]) > 0
    assert (shop["restarts"], shop["awaiting"], shop["rollback_target"]) == (0, None, None)
    nothing = state["web2"]["shop"]
    assert (nothing["release"], nothing["status"], nothing["processes"]) == (None, "absent", [])

    printed = output[output.index('"msg": {') + len('"msg": ') :]
    assert json.JSONDecoder().raw_decode(printed)[0].keys() == state.keys()

    text = fleet.run("status", "-l", "web1,web2")
    assert "by ann: new prices)" in text
    assert "shop: never deployed" in text
    assert "deployed_by" not in text


def test_a_release_that_awaits_its_deploy(fleet: Fleet) -> None:
    fleet.run("deploy", "-l", "web1", "--tags", "stage")
    fleet.run("status", "-l", "web1", "-e", "status_file=state.json")
    shop = json.loads((fleet.directory / "state.json").read_text())["web1"]["shop"]
    assert shop["awaiting"]
    assert shop["release"] is None
