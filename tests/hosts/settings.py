# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a set of test hosts is made with, and where its state is kept."""

from __future__ import annotations

import fcntl
import re
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Mapping, Protocol, Sequence

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
# every host has this user, with sudo and our key
USER = "debian"
PACKAGES = [
    *("systemd-sysv", "dbus", "libpam-systemd", "openssh-server", "python3", "python3-apt", "sudo"),
    *("ca-certificates", "iproute2", "procps", "netbase"),
]


class HostsError(Exception):
    """One sentence for the person at the terminal."""


@dataclass(frozen=True)
class Settings:
    """From the environment, each ``ZERODOWN_HOSTS_<NAME>``.

    :ivar backend: ``nspawn``, ``podman`` or ``docker``.
    :ivar directory: where bases, keys and hosts are kept.
    :ivar id: name of the set; also that of its bridge, so at most 9 characters.
    :ivar net: the first three numbers of the set's subnet (nspawn only).
    :ivar limits: hosts enforce MemoryMax= and CPUQuota= also where the machine's controllers are cgroup v1 ones.
    :ivar mirror: Debian mirror; empty for the one that this machine's own apt uses.
    """

    backend: str
    directory: Path
    id: str
    net: str
    limits: bool
    mirror: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        def get(name: str, default: str) -> str:
            return environment.get("ZERODOWN_HOSTS_" + name) or default

        settings = cls(
            backend=get("BACKEND", "nspawn"),
            directory=Path(get("DIR", str(ROOT / ".dev" / "hosts"))).absolute(),
            id=get("ID", "zdp0"),
            net=get("NET", "10.79.0"),
            limits=get("LIMITS", "0") == "1",
            mirror=get("MIRROR", ""),
        )
        if not re.fullmatch(r"[a-z][a-z0-9]{0,8}", settings.id):
            raise HostsError(f"ZERODOWN_HOSTS_ID is {settings.id!r}: use 1 to 9 lower case letters and digits.")
        if not re.fullmatch(r"\d{1,3}(\.\d{1,3}){2}", settings.net):
            raise HostsError(f"ZERODOWN_HOSTS_NET is {settings.net!r}: use the first three numbers of a subnet.")
        return settings

    @property
    def bases(self) -> Path:
        return self.directory / "bases"

    @property
    def set(self) -> Path:
        return self.directory / "sets" / self.id

    @property
    def key(self) -> Path:
        return self.directory / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.set / "known_hosts"

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Held by one process at a time, also among sets; ends with the process."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with open(self.directory / f".{name}.lock", "w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


class Backend(Protocol):
    """What makes and runs hosts. A host is started by hand: after ``create``, ``stop`` and ``crash`` it is off."""

    def names(self) -> Sequence[str]: ...

    def running(self, name: str) -> bool: ...

    def address(self, name: str) -> tuple[str, int]: ...

    def host_key(self, name: str) -> str: ...

    def console(self, name: str) -> str: ...

    def build(self, suite: str) -> None: ...

    def create(self, name: str, base: str) -> None: ...

    def start(self, name: str) -> None: ...

    def stop(self, name: str) -> None: ...

    def crash(self, name: str) -> None: ...

    def reboot(self, name: str) -> None: ...

    def destroy(self, name: str) -> None: ...

    def has_base(self, base: str) -> bool: ...

    def bake(self, name: str, base: str) -> None: ...

    def down(self) -> None: ...


def run(*argv: str | Path) -> str:
    """Run a program that must succeed.

    :returns: what it printed on stdout.
    """
    command = [str(argument) for argument in argv]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        output = (done.stdout + done.stderr).strip()[-4000:]
        raise HostsError(f"{' '.join(command)[:200]} ended with {done.returncode}:\n{output}")
    return done.stdout


def write_identity(settings: Settings, name: str, root: Path) -> None:
    """The files of a host that ssh needs: its own key, made before it starts, and ours to let us in."""
    with settings.lock("key"):
        if not settings.key.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test hosts", "-f", settings.key)
    ssh = root / "etc" / "ssh"
    (ssh / "authorized_keys").mkdir(parents=True)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", ssh / "ssh_host_ed25519_key")
    (ssh / "authorized_keys" / USER).write_text(settings.key.with_suffix(".pub").read_text())


def ssh_options(settings: Settings) -> list[str]:
    """Host keys are checked, against those we made."""
    return [
        *("-o", f"UserKnownHostsFile={settings.known_hosts}"),
        *("-o", "StrictHostKeyChecking=yes"),
        *("-o", "IdentitiesOnly=yes"),
    ]


def machine_cas() -> list[Path]:
    """The extra certificate authorities of this machine, which its hosts need too to reach what it reaches."""
    return sorted(Path("/usr/local/share/ca-certificates").glob("*.crt"))
