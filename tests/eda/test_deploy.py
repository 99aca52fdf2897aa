# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a push to a running app: a real repository, ansible-rulebook, the playbooks ci and deploy, PM2."""

from __future__ import annotations

import json
import shutil
import urllib.request
from pathlib import Path

from releases.conftest import make_repository
from support.deliveries import Sent
from support.pm2_host import PATIENCE, find_free_port, pm2_package, private_home, wait_for
from support.rulebook import Rulebook, need_java

SERVER = "require('http').createServer((q, s) => s.end('VERSION')).listen(process.env.PORT, '127.0.0.1')\n"


def test_a_push_goes_live(tmp_path: Path) -> None:
    need_java()
    repository = make_repository(tmp_path / "repository")
    port = find_free_port()

    def answer() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
                text: str = response.read().decode()
        except OSError:
            return ""
        return text

    def push(server: str) -> None:
        """Until what it begins has ended."""
        pushed = repository.write({"server.js": server})
        assert rulebook.post(Sent(pushed).gitea())[0] == 202
        wait_for(lambda: pushed in rulebook.state.joinpath("push.json").read_text(), "the push is not there")
        rulebook.wait_until_idle()

    with private_home() as home:
        app = {
            "name": "shop",
            "source": {"type": "git", "repo": str(repository.path), "version": "main"},
            "ci": {"steps": [{"name": "lint", "argv": ["node", "--check", "server.js"]}]},
            "min_healthy_time": 1,
            "processes": [{"script": "server.js", "instances": 2, "env": {"PORT": port}, "health": [{"path": "/"}]}],
        }
        variables = {
            "pm2_scope": "user",
            "pm2_home": str(home),
            "pm2_executable": str(pm2_package("7") / "bin" / "pm2"),
            "node_executable": shutil.which("node"),
            "pm2_apps_root": str(tmp_path / "apps"),
            "pm2_apps": [app],
            "deploy_store": str(tmp_path / "store"),
            "deploy_build_root": str(tmp_path / "build"),
        }
        rulebook = Rulebook(tmp_path / "controller", variables, stand_ins=())
        with rulebook.running():
            for version in ("one", "two"):
                push(SERVER.replace("VERSION", version))
                assert answer() == version, rulebook.log.read_text()
            # not even JavaScript: its lint is red
            rulebook.post(Sent(repository.write({"server.js": "{"})).gitea())
            wait_for(lambda: "failed=1 " in rulebook.log.read_text(), "nothing has failed", 5 * PATIENCE)
            assert "failed at lint" in rulebook.log.read_text()
            assert answer() == "two", rulebook.log.read_text()
    events = [json.loads(line) for line in (tmp_path / "apps/shop/deploys.jsonl").read_text().splitlines()]
    assert any(event.get("by") == "anna" and "was pushed to" in event.get("reason", "") for event in events), events
