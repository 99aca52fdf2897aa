# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looking at a daemon that runs, stopping it, and replacing it by the PM2 and Node that are installed now.

``pm2 update`` starts the new daemon from the caller's session: it is outside of the unit then, which no longer stops
its apps. Here the unit itself starts it.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils import _dump
from ansible_collections.zerodown.pm2.plugins.module_utils._client import Client, connect
from ansible_collections.zerodown.pm2.plugins.module_utils._command import run
from ansible_collections.zerodown.pm2.plugins.module_utils._daemon import ensure_running, spawn, start_unit
from ansible_collections.zerodown.pm2.plugins.module_utils._environment import base_environment
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import DaemonNotRunning, Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import Pm2Install
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import locked
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home, user_name
from ansible_collections.zerodown.pm2.plugins.module_utils._owner import as_user
from ansible_collections.zerodown.pm2.plugins.module_utils._resurrect import resurrect, wait_until_back
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from ansible_collections.zerodown.pm2.plugins.module_utils._save import save
from ansible_collections.zerodown.pm2.plugins.module_utils._state import STOPPED
from ansible_collections.zerodown.pm2.plugins.module_utils._stop import stop_daemon
from ansible_collections.zerodown.pm2.plugins.module_utils._systemd import USER, ManagedUnit, Systemd, managing_unit

# beyond what the unit itself grants a stop; it knows its own limit better than we do
STOP_PATIENCE = 900.0


@dataclass(frozen=True)
class Running:
    """A daemon that runs.

    :ivar node_version: without ``v``.
    :ivar unit: the unit of ours that it is the main process of.
    """

    version: str
    node_version: str
    pid: int
    unit: Optional[ManagedUnit]


def owner_of(home: Home) -> str:
    """The user whose daemon it is or would be.

    Root may look after anybody's daemon, always with that user's rights; everybody else only after their own.

    :raises Pm2Error: it is somebody else's.
    """
    if os.geteuid() != 0 or not home.exists():
        home.check_owner()
        return user_name(os.geteuid())
    return user_name(os.stat(home.path).st_uid)


def look(home: Home, owner: str) -> Optional[Running]:
    """The daemon of this PM2_HOME; ``None`` when none runs."""
    answer: Optional[Dict[str, Any]] = as_user(owner, lambda: _ask(home))
    if answer is None:
        return None
    unit = managing_unit(home, owner)
    if unit is not None and _manager_of(unit, owner)["main_pid"] != answer["pid"]:
        unit = None
    return Running(answer["version"], answer["node_version"], answer["pid"], unit)


def _ask(home: Home) -> Optional[Dict[str, Any]]:
    rpc = Rpc(home.rpc_socket)
    try:
        return {"version": rpc.version(), "node_version": rpc.node_version(), "pid": rpc.daemon_pid()}
    except DaemonNotRunning:
        return None


def _manager_of(unit: ManagedUnit, owner: str) -> Dict[str, Any]:
    def ask() -> Dict[str, Any]:
        return {"main_pid": Systemd(unit.scope).state(unit.name).main_pid}

    answer: Dict[str, Any] = as_user(owner, ask) if unit.scope == USER else ask()
    return answer


def installed_node_version(install: Pm2Install) -> str:
    """The version of the Node on disk, without ``v``."""
    return run([install.node, "--version"], env=base_environment()).stdout.strip().lstrip("v")


def start(home: Home, owner: str, install: Pm2Install, timeout: float) -> None:
    """Start the daemon, as its owner; a unit in system scope as root, when we are.

    :param timeout: seconds.
    """
    unit = managing_unit(home, owner)
    if unit is not None and unit.scope != USER and os.geteuid() == 0:
        start_unit(unit, home, timeout)
    else:
        as_user(owner, lambda: ensure_running(home, install, timeout))


def stop(home: Home, owner: str, running: Running, timeout: float) -> List[str]:
    """Save the list, then end every app and the daemon.

    :param timeout: seconds, where no unit says how long its stop may take.
    :returns: a sentence for each process that had to be killed.
    :raises Pm2Error: the daemon is a system unit's, and we are not root: it would be started again at once.
    """
    unit = running.unit
    if unit is not None and unit.scope != USER and os.geteuid() != 0:
        raise Pm2Error(
            "The daemon is that of the systemd unit {0}, which starts it again; stop it as root (become: true and "
            "pm2_home: {1}).".format(unit.name, home.path)
        )
    as_user(owner, lambda: _save(home))
    if unit is None:
        killed: List[str] = as_user(owner, lambda: _stop_locked(home, timeout))
        return killed
    _with_manager(unit, owner, "stop", STOP_PATIENCE)
    return []


def update(home: Home, owner: str, running: Running, install: Pm2Install, timeout: float) -> float:
    """Replace the daemon by one of the installed PM2 and Node, with every app that it has.

    :param timeout: seconds for the apps to end, and again for them to come back.
    :returns: seconds between the order to stop and the moment when the last app's process had been started again.
    :raises Pm2Error: something did not come back, or what runs now is not what is installed.
    """
    entries: List[_dump.Entry] = as_user(owner, lambda: _save(home))
    began = time.time()
    if running.unit is None:
        as_user(owner, lambda: _replace(home, install, entries, timeout))
    elif running.unit.scope == USER or os.geteuid() == 0:
        _with_manager(running.unit, owner, "restart", STOP_PATIENCE)
    else:
        # the unit's Restart=always does what we may not ask systemd for
        stop_daemon(Rpc(home.rpc_socket), timeout)
        _wait_for_another(home, running.pid, timeout)
    lost: List[str] = as_user(owner, lambda: wait_until_back(_client(home), entries, timeout))
    if lost:
        raise Pm2Error("The daemon was replaced, but not every app came back: {0}".format(" ".join(lost)))
    _check_version(home, owner, install)
    last: float = as_user(owner, lambda: _last_start(home, entries))
    return max(0.0, round(last - began, 3)) if entries else 0.0


def _check_version(home: Home, owner: str, install: Pm2Install) -> None:
    now = look(home, owner)
    wanted = (install.version, installed_node_version(install))
    if now is not None and (now.version, now.node_version) != wanted:
        raise Pm2Error(
            "The daemon was replaced, but runs PM2 {0} on Node {1} and not the installed {2} on {3}; let {4} be "
            "written anew (module zerodown.pm2.startup).".format(
                now.version, now.node_version, *wanted, now.unit.name if now.unit else "its unit"
            )
        )


def _with_manager(unit: ManagedUnit, owner: str, verb: str, timeout: float) -> None:
    def act() -> None:
        getattr(Systemd(unit.scope), verb)(unit.name, timeout)

    if unit.scope == USER:
        as_user(owner, act)
    else:
        act()


def _client(home: Home) -> Client:
    def unknown() -> Pm2Install:
        raise Pm2Error("The daemon at {0} speaks an unknown protocol.".format(home.rpc_socket))

    return connect(home, unknown, lambda _sentence: None)


def _save(home: Home) -> List[_dump.Entry]:
    return save(home, _client(home))[0].entries


def _stop_locked(home: Home, timeout: float) -> List[str]:
    with locked(home.lock, timeout, "starting or stopping the PM2 daemon"):
        return stop_daemon(Rpc(home.rpc_socket), timeout)


def _replace(home: Home, install: Pm2Install, entries: List[_dump.Entry], timeout: float) -> None:
    with locked(home.lock, timeout, "starting or stopping the PM2 daemon"):
        stop_daemon(Rpc(home.rpc_socket), timeout)
        spawn(home, install, timeout)
    resurrect(_client(home), entries, timeout)


def _wait_for_another(home: Home, pid: int, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        answer = _ask(home)
        if answer is not None and answer["pid"] != pid:
            return
        time.sleep(0.05)
    raise Pm2Error("systemd did not start a new daemon for {0} within {1:g} s.".format(home.path, timeout))


def _last_start(home: Home, entries: List[_dump.Entry]) -> float:
    wanted = {_dump.instance_of(entry) for entry in entries if entry.get("status") != STOPPED}
    starts = [
        process.started_at / 1000.0 for process in _client(home).processes() if _dump.instance_of(process.env) in wanted
    ]
    return max(starts, default=0.0)
