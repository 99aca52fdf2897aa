# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""pnpm and Yarn, of both kinds, and workspaces: a clean install by lockfile, the cache, a production tree."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from releases.conftest import AS_ANYONE, MANAGERS, App, Manager, Repository, install_manager, make_repository

LOCK = {
    "pnpm": ["install", "--lockfile-only"],
    "yarn1": ["install", "--ignore-scripts"],
    "yarn4": ["install", "--mode=update-lockfile"],
}
PACKAGE: dict[str, Any] = {
    "name": "shop",
    "version": "1.0.0",
    "private": True,
    "scripts": {"build": 'node -e \'require("ms"); console.log(require("semver").inc("1.0.0", "major"))\''},
    "dependencies": {"semver": "7.7.1"},
    "devDependencies": {"ms": "2.1.3"},
}


@dataclass(frozen=True)
class Project:
    """A package with a lockfile of one package manager."""

    manager: Manager
    directory: Path


def make_project(key: str, directory: Path) -> Project:
    manager = install_manager(key)
    (directory / "package.json").write_text(json.dumps(PACKAGE, indent=2))
    if key == "yarn4":
        (directory / ".yarnrc.yml").write_text("nodeLinker: node-modules\n")
        # tells Yarn that this is a project of its own
        (directory / "yarn.lock").write_text("")
    manager.run(*LOCK[key], cwd=directory)
    shutil.rmtree(directory / "node_modules", ignore_errors=True)
    return Project(manager, directory)


@pytest.fixture(scope="module", params=sorted(MANAGERS))
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(request.param, tmp_path_factory.mktemp(request.param))


def repository_of(project: Project, path: Path) -> Repository:
    made = make_repository(path)
    for item in project.directory.iterdir():
        if item.is_file():
            shutil.copy(item, made.path)
    made.write({})
    return made


def stage(app: App, repository: Repository, number: int) -> str:
    staged = app.stage(repository.source, needs_build=True, variant={"number": number}, prefix=AS_ANYONE)
    return str(staged["release"]["id"])


def runs(directory: Path, code: str) -> bool:
    return subprocess.run(["node", "-e", code], cwd=directory, check=False, capture_output=True).returncode == 0


def test_install_cache_and_prune(app: App, project: Project, tmp_path: Path) -> None:
    repository = repository_of(project, tmp_path / "repository")
    session = project.manager.env
    # NODE_ENV=production must not keep the development dependency away, which the build needs
    options: dict[str, Any] = {"scripts": ["build"], "env": {"NODE_ENV": "production"}, "session": session}
    first = stage(app, repository, 1)
    result = app.build(first, **options)
    assert result["dependencies"]["package_manager"] == project.manager.name
    assert (result["dependencies"]["cache"], result["dependencies"]["notice"]) == ("miss", None)
    second = stage(app, repository, 2)
    result = app.build(second, **options)
    assert [step["name"] for step in result["steps"]] == ["script build"]
    assert result["dependencies"]["cache"] == "hit"

    # the second one stands on its own
    shutil.rmtree(app.path(first))
    assert runs(app.path(second), "require('ms'); require('semver')")
    assert subprocess.run([app.path(second) / "node_modules/.bin/semver", "1.2.3"], check=True, capture_output=True)

    third = stage(app, repository, 3)
    result = app.build(third, **options, prune=True)
    assert [step["name"] for step in result["steps"]] == ["script build", "prune"]
    assert runs(app.path(third), "require('semver')")
    assert not runs(app.path(third), "require('ms')")
    assert runs(app.path(second), "require('ms'); require('semver')")


def test_a_lockfile_that_does_not_fit(app: App, project: Project, tmp_path: Path) -> None:
    repository = repository_of(project, tmp_path / "repository")
    package = {**PACKAGE, "dependencies": {"semver": "7.7.1", "is-number": "7.0.0"}}
    repository.write({"package.json": json.dumps(package)})
    result = app.build(stage(app, repository, 1), session=project.manager.env, fails=True)
    assert result["step"] == "install"
    assert "lock" in "\n".join(result["output_tail"]).lower()


@pytest.mark.parametrize(("key", "other"), [("yarn1", "yarn4"), ("yarn4", "yarn1")])
def test_the_other_yarn_is_refused(app: App, tmp_path: Path, key: str, other: str) -> None:
    (tmp_path / "project").mkdir()
    repository = repository_of(make_project(key, tmp_path / "project"), tmp_path / "repository")
    release = stage(app, repository, 1)
    message = app.build(release, session=install_manager(other).env, fails=True)["msg"]
    assert "yarn.lock is of Yarn" in message
    assert "install the other one" in message


def test_a_yarn_that_the_repository_brings_along(app: App, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    repository = repository_of(make_project("yarn4", tmp_path / "project"), tmp_path / "repository")
    binary = install_manager("yarn4").binaries / "yarn"
    (repository.path / ".yarn/releases").mkdir(parents=True)
    shutil.copy(binary.resolve(), repository.path / ".yarn/releases/yarn.cjs")
    settings = (repository.path / ".yarnrc.yml").read_text()
    repository.write({".yarnrc.yml": settings + "yarnPath: .yarn/releases/yarn.cjs\n"})
    result = app.build(stage(app, repository, 1), scripts=["build"])
    assert result["dependencies"]["package_manager"] == "yarn"
    assert result["steps"][0]["argv"][1].endswith(".yarn/releases/yarn.cjs")


def test_plug_and_play_has_nothing_to_cache(app: App, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    project = make_project("yarn4", tmp_path / "project")
    repository = repository_of(project, tmp_path / "repository")
    repository.write({".yarnrc.yml": "nodeLinker: pnp\n"})
    result = app.build(stage(app, repository, 1), scripts=["build"], session=project.manager.env)
    assert result["dependencies"]["notice"] == "the install made no node_modules"


@pytest.mark.parametrize("key", ["npm", "pnpm"])
def test_workspaces(app: App, tmp_path: Path, key: str) -> None:
    root = make_repository(tmp_path / "repository")
    part = {"name": "part", "version": "1.0.0", "main": "index.js", "dependencies": {"semver": "6.3.1"}}
    files = {
        "packages/part/package.json": json.dumps(part),
        "packages/part/index.js": "module.exports = require('semver/package.json').version\n",
        ".gitignore": "node_modules\n",
    }
    package = {**PACKAGE, "dependencies": {"semver": "7.7.1"}}
    session = None
    if key == "npm":
        files["package.json"] = json.dumps({**package, "workspaces": ["packages/*"]})
        root.write(files)
        subprocess.run(
            ["npm", "install", "--package-lock-only", "--no-audit", "--no-fund"],
            cwd=root.path,
            check=True,
            capture_output=True,
        )
    else:
        files["package.json"] = json.dumps({**package, "dependencies": {"semver": "7.7.1", "part": "workspace:*"}})
        files["pnpm-workspace.yaml"] = "packages:\n  - packages/*\n"
        root.write(files)
        manager = install_manager("pnpm")
        session = manager.env
        manager.run("install", "--lockfile-only", cwd=root.path)
    root.write({})
    first = stage(app, root, 1)
    result = app.build(first, session=session)
    assert (result["dependencies"]["cache"], result["dependencies"]["notice"]) == ("miss", None)
    (root.path / "packages/part/index.js").write_text("module.exports = 'newer'\n")
    root.write({})
    second = stage(app, root, 2)
    assert app.build(second, session=session)["dependencies"]["cache"] == "hit"
    shown = {
        release: subprocess.run(
            ["node", "-p", "require('part')"], cwd=app.path(release), check=True, capture_output=True, text=True
        ).stdout.strip()
        for release in (first, second)
    }
    # its own version of the dependency, and each release its own source
    assert shown == {first: "6.3.1", second: "newer"}
