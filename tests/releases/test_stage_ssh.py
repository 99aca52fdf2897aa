# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Staging over ssh, from an sshd of our own: deploy keys, and host keys that are always checked."""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from releases.conftest import App, Repository
from support.pm2_host import find_free_port
from support.run_module import ROOT

SSHD = ROOT / ".dev" / "sshd"
# root's sshd wants a user and a directory that a machine without it lacks; it gets them in a namespace of its own
PRIVATE = 'mount --bind "$1" /etc/passwd && mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && shift && exec "$@"'


@dataclass(frozen=True)
class Server:
    """:ivar key: the private key that is let in.
    :ivar known_hosts: the server's key, as a line of known_hosts.
    """

    port: int
    key: Path
    known_hosts: str

    def source(self, repository: Repository, **options: Any) -> dict[str, Any]:
        repo = f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{repository.path}"
        return {"type": "git", "repo": repo, **options}


def sshd_command() -> list[str]:
    """The machine's sshd, or the one of Debian's package, unpacked below .dev."""
    found = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if found:
        return [found]
    SSHD.mkdir(parents=True, exist_ok=True)
    with (SSHD / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (SSHD / "usr/sbin/sshd").exists():
            packages = ["openssh-server", "libwrap0"]
            subprocess.run(["apt-get", "download", *packages], cwd=SSHD, check=True, capture_output=True)
            # sshd last: its presence says that all is there
            for package in reversed(packages):
                subprocess.run(["dpkg", "-x", next(SSHD.glob(f"{package}_*.deb")), SSHD], check=True)
    libraries = next(SSHD.rglob("libwrap.so.0")).parent
    return ["env", f"LD_LIBRARY_PATH={libraries}", str(SSHD / "usr/sbin/sshd")]


def make_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("sshd")
    host_key, key = make_key(home / "host"), make_key(home / "key")
    port = find_free_port()
    (home / "config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {host_key}\nAuthorizedKeysFile {key}.pub\nPidFile none\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
    )
    command = [*sshd_command(), "-D", "-e", "-f", str(home / "config")]
    if os.geteuid() == 0:
        users = Path("/etc/passwd").read_text()
        if "\nsshd:" not in users:
            users += "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n"
        (home / "passwd").write_text(users)
        command = ["unshare", "--mount", "sh", "-c", PRIVATE, "sh", str(home / "passwd"), *command]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (home / "log").read_text()
            assert time.monotonic() < deadline, (home / "log").read_text()
            time.sleep(0.05)
        public = (home / "host.pub").read_text().split()[:2]
        yield Server(port, key, f"[127.0.0.1]:{port} {' '.join(public)}\n")
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def session(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An ssh session with temporary files of its own, none of which may be left."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    yield {**os.environ, "TMPDIR": str(temporary)}
    assert list(temporary.iterdir()) == []


def test_a_deploy_key(app: App, repository: Repository, server: Server, session: dict[str, str]) -> None:
    secret = server.key.read_text()
    source = server.source(repository, key=secret, known_hosts=server.known_hosts)
    assert app.stage(source, env=session, check=True)["changed"]
    assert not app.root.exists()
    result = app.stage(source, env=session)
    assert (app.path(result["release"]["id"]) / "server.js").exists()
    line = secret.splitlines()[2]
    assert line not in json.dumps(result)
    for path in app.root.rglob("*"):
        assert not path.is_file() or line not in path.read_bytes().decode("latin-1")
    commit = repository.write({"server.js": "2\n"})
    assert app.stage(source, env=session)["release"]["revision"] == commit


def test_a_key_file(app: App, repository: Repository, server: Server, session: dict[str, str]) -> None:
    source = server.source(repository, key_file=str(server.key), known_hosts=server.known_hosts)
    assert app.stage(source, env=session)["changed"]


def test_the_key_of_an_unknown_host_is_refused(
    app: App, repository: Repository, server: Server, session: dict[str, str]
) -> None:
    message = app.stage(server.source(repository, key_file=str(server.key)), env=session, fails=True)["msg"]
    assert "No ED25519 host key is known" in message
    assert not app.root.exists()


def test_the_key_of_a_new_host_can_be_accepted(
    app: App, repository: Repository, server: Server, session: dict[str, str]
) -> None:
    accept: dict[str, Any] = {"key_file": str(server.key), "host_key_checking": "accept_new"}
    # nothing is known, and what is learned is forgotten: the test leaves the user's own file alone
    known = Path.home() / ".ssh/known_hosts"
    before = known.read_bytes() if known.exists() else None
    assert app.stage(server.source(repository, **accept), env=session, check=True)["changed"]
    assert app.stage(server.source(repository, **accept, known_hosts="# none"), env=session)["changed"]
    assert (known.read_bytes() if known.exists() else None) == before


def test_a_changed_host_key_is_refused(
    app: App, repository: Repository, server: Server, session: dict[str, str], tmp_path: Path
) -> None:
    other = make_key(tmp_path / "other").with_suffix(".pub").read_text().split()[1]
    known = server.known_hosts.split()
    source = server.source(
        repository,
        key_file=str(server.key),
        known_hosts=f"{known[0]} {known[1]} {other}",
        host_key_checking="accept_new",
    )
    assert "has changed and you have requested strict" in app.stage(source, env=session, fails=True)["msg"]


def test_a_key_that_is_not_let_in(
    app: App, repository: Repository, server: Server, session: dict[str, str], tmp_path: Path
) -> None:
    key = make_key(tmp_path / "other").read_text()
    result = app.stage(server.source(repository, key=key, known_hosts=server.known_hosts), env=session, fails=True)
    assert "Permission denied" in result["msg"]
    assert "check address, network, key and known host keys" in result["msg"]
