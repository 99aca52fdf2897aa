# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal of a running cutover: each step is on disk before it is taken, so that whoever comes after a kill -9 or
a power cut knows what to undo or to finish.

It lies in PM2_HOME, beside the dump and the processes that it speaks of: the program that brings apps back at boot
finds it there, and an app without releases has a place for it too. No variable and no argument of an app is in it. What
ran before is kept beside it as a saved process list, in the form and with the mode of PM2's dump.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils import _dump
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import write_atomic
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._state import GENERATION_KEY, Process

FORMAT = 1

# the steps, in order
PROVE = "prove"
OPEN = "open"
# the dump is about to be written: it tells on which side of the commit we are
COMMIT = "commit"
RETIRE = "retire"
RECORD = "record"
STEPS = (PROVE, OPEN, COMMIT, RETIRE, RECORD)


@dataclass(frozen=True)
class Journal:
    """
    :ivar name: of the cutover: the first of ``names``.
    :ivar names: of the apps that are replaced, and of those that go.
    :ivar generation: id of the candidate.
    :ivar probe: id of the processes that stand for a candidate on ports of their own.
    :ivar old: pm_ids of what served before.
    :ivar root: directory of the releases; ``None`` for apps without.
    :ivar release: id of the release that is to be live.
    :ivar rollback: whether it is one that was live before.
    :ivar drain_timeout: seconds that the connections of the old generation have.
    :ivar started: seconds since 1970.
    :ivar handovers: of the apps behind a proxy, see _handover.py.
    :ivar warm: of the apps whose candidate is a standby that serves again: what _standby.py said of it, by name.
    """

    name: str
    names: List[str]
    generation: str
    probe: str
    step: str = PROVE
    old: List[int] = field(default_factory=list)
    root: Optional[str] = None
    release: Optional[str] = None
    previous: Optional[str] = None
    rollback: bool = False
    drain_timeout: float = 30.0
    by: str = ""
    reason: Optional[str] = None
    started: float = 0.0
    handovers: List[Dict[str, Any]] = field(default_factory=list)
    warm: Dict[str, Dict[str, Any]] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def is_committed_for_sure(self) -> bool:
        return STEPS.index(self.step) > STEPS.index(COMMIT)


def path_of(home: Home, name: str) -> str:
    return os.path.join(home.gate, name + ".json")


def before_of(home: Home, name: str) -> str:
    """The saved list of what ran before."""
    return os.path.join(home.gate, name + ".before")


def write(home: Home, journal: Journal) -> Journal:
    write_atomic(path_of(home, journal.name), (json.dumps(dataclasses.asdict(journal)) + "\n").encode("utf-8"))
    return journal


def advance(home: Home, journal: Journal, step: str) -> Journal:
    return write(home, dataclasses.replace(journal, step=step))


def end(home: Home, name: str) -> None:
    """Nothing is left to undo or to finish."""
    for path in (path_of(home, name), before_of(home, name)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def sweep(home: Home, name: str) -> None:
    """Remove what a run that was killed between two files left; the caller holds the lock of the app."""
    unfinished = re.compile(r"\.{0}\.(json|before)\.\w+".format(re.escape(name)))
    for entry in os.listdir(home.gate):
        if unfinished.fullmatch(entry) or (entry == name + ".before" and not os.path.exists(path_of(home, name))):
            os.unlink(os.path.join(home.gate, entry))


def read(home: Home, name: str) -> Optional[Journal]:
    """:raises Pm2Error: it is there and cannot be used."""
    path = path_of(home, name)
    try:
        with open(path, encoding="utf-8") as stream:
            content: Dict[str, Any] = json.load(stream)
        if content["format"] != FORMAT:
            raise Pm2Error("{0} was written by another version of zerodown.pm2; update the collection.".format(path))
        journal = Journal(**content)
        STEPS.index(journal.step)
        return journal
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Pm2Error("{0} cannot be read: {1}.".format(path, error.strerror)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise Pm2Error(
            "{0} is damaged; look at what runs (zerodown.pm2.app_info), then remove the file.".format(path)
        ) from error


def read_all(home: Home) -> List[Journal]:
    """Those that can be read."""
    found = []
    with contextlib.suppress(OSError):
        for entry in sorted(os.listdir(home.gate)):
            if entry.endswith(".json"):
                with contextlib.suppress(Pm2Error):
                    journal = read(home, entry[: -len(".json")])
                    if journal:
                        found.append(journal)
    return found


def save_before(home: Home, name: str, processes: Iterable[Process]) -> None:
    """Keep what runs now, so that it can be started again."""
    entries = [_dump.entry_of(process, stopped=not process.is_running()) for process in processes]
    write_atomic(before_of(home, name), json.dumps(entries).encode("ascii"), _dump.MODE)


def load_before(home: Home, name: str) -> List[_dump.Entry]:
    """:raises Pm2Error: it is damaged."""
    return _dump.read(before_of(home, name), os.geteuid()) or []


def is_committed(home: Home, journal: Journal) -> bool:
    """Whether the saved list already names the new generation instead of the old one. One with both is not ours: PM2's
    own ``save`` wrote it while both ran."""
    if journal.step != COMMIT:
        return journal.is_committed_for_sure
    try:
        entries = _dump.read(home.dump, os.geteuid()) or []
    except Pm2Error:
        return False
    generations = {entry.get(GENERATION_KEY) for entry in entries if entry.get("name") in journal.names}
    return generations == {journal.generation}


def settled(home: Home, journal: Journal, entries: Iterable[_dump.Entry]) -> List[_dump.Entry]:
    """The entries of a saved list without a candidate that was not taken over, and without what was replaced by one
    that was: PM2's own ``save`` in the middle of a cutover writes both generations down."""
    entries = list(entries)
    if is_committed(home, journal):
        arrived = {entry.get("name") for entry in entries if entry.get(GENERATION_KEY) == journal.generation}
        return [
            entry
            for entry in entries
            if entry.get("name") not in arrived or entry.get(GENERATION_KEY) == journal.generation
        ]
    candidates = (journal.generation, journal.probe)
    return [entry for entry in entries if entry.get(GENERATION_KEY) not in candidates]


def passing(journals: Iterable[Journal], processes: Iterable[Process], committing: Optional[str] = None) -> List[int]:
    """The pm_ids that must not be saved for a boot: candidates that have not been taken over yet, and what they
    replaced when they have.

    :param committing: name of a journal whose candidates are taken over by this very list.
    """
    found: List[int] = []
    for journal in journals:
        committed = journal.is_committed_for_sure or journal.name == committing
        for process in processes:
            is_candidate = process.generation in (journal.generation, journal.probe)
            if process.name in journal.names and is_candidate != committed:
                found.append(process.pm_id)
    return found
