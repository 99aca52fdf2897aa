# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pipelines that users copy: valid by their schemas, safe in what they say to a shell, and their scripts run."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.checkout import ROOT
from support.rulebook import eda_tools

TEMPLATES = ROOT / "docs" / "ci"
GITHUB = TEMPLATES / "github-actions.yml"
GITLAB = TEMPLATES / "gitlab-ci.yml"
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----"
HOSTS = "shop1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIb0"
DIGEST = "211eb0c6e95cee91"
# tells what it was called with; a delivery writes its file
PROGRAM = f"""#!/usr/bin/env python3
import json, os, sys
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]) + "\\n")
if "delivery_file=delivery.json" in sys.argv:
    with open("delivery.json", "w") as file:
        json.dump({{"digest": "{DIGEST}", "hosts": ["shop1"], "plan": []}}, file, indent=4)
"""


def github() -> Any:
    return yaml.safe_load(GITHUB.read_text())


def gitlab() -> Any:
    return yaml.safe_load(GITLAB.read_text())


@pytest.mark.parametrize(
    ("file", "schema"), [(GITHUB, "vendor.github-workflows"), (GITLAB, "vendor.gitlab-ci")], ids=["github", "gitlab"]
)
def test_the_schema(file: Path, schema: str) -> None:
    process = subprocess.run(
        [str(eda_tools() / "check-jsonschema"), "--builtin-schema", schema, str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr


def scripts_of_github(job: str) -> list[tuple[dict[str, str], str]]:
    """The environment and the script of each step that has one."""
    return [(step.get("env", {}), step["run"]) for step in github()["jobs"][job]["steps"] if "run" in step]


def script_of_gitlab(job: str) -> str:
    """As GitLab puts it together: all lines in one shell."""
    pipeline = gitlab()

    def lines(items: list[Any]) -> list[str]:
        """A list in a list, which an anchor makes, is read as if it were not there."""
        found: list[str] = []
        for item in items:
            found += lines(item) if isinstance(item, list) else [item]
        return found

    def inherited(name: str, key: str) -> Any:
        section = pipeline[name]
        return section[key] if key in section else inherited(section["extends"], key)

    return "\n".join([*lines(inherited(job, "before_script")), *lines(pipeline[job]["script"])])


JOBS = ("check", "deliver", "deploy")
SCRIPTS = [
    *(pytest.param("\n".join(run for _env, run in scripts_of_github(job)), id=f"github-{job}") for job in JOBS),
    *(pytest.param(script_of_gitlab(job), id=f"gitlab-{job}") for job in JOBS),
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_a_shell_gets(script: str) -> None:
    """Nothing is put into its text that it would take for its own, and shellcheck finds nothing."""
    assert "${{" not in script
    process = subprocess.run(
        ["shellcheck", "--shell=bash", "--severity=style", "-"],
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout


def test_github_gives_each_job_what_it_needs_and_no_more() -> None:
    workflow = github()
    assert workflow["permissions"] == {}
    jobs = workflow["jobs"]
    assert {name: job["permissions"] for name, job in jobs.items()} == {name: {"contents": "read"} for name in JOBS}
    assert {name: job.get("environment") for name, job in jobs.items()} == {
        "check": None,
        "deliver": "delivery",
        "deploy": "production",
    }
    # the job that runs the code of the app has no secret
    assert "secrets." not in json.dumps(jobs["check"])
    for name in ("deliver", "deploy"):
        assert jobs[name]["concurrency"] == {"group": f"{name}-shop", "cancel-in-progress": False}
    used = [step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", name) for name in used)
    assert all(
        step["with"]["persist-credentials"] is False
        for job in jobs.values()
        for step in job["steps"]
        if "checkout" in step.get("uses", "")
    )


def test_gitlab_waits_for_a_person_and_deploys_one_at_a_time() -> None:
    pipeline = gitlab()
    assert (pipeline["deploy"]["when"], pipeline["deploy"]["allow_failure"]) == ("manual", False)
    for name in ("deliver", "deploy"):
        assert pipeline[name]["resource_group"] == f"{name}-shop"
        assert pipeline[name]["interruptible"] is False
    assert "DEPLOY_" not in script_of_gitlab("check")


@dataclass
class Runner:
    """A machine of a CI server: programs that only tell what they were called with."""

    directory: Path

    def __post_init__(self) -> None:
        for name in ("pip", "ansible-galaxy", "ansible-playbook", "apt-get"):
            program = self.directory / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(PROGRAM)
            program.chmod(0o755)

    def run(self, script: str, **environment: str) -> str:
        home = self.directory / "home"
        home.mkdir(exist_ok=True)
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=self.directory,
            env={
                "PATH": f"{self.directory / 'bin'}{os.pathsep}{os.environ['PATH']}",
                "HOME": str(home),
                "CALLS": str(self.directory / "calls"),
                **environment,
            },
            capture_output=True,
            check=True,
            text=True,
        ).stdout

    def playbooks(self) -> list[list[str]]:
        calls = [json.loads(line) for line in (self.directory / "calls").read_text().splitlines()]
        assert KEY not in json.dumps(calls)
        return [arguments for name, *arguments in calls if name == "ansible-playbook"]

    def expected(self) -> list[list[str]]:
        common = [
            "-i",
            "inventory",
            "-e",
            "app=shop",
            "-e",
            "revision=abc",
            "-e",
            f"deploy_store={self.directory}/store",
        ]
        return [
            ["zerodown.pm2.ci", *common],
            ["zerodown.pm2.deliver", *common, "-e", "delivery_file=delivery.json"],
            ["zerodown.pm2.deploy", *common, "-e", "deploy_mode=delivery", "-e", f"go={DIGEST}"],
        ]

    def has_key(self) -> None:
        ssh = self.directory / "home" / ".ssh"
        files = {path.name: (path.stat().st_mode & 0o777, path.read_text().strip()) for path in ssh.iterdir()}
        assert files == {"deploy": (0o600, KEY), "known_hosts": (0o600, HOSTS)}
        assert (ssh / "deploy").read_text().endswith("-\n")


def test_the_scripts_of_github_run(tmp_path: Path) -> None:
    runner = Runner(tmp_path)
    common = {"APP": "shop", "REVISION": "abc", "ANSIBLE_CORE": "ansible-core", "COLLECTION": "zerodown.pm2"}
    values = {
        "${{ secrets.DEPLOY_SSH_KEY }}": KEY,
        "${{ secrets.DEPLOY_KNOWN_HOSTS }}": HOSTS,
        "${{ needs.deliver.outputs.digest }}": DIGEST,
    }
    files = {"GITHUB_OUTPUT": str(tmp_path / "output"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    for job in JOBS:
        for environment, script in scripts_of_github(job):
            given = {name: values.get(value, value) for name, value in environment.items()}
            assert KEY not in runner.run(script, **common, **files, **given)
    assert runner.playbooks() == runner.expected()
    runner.has_key()
    assert (tmp_path / "output").read_text() == f"digest={DIGEST}\n"
    summary = re.fullmatch(r"```json\n(.*)```\n", (tmp_path / "summary").read_text(), re.S)
    assert summary
    assert json.loads(summary[1])["digest"] == DIGEST


def test_the_scripts_of_gitlab_run(tmp_path: Path) -> None:
    runner = Runner(tmp_path)
    # GitLab cuts off the end of the last line
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "known").write_text(HOSTS)
    common = {"APP": "shop", "REVISION": "abc", "ANSIBLE_CORE": "ansible-core", "COLLECTION": "zerodown.pm2"}
    files = {"DEPLOY_SSH_KEY": str(tmp_path / "key"), "DEPLOY_KNOWN_HOSTS": str(tmp_path / "known")}
    # makes a virtual environment, whose pip would be the real one
    check = script_of_gitlab("check").replace("python3 -m venv ~/venv", "")
    assert check != script_of_gitlab("check")
    runner.run(check, **common)
    assert KEY not in runner.run(script_of_gitlab("deliver"), **common, **files)
    name, _, digest = (tmp_path / "delivery.env").read_text().strip().partition("=")
    runner.run(script_of_gitlab("deploy"), **common, **files, **{name: digest})
    assert runner.playbooks() == runner.expected()
    runner.has_key()
