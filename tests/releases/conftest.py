# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests of releases start from: an app's root, real git repositories made on the spot, real package managers."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.run_module import ROOT, run_module

PACKAGE_MANAGERS = ROOT / ".dev" / "package-managers"
# what the registry of this machine may need; a host's own settings say the same in files
TRUST = {name: os.environ[name] for name in ("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE") if name in os.environ}

# root may write read-only files, so that it never gets hard links; without these two it is like anyone else
AS_ANYONE = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


@dataclass
class App:
    """An app's root that may not exist yet."""

    root: Path

    def release(self, **options: Any) -> dict[str, Any]:
        return run_module("release", path=str(self.root), **options)

    def stage(self, source: dict[str, Any], **options: Any) -> dict[str, Any]:
        options.setdefault("needs_build", False)
        return self.release(source=source, **options)

    def deploy(self, source: dict[str, Any], proven: bool = True, **options: Any) -> str:
        """Stage, let it go live, and mark it as proven; gives back the id."""
        release_id = str(self.stage(source, **options)["release"]["id"])
        self.release(state="live", release=release_id)
        if proven:
            self.release(state="proven", release=release_id)
        return release_id

    def build(
        self,
        release_id: str,
        env: dict[str, Any] | None = None,
        timeout: int | None = None,
        session: dict[str, str] | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """:param session: the environment of the "ssh session"."""
        options.setdefault("prefix", AS_ANYONE)
        taken: dict[str, Any] = {"env": {**TRUST, **(env or {})}}
        if timeout is not None:
            taken["timeout"] = timeout
        return run_module("build", path=str(self.root), release=release_id, options=taken, env=session, **options)

    def info(self, **options: Any) -> dict[str, Any]:
        return run_module("release_info", path=str(self.root), **options)

    def path(self, release_id: str) -> Path:
        return self.root / "releases" / release_id

    @property
    def current(self) -> Path:
        return (self.root / "current").resolve()


@dataclass
class Repository:
    path: Path

    def git(self, *arguments: str) -> str:
        identity = [
            "-c",
            "user.name=Someone",
            "-c",
            "user.email=someone@example.com",
            "-c",
            "protocol.file.allow=always",
        ]
        return subprocess.run(
            ["git", *identity, "-C", str(self.path), *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    def write(self, files: dict[str, str]) -> str:
        """Write files and commit everything; the commit."""
        for name, content in files.items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_text(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "change")
        return self.git("rev-parse", "HEAD")

    @property
    def source(self) -> dict[str, Any]:
        return {"type": "git", "repo": str(self.path)}


def make_repository(path: Path) -> Repository:
    path.mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(path)], check=True)
    return Repository(path)


def snapshot(path: Path) -> dict[str, str]:
    """Everything below a path, to compare: names, modes, targets, contents; locks only hold who had them last."""
    found = {}
    for item in sorted(path.rglob("*")) if path.exists() else []:
        if item.suffix == ".lock":
            continue
        content = str(item.readlink()) if item.is_symlink() else ""
        if item.is_file() and not item.is_symlink():
            content = hashlib.sha256(item.read_bytes()).hexdigest()
        found[str(item.relative_to(path))] = f"{item.lstat().st_mode:o} {content}"
    return found


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(tmp_path / "app")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = make_repository(tmp_path / "repository")
    made.write({"server.js": "1\n", "bin/run": "#!/bin/sh\n", "sub/dir/file": "x\n"})
    (made.path / "bin/run").chmod(0o755)
    made.write({"README": "x\n"})
    return made


@dataclass(frozen=True)
class Manager:
    """A package manager of the registry, installed for the tests.

    :ivar env: with it first on PATH, as a host would have it.
    """

    name: str
    binaries: Path

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{self.binaries}:{os.environ['PATH']}"}

    def run(self, *arguments: str, cwd: Path) -> None:
        subprocess.run([self.name, *arguments], cwd=cwd, env=self.env, check=True, capture_output=True)


# name, package, version
MANAGERS = {
    "pnpm": ("pnpm", "pnpm", "10.24.0"),
    "yarn1": ("yarn", "yarn", "1.22.22"),
    "yarn4": ("yarn", "@yarnpkg/cli-dist", "4.12.0"),
}


def install_manager(key: str) -> Manager:
    """Once for all runs, below .dev."""
    name, package, version = MANAGERS[key]
    home = PACKAGE_MANAGERS / f"{key}-{version}"
    PACKAGE_MANAGERS.mkdir(parents=True, exist_ok=True)
    with (PACKAGE_MANAGERS / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "node_modules" / package / "package.json").exists():
            subprocess.run(
                ["npm", "install", "--prefix", str(home), "--no-audit", "--no-fund", "--ignore-scripts"]
                + [f"{package}@{version}"],
                check=True,
                capture_output=True,
            )
    found = json.loads((home / "node_modules" / package / "package.json").read_text())["version"]
    assert found == version
    return Manager(name, home / "node_modules" / ".bin")


UV_VERSION = "0.13.9"


def install_uv() -> Manager:
    """Once for all runs, below .dev."""
    home = PACKAGE_MANAGERS / f"uv-{UV_VERSION}"
    PACKAGE_MANAGERS.mkdir(parents=True, exist_ok=True)
    with (PACKAGE_MANAGERS / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "bin" / "uv").exists():
            subprocess.run([sys.executable, "-m", "venv", str(home)], check=True, capture_output=True)
            subprocess.run([home / "bin" / "pip", "install", f"uv=={UV_VERSION}"], check=True, capture_output=True)
    # alone on PATH: beside it is a Python
    (home / "only").mkdir(exist_ok=True)
    if not (home / "only" / "uv").exists():
        (home / "only" / "uv").symlink_to(home / "bin" / "uv")
    return Manager("uv", home / "only")


def install_python_tool(name: str, packages: list[str]) -> Manager:
    """Likewise, from PyPI."""
    uv = install_uv()
    home = PACKAGE_MANAGERS / "-".join([name, *packages]).replace("==", "-")
    with (PACKAGE_MANAGERS / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "only" / name).exists():
            for arguments in (["venv", "--quiet", "--clear", str(home)], ["pip", "install", "--quiet", *packages]):
                env = {**uv.env, "VIRTUAL_ENV": str(home)}
                subprocess.run(["uv", *arguments], env=env, check=True, capture_output=True)
            (home / "only").mkdir()
            (home / "only" / name).symlink_to(home / "bin" / name)
    return Manager(name, home / "only")


@pytest.fixture
def busy_from() -> Iterator[Any]:
    """A function that starts a process in a directory; it ends with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(directory: Path) -> None:
        process = subprocess.Popen(["cat"], cwd=directory, stdin=subprocess.PIPE)
        started.append(process)

    yield start
    for process in started:
        process.communicate()
