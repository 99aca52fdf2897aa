# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Saving the live process list."""

from __future__ import annotations

import os
import time
from typing import Callable, List, Optional, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils import _dump, _journal
from ansible_collections.zerodown.pm2.plugins.module_utils._client import Client
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import locked
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process

# between two looks at a list in which something is not up: an app that restarts is up, gone or further on by then
LOOKS = 3
LOOK_INTERVAL = 0.2
# seconds; a holder looks and writes, no more
LOCK_TIMEOUT = 30.0


def look(client: Client, committing: Optional[str] = None) -> _dump.Snapshot:
    """The list as it is to be saved, without what a running cutover is about to prove or to end; takes 0.4 s longer
    when something is not up.

    :param committing: name of the cutover that this list commits.
    """
    samples = [_sample(client, committing)]
    while len(samples) < LOOKS and _dump.needs_another_look(samples[-1]):
        time.sleep(LOOK_INTERVAL)
        samples.append(_sample(client, committing))
    return _dump.snapshot(samples)


def _sample(client: Client, committing: Optional[str]) -> List[Process]:
    journals = _journal.read_all(client.home)
    while True:
        processes = client.processes()
        before, journals = journals, _journal.read_all(client.home)
        # else one began, went on or ended meanwhile, and the processes may not be those that it speaks of
        if journals == before:
            without = _journal.passing(journals, processes, committing)
            return [process for process in processes if process.pm_id not in without]


def save(
    home: Home,
    client: Client,
    begin: Callable[[], None] = lambda: None,
    done: Callable[[], None] = lambda: None,
    only: Optional[List[str]] = None,
    committing: Optional[str] = None,
    check: Callable[[List[_dump.Entry]], None] = lambda _entries: None,
) -> Tuple[_dump.Snapshot, bool]:
    """Write the live list, when it is not what is saved already; whether it had to be written.

    :param begin: called under the lock, before the list is read.
    :param done: called under the lock, once the list is saved.
    :param only: names of apps; the others stay as they are saved. When none of them is saved, none will be.
    :param committing: see :func:`look`.
    :param check: called with the live list before anything is written; raises when it must not be.
    """
    # without a daemon there is nothing to save, and maybe no place for the lock
    client.version()
    with locked(home.dump_lock, LOCK_TIMEOUT, "saving the process list"):
        _dump.sweep(home)
        begin()
        snapshot = look(client, committing)
        check(snapshot.entries)
        snapshot = _with_absent(home, snapshot, committing)
        saved: Optional[List[_dump.Entry]] = None
        if only is not None:
            saved = _dump.load(home).entries
            snapshot = _only(snapshot, saved, only)
        changed = snapshot.entries != saved and not _dump.is_saved(home, snapshot.entries)
        if changed:
            _dump.write(home, snapshot.entries)
        done()
    return snapshot, changed


def _with_absent(home: Home, snapshot: _dump.Snapshot, committing: Optional[str]) -> _dump.Snapshot:
    """Beside the live ones those that another cutover has ended already to let its candidate have their port: until
    it commits, a boot starts them."""
    absent: List[_dump.Entry] = []
    for journal in _journal.read_all(home):
        if journal.name != committing and not _journal.is_committed(home, journal):
            saved = _journal.settled(home, journal, _dump.load(home).entries)
            own = [entry for entry in saved if entry.get("name") in journal.names]
            absent += _dump.missing(own, snapshot.entries)
    return _dump.Snapshot(snapshot.entries + absent, snapshot.accidents) if absent else snapshot


def settle(home: Home, journal: _journal.Journal) -> None:
    """Take out of the saved list what PM2's own ``save`` wrote down in the middle of this cutover.

    :raises Pm2Error: it could not be written.
    """
    with locked(home.dump_lock, LOCK_TIMEOUT, "saving the process list"):
        try:
            saved = _dump.read(home.dump, os.geteuid()) or []
        except Pm2Error:
            # a boot would not use it either
            return
        entries = _journal.settled(home, journal, saved)
        if entries != saved:
            _dump.write(home, entries)


def _only(snapshot: _dump.Snapshot, saved: List[_dump.Entry], names: List[str]) -> _dump.Snapshot:
    if not any(entry.get("name") in names for entry in saved):
        return _dump.Snapshot(saved)
    kept = [entry for entry in saved if entry.get("name") not in names]
    return _dump.Snapshot(kept + [entry for entry in snapshot.entries if entry.get("name") in names])
