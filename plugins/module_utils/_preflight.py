# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a release could go live on this host: all that can be seen to be wrong, at once. Changes nothing, and starts
nothing but ``node --version`` and ``python --version``."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils import _reach, _shared, _version_range
from ansible_collections.zerodown.pm2.plugins.module_utils._client import connect
from ansible_collections.zerodown.pm2.plugins.module_utils._command import run
from ansible_collections.zerodown.pm2.plugins.module_utils._drift import variable_text
from ansible_collections.zerodown.pm2.plugins.module_utils._environment import base_environment
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import CommandError, Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import Pm2Install, find_pm2, search_path, which
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home, user_name
from ansible_collections.zerodown.pm2.plugins.module_utils._options import CLUSTER
from ansible_collections.zerodown.pm2.plugins.module_utils._ports import Holder, foreign_holder, is_below, listeners
from ansible_collections.zerodown.pm2.plugins.module_utils._release import Layout
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process

MIB = 2**20
RUNTIMES = ("node", "python")


@dataclass(frozen=True)
class Wanted:
    """What a release needs; the fields are the options of the module ``preflight``.

    :ivar disk: MiB; 0 for any.
    :ivar memory: MiB; 0 for any.
    :ivar names: of the processes of the app, which may hold its ports.
    :ivar runtime: for ``node`` and ``python``, which versions will do.
    :ivar pm2: whether PM2 must be there.
    :ivar env: the variables that are declared; secrets included.
    :ivar clock: the controller's, seconds since 1970; None when it does not matter.
    :ivar clock_skew: seconds.
    :ivar reach_timeout: seconds.
    """

    layout: Layout
    disk: int = 0
    inodes: int = 0
    memory: int = 0
    ports: List[int] = field(default_factory=list)
    names: List[str] = field(default_factory=list)
    runtime: Dict[str, _version_range.Range] = field(default_factory=dict)
    pm2: bool = True
    linked_files: List[str] = field(default_factory=list)
    env_required: List[str] = field(default_factory=list)
    env: Dict[str, Any] = field(default_factory=dict, repr=False)
    clock: Optional[float] = None
    clock_skew: float = 30.0
    reach: List[_reach.Address] = field(default_factory=list)
    reach_timeout: float = 3.0


@dataclass(frozen=True)
class Place:
    """Where PM2 and the runtimes are said to be."""

    home: Home
    pm2_executable: Optional[str] = None
    node_executable: Optional[str] = None
    python_executable: Optional[str] = None


class Preflight:
    """
    :ivar faults: a sentence each.
    :ivar missing: likewise, of what an earlier task may be about to bring; see the module.
    :ivar facts: what was measured, as the module returns it.
    """

    def __init__(self, wanted: Wanted, place: Place, now: float, warn: Callable[[str], None]) -> None:
        """
        :param now: seconds since 1970, when the module began.
        """
        self.wanted = wanted
        self.place = place
        self.now = now
        self.warn = warn
        self.faults: List[str] = []
        self.missing: List[str] = []
        self.facts: Dict[str, Any] = {}

    def look(self) -> None:
        self._directory()
        self._disk()
        self._memory()
        self._pm2_and_ports()
        self._runtimes()
        self._linked_files()
        self._env()
        self._clock()
        self._reach()

    def _directory(self) -> None:
        place = self._existing()
        if not os.path.isdir(place):
            self.faults.append("{0} is not a directory; move it away.".format(place))
        elif not os.access(place, os.W_OK | os.X_OK):
            sentences = self.faults if os.path.exists(self.wanted.layout.root) else self.missing
            sentences.append(
                "{0} cannot be written by {1}; create {2} for that user.".format(
                    place, user_name(os.geteuid()), self.wanted.layout.root
                )
            )

    def _existing(self) -> str:
        """The releases, or what they will lie below."""
        path = self.wanted.layout.releases
        while not os.path.exists(path):
            path = os.path.dirname(path)
        return path

    def _disk(self) -> None:
        place = self._existing()
        space = os.statvfs(place)
        free = space.f_frsize * (space.f_bfree if os.geteuid() == 0 else space.f_bavail) // MIB
        # some file systems make them as they are needed, and tell 0 of 0
        inodes = (space.f_ffree if os.geteuid() == 0 else space.f_favail) if space.f_files else None
        self.facts.update(disk_free=free, inodes_free=inodes)
        if free < self.wanted.disk:
            self.faults.append(
                "{0} MiB are free on the file system of {1}, and {2} are needed; free some.".format(
                    free, place, self.wanted.disk
                )
            )
        if inodes is not None and inodes < self.wanted.inodes:
            self.faults.append(
                "{0} files can be made on the file system of {1}, and {2} are needed; remove some.".format(
                    inodes, place, self.wanted.inodes
                )
            )

    def _memory(self) -> None:
        available = memory_available()
        self.facts["memory_available"] = available
        if available is not None and available < self.wanted.memory:
            self.faults.append(
                "{0} MiB of memory are available, and {1} are needed; stop something, or lower requires.memory.".format(
                    available, self.wanted.memory
                )
            )

    # PM2 and ports ----------------------------------------------------------------------------------------------

    def _pm2_and_ports(self) -> None:
        install = self._install() if self.wanted.pm2 else None
        processes: List[Process] = []
        daemon: Optional[int] = None
        version: Optional[str] = None
        try:
            self.place.home.check_owner()
            client = connect(self.place.home, self._find_install, self.warn)
            if client.is_running():
                # what is kept warm belongs to the app, too
                processes = client.everything()
                daemon = Rpc(self.place.home.rpc_socket).daemon_pid()
                version = client.version()
        except Pm2Error as error:
            self.faults.append(error.message)
        if install and version and version != install.version:
            self.faults.append(
                "The PM2 daemon of {0} runs version {1}, but {2} is version {3}; bring the daemon to it with "
                "zerodown.pm2.daemon (state updated), or set pm2_executable.".format(
                    self.place.home.path, version, install.executable, install.version
                )
            )
        self.facts.update(pm2=install and install.version, pm2_daemon=version)
        self.facts["ports"] = [self._port(port, processes, daemon) for port in self.wanted.ports]

    def _find_install(self) -> Pm2Install:
        return find_pm2(self.place.pm2_executable, self.place.node_executable)

    def _install(self) -> Optional[Pm2Install]:
        try:
            return self._find_install()
        except Pm2Error as error:
            self.missing.append(error.message)
            return None

    def _port(self, port: int, processes: List[Process], daemon: Optional[int]) -> Dict[str, Any]:
        own = {item.pid for item in processes if item.name in self.wanted.names and item.pid}
        holder = foreign_holder(port, own, daemon if holds_for(port, processes, self.wanted.names) else None)
        if holder:
            self.faults.append(
                "Port {0} is taken by {1}{2}; stop that, or set another port.".format(
                    port, holder, _of_app(holder, port, processes, daemon)
                )
            )
        return {"port": port, "state": "taken" if holder else "own" if listeners(port) else "free"}

    # runtimes ---------------------------------------------------------------------------------------------------

    def _runtimes(self) -> None:
        for name in RUNTIMES:
            self.facts[name] = self._runtime(name) if name in self.wanted.runtime else None

    def _runtime(self, name: str) -> Optional[str]:
        declared = self.place.node_executable if name == "node" else self.place.python_executable
        executable = which(os.path.expanduser(declared or ("node" if name == "node" else "python3")))
        title = name.capitalize()
        if executable is None:
            self.missing.append(
                "{0} was not found {1}; install it (role zerodown.pm2.{2}) or set {3}_executable.".format(
                    title,
                    "at {0}".format(declared) if declared else "on PATH",
                    "nodejs" if name == "node" else "python",
                    name,
                )
            )
            return None
        # version managers put a script of theirs on PATH, which asks it
        surroundings = {**base_environment(), "PATH": os.pathsep.join(search_path())}
        try:
            answer = run([executable, "--version"], surroundings)
        except CommandError as error:
            self.faults.append("{0} does not tell its version: {1}".format(executable, error.message))
            return None
        version = _version_range.version_in(answer.stdout)
        text = ".".join(map(str, version))
        if not version or not self.wanted.runtime[name].allows(version):
            self.missing.append(
                "{0} is version {1}, and {2} is needed; install that, or set {3}_executable.".format(
                    executable, text or "unknown", self.wanted.runtime[name].text, name
                )
            )
        return text or None

    # what is declared -------------------------------------------------------------------------------------------

    def _linked_files(self) -> None:
        for path in self.wanted.linked_files:
            try:
                _shared.check(self.wanted.layout, [], [path], [])
            except Pm2Error as error:
                self.missing.append(error.message)

    def _env(self) -> None:
        for name in self.wanted.env_required:
            value = self.wanted.env.get(name)
            if value is None or value == "":
                self.faults.append(
                    "The variable {0} {1}; set it in env or env_file of the app.".format(
                        name, "is empty" if name in self.wanted.env else "is not declared"
                    )
                )

    # the clock and other machines -------------------------------------------------------------------------------

    def _clock(self) -> None:
        if self.wanted.clock is None:
            self.facts["clock_difference"] = None
            return
        difference = round(self.now - self.wanted.clock, 1)
        self.facts["clock_difference"] = difference
        if abs(difference) > self.wanted.clock_skew:
            self.faults.append(
                "The clock of this host is {0:g} s {1} that of the controller{2}; set it (timedatectl set-ntp "
                "true).".format(
                    abs(difference),
                    "behind" if difference < 0 else "ahead of",
                    "" if difference < 0 else ", less what the connection took",
                )
            )

    def _reach(self) -> None:
        found = _reach.reach(self.wanted.reach, self.wanted.reach_timeout)
        self.facts["reach"] = [{"address": str(item.address), "milliseconds": item.milliseconds} for item in found]
        for item in found:
            if item.fault:
                self.faults.append(
                    "{0} cannot be reached from here: {1}; start it, let this host through, or correct reach.".format(
                        item.address, item.fault
                    )
                )


def memory_available() -> Optional[int]:
    """MiB; None when the kernel does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as stream:
            for line in stream:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) // 1024
    except OSError:
        pass
    return None


def holds_for(port: int, processes: List[Process], names: List[str]) -> bool:
    """Whether PM2's daemon, which holds the ports of all its clusters, may hold this one for these apps: they have a
    cluster, and no other app's variables say that the port is its own."""
    clusters = [item for item in processes if item.env.get("exec_mode") == CLUSTER]
    own = [item for item in clusters if item.name in names]
    others = [item for item in clusters if item.name not in names]
    return bool(own) and (_claims(own, port) or not _claims(others, port))


def _claims(processes: List[Process], port: int) -> bool:
    return any(variable_text((item.env.get("env") or {}).get("PORT")) == str(port) for item in processes)


def _of_app(holder: Holder, port: int, processes: List[Process], daemon: Optional[int]) -> str:
    """Which of PM2's apps it is, for a person."""
    names: List[str] = []
    if holder.pid is not None:
        names = [item.name for item in processes if item.pid and is_below(holder.pid, {item.pid})]
    if daemon is not None and holder.pid == daemon:
        names = [item.name for item in processes if item.env.get("exec_mode") == CLUSTER and _claims([item], port)]
    return " of the app {0}".format(names[0]) if names else ""
