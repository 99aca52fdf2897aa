# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Built once, the same bytes everywhere: artifacts of real builds, and releases that are made of them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from releases.conftest import App, Repository
from support.run_module import run_module

PACKAGE = {
    "name": "shop",
    "version": "1.0.0",
    "scripts": {"test": "node -e 0", "build": "node build.js"},
    "dependencies": {"is-number": "7.0.0"},
    "devDependencies": {"is-odd": "3.0.1"},
}
BUILD = "require('fs').mkdirSync('dist'); require('fs').writeFileSync('dist/made.js', 'made ' + require('is-odd')(3))"


def pack(app: App, release: str, **options: Any) -> dict[str, Any]:
    return run_module("artifact", path=str(app.root), release=release, app="shop", **options)


def source_of(packed: dict[str, Any], **more: Any) -> dict[str, Any]:
    commit = packed["manifest"]["revision"]
    return {"type": "artifact", "file": packed["file"], "checksum": packed["checksum"], "commit": commit, **more}


@pytest.fixture
def node_app(repository: Repository) -> Repository:
    repository.write({"package.json": json.dumps(PACKAGE), "build.js": BUILD})
    # npm's lockfile names where each package came from, which differs from machine to machine
    settings = [
        "--package-lock-only",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--omit-lockfile-registry-resolved",
    ]
    npm(repository.path, "install", *settings)
    repository.write({"README": "with a lockfile\n"})
    return repository


def npm(directory: Path, *arguments: str) -> None:
    subprocess.run(["npm", *arguments], cwd=directory, check=True, capture_output=True)


def built(app: App, repository: Repository, **options: Any) -> str:
    release = str(app.stage(repository.source, needs_build=True)["release"]["id"])
    app.build(release, **options)
    return release


def test_two_builds_of_a_commit_are_the_same_bytes(tmp_path: Path, node_app: Repository) -> None:
    first, second = App(tmp_path / "a"), App(tmp_path / "elsewhere" / "b")
    packed = [pack(app, built(app, node_app, checks=True, prune=True), dependencies=True) for app in (first, second)]
    assert packed[0]["file"] != packed[1]["file"]
    assert packed[0]["checksum"] == packed[1]["checksum"]
    assert Path(packed[0]["file"]).read_bytes() == Path(packed[1]["file"]).read_bytes()
    manifest = packed[0]["manifest"]
    assert manifest["revision"] == node_app.git("rev-parse", "HEAD")
    assert manifest["time"] == int(node_app.git("show", "-s", "--format=%ct"))
    assert list(manifest["lockfiles"]) == ["package-lock.json"]
    assert manifest["runtime"]["node"].startswith("v")
    with tarfile.open(packed[0]["file"]) as tar:
        names = set(tar.getnames())
    assert {"dist/made.js", "node_modules/is-number/package.json"} <= names
    # what production does not need is not shipped
    assert not any(name.startswith(("node_modules/is-odd", ".zerodown/", ".git")) for name in names)


def test_it_is_packed_once(app: App, repository: Repository) -> None:
    release = str(app.stage(repository.source)["release"]["id"])
    assert pack(app, release, check=True)["changed"]
    assert not (app.root / "cache" / "artifacts").exists()
    packed = pack(app, release)
    assert packed["changed"]
    again = pack(app, release)
    assert not again["changed"]
    assert {**again, "changed": True, "invocation": None} == {**packed, "invocation": None}
    Path(packed["file"]).write_bytes(b"cut off")
    assert pack(app, release)["checksum"] == packed["checksum"]
    other = pack(app, release, exclude=["sub"])
    assert other["file"] != packed["file"]


def test_a_release_of_it(tmp_path: Path, app: App, node_app: Repository) -> None:
    builder = App(tmp_path / "builder")
    packed = pack(builder, built(builder, node_app, checks=True, prune=True), dependencies=True)
    shutil.rmtree(builder.root / "releases")
    staged = app.stage(source_of(packed))
    release = staged["release"]
    path = app.path(release["id"])
    assert release["revision"] == packed["manifest"]["revision"]
    assert release["id"].endswith(release["revision"][:8])
    assert (path / "dist" / "made.js").read_text() == "made true"
    assert os.stat(path / "server.js").st_mtime == packed["manifest"]["time"]
    assert not (path / ".zerodown-artifact.json").exists()
    assert release["ready"]
    assert not app.stage(source_of(packed))["changed"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"platform": {"system": "linux", "machine": "sparc", "libc": "other"}}, "It was built on linux sparc"),
        ({"runtime": {"node": "v4.0.0"}}, "It was built with node v4.0.0"),
        ({"revision": "f" * 40}, "is of fff"),
        ({"format": 9}, "has format 9"),
    ],
)
def test_what_is_for_others_is_refused(app: App, repository: Repository, change: dict[str, Any], says: str) -> None:
    packed = pack(app, str(app.stage(repository.source)["release"]["id"]))
    before = app.info()["releases"]
    source = source_of(forged(Path(packed["file"]), packed, change))
    failure = app.stage(source, fails=True)
    assert says in failure["msg"]
    assert app.info()["releases"] == before
    if "platform" in change:
        assert app.stage({**source, "any_platform": True})["changed"]


def forged(path: Path, packed: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """The same with another manifest."""
    target = path.with_name("forged.tar.gz")
    with tarfile.open(path) as old, tarfile.open(target, "w:gz") as new:
        for member in old:
            stream = old.extractfile(member)
            content = stream.read() if stream else b""
            if member.name == ".zerodown-artifact.json":
                content = json.dumps({**json.loads(content), **change}).encode()
                member.size = len(content)
            new.addfile(member, io.BytesIO(content))
    checksum = "sha256:" + hashlib.sha256(target.read_bytes()).hexdigest()
    return {"file": str(target), "checksum": checksum, "manifest": packed["manifest"]}


def test_what_is_no_artifact(app: App, tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("1")
    with tarfile.open(tmp_path / "plain.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "a.js", "a.js")
    checksum = "sha256:" + hashlib.sha256((tmp_path / "plain.tar.gz").read_bytes()).hexdigest()
    source = {"type": "artifact", "file": str(tmp_path / "plain.tar.gz"), "checksum": checksum, "commit": "a" * 40}
    assert "is no artifact" in app.stage(source, fails=True)["msg"]
    del source["checksum"]
    assert "needs source.checksum" in app.stage(source, fails=True)["msg"]


def test_what_is_not_built_is_not_packed(app: App, repository: Repository) -> None:
    release = str(app.stage(repository.source, needs_build=True)["release"]["id"])
    assert "is not built" in pack(app, release, fails=True)["msg"]
