# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every module that declares apps works with, and the apps that it declares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._app import App, Host, build
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import Pm2Install, find_pm2
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home


def _nothing_to_hide(_environments: List[Dict[str, Any]]) -> None:
    """For a module that returns no log."""


@dataclass
class Settings:
    """
    :ivar warn: takes a sentence for the user.
    :ivar hide: takes environments whose secrets must not show up in what the module returns.
    :ivar steady_time: seconds.
    :ivar start_timeout: seconds.
    """

    home: Home
    pm2_executable: Optional[str]
    node_executable: Optional[str]
    check_mode: bool
    warn: Callable[[str], None]
    hide: Callable[[List[Dict[str, Any]]], None] = _nothing_to_hide
    steady_time: float = 2.0
    start_timeout: float = 30.0
    log_lines: int = 20
    _install: Optional[Pm2Install] = field(default=None, init=False)

    def install(self) -> Pm2Install:
        if self._install is None:
            self._install = find_pm2(self.pm2_executable, self.node_executable)
        return self._install

    def install_or_none(self) -> Optional[Pm2Install]:
        """``None`` only in check mode: on a bare host an earlier task would install it."""
        try:
            return self.install()
        except Pm2Error as error:
            self.refuse(error.message)
            return None

    def refuse(self, sentence: str) -> None:
        if not self.check_mode:
            raise Pm2Error(sentence)
        self.warn(sentence)


def declared_apps(entries: List[Dict[str, Any]], state: str, settings: Settings) -> List[App]:
    """
    :param entries: the options of each app.
    :raises Pm2Error: what is declared cannot be; nothing was changed.
    """
    needs_node = any(entry.get("script") for entry in entries)
    install = settings.install_or_none() if needs_node else None
    host = Host(home=settings.home, node=install.node if install else None, refuse=settings.refuse)
    apps = [build(entry, state, host) for entry in entries]
    names = [app.name for app in apps]
    for name in names:
        if names.count(name) > 1:
            raise Pm2Error("App {0} is declared {1} times; give each its own name.".format(name, names.count(name)))
    return apps
