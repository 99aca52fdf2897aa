# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One PM2 daemon, whichever way it can be spoken to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Union

from ansible_collections.zerodown.pm2.plugins.module_utils import _standby
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import ProtocolError, RpcError
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import Pm2Install
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process, parse_all

if TYPE_CHECKING:
    from ansible_collections.zerodown.pm2.plugins.module_utils._cli import Cli

# bytes, for some lines in the daemon's log
_DISK_MIN = 64 * 2**10


class Client:
    """Reads and changes the processes of one daemon. The verbs are those of :class:`Rpc`; see there."""

    def __init__(self, home: Home, find_install: Callable[[], Pm2Install], warn: Callable[[str], None]) -> None:
        """
        :param find_install: called only when PM2's command line must be used.
        :param warn: takes a sentence for the user.
        """
        self.home = home
        self._find_install = find_install
        self._warn = warn
        self._rpc = Rpc(home.rpc_socket)
        self._backend: Union[Rpc, Cli, None] = None

    def is_running(self) -> bool:
        """Whether a daemon listens; starts none."""
        return self._rpc.is_alive()

    def version(self) -> str:
        """The version of PM2 that the daemon runs."""
        return self._speak().version()

    @property
    def changes_in_place(self) -> bool:
        """Whether one process can be changed or added beside others of its name. PM2's command line cannot: for an
        ecosystem file it takes all of a name for the same app (PM2 lib/API.js _startJson)."""
        return isinstance(self._speak(), Rpc)

    def processes(self) -> List[Process]:
        """All processes, PM2's own modules included, without what is only kept warm (see _standby.py)."""
        # looked at first: what has just become one is no part of its app any more
        standbys = _standby.read_all(self.home)
        return _standby.without(standbys, self.everything())

    def everything(self) -> List[Process]:
        """All processes."""
        return parse_all(self._speak().processes())

    def prepare(self, definition: Dict[str, Any], timeout: float) -> None:
        self._check_disk()
        self._speak().prepare(definition, timeout)

    def start(self, pm_id: int, timeout: float) -> None:
        self._check_disk()
        self._speak().start(pm_id, timeout)

    def stop(self, pm_id: int, timeout: float) -> None:
        self._speak().stop(pm_id, timeout)

    def delete(self, pm_id: int, timeout: float) -> None:
        self._speak().delete(pm_id, timeout)

    def restart(self, pm_id: int, changes: Dict[str, Any], timeout: float) -> None:
        self._check_disk()
        self._speak().restart(pm_id, changes, timeout)

    def reload(self, pm_id: int, changes: Dict[str, Any], timeout: float) -> None:
        self._check_disk()
        self._speak().reload(pm_id, changes, timeout)

    def reset(self, pm_id: int) -> None:
        self._speak().reset(pm_id)

    def signal(self, pm_id: int, name: str) -> None:
        self._speak().signal(pm_id, name)

    def watch(self, pm_id: int, enabled: bool) -> None:
        self._speak().watch(pm_id, enabled)

    def reload_logs(self) -> None:
        self._speak().reload_logs()

    def _check_disk(self) -> None:
        """
        :raises RpcError: the disk is full. The daemon writes a line to its own log about whatever it starts; an error
            there ends it, and with it all workers of clusters (seen with PM2 7 on a full tmpfs).
        """
        space = os.statvfs(self.home.path)
        if space.f_frsize * (space.f_bfree if os.geteuid() == 0 else space.f_bavail) < _DISK_MIN:
            raise RpcError(
                "Nothing was started, because PM2's daemon would die of it: there is no space left on the disk of "
                "{0}; free some.".format(self.home.path)
            )

    def _speak(self) -> Union[Rpc, Cli]:
        """The way to this daemon, found with the first call: its socket, or PM2's command line."""
        if self._backend is None:
            try:
                self._rpc.version()
                self._backend = self._rpc
            except ProtocolError as error:
                # imported here: nobody who speaks to a known PM2 should pay for it
                from ansible_collections.zerodown.pm2.plugins.module_utils._cli import Cli

                self._warn("{0} Falling back to PM2's command line, which is slower.".format(error.message))
                self._backend = Cli(self.home, self._find_install)
        return self._backend


def connect(home: Home, find_install: Callable[[], Pm2Install], warn: Callable[[str], None]) -> Client:
    """The daemon of this PM2_HOME, running or not; opens and starts nothing.

    :param find_install: called only when PM2's command line must be used.
    :param warn: takes a sentence for the user.
    """
    return Client(home, find_install, warn)
