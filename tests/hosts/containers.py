# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same hosts by podman or docker, for machines where systemd-nspawn is not to be had.

The image has systemd and sshd; a host is reached over ssh on a published port, so inventory and tests are the same.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from settings import HERE, PACKAGES, HostsError, Settings, machine_cas, run, write_identity

# what systemd needs to run as PID 1 in each, and a restart when the host reboots by itself
RUN_OPTIONS = {
    "podman": ["--systemd=always", "--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined", "--restart=always"],
    "docker": [
        *("--privileged", "--cgroupns=private", "--tmpfs=/run", "--tmpfs=/run/lock"),
        *("--stop-signal=SIGRTMIN+3", "--restart=always"),
    ],
}


class Containers:
    def __init__(self, settings: Settings) -> None:
        if settings.backend not in RUN_OPTIONS:
            raise HostsError(f"ZERODOWN_HOSTS_BACKEND is {settings.backend!r}: use nspawn, podman or docker.")
        self.settings = settings
        self._hosts = settings.set / "hosts"

    def names(self) -> list[str]:
        return sorted(path.name for path in self._hosts.iterdir()) if self._hosts.exists() else []

    def running(self, name: str) -> bool:
        state = json.loads(self._engine("inspect", "--format", "{{json .State}}", self._container(name)))
        return bool(state["Running"])

    def address(self, name: str) -> tuple[str, int]:
        return "127.0.0.1", int((self._host(name) / "port").read_text())

    def host_key(self, name: str) -> str:
        return (self._host(name) / "identity/etc/ssh/ssh_host_ed25519_key.pub").read_text()

    def console(self, name: str) -> str:
        done = subprocess.run(
            [self.settings.backend, "logs", self._container(name)], capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    def build(self, suite: str) -> None:
        if self.has_base(suite):
            return
        with tempfile.TemporaryDirectory() as context:
            shutil.copy(HERE / "customize.sh", context)
            (Path(context) / "ca").mkdir()
            for ca in machine_cas():
                shutil.copy(ca, Path(context) / "ca")
            arguments = {"SUITE": suite, "PACKAGES": " ".join(PACKAGES)}
            self._engine(
                "build",
                *(f"--build-arg={key}={value}" for key, value in arguments.items()),
                *("--tag", self._image(suite), "--file", str(HERE / "Containerfile"), context),
            )

    def has_base(self, base: str) -> bool:
        argv = [self.settings.backend, "image", "inspect", self._image(base)]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    def create(self, name: str, base: str) -> None:
        host = self._hosts / name
        if host.exists():
            raise HostsError(f"Host {name} is there already.")
        host.mkdir(parents=True)
        # chosen here, as a port chosen by the engine would be another one after each start
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        (host / "port").write_text(str(port))
        write_identity(self.settings, name, host / "identity")
        self._engine(
            *("create", "--name", self._container(name), "--hostname", name, "--publish", f"127.0.0.1:{port}:22"),
            *RUN_OPTIONS[self.settings.backend],
            *(self._image(base), "/sbin/init"),
        )
        self._engine("cp", f"{host / 'identity'}/.", f"{self._container(name)}:/")

    def start(self, name: str) -> None:
        self._engine("start", self._container(name))

    def stop(self, name: str) -> None:
        self._engine("stop", "--time=120", self._container(name))

    def crash(self, name: str) -> None:
        self._engine("kill", "--signal=KILL", self._container(name))

    def reboot(self, name: str) -> None:
        self._engine("restart", "--time=120", self._container(name))

    def destroy(self, name: str) -> None:
        host = self._host(name)
        self._engine("rm", "--force", self._container(name))
        shutil.rmtree(host)

    def bake(self, name: str, base: str) -> None:
        self.stop(name)
        self._engine("commit", self._container(name), self._image(base))
        self.destroy(name)

    def down(self) -> None:
        for name in self.names():
            self.destroy(name)

    def _host(self, name: str) -> Path:
        host = self._hosts / name
        if not host.exists():
            raise HostsError(f"There is no host {name} in set {self.settings.id}.")
        return host

    def _container(self, name: str) -> str:
        return f"zerodown-{self.settings.id}-{name}"

    def _image(self, base: str) -> str:
        texts = [text.encode() for text in (base, *PACKAGES)]
        files = [path.read_bytes() for path in (HERE / "customize.sh", HERE / "Containerfile", *machine_cas())]
        return f"zerodown-hosts:{base.replace('+', '_')}-{hashlib.sha256(b''.join(texts + files)).hexdigest()[:12]}"

    def _engine(self, *arguments: str) -> str:
        return run(self.settings.backend, *arguments)
