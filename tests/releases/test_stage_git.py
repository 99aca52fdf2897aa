# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Staging from git: the right commit, only once, whole or not at all, and nothing that serves is touched."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import pytest
from releases.conftest import App, Repository, make_repository, snapshot
from support.pm2_host import wait_for


def test_a_release(app: App, repository: Repository) -> None:
    commit = repository.git("rev-parse", "HEAD")
    result = app.stage(repository.source, by="someone")
    release = result["release"]
    path = app.path(release["id"])
    assert result["changed"]
    assert release["revision"] == commit
    assert re.fullmatch(r"\d{8}T\d{6}Z-" + commit[:8], release["id"])
    assert (path / "server.js").read_text() == "1\n"
    assert os.access(path / "bin/run", os.X_OK)
    assert not (path / ".git").exists()
    assert release["created_by"] == "someone"
    assert release["ready"]
    assert not release["live"]
    assert not (app.root / "current").exists()
    manifest = path / ".zerodown/release.json"
    assert json.loads(manifest.read_text())["revision"] == commit
    assert manifest.stat().st_mode & 0o077 == 0


def test_staging_again_changes_nothing(app: App, repository: Repository) -> None:
    first = app.stage(repository.source)
    before = snapshot(app.root)
    second = app.stage(repository.source)
    assert not second["changed"]
    assert second["release"] == first["release"]
    assert "diff" not in second
    assert snapshot(app.root) == before


def test_check_mode_tells_the_truth_on_a_host_with_nothing(app: App, repository: Repository) -> None:
    planned = app.stage(repository.source, check=True)
    assert planned["changed"]
    assert planned["release"]["revision"] == repository.git("rev-parse", "HEAD")
    assert planned["diff"]["after"]["revision"] == planned["release"]["revision"]
    assert not app.root.exists()
    made = app.stage(repository.source)
    same = ("revision", "source", "needs_build", "ready", "live")
    assert {name: made["release"][name] for name in same} == {name: planned["release"][name] for name in same}
    assert not app.stage(repository.source, check=True)["changed"]


def test_a_new_commit_is_a_new_release_and_check_mode_knows_it(app: App, repository: Repository) -> None:
    app.deploy(repository.source)
    commit = repository.write({"server.js": "2\n"})
    before = snapshot(app.root)
    assert app.stage(repository.source, check=True)["release"]["revision"] == commit
    assert snapshot(app.root) == before
    assert app.stage(repository.source)["release"]["revision"] == commit
    assert (app.current / "server.js").read_text() == "1\n"


PASSWORD = "s3cr3t/p@ss"
STRANGE = "$(id);x'y"


@pytest.mark.parametrize(
    "kind", ["branch", "slash", "tag", "annotated", "sha", "short", "reference", "shell characters"]
)
def test_versions(app: App, repository: Repository, kind: str) -> None:
    wanted = repository.git("rev-parse", "HEAD")
    for name in ("old", "feature/x", STRANGE):
        repository.git("branch", name)
    repository.git("tag", "v1")
    repository.git("tag", "--annotate", "v2", "--message", "two")
    repository.write({"server.js": "2\n"})
    version = {
        "branch": "old",
        "slash": "feature/x",
        "tag": "v1",
        "annotated": "v2",
        "sha": wanted,
        "short": wanted[:9],
        "reference": "refs/heads/old",
        "shell characters": STRANGE,
    }[kind]
    source = {**repository.source, "version": version}
    result = app.stage(source)
    assert result["release"]["revision"] == wanted
    assert (app.path(result["release"]["id"]) / "server.js").read_text() == "1\n"
    assert not app.stage(source)["changed"]


def test_the_default_is_the_remotes_default_branch(app: App, repository: Repository) -> None:
    repository.git("checkout", "--quiet", "-b", "trunk")
    commit = repository.write({"server.js": "trunk\n"})
    assert app.stage(repository.source)["release"]["revision"] == commit


@pytest.mark.parametrize(
    ("version", "fault"),
    [
        ("nothing", "its branches are: main"),
        ("0123456789", "has no commit '0123456789'"),
        ("0123456789abcdef0123456789abcdef01234567", "not our ref"),
    ],
)
def test_an_unknown_version_is_refused(app: App, repository: Repository, version: str, fault: str) -> None:
    result = app.stage({**repository.source, "version": version}, fails=True)
    assert version in result["msg"]
    assert fault in result["msg"]
    assert not app.root.exists()


def test_an_unreachable_repository_leaves_the_host_as_it_was(app: App, repository: Repository, tmp_path: Path) -> None:
    missing = {"type": "git", "repo": str(tmp_path / "missing")}
    result = app.stage(missing, fails=True)
    assert "cannot be read" in result["msg"]
    assert "missing" in result["msg"]
    assert not app.root.exists()
    app.deploy(repository.source)
    before = snapshot(app.root)
    app.stage(missing, fails=True)
    assert snapshot(app.root) == before


def test_an_abbreviated_commit_in_check_mode_is_taken_at_its_word(app: App, repository: Repository) -> None:
    source = {**repository.source, "version": repository.git("rev-parse", "HEAD")[:9]}
    assert "taken at its word" in json.dumps(app.stage(source, check=True)["warnings"])
    app.stage(source)
    assert "warnings" not in app.stage(source, check=True)


def test_a_second_release_fetches_only_what_is_new(app: App, repository: Repository) -> None:
    repository.write({"large": os.urandom(1_500_000).hex()})
    app.stage(repository.source)

    def size() -> int:
        mirror = app.root / "cache/repository.git"
        return sum(path.stat().st_size for path in mirror.rglob("*") if path.is_file())

    before = size()
    repository.write({"small": "1"})
    app.stage(repository.source)
    assert 0 < size() - before < 100_000


def test_a_mirror_that_a_killed_fetch_left_with_half_of_a_commit_is_completed(app: App, repository: Repository) -> None:
    app.stage(repository.source)
    commit = repository.write({"server.js": "2\n"})
    mirror = app.root / "cache/repository.git"
    content = subprocess.run(
        ["git", "-C", str(repository.path), "cat-file", "commit", commit], capture_output=True, check=True
    )
    subprocess.run(
        ["git", "-C", str(mirror), "hash-object", "-t", "commit", "-w", "--stdin"], input=content.stdout, check=True
    )
    release = app.stage(repository.source)["release"]
    assert release["revision"] == commit
    assert (app.path(release["id"]) / "server.js").read_text() == "2\n"


def test_history_can_be_left_out(app: App, repository: Repository) -> None:
    for number in range(5):
        repository.write({"server.js": str(number)})
    # a path is cloned by hard links, whatever depth says
    source = {"type": "git", "repo": "file://" + str(repository.path), "depth": 1}
    for text in ("4", "5"):
        repository.write({"server.js": text, "more": text})
        release = app.stage(source)["release"]
        assert (app.path(release["id"]) / "server.js").read_text() == text
        mirror = Repository(app.root / "cache/repository.git")
        assert int(mirror.git("rev-list", "--count", release["revision"])) <= 2


def test_what_was_forced_or_deleted_is_no_obstacle(app: App, repository: Repository) -> None:
    repository.git("checkout", "--quiet", "-b", "topic")
    repository.write({"server.js": "topic\n"})
    app.stage({**repository.source, "version": "topic"})
    repository.git("checkout", "--quiet", "main")
    repository.git("branch", "--delete", "--force", "topic")
    repository.git("checkout", "--quiet", "-b", "topic/below")
    commit = repository.write({"server.js": "other\n"})
    assert app.stage({**repository.source, "version": "topic/below"})["release"]["revision"] == commit


def test_another_repository_can_be_named_later(app: App, repository: Repository, tmp_path: Path) -> None:
    app.stage(repository.source)
    other = make_repository(tmp_path / "other")
    commit = other.write({"file": "x"})
    assert app.stage(other.source)["release"]["revision"] == commit


def test_a_subdirectory(app: App, repository: Repository) -> None:
    source = {**repository.source, "subdirectory": "sub/dir"}
    release = app.stage(source)["release"]
    assert sorted(path.name for path in app.path(release["id"]).iterdir()) == [".zerodown", "file"]
    assert app.stage(repository.source)["changed"]
    assert "no directory 'nowhere'" in app.stage({**repository.source, "subdirectory": "nowhere"}, fails=True)["msg"]
    for path in ("..", "../x", "/etc"):
        assert "must lie in the repository" in app.stage({**repository.source, "subdirectory": path}, fails=True)["msg"]


@pytest.mark.parametrize("subdirectory", [None, "parts"])
def test_submodules(app: App, repository: Repository, tmp_path: Path, subdirectory: str | None) -> None:
    part = make_repository(tmp_path / "part")
    part.write({"part.js": "part\n"})
    # a relative address is relative to the repository
    repository.git("submodule", "--quiet", "add", "../part", "parts/part")
    repository.git("commit", "--quiet", "--message", "part")
    source = {**repository.source, "submodules": True}
    place = "parts/part/part.js"
    if subdirectory:
        source["subdirectory"] = subdirectory
        place = "part/part.js"
    release = app.stage(source)["release"]
    path = app.path(release["id"])
    assert (path / place).read_text() == "part\n"
    assert list(path.rglob(".git")) == []
    assert [item.name for item in (app.root / "releases").iterdir() if item.name.endswith(".clone")] == []
    assert not app.stage(source)["changed"]


def test_what_gitattributes_leaves_out_of_archives_is_there(app: App, repository: Repository) -> None:
    repository.write({".gitattributes": "test export-ignore\n", "test": "x"})
    assert (app.path(app.stage(repository.source)["release"]["id"]) / "test").exists()


def test_links_of_the_source_stay_links(app: App, repository: Repository) -> None:
    (repository.path / "link").symlink_to("server.js")
    repository.write({})
    assert (app.path(app.stage(repository.source)["release"]["id"]) / "link").is_symlink()


def test_credentials_reach_neither_manifest_nor_output(app: App) -> None:
    # nothing listens there; what counts is what is said about it
    repo = "https://someone:s3cr3t-p4ss@127.0.0.1:9/shop.git"
    result = app.stage({"type": "git", "repo": repo}, fails=True)
    assert "127.0.0.1:9/shop.git cannot be read" in result["msg"]
    assert "s3cr3t-p4ss" not in json.dumps(result)


class Handler(SimpleHTTPRequestHandler):
    """A repository as files (git's "dumb" protocol) for who has the password; looks whether it shows in a process."""

    seen_in_processes: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                command = Path("/proc", name, "cmdline").read_text(errors="replace")
                if PASSWORD in command and "pytest" not in command:
                    self.seen_in_processes.append(command)
        expected = "Basic " + base64.b64encode(f"someone:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") == expected:
            super().do_GET()
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output of the tests clean."""


def test_a_password_in_the_address(app: App, repository: Repository) -> None:
    repository.git("update-server-info")
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(repository.path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            repo = f"http://someone:{quote(PASSWORD, safe='')}@127.0.0.1:{server.server_address[1]}/.git"
            result = app.stage({"type": "git", "repo": repo})
            wrong = app.stage(
                {"type": "git", "repo": repo.replace(quote(PASSWORD, safe=""), "another-one")}, fails=True
            )
        finally:
            server.shutdown()
            thread.join()
    assert Handler.seen_in_processes == []
    assert PASSWORD not in json.dumps(result)
    assert "Authentication failed" in wrong["msg"]
    assert "another-one" not in json.dumps(wrong)
    for path in app.root.rglob("*"):
        assert not path.is_file() or PASSWORD not in path.read_bytes().decode("latin-1")


def test_the_same_id_on_every_host(app: App, repository: Repository) -> None:
    assert app.stage(repository.source, release="fleet-1")["release"]["id"] == "fleet-1"
    assert not app.stage(repository.source, release="fleet-1")["changed"]
    assert app.stage(repository.source, release="fleet-2")["release"]["id"] == "fleet-1"
    repository.write({"server.js": "2\n"})
    assert "is taken" in app.stage(repository.source, release="fleet-1", fails=True)["msg"]
    for name in ("../x", "a b", ".x", "$(id)"):
        assert "not valid" in app.stage(repository.source, release=name, fails=True)["msg"]


def test_two_stagings_at_once_make_one_release(app: App, repository: Repository) -> None:
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _number: app.stage(repository.source), range(2)))
    assert sorted(result["changed"] for result in results) == [False, True]
    assert len(app.info()["releases"]) == 1


HANGING_GIT = """#!/bin/sh
case " $* " in *" read-tree "*)
    {git} "$@"
    echo $$ >{pid}.new && mv {pid}.new {pid}
    exec sleep 1000
esac
exec {git} "$@"
"""


def test_a_run_that_is_killed_leaves_no_release(app: App, repository: Repository, tmp_path: Path) -> None:
    app.deploy(repository.source)
    before = snapshot(app.current)
    repository.write({f"file-{number}": "x" * 1000 for number in range(300)})
    pid, git_pid = tmp_path / "pid", tmp_path / "git_pid"
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    # the files are there and the release is not, for as long as this test needs
    git.write_text(HANGING_GIT.format(git=shutil.which("git"), pid=git_pid))
    git.chmod(0o755)
    session = {**os.environ, "PATH": f"{git.parent}:{os.environ['PATH']}"}
    prefix = ["sh", "-c", 'echo $$ >"$0"; exec "$@"', str(pid)]
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(app.stage, repository.source, env=session, prefix=prefix)
        wait_for(lambda: git_pid.exists() or run.done(), "git did not come to the files")
        os.kill(int(pid.read_text()), signal.SIGKILL)
        os.kill(int(git_pid.read_text()), signal.SIGKILL)
    with pytest.raises(AssertionError, match="printed no result"):
        run.result()
    assert any(path.suffix == ".partial" for path in (app.root / "releases").iterdir())
    assert [release["live"] for release in app.info()["releases"]] == [True]
    assert snapshot(app.current) == before
    release = app.stage(repository.source)["release"]
    assert len(list(app.path(release["id"]).iterdir())) > 300
    assert not any(path.suffix == ".partial" for path in (app.root / "releases").iterdir())


def test_what_a_killed_run_left_is_removed(app: App, repository: Repository) -> None:
    app.stage(repository.source)
    for name in (".x.partial", ".x.removed", ".x.partial.clone"):
        (app.root / "releases" / name / "sub").mkdir(parents=True)
    repository.write({"server.js": "2\n"})
    app.stage(repository.source)
    left = [path.name for path in (app.root / "releases").iterdir() if path.name.startswith(".") and path.is_dir()]
    assert left == []


VARIANTS: dict[str, dict[str, Any]] = {
    "env_file": {"env_file": {"A": "1"}},
    "another value": {"env_file": {"A": "2"}},
    "shared": {"shared": {"directories": ["uploads"]}},
    "variant": {"variant": {"build": ["test"]}},
    "needs_build": {"needs_build": True},
}


def test_what_makes_releases_of_one_commit_different(app: App, repository: Repository) -> None:
    ids = {app.stage(repository.source)["release"]["id"]}
    for name, options in VARIANTS.items():
        first = app.stage(repository.source, **options)
        assert first["changed"], name
        assert not app.stage(repository.source, **options)["changed"], name
        ids.add(first["release"]["id"])
    assert len(ids) == len(VARIANTS) + 1


def test_the_env_file_goes_back_with_a_rollback(app: App, repository: Repository) -> None:
    secret = "not for anyone's eyes"
    first = app.deploy(repository.source, env_file={"TOKEN": secret, "PORT": 3000})
    env = app.path(first) / ".env"
    assert env.read_text() == 'PORT=3000\nTOKEN="not for anyone\'s eyes"\n'
    assert env.stat().st_mode & 0o077 == 0
    result = app.stage(repository.source, env_file={"TOKEN": "something else", "PORT": 3000})
    assert result["diff"]["before"]["env_file"] == ["PORT", "TOKEN"]
    assert "something else" not in json.dumps(result)
    app.release(state="live", release=result["release"]["id"])
    assert "something else" in (app.current / ".env").read_text()
    app.release(state="live", rollback=True)
    assert secret in (app.current / ".env").read_text()
    manifest = (app.current / ".zerodown/release.json").read_text()
    assert secret not in manifest


def test_node_reads_the_env_file_as_it_was_declared(app: App, repository: Repository) -> None:
    variables = {
        "PLAIN": "postgres://u:p@h/db?a=b",
        "EMPTY": "",
        "WORDS": " two  words ",
        "HASH": "a # b",
        "DOLLAR": "$HOME ${HOME}",
        "SINGLE": "it's",
        "DOUBLE": 'say "hi"',
        "BOTH": 'it\'s "both" \\n',
        "BACKSLASH": "C:\\new",
        "PEM": "-----BEGIN KEY-----\none\ntwo\n-----END KEY-----",
        "UNICODE": "grüße ✓",
    }
    path = app.path(app.stage(repository.source, env_file=variables)["release"]["id"])
    shown = subprocess.run(
        ["node", "--env-file=.env", "-p", "JSON.stringify(process.env)"], cwd=path, check=True, capture_output=True
    )
    env = json.loads(shown.stdout)
    assert {name: env.get(name) for name in variables} == variables


def test_what_was_marked_bad_is_not_staged_by_accident(app: App, repository: Repository) -> None:
    bad = app.deploy(repository.source)
    app.release(state="bad", release=bad, reason="it ate the cart")
    result = app.stage(repository.source, fails=True)
    assert "it ate the cart" in result["msg"]
    assert "retry_bad" in result["msg"]
    again = app.stage(repository.source, retry_bad=True)
    assert again["changed"]
    assert again["release"]["id"] != bad
    assert not again["release"]["bad"]
    assert not app.stage(repository.source)["changed"]


def test_shared_paths(app: App, repository: Repository) -> None:
    shared = {"directories": ["uploads", "var/log"], "files": ["config/db.yml"]}
    before = app.stage(repository.source, shared=shared, fails=True)
    assert "shared/config/db.yml is missing; put it there" in before["msg"]
    assert not app.root.exists()
    (app.root / "shared/config").mkdir(parents=True)
    (app.root / "shared/config/db.yml").write_text("host: db\n")
    path = app.path(app.stage(repository.source, shared=shared)["release"]["id"])
    assert (path / "config/db.yml").read_text() == "host: db\n"
    (path / "uploads/picture").write_text("x")
    assert (app.root / "shared/uploads/picture").exists()


@pytest.mark.parametrize("path", ["../x", "/etc", "a/../../x", ".zerodown"])
def test_shared_paths_outside_the_root_are_refused(app: App, repository: Repository, path: str) -> None:
    assert path in app.stage(repository.source, shared={"directories": [path]}, fails=True)["msg"]
    assert not app.root.exists()


def test_a_source_with_our_own_directory_is_refused(app: App, repository: Repository) -> None:
    repository.write({".zerodown/release.json": "{}"})
    assert "rename it" in app.stage(repository.source, fails=True)["msg"]
    assert not app.root.exists()


def test_releases_of_one_commit_within_a_second(app: App, repository: Repository) -> None:
    ids = [app.stage(repository.source, variant={"number": number})["release"]["id"] for number in range(4)]
    assert len(set(ids)) == 4
    assert {release["id"] for release in app.info()["releases"]} == set(ids)
