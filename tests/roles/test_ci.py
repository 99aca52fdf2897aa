# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook ci, and what hosts stage by its records: real git repositories, npm, pip, two hosts of one fleet."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.ansible_output import failed
from support.forge import TOKEN, serve_forge, serve_store

ROOT = Path(__file__).resolve().parents[2]
SECRET = "s3cret-of-the-build"
PACKAGE = {
    "name": "shop",
    "version": "1.0.0",
    "scripts": {"lint": "node -e 0", "test": "node test.js", "build": "node build.js"},
    "dependencies": {"is-number": "7.0.0"},
    "devDependencies": {"is-odd": "3.0.1"},
}
BUILD = "require('fs').mkdirSync('dist'); require('fs').writeFileSync('dist/made.js', 'made ' + require('is-odd')(3))"
# stages as the role does
STAGE = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: zerodown.pm2.app, tasks_from: source}
      loop: "{{ pm2_apps }}"
      loop_control: {loop_var: __app_item, label: "{{ __app_item.name }}"}
    - zerodown.pm2.release:
        path: "{{ pm2_apps_root }}/{{ item.name }}"
        source: "{{ __app_sources[item.name] }}"
        variant: {build: "{{ item.build | default({}) }}"}
        needs_build: "{{ __app_builds[item.name] is not none }}"
      loop: "{{ pm2_apps }}"
      loop_control: {label: "{{ item.name }}"}
      register: staged
    - zerodown.pm2.build:
        path: "{{ pm2_apps_root }}/{{ item.item.name }}"
        release: "{{ item.release.id }}"
        directory: "{{ __build.directory | default(omit) }}"
        package_manager: "{{ __build.package_manager | default(omit) }}"
        scripts: "{{ __build.scripts | default(omit) }}"
        steps: "{{ __build.steps | default(omit) }}"
        prune: "{{ __build.prune | default(omit) }}"
        python: "{{ __build.python | default(omit) }}"
        env: "{{ __build.env | default(omit) }}"
      vars:
        __build: "{{ __app_builds[item.item.name] }}"
      when: __build is not none
      loop: "{{ staged.results }}"
      loop_control: {label: "{{ item.item.name }}"}
    - ansible.builtin.include_role: {name: zerodown.pm2.app, tasks_from: source_done}
      loop: "{{ pm2_apps }}"
      loop_control: {loop_var: __app_item, label: "{{ __app_item.name }}"}
    - ansible.builtin.copy:
        content: "{{ {'sources': __app_sources, 'builds': __app_builds, 'built': __app_built} | to_json }}"
        dest: "{{ pm2_apps_root }}/facts.json"
        mode: '0600'
"""


def git(directory: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Someone", "-c", "user.email=someone@example.com"]
    command = ["git", *identity, "-C", str(directory), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def trust() -> dict[str, str]:
    """What the registry of this machine may need; a host's own settings say the same in files."""
    return {name: os.environ[name] for name in ("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE") if name in os.environ}


@dataclass
class Fleet:
    """Two hosts, both this machine, with roots of their own.

    :ivar apps: by host.
    """

    directory: Path
    variables: dict[str, Any] = field(default_factory=dict)
    apps: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def repository(self) -> Path:
        return self.directory / "repository"

    def declare(self, **app: Any) -> dict[str, Any]:
        """One app for both hosts."""
        declared = {
            "name": "shop",
            "source": {"type": "git", "repo": str(self.repository), "version": "main"},
            "processes": [{"script": "server.js"}],
            **app,
        }
        declared["build"] = {**declared.get("build", {})}
        declared["build"]["env"] = {**trust(), "BUILD_TOKEN": SECRET, **declared["build"].get("env", {})}
        self.apps = {"web1": [declared], "web2": [declared]}
        return declared

    def commit(self, files: dict[str, str]) -> str:
        if not self.repository.exists():
            self.repository.mkdir(parents=True)
            git(self.repository, "init", "--quiet", "--initial-branch=main")
        for name, content in files.items():
            (self.repository / name).write_text(content)
        git(self.repository, "add", "--all")
        git(self.repository, "commit", "--quiet", "--message", "change")
        return git(self.repository, "rev-parse", "HEAD")

    def node_app(self, **package: Any) -> str:
        files = {"package.json": json.dumps({**PACKAGE, **package}), "build.js": BUILD, "test.js": "", "server.js": "1"}
        commit = self.commit(files)
        # npm's lockfile names where each package came from, which differs from machine to machine
        settings = ["--package-lock-only", "--ignore-scripts", "--no-audit", "--no-fund"]
        npm = ["npm", "install", *settings, "--omit-lockfile-registry-resolved"]
        subprocess.run(npm, cwd=self.repository, check=True, capture_output=True)
        return self.commit({}) if git(self.repository, "status", "--porcelain") else commit

    def run(self, playbook: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        hosts = {
            name: {"pm2_apps_root": str(self.directory / name), "pm2_apps": apps} for name, apps in self.apps.items()
        }
        common = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "pm2_scope": "user",
            "deploy_store": str(self.directory / "store"),
            "deploy_build_root": str(self.directory / "build"),
            **self.variables,
        }
        self.directory.mkdir(exist_ok=True)
        (self.directory / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts, "vars": common}}))
        (self.directory / "stage.yml").write_text(STAGE)
        for name in hosts:
            (self.directory / name).mkdir(exist_ok=True)
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "hosts.yml", playbook, *arguments]
        process = subprocess.run(
            command,
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
            env={
                **os.environ,
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".dev" / "collections"),
                "ANSIBLE_HOME": str(self.directory / "ansible"),
                "ANSIBLE_LOCALHOST_WARNING": "false",
                "ANSIBLE_PIPELINING": "true",
            },
        )
        assert SECRET not in process.stdout + process.stderr
        assert TOKEN not in process.stdout + process.stderr
        return process

    def succeeds(self, playbook: str, *arguments: str) -> str:
        process = self.run(playbook, *arguments)
        assert process.returncode == 0, failed(playbook, process.stdout + process.stderr)
        return process.stdout

    def fails(self, playbook: str, *arguments: str) -> str:
        """Gives back all output in one line, because Ansible breaks long ones."""
        process = self.run(playbook, *arguments)
        assert process.returncode != 0, process.stdout
        return " ".join((process.stdout + process.stderr).split())

    def record(self, commit: str, app: str = "shop") -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.directory / "store" / app / f"{commit}.json").read_text())
        return content

    def facts(self, host: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.directory / host / "facts.json").read_text())
        return content

    def releases(self, host: str, app: str = "shop") -> list[Path]:
        return sorted((self.directory / host / app / "releases").glob("2*"))


CI = "zerodown.pm2.ci"
STAGED = "stage.yml"


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def test_checked_once_packed_and_staged_everywhere(fleet: Fleet) -> None:
    commit = fleet.node_app()
    fleet.declare(ci={}, artifact={"dependencies": True}, build={"prune": True})
    output = fleet.succeeds(CI, "-v")
    assert output.count("TASK [zerodown.pm2.app : Check and build (shop)]") == 1
    record = fleet.record(commit)
    assert (record["result"], record["app"], record["commit"]) == ("green", "shop", commit)
    assert [(step["name"], step["ok"]) for step in record["steps"]] == [
        ("install", True),
        ("script lint", True),
        ("script test", True),
        ("script build", True),
        ("prune", True),
    ]
    assert {"git", "node", "npm"} <= set(record["tools"])
    assert record["platform"]["system"] == "linux"
    assert SECRET not in json.dumps(record)
    store = fleet.directory / "store" / "shop"
    packed = store / record["artifact"]["name"]
    assert "sha256:" + hashlib.sha256(packed.read_bytes()).hexdigest() == record["artifact"]["checksum"]
    assert oct((store / f"{commit}.json").stat().st_mode)[-3:] == "600"
    assert oct(store.stat().st_mode)[-3:] == "700"
    # nothing was done on the hosts, and the build host keeps no second copy
    assert not fleet.releases("web1")
    assert not list((fleet.directory / "build/shop/cache/artifacts").glob("*.tar.gz"))

    again = fleet.succeeds(CI)
    assert "Check and build (shop)]" not in again
    assert "is green already" in again
    assert "changed=0" in again
    assert "changed=0" not in again.replace("changed=0", "", 2)

    fleet.succeeds(STAGED)
    for host in ("web1", "web2"):
        (release,) = fleet.releases(host)
        assert (release / "dist/made.js").read_text() == "made true"
        assert (release / "node_modules/is-number/package.json").exists()
        assert not (release / "node_modules/is-odd").exists()
        facts = fleet.facts(host)
        assert facts["sources"]["shop"]["type"] == "artifact"
        assert facts["builds"] == {"shop": None}
        assert facts["built"]["shop"]["commit"] == commit
        assert facts["built"]["shop"]["record"]["result"] == "green"
        assert not (fleet.directory / host / "shop/cache/incoming").exists()
    # built again, elsewhere: the same bytes, so that what is there is not brought again
    fleet.variables["deploy_build_root"] = str(fleet.directory / "elsewhere" / "build")
    fleet.succeeds(CI, "-e", "ci_again=true")
    second = fleet.record(commit)
    assert second["when"] > record["when"]
    assert second["artifact"] == record["artifact"]
    assert len(list(store.glob("*.tar.gz"))) == 1
    again = fleet.succeeds(STAGED)
    # the file with the facts alone
    assert again.count(" changed=1 ") == 2
    assert len(fleet.releases("web1")) == 1


def test_a_red_step_is_recorded_and_nothing_is_staged(fleet: Fleet) -> None:
    script = f"console.error('it says {SECRET[:4]}' + '{SECRET[4:]}'); console.error('1 failing'); process.exit(3)"
    commit = fleet.node_app()
    fleet.commit({"test.js": script})
    commit = fleet.commit({"README": "red\n"})
    fleet.declare(ci={})
    output = fleet.fails(CI)
    assert f"App shop: commit {commit} failed at script test" in output
    assert "1 failing" in output
    record = fleet.record(commit)
    assert record["result"] == "red"
    assert record["failed"]["step"] == "script test"
    assert "1 failing" in record["failed"]["lines"]
    assert SECRET not in json.dumps(record)
    # it failed fast
    assert [(step["name"], step["ok"]) for step in record["steps"]][-1] == ("script test", False)
    refused = fleet.fails(STAGED)
    assert f"App shop: commit {commit} is not staged: its step 'script test' failed" in refused
    assert "1 failing" in refused
    assert "web1 : ok=" in refused
    assert "web2 : ok=" in refused
    assert not fleet.releases("web1")
    assert not fleet.releases("web2")

    # mended, and by a run that is green the record is replaced
    fleet.apps["web1"][0]["ci"] = fleet.apps["web2"][0]["ci"] = {"scripts": ["lint"]}
    assert "it was checked with another ci than is declared now" in fleet.fails(STAGED)
    fleet.succeeds(CI)
    assert fleet.record(commit)["result"] == "green"
    fleet.succeeds(STAGED)
    facts = fleet.facts("web1")
    assert facts["sources"]["shop"] == {"type": "git", "repo": str(fleet.repository), "version": commit}
    assert len(fleet.releases("web1")) == 1


def test_what_is_not_recorded_or_moved_on(fleet: Fleet) -> None:
    first = fleet.node_app()
    fleet.declare(ci={"steps": [{"name": "look", "argv": ["true"]}]}, needs_build=False)
    refused = fleet.fails(STAGED)
    assert f"App shop: commit {first} is not staged: nothing is recorded of it; run ansible-playbook" in refused
    fleet.succeeds(CI)
    fleet.succeeds(STAGED)
    assert fleet.facts("web2")["builds"] == {"shop": None}
    second = fleet.commit({"server.js": "2"})
    assert f"commit {second} is not staged: nothing is recorded" in fleet.fails(STAGED)
    # not asked for, and not refused
    fleet.apps["web1"][0]["ci"]["required"] = False
    fleet.succeeds(STAGED)
    assert fleet.facts("web1")["built"]["shop"] == {"commit": second, "record": None}


def test_python_gets_its_environment_on_the_host(fleet: Fleet) -> None:
    commit = fleet.commit(
        {
            "requirements.txt": "iniconfig==2.1.0\n",
            "requirements-dev.txt": "pytest==9.0.1\n",
            "test_app.py": "import iniconfig\n\n\ndef test_it():\n    assert iniconfig\n",
            "app.py": "",
        }
    )
    fleet.declare(
        ci={},
        artifact={},
        build={"python": {"installer": "pip"}, "steps": [{"name": "static", "argv": ["touch", "made"]}]},
    )
    fleet.succeeds(CI)
    record = fleet.record(commit)
    names = [step["name"] for step in record["steps"]]
    assert names[-2:] == ["pytest", "static"]
    assert record["artifact"]["manifest"]["runtime"]["python"].startswith("3.")
    fleet.succeeds(STAGED)
    (release,) = fleet.releases("web2")
    assert (release / "made").exists()
    assert (release / ".venv/bin/python").exists()
    built = json.loads((release / ".zerodown/release.json").read_text())["build"]
    assert "static" not in [step["name"] for step in built["steps"]]
    assert not list(release.glob(".venv/lib/*/site-packages/pytest"))


def test_hosts_that_contradict_each_other_are_refused(fleet: Fleet) -> None:
    fleet.node_app()
    app = fleet.declare(ci={})
    fleet.apps["web2"] = [{**app, "build": {**app["build"], "scripts": ["build"]}}]
    output = fleet.fails(CI)
    assert "App shop is declared with one build for web1 and with another for web2" in output
    assert not (fleet.directory / "store").exists()
    fleet.declare()
    assert "None of the selected apps declares ci or artifact" in fleet.fails(CI)


@pytest.mark.whole
def test_each_host_may_have_apps_of_its_own(fleet: Fleet) -> None:
    commit = fleet.commit({"server.js": "1"})
    shop = fleet.declare(ci={"steps": [{"name": "look", "argv": ["true"]}]})
    fleet.apps = {"web1": [shop], "web2": [{**shop, "name": "api"}, shop, {**shop, "name": "pages", "ci": None}]}
    del fleet.apps["web2"][2]["ci"]
    fleet.succeeds(CI)
    assert fleet.record(commit)["result"] == fleet.record(commit, "api")["result"] == "green"
    assert not (fleet.directory / "store/pages").exists()
    fleet.succeeds(STAGED)
    assert len(fleet.releases("web2", "pages")) == len(fleet.releases("web2", "api")) == 1


def test_check_mode_builds_nothing(fleet: Fleet) -> None:
    fleet.node_app()
    fleet.declare(ci={}, artifact={})
    assert "is checked" in fleet.succeeds(CI, "--check")
    assert not (fleet.directory / "store").exists()
    assert not (fleet.directory / "build").exists()


@pytest.mark.whole
def test_only_the_newest_are_kept(fleet: Fleet) -> None:
    fleet.declare(ci={"steps": [{"name": "look", "argv": ["true"]}]}, artifact={"keep": 2})
    commits = []
    for number in range(3):
        commits.append(fleet.commit({"server.js": str(number)}))
        fleet.succeeds(CI)
    kept = {path.name[:40] for path in (fleet.directory / "store/shop").iterdir()}
    assert kept == set(commits[1:])
    assert len(list((fleet.directory / "store/shop").iterdir())) == 4


@pytest.mark.whole
def test_a_store_at_an_address(fleet: Fleet) -> None:
    commit = fleet.node_app()
    fleet.declare(ci={}, artifact={"dependencies": True}, build={"prune": True})
    with serve_store() as store:
        fleet.variables["deploy_store"] = store.url + "/"
        assert f"The store {store.url} answered status 401" in fleet.fails(CI)
        fleet.variables["deploy_store_headers"] = {"Authorization": f"Bearer {TOKEN}"}
        store.status = 507
        assert "did not take what was uploaded (status 507)" in fleet.fails(CI, "-v")
        store.status = 201
        fleet.succeeds(CI, "-v")
        record = json.loads(store.files[f"/artifacts/shop/{commit}.json"])
        assert record["result"] == "green"
        assert set(store.files) == {f"/artifacts/shop/{commit}.json", f"/artifacts/shop/{record['artifact']['name']}"}
        assert "is green already" in fleet.succeeds(CI)
        fleet.succeeds(STAGED)
        facts = fleet.facts("web1")
        assert facts["sources"]["shop"]["url"] == f"{store.url}/shop/{record['artifact']['name']}"
        for host in ("web1", "web2"):
            (release,) = fleet.releases(host)
            assert (release / "dist/made.js").exists()
    shutil.rmtree(fleet.directory / "web1" / "shop")
    assert f"The store {store.url} answered nothing" in fleet.fails(STAGED)


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_what_a_forge_says(fleet: Fleet, kind: str) -> None:
    commit = fleet.commit({"server.js": "1"})
    with serve_forge(kind) as forge:
        forge.token = TOKEN
        statuses = {"type": kind, "url": forge.url, "repo": "team/shop", "token": TOKEN, "contexts": ["lint", "test"]}
        fleet.declare(ci={"required": False, "statuses": statuses}, needs_build=False)

        def said(**states: str) -> None:
            """More than one page of others before them."""
            others = [f"other-{number}" for number in range(110)]
            if kind == "gitlab":
                rows = [*((name, "success") for name in others), *states.items()]
                forge.statuses = [{"id": n, "name": name, "status": state} for n, (name, state) in enumerate(rows)]
                return
            forge.statuses = [{"context": name, "state": "success"} for name in others]
            forge.checks = [
                {"name": name, "status": "in_progress", "conclusion": None}
                if state == "running"
                else {"name": name, "status": "completed", "conclusion": "failure" if state == "failed" else state}
                for name, state in states.items()
            ]

        said(lint="success", test="failed")
        output = fleet.fails(STAGED)
        assert f"Commit {commit} is not staged" in output
        assert "test: failure" in output
        assert "lint: " not in output
        assert not fleet.releases("web1")
        # once for all hosts
        assert len(forge.asked) == {"github": 3, "gitlab": 2}[kind]
        said(lint="success")
        assert "test: not reported" in fleet.fails(STAGED)
        said(lint="success", test="running")
        assert "test: pending" in fleet.fails(STAGED)
        said(lint="success", test="success")
        fleet.succeeds(STAGED)
        assert fleet.facts("web2")["sources"]["shop"]["version"] == commit
        forge.token = "another"
        assert "answered status 401" in fleet.fails(STAGED)


def test_a_check_that_still_runs_is_waited_for(fleet: Fleet) -> None:
    fleet.commit({"server.js": "1"})
    with serve_forge("github") as forge:
        forge.token = TOKEN
        forge.checks = [{"name": "test", "status": "queued", "conclusion": None}]
        forge.then = [{"name": "test", "status": "completed", "conclusion": "success"}]
        statuses = {"type": "github", "url": forge.url, "repo": "team/shop", "token": TOKEN, "wait": 60}
        fleet.declare(ci={"required": False, "statuses": statuses}, needs_build=False)
        fleet.succeeds(STAGED)
        assert len(forge.asked) == 4
