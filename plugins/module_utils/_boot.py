# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program that the systemd unit runs around the daemon, without Ansible (see _boot_program.py).

``take-over`` before the daemon starts, ``wait`` and ``resurrect`` after, ``stop`` to end it. It prints to the journal;
sentences only, never an environment.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from typing import List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils import _confirmation, _dump, _journal
from ansible_collections.zerodown.pm2.plugins.module_utils._client import Client, connect
from ansible_collections.zerodown.pm2.plugins.module_utils._daemon import make_home
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import DaemonNotRunning, Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import find_pm2
from ansible_collections.zerodown.pm2.plugins.module_utils._gate_control import sweep
from ansible_collections.zerodown.pm2.plugins.module_utils._handover import align, without_warm
from ansible_collections.zerodown.pm2.plugins.module_utils._hold import let_through
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._plugins import start_missing_plugins
from ansible_collections.zerodown.pm2.plugins.module_utils._resurrect import resurrect
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from ansible_collections.zerodown.pm2.plugins.module_utils._runner import start
from ansible_collections.zerodown.pm2.plugins.module_utils._save import save
from ansible_collections.zerodown.pm2.plugins.module_utils._stop import stop_daemon

OK = 0
# something came back, something did not; systemd keeps the daemon and what runs (``-`` before the command)
INCOMPLETE = 1
REFUSED = 2


def main(argv: Optional[List[str]] = None) -> int:
    """:returns: the exit code: 0 all well, 1 some apps did not come back, 2 nothing could be done."""
    arguments = _parser().parse_args(argv)
    try:
        home = Home.of(arguments.home)
        home.check_owner()
        code: int = arguments.work(home, arguments)
    except Pm2Error as error:
        _say(error.message)
        return REFUSED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="zerodown-pm2", description="What the systemd unit of a PM2 daemon runs.")
    commands = parser.add_subparsers(required=True, dest="command")
    for name, work, explanation in (
        ("take-over", take_over, "save the list of a daemon that runs outside of the unit, and end it"),
        ("wait", wait, "wait until the daemon answers"),
        ("resurrect", bring_back, "start what the saved list names"),
        ("stop", stop, "end every process and the daemon"),
    ):
        command = commands.add_parser(name, help=explanation)
        command.set_defaults(work=work)
        command.add_argument("--home", required=True, help="PM2_HOME")
        command.add_argument("--timeout", type=float, required=True, help="seconds")
        command.add_argument("--pm2", required=True, help="PM2's bin/pm2")
        command.add_argument("--node", required=True, help="the Node that runs it")
    return parser


def take_over(home: Home, arguments: argparse.Namespace) -> int:
    """A daemon that runs before the unit's is somebody's command line or ssh session: two cannot share the sockets.

    Its list is saved first, so that the unit's daemon brings the same apps back.
    """
    make_home(home)
    rpc = Rpc(home.rpc_socket)
    if not rpc.is_alive():
        return OK
    _say("A daemon (pid {0}) runs outside of the unit; its apps are taken over.".format(rpc.daemon_pid()))
    save(home, _client(home, arguments))
    for sentence in stop_daemon(rpc, arguments.timeout):
        _say(sentence)
    return OK


def wait(home: Home, arguments: argparse.Namespace) -> int:
    deadline = time.monotonic() + arguments.timeout
    while time.monotonic() < deadline:
        with contextlib.suppress(DaemonNotRunning):
            Rpc(home.rpc_socket).version()
            return OK
        time.sleep(0.05)
    raise Pm2Error("No daemon answered on {0} within {1:g} s.".format(home.rpc_socket, arguments.timeout))


def bring_back(home: Home, arguments: argparse.Namespace) -> int:
    saved = _dump.load(home)
    for sentence in saved.problems:
        _say(sentence)
    entries = settled(home, without_warm(home, saved.entries))
    report = resurrect(_client(home, arguments), entries, arguments.timeout)
    for sentence in report.skipped + report.failed:
        _say("Not started: {0}".format(sentence))
    for sentence in align(home, entries):
        _say(sentence)
    if saved.path:
        _say("{0} of {1} saved processes started from {2}.".format(len(report.started), len(saved.entries), saved.path))
    else:
        _say("No process list is saved.")
    if _confirmation.roots(home):
        # in the background: the unit waits for us
        start(lambda: await_confirmations(home, arguments))
    start_missing_plugins(home, find_pm2(arguments.pm2, arguments.node), arguments.timeout)
    return INCOMPLETE if report.skipped or report.failed or saved.problems else OK


def await_confirmations(home: Home, arguments: argparse.Namespace) -> None:
    """Go back from what nobody confirms in time, as the process did that a power cut has ended."""
    # imported here: all of the cutover, which a boot seldom needs
    from ansible_collections.zerodown.pm2.plugins.module_utils._dead_man import keep_all
    from ansible_collections.zerodown.pm2.plugins.module_utils._settings import Settings

    keep_all(Settings(home, arguments.pm2, arguments.node, check_mode=False, warn=_say))


def settled(home: Home, entries: List[_dump.Entry]) -> List[_dump.Entry]:
    """The entries of one generation of each app, see :func:`_journal.settled`. What was held is let through, as nobody
    is left who would."""
    sweep(home)
    for journal in _journal.read_all(home):
        for generation in (journal.generation, journal.probe):
            let_through(home, generation)
        entries = _journal.settled(home, journal, entries)
        _say(
            "A cutover of {0} was interrupted in its step {1}; the next one settles it.".format(
                ", ".join(journal.names), journal.step
            )
        )
    return entries


def stop(home: Home, arguments: argparse.Namespace) -> int:
    for sentence in stop_daemon(Rpc(home.rpc_socket), arguments.timeout):
        _say(sentence)
    return OK


def _client(home: Home, arguments: argparse.Namespace) -> Client:
    return connect(home, lambda: find_pm2(arguments.pm2, arguments.node), _say)


def _say(sentence: str) -> None:
    sys.stderr.write(sentence + "\n")
