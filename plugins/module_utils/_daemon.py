# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starting the PM2 daemon, under a lock: four PM2 commands at once start four daemons."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Dict, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._environment import base_environment
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import (
    CommandError,
    DaemonNotRunning,
    Pm2Error,
    ProtocolError,
    RpcTimeout,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import Pm2Install
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import locked, tail
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home, user_name
from ansible_collections.zerodown.pm2.plugins.module_utils._plugins import start_missing_plugins
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from ansible_collections.zerodown.pm2.plugins.module_utils._systemd import ManagedUnit, Systemd, managing_unit

POLL_INTERVAL = 0.02
LOG_LINES = 15


def ensure_running(home: Home, install: Pm2Install, timeout: float) -> bool:
    """Let a daemon answer on the socket of ``home``.

    One that is managed by a systemd unit of ours is started by systemd and nothing else: a second daemon beside the
    unit would make the unit fail at the next boot.

    :param timeout: seconds, for the lock and again for the start.
    :returns: whether one had to be started.
    :raises Pm2Error: it did not come up (details ``daemon_log``), or only root may start its unit.
    """
    home.check_owner()
    if _answers(home):
        return False
    make_home(home)
    with locked(home.lock, timeout, "starting the PM2 daemon"):
        if _answers(home):
            return False
        unit = managing_unit(home)
        if unit is not None:
            start_unit(unit, home, timeout)
        else:
            spawn(home, install, timeout)
    return True


def daemon_environment(home: Home, node: str, user: Optional[str] = None) -> Dict[str, str]:
    """What the daemon gets, and with it every cluster worker, which inherits it (PM2 lib/God/ClusterMode.js).

    :param user: whose daemon; ``None`` for the one who runs the module.
    """
    return {**base_environment([os.path.dirname(node)], user), "PM2_HOME": home.path}


def make_home(home: Home) -> None:
    """The folders and files that PM2's command line makes before it starts a daemon (PM2 lib/Client.js
    initFileStructure); the daemon itself takes them for granted. Private, because PM2 gives its sockets mode 0775.

    The file ``touch`` tells PM2 that it has run before: else its first command reports the installation to its maker.
    """
    try:
        for directory in (home.path, home.logs, home.pids, home.modules):
            os.makedirs(directory, mode=0o700, exist_ok=True)
        for path, content in ((home.module_configuration, b"{}"), (os.path.join(home.path, "touch"), b"")):
            if not os.path.exists(path):
                with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as stream:
                    stream.write(content)
    except OSError as error:
        raise Pm2Error(
            "PM2_HOME {0} cannot be made by {1}: {2}; create its parent directory or set pm2_home.".format(
                home.path, user_name(os.geteuid()), error.strerror
            )
        ) from error


def _answers(home: Home) -> bool:
    """Whether a daemon is there and answers, be it in a way we do not understand.

    :raises RpcTimeout: one is there and hangs; a second one would not help.
    """
    try:
        Rpc(home.rpc_socket).version()
    except DaemonNotRunning:
        return False
    except ProtocolError:
        return True
    return True


def start_unit(unit: ManagedUnit, home: Home, timeout: float) -> None:
    """Let systemd start the daemon, and wait until it answers.

    :param timeout: seconds.
    :raises Pm2Error: it does not, or only root may.
    """
    systemd = Systemd(unit.scope)
    try:
        # systemd may be at it already, after a crash: then it needs no order, which only root may give
        deadline = time.monotonic() + timeout
        while systemd.state(unit.name).active == "activating" and time.monotonic() < deadline:
            time.sleep(5 * POLL_INTERVAL)
        if systemd.state(unit.name).active != "active":
            systemd.start(unit.name, timeout)
    except CommandError as error:
        raise Pm2Error(
            "The PM2 daemon of {0} belongs to the systemd unit {1}, which could not be started ({2}); start it as root "
            "(systemctl start {1}) or look at its journal.".format(home.path, unit.name, error.message.rstrip(".")),
            **error.details,
        ) from error
    if not _wait(home, timeout, None):
        raise Pm2Error(
            "The systemd unit {0} runs, but no PM2 daemon answers on {1} after {2:g} s; look at its journal "
            "(journalctl -u {0}).".format(unit.name, home.rpc_socket, timeout)
        )


def spawn(home: Home, install: Pm2Install, timeout: float) -> None:
    """Start a daemon that no unit manages, with PM2's own modules; the caller holds the lock.

    :param timeout: seconds.
    :raises Pm2Error: it did not come up (details ``daemon_log``).
    """
    # Popen's own umask= is Python 3.9; everything the daemon writes (dump, logs, pids) shall be private
    previous = os.umask(0o077)
    try:
        log = os.open(home.daemon_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            process = subprocess.Popen(
                [install.node, install.daemon_script],
                env=daemon_environment(home, install.node),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        finally:
            os.close(log)
    except OSError as error:
        raise Pm2Error(
            "The PM2 daemon could not be started with {0}: {1}.".format(install.node, error.strerror)
        ) from error
    finally:
        os.umask(previous)
    if not _wait(home, timeout, process):
        ended = process.poll()
        if ended is None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        raise Pm2Error(
            "The PM2 daemon {0}; see daemon_log, the end of {1}.".format(
                "did not answer within {0:g} s".format(timeout)
                if ended is None
                else "ended at once with return code {0}".format(ended),
                home.daemon_log,
            ),
            daemon_log=tail(home.daemon_log, LOG_LINES),
        )
    if Rpc(home.rpc_socket).daemon_pid() != process.pid and process.poll() is None:
        # PM2's command line, which knows no lock, was faster: its daemon has the socket, ours can never have apps
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return
    start_missing_plugins(home, install, timeout)


def _wait(home: Home, timeout: float, process: "Optional[subprocess.Popen[bytes]]") -> bool:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            if _answers(home):
                return True
        except RpcTimeout:
            return False
        if process is not None and process.poll() is not None:
            return _answers(home)
        time.sleep(POLL_INTERVAL)
    return False
