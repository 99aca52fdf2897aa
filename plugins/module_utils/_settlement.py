# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settling a cutover from its journal alone: finished when it was committed, undone when it was not; and a daemon that
died in the middle."""

from __future__ import annotations

from typing import Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils import _confirmation, _journal, _record
from ansible_collections.zerodown.pm2.plugins.module_utils._activate import go_live, judge, leave, withdraw
from ansible_collections.zerodown.pm2.plugins.module_utils._client import Client
from ansible_collections.zerodown.pm2.plugins.module_utils._daemon import ensure_running
from ansible_collections.zerodown.pm2.plugins.module_utils._dump import load
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._handover import align, without_warm
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._release import Layout, read_live
from ansible_collections.zerodown.pm2.plugins.module_utils._resurrect import resurrect
from ansible_collections.zerodown.pm2.plugins.module_utils._save import settle
from ansible_collections.zerodown.pm2.plugins.module_utils._settings import Settings
from ansible_collections.zerodown.pm2.plugins.module_utils._stage import read
from ansible_collections.zerodown.pm2.plugins.module_utils._systemd import managing_unit, pm2_own_units
from ansible_collections.zerodown.pm2.plugins.module_utils._transaction import (
    START_TIMEOUT,
    retire_replaced,
    undo,
    wait_for_daemon,
)

# what systemd may take to bring a daemon back that died
UNIT_PATIENCE = 20.0


def bring_back(client: Client, settings: Settings) -> None:
    """Start what is saved, as a unit does at boot."""
    try:
        entries = load(client.home).entries
    except Pm2Error as error:
        settings.warn(error.message)
        return
    entries = without_warm(client.home, entries)
    for journal in _journal.read_all(client.home):
        entries = _journal.settled(client.home, journal, entries)
    report = resurrect(client, entries, START_TIMEOUT)
    for sentence in report.skipped + report.failed:
        settings.warn("Not started: {0}".format(sentence))
    for sentence in align(client.home, entries):
        settings.warn(sentence)


def await_daemon(client: Client, settings: Settings) -> None:
    def revive() -> None:
        ensure_running(client.home, settings.install(), settings.start_timeout)
        bring_back(client, settings)

    has_unit = managing_unit(client.home) is not None or pm2_own_units(client.home) != []
    wait_for_daemon(client, revive, UNIT_PATIENCE if has_unit else 0.0)


def unfinished(home: Home, names: List[str]) -> List[_journal.Journal]:
    """:raises Pm2Error: one of them cannot be read."""
    for name in names:
        _journal.read(home, name)
    return [journal for journal in _journal.read_all(home) if set(journal.names) & set(names)]


def repair(client: Client, journal: _journal.Journal, settings: Settings) -> str:
    """Undo or finish what a run that was killed left behind; a sentence that says so."""
    if _journal.is_committed(client.home, journal):
        for sentence in finish(client, journal, keep=None):
            settings.warn(sentence)
        return "An interrupted cutover of {0} to {1} was finished.".format(
            ", ".join(journal.names), journal.release or journal.generation
        )
    for sentence in abandon(client, journal):
        settings.warn(sentence)
    return "An interrupted cutover of {0} to {1} was undone.".format(
        ", ".join(journal.names), journal.release or journal.generation
    )


def abandon(client: Client, journal: _journal.Journal) -> List[str]:
    """
    :returns: sentences about what could not be brought back.
    """
    failed = undo(client, journal)
    if journal.root and journal.release:
        layout = Layout.at(journal.root)
        _record.withdraw(layout, journal.release)
        _confirmation.drop_unless_live(client.home, layout, read_live(layout))
        drop_unless_run_so(client.home, layout)
    _journal.end(client.home, journal.name)
    return failed


def finish(
    client: Client, journal: _journal.Journal, keep: Optional[int], timings: Optional[Dict[str, float]] = None
) -> List[str]:
    """Everything after the commit but the bake; may be done twice.

    :param timings: seconds by step, for the deploy log.
    :returns: what a person should know.
    """
    notices = retire_replaced(client, journal)
    if journal.root and journal.release:
        layout = Layout.at(journal.root)
        _record.confirm(layout, journal.release)
        overview = read(layout)
        # it may have been switched, and not yet logged
        if overview.live != journal.release or overview.history.sequence[-1:] != [journal.release]:
            notices += go_live(
                layout,
                journal.release,
                journal.rollback,
                # a repair removes nothing: the run that knows the setting comes next
                keep or len(overview.releases) + 1,
                [],
                journal.by,
                journal.reason,
                check=False,
                decided=True,
                timings=timings,
            ).notices
        if journal.rollback and journal.previous and journal.previous != journal.release:
            _leave_behind(layout, journal, journal.previous)
        _confirmation.drop_unless_live(client.home, layout, journal.release)
    elif journal.root and journal.previous and journal.rollback:
        layout = Layout.at(journal.root)
        leave(layout, journal.previous)
        _confirmation.drop_unless_live(client.home, layout, read_live(layout))
    settle(client.home, journal)
    _journal.end(client.home, journal.name)
    return notices


def drop_unless_run_so(home: Home, layout: Layout) -> None:
    """Changed options that are not those of what serves await nothing."""
    awaiting = _confirmation.read(layout)
    if awaiting and awaiting.options and not awaiting.decided:
        now, before = (read_one(layout, awaiting.release) for read_one in (_record.read, _record.read_before))
        if now and before and now.apps == before.apps:
            _confirmation.drop(home, layout)


def _leave_behind(layout: Layout, journal: _journal.Journal, release: str) -> None:
    """What is gone back from is bad, unless only its confirmation was missing."""
    awaiting = _confirmation.read(layout)
    if awaiting and awaiting.release == release and awaiting.decided == _confirmation.WITHDRAWN:
        withdraw(layout, awaiting)
    elif not _confirmation.withdrawal(read(layout).events, release):
        judge(layout, release, "bad", journal.by, journal.reason or "rolled back", False)
