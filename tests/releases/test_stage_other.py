# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Staging from archives, downloads and directories, and when the disk is full."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from releases.conftest import App, Repository, snapshot


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "node_modules/x").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "server.js").write_text("1\n")
    (root / "run").write_text("#!/bin/sh\n")
    (root / "run").chmod(0o755)
    return root


@pytest.fixture
def archive(tree: Path, tmp_path: Path) -> Path:
    path = tmp_path / "shop.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(tree / "server.js", "shop-1.0/server.js")
        tar.add(tree / "run", "shop-1.0/run")
    return path


def checksum(path: Path, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, path.read_bytes()).hexdigest()}"


def test_an_archive(app: App, archive: Path) -> None:
    source = {"type": "archive", "file": str(archive), "strip_components": 1}
    planned = app.stage(source, check=True)
    assert not app.root.exists()
    release = app.stage(source)["release"]
    path = app.path(release["id"])
    assert release["revision"] == planned["release"]["revision"] == checksum(archive).split(":")[1]
    assert release["id"].endswith(release["revision"][:8])
    assert (path / "server.js").read_text() == "1\n"
    assert os.access(path / "run", os.X_OK)
    assert not app.stage(source)["changed"]
    assert not app.stage({**source, "checksum": checksum(archive)})["changed"]
    assert app.stage({"type": "archive", "file": str(archive)})["changed"]


def test_an_archive_of_zstd(app: App, archive: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.tar"
    with tarfile.open(archive) as packed, tarfile.open(plain, "w") as tar:
        for member in packed:
            tar.addfile(member, packed.extractfile(member))
    subprocess.run(["zstd", "-q", str(plain)], check=True)
    release = app.stage({"type": "archive", "file": f"{plain}.zst", "strip_components": 1})["release"]
    assert (app.path(release["id"]) / "server.js").read_text() == "1\n"
    left = [path.name for path in (app.root / "releases").iterdir() if path.name.endswith(".tar")]
    assert left == []


def test_a_wrong_checksum_leaves_the_host_as_it_was(app: App, archive: Path) -> None:
    source = {"type": "archive", "file": str(archive), "checksum": "sha256:" + "0" * 64}
    assert "expected was 000" in app.stage(source, fails=True)["msg"]
    assert not app.root.exists()


def test_an_archive_that_is_missing_or_is_none(app: App, tmp_path: Path) -> None:
    missing = {"type": "archive", "file": str(tmp_path / "missing.tar")}
    assert "missing.tar cannot be read" in app.stage(missing, fails=True)["msg"]
    (tmp_path / "text").write_text("no archive")
    assert "is damaged" in app.stage({"type": "archive", "file": str(tmp_path / "text")}, fails=True)["msg"]
    assert not app.root.exists()


class Server(ThreadingHTTPServer):
    """Serves ``content`` at /shop.tar.gz to who has the token, and redirects from /moved to it on another name.

    :ivar tokens: of each request for /open.tar.gz, which needs none.
    """

    content = b""
    requests = 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.tokens: list[str | None] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests += 1
        token = self.headers.get("Authorization")
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_address[1]}/open.tar.gz")
            self.end_headers()
        elif self.path == "/shop.tar.gz?signature=s3cr3t" and token != "Bearer t0k3n-t0k3n":
            self.send_error(403)
        else:
            self.server.tokens.append(token)
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.server.content)))
            self.end_headers()
            self.wfile.write(self.server.content)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output of the tests clean."""


@pytest.fixture
def server(archive: Path) -> Iterator[Server]:
    with Server() as made:
        made.content = archive.read_bytes()
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def test_a_download(app: App, archive: Path, server: Server) -> None:
    source: dict[str, Any] = {
        "type": "archive",
        "url": f"http://127.0.0.1:{server.server_address[1]}/shop.tar.gz?signature=s3cr3t",
        "headers": {"Authorization": "Bearer t0k3n-t0k3n"},
        "checksum": checksum(archive, "sha512"),
        "strip_components": 1,
    }
    result = app.stage(source)
    path = app.path(result["release"]["id"])
    assert (path / "server.js").read_text() == "1\n"
    manifest = (path / ".zerodown/release.json").read_text()
    assert "s3cr3t" not in manifest
    assert "t0k3n" not in manifest + str(result)
    assert list((app.root / "cache").iterdir()) == []
    requests = server.requests
    assert not app.stage(source)["changed"]
    assert server.requests == requests
    refused = app.stage({**source, "headers": None, "strip_components": 0}, fails=True)
    assert "could not be downloaded: Forbidden" in refused["msg"]
    assert "s3cr3t" not in refused["msg"]


def test_a_token_is_not_sent_on_to_another_host(app: App, archive: Path, server: Server) -> None:
    url = f"http://127.0.0.1:{server.server_address[1]}/moved"
    app.stage(
        {
            "type": "archive",
            "url": url,
            "headers": {"Authorization": "Bearer t0k3n-t0k3n"},
            "checksum": checksum(archive),
        }
    )
    assert server.tokens == [None]


def test_a_download_that_is_another_file(app: App, archive: Path, server: Server) -> None:
    expected = checksum(archive)
    server.content = b"something else"
    url = f"http://127.0.0.1:{server.server_address[1]}/open.tar.gz"
    result = app.stage({"type": "archive", "url": url, "checksum": expected}, fails=True)
    assert "it is damaged or another one" in result["msg"]
    assert not app.root.exists()


def test_nothing_listens_there(app: App, archive: Path) -> None:
    source = {"type": "archive", "url": "http://127.0.0.1:9/x.tar", "checksum": checksum(archive)}
    assert "could not be downloaded: [Errno 111] Connection refused" in app.stage(source, fails=True)["msg"]
    assert not app.root.exists()


def test_a_directory(app: App, tree: Path) -> None:
    source = {"type": "directory", "directory": str(tree)}
    first = app.stage(source)["release"]
    path = app.path(first["id"])
    assert sorted(item.name for item in path.iterdir()) == [".zerodown", "run", "server.js"]
    assert not app.stage(source)["changed"]
    (tree / "node_modules/x/y").write_text("left out, so no change")
    assert not app.stage(source, check=True)["changed"]
    (tree / "server.js").write_text("2\n")
    assert app.stage(source)["release"]["revision"] != first["revision"]
    everything = app.stage({**source, "exclude": []})["release"]
    assert (app.path(everything["id"]) / "node_modules/x/y").exists()


def test_directories_that_cannot_be_a_source(app: App, tree: Path, tmp_path: Path) -> None:
    assert "There is no directory" in app.stage({"type": "directory", "directory": str(tree / "no")}, fails=True)["msg"]
    for directory in (tmp_path, app.root / "below"):
        directory.mkdir(parents=True, exist_ok=True)
        message = app.stage({"type": "directory", "directory": str(directory)}, fails=True)["msg"]
        assert "must not lie in each other" in message


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ({"type": "git"}, "repo"),
        ({"type": "directory"}, "directory"),
        ({"type": "archive"}, "either source.file or source.url"),
        ({"type": "git", "repo": "/r", "checksum": "x"}, "source.checksum has no meaning with source.type=git"),
        ({"type": "directory", "directory": "/d", "version": "x"}, "source.version has no meaning"),
        ({"type": "archive", "file": "/x", "timeout": 0}, "source.timeout must be 1 s"),
        ({"type": "svn"}, "value of type must be one of"),
        ({"type": "git", "repo": "/r", "brunch": "x"}, "brunch"),
        ({"type": "git", "repo": "/r", "depth": "many"}, "depth"),
        ({"type": "git", "repo": "/r", "depth": 0}, "source.depth must be 1"),
    ],
)
def test_sources_that_are_refused(app: App, source: dict[str, Any], fault: str) -> None:
    assert fault in app.stage(source, fails=True)["msg"]
    assert not app.root.exists()


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"state": "live", "release": "x", "source": {"type": "git", "repo": "/r"}}, "source has no meaning"),
        ({"state": "proven", "release": "x", "env_file": {"A": "1"}}, "env_file has no meaning"),
        ({"state": "live"}, "release is required"),
        ({"state": "bad", "release": "x"}, "reason"),
        ({"state": "absent"}, "release"),
        ({"state": "live", "release": "x"}, "There is no complete release 'x'"),
        ({"state": "live", "release": "x", "keep": 0}, "keep must be 1"),
        ({"state": "live", "rollback": True}, "no proven release"),
        ({"state": "absent", "release": "../x"}, "not valid"),
    ],
)
def test_options_that_are_refused(app: App, options: dict[str, Any], fault: str) -> None:
    assert fault in app.release(**options, fails=True)["msg"]
    assert not app.root.exists()


# a disk of 1 MiB that only the module sees; what is left on it is listed outside
FULL = 'mount -t tmpfs -o size=1m tmpfs "$1" || exit 9; left=$2; root=$1; shift 2; "$@"; find "$root" >"$left"'


@pytest.mark.parametrize("kind", ["git", "directory", "archive"])
def test_a_full_disk_leaves_nothing(repository: Repository, tmp_path: Path, kind: str) -> None:
    # not compressible, and in pieces, so that some of it fits
    repository.write({f"large-{number}": os.urandom(100_000).hex() for number in range(10)})
    sources = {
        "git": repository.source,
        "directory": {"type": "directory", "directory": str(repository.path)},
        "archive": {"type": "archive", "file": str(tmp_path / "a.tar")},
    }
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(repository.path, "a")
    (tmp_path / "disk").mkdir()
    left = tmp_path / "left"
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    disk = App(tmp_path / "disk/app")
    prefix = [*unshare, "sh", "-c", FULL, "sh", str(tmp_path / "disk"), str(left)]
    result = disk.stage(sources[kind], prefix=prefix, fails=True)
    assert "No space left on device" in result["msg"]
    assert left.read_text().split() == [str(tmp_path / "disk")]


def test_a_root_that_cannot_be_made_is_named(app: App, repository: Repository) -> None:
    app.root.write_text("a file")
    before = snapshot(app.root.parent / "repository")
    message = app.stage(repository.source, fails=True)["msg"]
    assert f"{app.root}" in message
    assert app.root.read_text() == "a file"
    assert snapshot(app.root.parent / "repository") == before
