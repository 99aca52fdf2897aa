# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts as systemd-nspawn containers: systemd as PID 1, own address, a disk that survives reboot and power cut.

Each host has a supervisor (this machine's PID 1 need not be systemd): a process in a mount namespace of its own that
mounts the overlay and runs nspawn until the host powers off. The supervisor and everything in the host are in one
cgroup, so that a power cut is one write to ``cgroup.kill``.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Callable, Iterable

import bases
from settings import HERE, HostsError, Settings, run, write_identity

CGROUPS = Path("/sys/fs/cgroup")
# cgroup v2 alone, or beside v1 without controllers ("hybrid")
UNIFIED = CGROUPS if (CGROUPS / "cgroup.controllers").exists() else CGROUPS / "unified"
# systemd's own v1 hierarchy, on a hybrid machine
NAMED = CGROUPS / "systemd"
V1_CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids")
# systemd(1), signals
POWER_OFF = signal.SIGRTMIN + 4
REBOOT = signal.SIGRTMIN + 5
# systemd-nspawn(1), exit status: the container asked for a reboot
ASKED_FOR_REBOOT = 133
# what the supervisor says on the host's console
ENDED = "supervisor: nspawn ended with"

FORWARDING = """
table ip {table} {{
  chain post {{
    type nat hook postrouting priority srcnat
    ip saddr {net}.0/24 oifname != "{bridge}" masquerade
  }}
}}
"""

NETWORK = """\
[Match]
Name=host0
[Network]
Address={address}/24
Gateway={gateway}
LinkLocalAddressing=no
"""

# inside the host, before systemd: nspawn gives it the v1 controllers read-only
WRITABLE_CONTROLLERS = """
for controller in {controllers}; do mount -o remount,rw,bind /sys/fs/cgroup/$controller; done
exec /sbin/init systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1
"""


class Nspawn:
    def __init__(self, settings: Settings) -> None:
        if os.geteuid():
            raise HostsError("Hosts by systemd-nspawn need root; use ZERODOWN_HOSTS_BACKEND=podman without it.")
        self.settings = settings
        self._hosts = settings.set / "hosts"
        self._table = f"zerodown-{settings.id}"

    def names(self) -> list[str]:
        return sorted(path.name for path in self._hosts.iterdir()) if self._hosts.exists() else []

    def running(self, name: str) -> bool:
        events = self._cgroup(name) / "cgroup.events"
        return events.exists() and "populated 1" in events.read_text()

    def address(self, name: str) -> tuple[str, int]:
        return (self._host(name) / "address").read_text(), 22

    def host_key(self, name: str) -> str:
        return (self._host(name) / "upper/etc/ssh/ssh_host_ed25519_key.pub").read_text()

    def console(self, name: str) -> str:
        # one character a byte, so that start() can count
        return (self._host(name) / "console.log").read_text("latin-1")

    def build(self, suite: str) -> None:
        bases.build(self.settings, suite)

    def has_base(self, base: str) -> bool:
        return bases.exists(self.settings, base)

    def create(self, name: str, base: str) -> None:
        below = bases.layers(self.settings, base)
        host = self._hosts / name
        if host.exists():
            raise HostsError(f"Host {name} is there already.")
        with self.settings.lock(f"set-{self.settings.id}"):
            self._network_up()
            taken = {self.address(other)[0] for other in self.names()}
            address = next(a for a in (f"{self.settings.net}.{n}" for n in range(10, 250)) if a not in taken)
            host.mkdir(parents=True)
            (host / "address").write_text(address)
        (host / "below").write_text("".join(f"{layer}\n" for layer in below))
        for part in ("upper", "work", "root"):
            (host / part).mkdir()
        write_identity(self.settings, name, host / "upper")
        self._write_system_files(name, host / "upper" / "etc", address)

    def start(self, name: str) -> None:
        host = self._host(name)
        if self.running(name):
            return
        with open(host / "console.log", "a") as console:
            earlier = console.tell()
            subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", sys.executable, HERE / "hosts", "supervise", name],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        _until(lambda: self.running(name) or ENDED in self.console(name)[earlier:], f"supervisor of {name}", seconds=60)

    def stop(self, name: str) -> None:
        leader = self._leader(name)
        if leader:
            os.kill(leader, POWER_OFF)
        _until(lambda: not self.running(name), f"{name} to power off", seconds=120)

    def crash(self, name: str) -> None:
        if self.running(name):
            (self._cgroup(name) / "cgroup.kill").write_text("1")
        _until(lambda: not self.running(name), f"{name} to be gone", seconds=60)
        # a cgroup that was killed once kills what systemd starts in it later (Linux, cgroup_post_fork)
        for cgroup in [self._cgroup(name), self._named_cgroup(name), *self._v1_cgroups(name)]:
            _remove_cgroup(cgroup)

    def reboot(self, name: str) -> None:
        leader = self._leader(name)
        if not leader:
            raise HostsError(f"Host {name} is not running.")
        os.kill(leader, REBOOT)
        _until(lambda: not Path(f"/proc/{leader}").exists(), f"{name} to go down", seconds=120)

    def destroy(self, name: str) -> None:
        host = self._host(name)
        self.crash(name)
        self._remove_link(name)
        shutil.rmtree(host)

    def bake(self, name: str, base: str) -> None:
        host = self._host(name)
        self.stop(name)
        below = [Path(line) for line in (host / "below").read_text().splitlines()]
        bases.bake(self.settings, base, host / "upper", below)
        self.destroy(name)

    def down(self) -> None:
        for name in self.names():
            self.destroy(name)
        if Path(f"/sys/class/net/{self.settings.id}").exists():
            run("nft", "delete", "table", "ip", self._table)
            run("ip", "link", "del", self.settings.id)
        for cgroup in (self._cgroup("."), self._named_cgroup(".")):
            _remove_cgroup(cgroup)

    def supervise(self, name: str) -> None:
        """The host's supervisor; in a mount namespace of its own, which ends with it."""
        host = self._host(name)
        cgroup = self._cgroup(name)
        # cgroup v2 wants processes in the leaves: this one in one, the host in another
        for leaf in ("supervisor", "host"):
            (cgroup / leaf).mkdir(parents=True, exist_ok=True)
        _enter(cgroup / "supervisor")
        if UNIFIED == CGROUPS:
            _hand_down_controllers(CGROUPS, cgroup.parent, cgroup)
        elif NAMED.exists():
            _enter(self._named_cgroup(name))

        init = ["--boot"]
        environment = {"PATH": os.environ["PATH"], "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        if self.settings.limits and UNIFIED != CGROUPS:
            for v1_cgroup in self._v1_cgroups(name):
                _enter(v1_cgroup)
            environment["SYSTEMD_NSPAWN_UNIFIED_HIERARCHY"] = "0"
            script = WRITABLE_CONTROLLERS.format(controllers=" ".join(V1_CONTROLLERS))
            init = ["--kill-signal=SIGRTMIN+3", "/bin/sh", "-c", script]

        lower = (host / "below").read_text().splitlines()
        overlay = f"lowerdir={':'.join(lower)},upperdir={host / 'upper'},workdir={host / 'work'}"
        run("mount", "-t", "overlay", "overlay", "-o", overlay, host / "root")
        machine = self._machine(name)
        argv = [
            *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", f"--directory={host / 'root'}"),
            *(f"--machine={machine}", f"--hostname={name}", f"--uuid={(host / 'upper/etc/machine-id').read_text()}"),
            *(f"--network-bridge={self.settings.id}", "--resolv-conf=off", "--timezone=off", "--link-journal=no"),
            *init,
        ]
        while True:
            self._remove_link(name)
            ended = subprocess.run(argv, env=environment, check=False, preexec_fn=lambda: _enter(cgroup / "host"))
            print(f"{ENDED} {ended.returncode}", flush=True)
            if ended.returncode != ASKED_FOR_REBOOT:
                return

    def _host(self, name: str) -> Path:
        host = self._hosts / name
        if not host.exists():
            raise HostsError(f"There is no host {name} in set {self.settings.id}.")
        return host

    def _machine(self, name: str) -> str:
        """Also the end of the name of its network link, which must fit into 15 bytes."""
        return f"{self.settings.id}-{self.address(name)[0].rpartition('.')[2]}"

    def _remove_link(self, name: str) -> None:
        """After a power cut the kernel may not have removed it yet, or never does."""
        link = ["ip", "link", "del", f"vb-{self._machine(name)}"]
        subprocess.run(link, stderr=subprocess.DEVNULL, check=False)

    def _network_up(self) -> None:
        bridge, net = self.settings.id, self.settings.net
        if Path(f"/sys/class/net/{bridge}").exists():
            return
        run("ip", "link", "add", bridge, "type", "bridge")
        run("ip", "address", "add", f"{net}.1/24", "dev", bridge)
        run("ip", "link", "set", bridge, "up")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        rules = FORWARDING.format(table=self._table, net=net, bridge=bridge)
        subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)

    def _write_system_files(self, name: str, etc: Path, address: str) -> None:
        (etc / "hostname").write_text(f"{name}\n")
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {name}\n::1 localhost\n")
        (etc / "machine-id").write_text(Path("/proc/sys/kernel/random/uuid").read_text().strip().replace("-", ""))
        # the stub resolver of the machine's systemd-resolved listens on its loopback only
        resolved = Path("/run/systemd/resolve/resolv.conf")
        shutil.copy(resolved if resolved.exists() else "/etc/resolv.conf", etc / "resolv.conf")
        networks = etc / "systemd" / "network"
        networks.mkdir(parents=True)
        (networks / "10-host0.network").write_text(NETWORK.format(address=address, gateway=f"{self.settings.net}.1"))

    def _cgroup(self, name: str) -> Path:
        return UNIFIED / self._table / name

    def _named_cgroup(self, name: str) -> Path:
        return NAMED / self._table / name

    def _v1_cgroups(self, name: str) -> Iterable[Path]:
        return [CGROUPS / controller / f"{self._table}-{name}" for controller in V1_CONTROLLERS]

    def _leader(self, name: str) -> int | None:
        """The host's PID 1, as this machine sees it."""
        for cgroup in (self._cgroup(name) / "host", self._named_cgroup(name)):
            processes = cgroup / "payload" / "init.scope" / "cgroup.procs"
            if processes.exists() and (pids := processes.read_text().split()):
                return int(pids[0])
        return None


def _enter(cgroup: Path) -> None:
    cgroup.mkdir(parents=True, exist_ok=True)
    for inherited in ("cpuset.cpus", "cpuset.mems"):
        # a new v1 cpuset is empty and takes no process
        with suppress(OSError):
            (cgroup / inherited).write_text((cgroup.parent / inherited).read_text())
    (cgroup / "cgroup.procs").write_text(str(os.getpid()))


def _hand_down_controllers(*cgroups: Path) -> None:
    for controller in (CGROUPS / "cgroup.controllers").read_text().split():
        for cgroup in cgroups:
            # a controller may be in use in a way that cannot be shared; the host does without it
            with suppress(OSError):
                (cgroup / "cgroup.subtree_control").write_text(f"+{controller}")


def _remove_cgroup(cgroup: Path) -> None:
    for directory, _children, _files in os.walk(cgroup, topdown=False):
        with suppress(OSError):
            os.rmdir(directory)


def _until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise HostsError(f"Waited {seconds:g} s for {what}.")
        time.sleep(0.05)
