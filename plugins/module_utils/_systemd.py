# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""systemctl and loginctl, and which unit of ours manages a PM2_HOME."""

from __future__ import annotations

import glob
import os
import pwd
from dataclasses import dataclass
from typing import Dict, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._command import Completed, run
from ansible_collections.zerodown.pm2.plugins.module_utils._environment import base_environment
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._unit import managed_home

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


def managing_unit(home: Home) -> Optional[ManagedUnit]:
    """The unit of ours whose daemon has this PM2_HOME; ``None`` also where systemd does not run."""
    if not is_booted():
        return None
    for scope in (SYSTEM, USER):
        for path in sorted(glob.glob(os.path.join(glob.escape(unit_directory(scope)), "*.service"))):
            if managed_home(_read(path)) == home.path:
                return ManagedUnit(scope, os.path.basename(path), path)
    return None


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


class Systemd:
    """One manager: the system's, or that of the user who runs the module.

    Raises, all methods: :class:`CommandError`.
    """

    def __init__(self, scope: str) -> None:
        self.scope = scope

    def start(self, unit: str, timeout: float) -> None:
        """:param timeout: seconds, for the unit to be up with its apps."""
        self._systemctl("start", unit, timeout=timeout)

    def _systemctl(self, *arguments: str, timeout: float = COMMAND_TIMEOUT, check: bool = True) -> Completed:
        scope = ["--user"] if self.scope == USER else []
        # --no-ask-password: a question would wait for ever; polkit may still allow it without one
        return run(
            ["systemctl", *scope, "--no-ask-password", *arguments],
            env=self._environment(),
            timeout=timeout,
            check=check,
        )

    def _environment(self) -> Dict[str, str]:
        environment = base_environment()
        if self.scope == USER:
            # a task that became the user has no session of its own to take this from
            runtime = "/run/user/{0}".format(os.geteuid())
            environment["XDG_RUNTIME_DIR"] = runtime
            environment["DBUS_SESSION_BUS_ADDRESS"] = "unix:path={0}/bus".format(runtime)
        return environment
