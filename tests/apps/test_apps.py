# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Apps that nobody here wrote, from the npm registry, deployed with the collection's own playbook: in cluster mode,
again with nothing to do, then changed to fork mode, again with nothing to do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.playbook import Controller
from support.pm2_host import find_free_port, pm2_package, private_home, wait_for

from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc


@pytest.fixture
def pm2_home() -> Iterator[Path]:
    with private_home() as home:
        yield home


@pytest.fixture
def controller(tmp_path: Path, pm2_home: Path) -> Controller:
    return Controller(
        tmp_path / "controller",
        variables={
            "pm2_scope": "user",
            "pm2_home": str(pm2_home),
            "pm2_executable": str(pm2_package("7") / "bin" / "pm2"),
            "node_executable": shutil.which("node"),
            "pm2_apps_root": str(tmp_path / "apps"),
        },
    )


def npm(*arguments: str, cwd: Path) -> None:
    subprocess.run(["npm", "--no-audit", "--no-fund", *arguments], cwd=cwd, check=True, stdin=subprocess.DEVNULL)


def get(url: str) -> str:
    """Nothing as long as nothing listens: PM2 calls a process online before it does."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            text: str = response.read().decode()
    except OSError:
        return ""
    return text


def online(home: Path) -> dict[int, str]:
    """The pid and the mode of each process."""
    processes = Rpc(str(home / "rpc.sock")).processes()
    return {process["pid"]: process["pm2_env"]["exec_mode"] for process in processes}


def deploy_in_both_modes(controller: Controller, home: Path, app: dict[str, Any], url: str, answer: str) -> None:
    """The same release serves in both: what is declared about the processes is not part of a release."""
    processes: dict[int, str] = {}
    # into fork mode there is no way without an outage, which must be asked for
    for mode, instances, strategy in (("cluster", 2, "auto"), ("fork", 1, "restart")):
        how = {"exec_mode": mode, "instances": instances, "strategy": strategy}
        declared = [{**app, "processes": [{**app["processes"][0], **how}]}]
        assert controller.run("zerodown.pm2.deploy", pm2_apps=declared).changed > 0
        wait_for(lambda: answer in get(url), f"{url} does not answer {answer!r} in {mode} mode")
        before, processes = processes, online(home)
        assert list(processes.values()) == [f"{mode}_mode"] * instances
        assert not set(processes) & set(before)

        assert controller.run("zerodown.pm2.deploy", pm2_apps=declared).changed == 0
        assert online(home) == processes
        assert answer in get(url)
    root = Path(controller.variables["pm2_apps_root"]) / app["name"]
    assert len([name for name in os.listdir(root / "releases") if not name.startswith(".")]) == 1


def test_a_server_package_as_it_is(tmp_path: Path, controller: Controller, pm2_home: Path) -> None:
    """json-server: a program of node_modules is the script, with arguments, from a lockfile."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "db.json").write_text(json.dumps({"lamps": [{"id": 1, "watts": 7}]}))
    (source / "package.json").write_text(json.dumps({"name": "lamps", "version": "1.0.0", "private": True}))
    npm("install", "--package-lock-only", "json-server@0.17", cwd=source)
    port = find_free_port()
    app = {
        "name": "lamps",
        "source": {"type": "directory", "directory": str(source)},
        "processes": [
            {
                "script": "node_modules/json-server/lib/cli/bin.js",
                "args": ["db.json", "--host", "127.0.0.1", "--port", str(port)],
            }
        ],
    }
    deploy_in_both_modes(controller, pm2_home, app, f"http://127.0.0.1:{port}/lamps/1", '"watts": 7')


@pytest.mark.whole
def test_a_framework_template_with_its_build(tmp_path: Path, controller: Controller, pm2_home: Path) -> None:
    """NestJS, as its own command line generates it: TypeScript, tested and compiled in the release. The template comes
    without a lockfile."""
    nest = ["nest", "new", "shop", "--skip-install", "--skip-git", "--package-manager", "npm", "--strict"]
    npm("exec", "--yes", "--package=@nestjs/cli@11", "--", *nest, cwd=tmp_path)
    port = find_free_port()
    app = {
        "name": "shop",
        "source": {"type": "directory", "directory": str(tmp_path / "shop")},
        "build": {"lockfile_required": False, "scripts": ["build", "test"], "prune": True},
        "env": {"NODE_ENV": "production", "PORT": port},
        "processes": [{"script": "dist/main.js"}],
    }
    deploy_in_both_modes(controller, pm2_home, app, f"http://127.0.0.1:{port}/", "Hello World!")
