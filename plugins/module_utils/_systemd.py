# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""systemctl and loginctl, and which unit of ours manages a PM2_HOME."""

from __future__ import annotations

import glob
import os
import pwd
import time
from dataclasses import dataclass
from typing import Dict, Iterator, List, Optional, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils._command import Completed, run
from ansible_collections.zerodown.pm2.plugins.module_utils._environment import base_environment
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._unit import mark_of, pm2_own_home

SYSTEM = "system"
USER = "user"
COMMAND_TIMEOUT = 60.0


@dataclass(frozen=True)
class ManagedUnit:
    """A unit that our module ``startup`` has written.

    :ivar scope: ``system`` or ``user``.
    :ivar name: with ``.service``.
    """

    scope: str
    name: str
    path: str


def is_booted() -> bool:
    """Whether systemd is the init system (sd_booted(3))."""
    return os.path.isdir("/run/systemd/system")


def unit_directory(scope: str, user: Optional[str] = None) -> str:
    """Where an administrator's units go (systemd.unit(5)).

    :param user: whose, in user scope; ``None`` for the one who runs the module.
    """
    if scope == SYSTEM:
        return "/etc/systemd/system"
    entry = pwd.getpwnam(user) if user else pwd.getpwuid(os.geteuid())
    return os.path.join(entry.pw_dir, ".config", "systemd", "user")


def managing_unit(home: Home, user: Optional[str] = None) -> Optional[ManagedUnit]:
    """The unit of ours whose daemon has this PM2_HOME; ``None`` also where systemd does not run.

    :param user: whose units are looked at, in user scope.
    """
    if not is_booted():
        return None
    for scope in (SYSTEM, USER):
        for path, text in units_in(unit_directory(scope, user)):
            mark = mark_of(text)
            if mark is not None and mark.home == home.path:
                return ManagedUnit(scope, os.path.basename(path), path)
    return None


def pm2_own_units(home: Home) -> List[str]:
    """The paths of units that ``pm2 startup`` wrote for this PM2_HOME."""
    return [path for path, text in units_in(unit_directory(SYSTEM)) if pm2_own_home(text) == home.path]


def units_in(directory: str) -> Iterator[Tuple[str, str]]:
    """Path and text of every service in a directory."""
    for path in sorted(glob.glob(os.path.join(glob.escape(directory), "*.service"))):
        if not os.path.islink(path):
            yield path, read_text(path) or ""


def read_text(path: str) -> Optional[str]:
    """The text of a unit file; ``None`` when it is missing or not readable."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return None


@dataclass(frozen=True)
class UnitState:
    """What the manager says of a unit (systemctl(1), show).

    :ivar active: ``active``, ``activating``, ``inactive``, ``failed``, …
    :ivar enabled: ``enabled``, ``disabled``, or empty when there is no such unit.
    :ivar main_pid: 0 while there is none.
    :ivar age: seconds since the main process was started; ``None`` when it never was.
    :ivar path: of the file that the manager read; empty when there is none.
    """

    active: str
    enabled: str
    main_pid: int
    age: Optional[float]
    path: str


class Systemd:
    """One manager: the system's, or that of the user who runs the module.

    Raises, all methods: :class:`CommandError`.
    """

    def __init__(self, scope: str) -> None:
        self.scope = scope

    def state(self, unit: str) -> UnitState:
        properties = ["ActiveState", "UnitFileState", "MainPID", "ExecMainStartTimestampMonotonic", "FragmentPath"]
        output = self._systemctl("show", "--property={0}".format(",".join(properties)), "--", unit).stdout
        values = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
        started = int(values.get("ExecMainStartTimestampMonotonic") or 0) / 1e6
        return UnitState(
            active=values.get("ActiveState", ""),
            enabled=values.get("UnitFileState", ""),
            main_pid=int(values.get("MainPID") or 0),
            age=time.clock_gettime(time.CLOCK_MONOTONIC) - started if started else None,
            path=values.get("FragmentPath", ""),
        )

    def reload(self) -> None:
        self._systemctl("daemon-reload")

    def enable(self, unit: str) -> None:
        self._systemctl("enable", "--", unit)

    def disable(self, unit: str) -> None:
        self._systemctl("disable", "--", unit)

    def start(self, unit: str, timeout: float) -> None:
        """:param timeout: seconds, for the unit to be up with its apps."""
        self._systemctl("start", "--", unit, timeout=timeout)

    def restart(self, unit: str, timeout: float) -> None:
        """:param timeout: seconds, for the unit to be down and up again."""
        self._systemctl("restart", "--", unit, timeout=timeout)

    def stop(self, unit: str, timeout: float) -> None:
        """:param timeout: seconds; must exceed the unit's TimeoutStopSec."""
        self._systemctl("stop", "--", unit, timeout=timeout)

    def forget_failure(self, unit: str) -> None:
        self._systemctl("reset-failed", "--", unit, check=False)

    def journal(self, unit: str, lines: int) -> List[str]:
        """The end of the unit's journal; empty for one who may not read it."""
        scope = ["--user"] if self.scope == USER else []
        argv = ["journalctl", *scope, "--no-pager", "--quiet", "--output=cat", "--lines={0}".format(lines), "-u", unit]
        return run(argv, env=self._environment(), check=False).stdout.splitlines()

    def _systemctl(self, *arguments: str, timeout: float = COMMAND_TIMEOUT, check: bool = True) -> Completed:
        scope = ["--user"] if self.scope == USER else []
        # --no-ask-password: a question would wait for ever; polkit may still allow it without one
        argv = ["systemctl", arguments[0], *scope, "--no-ask-password", *arguments[1:]]
        return run(argv, env=self._environment(), timeout=timeout, check=check)

    def _environment(self) -> Dict[str, str]:
        environment = base_environment()
        if self.scope == USER:
            # a task that became the user has no session of its own to take this from
            runtime = runtime_directory(os.geteuid())
            environment["XDG_RUNTIME_DIR"] = runtime
            environment["DBUS_SESSION_BUS_ADDRESS"] = "unix:path={0}/bus".format(runtime)
        return environment


def runtime_directory(uid: int) -> str:
    return "/run/user/{0}".format(uid)


def lingers(user: str) -> bool:
    """Whether the user's manager starts at boot and stays without a session (loginctl(1), enable-linger)."""
    return os.path.exists(os.path.join("/var/lib/systemd/linger", user))


def set_linger(user: str, enabled: bool) -> None:
    """:raises CommandError: only root (or polkit) may."""
    verb = "enable-linger" if enabled else "disable-linger"
    run(["loginctl", "--no-ask-password", verb, user], env=base_environment(), timeout=COMMAND_TIMEOUT)


def wait_for_user_manager(uid: int, timeout: float) -> bool:
    """Whether the manager of this user can be spoken to; it needs a moment after lingering was turned on.

    :param timeout: seconds.
    """
    deadline = time.monotonic() + timeout
    while not os.path.exists(os.path.join(runtime_directory(uid), "systemd", "private")):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.1)
    return True
