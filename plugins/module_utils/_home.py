# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PM2_HOME: where a daemon keeps its sockets, dump and logs (PM2 paths.js), and whose it is."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from typing import Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@dataclass(frozen=True)
class Home:
    """The paths below one PM2_HOME."""

    path: str

    @classmethod
    def of(cls, path: Optional[str]) -> "Home":
        """:param path: PM2_HOME, absolute or with ``~``; ``None`` means ``~/.pm2`` of the user who runs the module.

        The environment's PM2_HOME is not looked at: an ssh session has none, a shell may have any.
        """
        expanded = os.path.expanduser(path or os.path.join(pwd.getpwuid(os.geteuid()).pw_dir, ".pm2"))
        if not os.path.isabs(expanded):
            raise Pm2Error("pm2_home must be an absolute path, not {0!r}.".format(path))
        return cls(os.path.normpath(expanded))

    @property
    def rpc_socket(self) -> str:
        return os.path.join(self.path, "rpc.sock")

    @property
    def pub_socket(self) -> str:
        return os.path.join(self.path, "pub.sock")

    @property
    def dump(self) -> str:
        return os.path.join(self.path, "dump.pm2")

    @property
    def dump_backup(self) -> str:
        return os.path.join(self.path, "dump.pm2.bak")

    @property
    def pid_file(self) -> str:
        return os.path.join(self.path, "pm2.pid")

    @property
    def daemon_log(self) -> str:
        return os.path.join(self.path, "pm2.log")

    @property
    def logs(self) -> str:
        return os.path.join(self.path, "logs")

    @property
    def pids(self) -> str:
        return os.path.join(self.path, "pids")

    @property
    def modules(self) -> str:
        return os.path.join(self.path, "modules")

    @property
    def module_configuration(self) -> str:
        return os.path.join(self.path, "module_conf.json")

    @property
    def gate(self) -> str:
        """Where generations are held, and what a running cutover writes down; see _generation.py. A short name, because
        sockets lie in it."""
        return os.path.join(self.path, "gate")

    @property
    def lock(self) -> str:
        """Held while a daemon is started or stopped by us; PM2 itself does not know it."""
        return os.path.join(self.path, ".zerodown.lock")

    @property
    def dump_lock(self) -> str:
        """Held while the process list is looked at and saved."""
        return os.path.join(self.path, ".zerodown-dump.lock")

    @property
    def resurrect_lock(self) -> str:
        """Held while saved processes are started: two at it at once would start one twice."""
        return os.path.join(self.path, ".zerodown-resurrect.lock")

    def exists(self) -> bool:
        return os.path.isdir(self.path)

    def check_owner(self) -> None:
        """Refuse a PM2_HOME of another user: what we would write there its owner could not use.

        :raises Pm2Error: naming the owner and the remedy.
        """
        try:
            owner = os.stat(self.path).st_uid
        except FileNotFoundError:
            return
        except OSError as error:
            raise Pm2Error(
                "PM2_HOME {0} cannot be read by {1}: {2}; run the task as its owner (become_user).".format(
                    self.path, user_name(os.geteuid()), error.strerror
                )
            ) from error
        if owner != os.geteuid():
            raise Pm2Error(
                "PM2_HOME {0} belongs to user {1}, but the task runs as {2}; run it as {1} (become_user) or set "
                "pm2_home.".format(self.path, user_name(owner), user_name(os.geteuid()))
            )
