"""The role app and its playbooks on this machine: a real PM2, a real app, releases that fail."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.ansible_output import failed
from support.pm2_host import find_free_port, pm2_package, private_home, wait_for

ROOT = Path(__file__).resolve().parents[2]
SERVER = """
const http = require('http')
http.createServer((request, response) => response.end('VERSION')).listen(process.env.PORT, '127.0.0.1')
"""


@dataclass
class Site:
    """One app, declared for localhost."""

    directory: Path
    home: Path
    port: int

    @property
    def root(self) -> Path:
        return self.directory / "apps" / "shop"

    def write(self, version: str, text: str = SERVER) -> None:
        source = self.directory / "source"
        source.mkdir(exist_ok=True)
        (source / "server.js").write_text(text.replace("VERSION", version))

    def run(self, playbook: str, *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        inventory = {
            "ansible_python_interpreter": sys.executable,
            "pm2_scope": "user",
            "pm2_home": str(self.home),
            "pm2_executable": str(pm2_package("7") / "bin" / "pm2"),
            "node_executable": shutil.which("node"),
            "pm2_apps_root": str(self.directory / "apps"),
            "pm2_apps": [
                {
                    "name": "shop",
                    "source": {"type": "directory", "directory": str(self.directory / "source")},
                    "needs_build": False,
                    "min_healthy_time": 1,
                    "processes": [
                        {
                            "script": "server.js",
                            "instances": 2,
                            "env": {"PORT": self.port, "API_TOKEN": "s3cret-s3cret"},
                            "health": [{"path": "/"}],
                        }
                    ],
                }
            ],
            **variables,
        }
        file = self.directory / "variables.json"
        file.write_text(json.dumps(inventory))
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-c", "local", "-e"]
        process = subprocess.run(
            [*command, f"@{file}", f"zerodown.pm2.{playbook}", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env={
                **os.environ,
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".dev" / "collections"),
                "ANSIBLE_HOME": str(self.directory / "ansible"),
                "ANSIBLE_LOCALHOST_WARNING": "false",
            },
        )
        assert "s3cret-s3cret" not in process.stdout + process.stderr
        return process

    def succeeds(self, playbook: str, *arguments: str, **variables: Any) -> str:
        process = self.run(playbook, *arguments, **variables)
        assert process.returncode == 0, failed(playbook, process.stdout + process.stderr)
        return process.stdout

    def fails(self, playbook: str, *arguments: str, **variables: Any) -> str:
        """Gives back all output in one line, because Ansible breaks long ones."""
        process = self.run(playbook, *arguments, **variables)
        assert process.returncode != 0, process.stdout
        return " ".join((process.stdout + process.stderr).split())

    def answer(self) -> str:
        found = []

        def ask() -> bool:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5) as response:
                    found.append(response.read().decode())
            except OSError:
                return False
            return True

        wait_for(ask, "the app does not answer")
        return found[0]

    def log(self) -> list[tuple[str, str]]:
        lines = (self.root / "deploys.jsonl").read_text().splitlines()
        return [(event["event"], event["release"]) for event in map(json.loads, lines)]

    def live(self) -> str:
        return os.path.basename(os.readlink(self.root / "current"))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with private_home() as home:
        yield Site(tmp_path, home, find_free_port())


def test_check_mode_on_a_host_that_has_nothing(site: Site) -> None:
    site.write("one")
    before = sorted(site.home.iterdir())
    output = site.succeeds("deploy", "--check", "--diff")
    assert "changed=2" in output
    assert "+  processes: 2 online" in output
    assert sorted(site.home.iterdir()) == before
    assert not site.root.exists()


def test_stage_alone_starts_nothing(site: Site) -> None:
    site.write("one")
    assert "changed=1" in site.succeeds("deploy", "--tags", "stage")
    assert len(list((site.root / "releases").glob("2*"))) == 1
    assert not (site.root / "current").is_symlink()
    assert not (site.home / "rpc.sock").exists()


@pytest.mark.whole
def test_deploy_again_and_over_and_back(site: Site) -> None:
    site.write("one")
    site.succeeds("deploy")
    assert site.answer() == "one"
    first = site.live()

    assert "changed=0" in site.succeeds("deploy")
    site.write("two")
    assert "would" not in site.succeeds("status")
    site.succeeds("deploy")
    assert site.answer() == "two"
    second = site.live()

    assert f"Release '{second}' cannot be rolled back to: it is the live one" in site.fails(
        "rollback", "-e", f"release={second}"
    )
    site.succeeds("rollback", "-e", "reason=slow")
    assert (site.answer(), site.live()) == ("one", first)
    assert site.log()[-1] == ("bad", second)
    assert re.search(rf"shop: {first} \(revision \w+, proven", site.succeeds("status"))
    assert "There is no proven release" in site.fails("rollback")
    assert "marked bad" in site.fails("deploy")
    assert site.answer() == "one"


def test_a_release_that_fails_never_touches_the_one_that_serves(site: Site) -> None:
    site.write("one")
    site.succeeds("deploy")
    first = site.live()
    site.write("two", "throw new Error('boom at boot')")
    output = site.fails("deploy")
    assert "boom at boot" in output
    assert "shop (untouched, the same processes)" in output
    assert (site.answer(), site.live()) == ("one", first)
    assert site.log()[-1][0] == "bad"


def test_the_first_release_that_does_not_hold_has_nothing_to_go_back_to(site: Site) -> None:
    site.write("one", "throw new Error('boom at boot')")
    output = site.fails("deploy")
    assert "boom at boot" in output
    assert "Nothing ran before, nothing runs now" in output
    assert not (site.root / "current").is_symlink()


def test_what_is_refused_touches_nothing(site: Site) -> None:
    site.write("one")
    site.succeeds("deploy")
    first, log = site.live(), site.log()
    site.write("two")
    apps = [
        {
            "name": "shop",
            "source": {"type": "directory", "directory": str(site.directory / "source")},
            "needs_build": False,
            "processes": [{"script": "missing.js"}],
        }
    ]
    output = site.fails("deploy", pm2_apps=apps)
    assert "missing.js does not exist" in output
    assert (site.answer(), site.live(), site.log()) == ("one", first, log)


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        (["-e", "app=shp"], {}, "No app shp is declared for localhost; declared are shop."),
        ([], {"pm2_apps": []}, "No app is declared for localhost; set pm2_apps"),
        ([], {"pm2_apps": [{"name": "a", "source": {"type": "svn"}, "processes": []}]}, "svn"),
    ],
)
def test_bad_input_is_refused_by_name(
    site: Site, arguments: list[str], variables: dict[str, Any], message: str
) -> None:
    assert message in site.fails("deploy", *arguments, **variables)
    assert not site.root.exists()
