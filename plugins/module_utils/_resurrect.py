# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bringing a saved process list back, and looking whether it really came."""

from __future__ import annotations

import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Dict, Iterable, List, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils._client import Client
from ansible_collections.zerodown.pm2.plugins.module_utils._dump import (
    Entry,
    definition_of,
    instance_of,
    missing,
    obstacle,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import which
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import locked
from ansible_collections.zerodown.pm2.plugins.module_utils._gates import with_present
from ansible_collections.zerodown.pm2.plugins.module_utils._state import STOPPED, Process

# how many apps may be waited for at once (wait_ready); all others are answered for in milliseconds
WORKERS = 8
POLL_INTERVAL = 0.02
# as long as a process must stay up to count as back; PM2 itself calls an uptime below 1 s unstable
STEADY_SECONDS = 1.5


@dataclass(frozen=True)
class Report:
    """:ivar started: names, one for each process.
    :ivar skipped: a sentence for each entry that could not have run and was left out.
    :ivar failed: a sentence for each entry that PM2 did not take.
    :ivar expected: the entries that must have a process now: all but the skipped.
    """

    started: List[str] = field(default_factory=list)
    skipped: List[str] = field(default_factory=list)
    failed: List[str] = field(default_factory=list)
    expected: List[Entry] = field(default_factory=list)


def resurrect(client: Client, entries: List[Entry], timeout: float, beside: Iterable[str] = ()) -> Report:
    """Start every entry that has no process yet, in order, so that the pm_ids rise as they did.

    :param timeout: seconds for all of them, and to wait for somebody else who is at it.
    :param beside: generations whose processes stand for none of the entries.
    """
    with locked(client.home.resurrect_lock, timeout, "bringing saved processes back"):
        return _resurrect(client, entries, timeout, tuple(beside))


def _resurrect(client: Client, entries: List[Entry], timeout: float, beside: Tuple[str, ...]) -> Report:
    deadline = time.monotonic() + timeout
    started, skipped, failed, left_out = [], [], [], []
    waiting: List["tuple[Entry, Future[None]]"] = []
    wanted: Dict[object, int] = {}
    with ThreadPoolExecutor(WORKERS) as pool:
        for saved in entries:
            # looked at anew for each: somebody else may start apps at the same time
            live = client.processes()
            key = instance_of(saved)
            wanted[key] = wanted.get(key, 0) + 1
            if sum(instance_of(item.env) == key and item.generation not in beside for item in live) >= wanted[key]:
                continue
            entry = with_present(with_present_node(saved), client.home)
            reason = None if entry.get("status") == STOPPED else obstacle(entry, which)
            if reason:
                skipped.append(reason)
                left_out.append(saved)
                continue
            limit = max(1.0, deadline - time.monotonic())
            future = pool.submit(client.prepare, definition_of(entry), limit)
            waiting.append((entry, future))
            # the next one may go when this one has its pm_id, ready or not
            while not future.done() and len(client.processes()) <= len(live) and time.monotonic() < deadline:
                time.sleep(POLL_INTERVAL)
        for entry, future in waiting:
            try:
                future.result()
                started.append(str(entry["name"]))
            except Pm2Error as error:
                failed.append("{0}: {1}".format(entry["name"], error.message))
    return Report(started, skipped, failed, [entry for entry in entries if entry not in left_out])


def with_present_node(entry: Entry) -> Entry:
    """The entry without its interpreter when that is a Node which is gone.

    PM2 records the full path of the Node it ran with; after an upgrade to another directory no app would come back.
    Without an interpreter PM2 takes the daemon's own Node (PM2 lib/God/ForkMode.js).
    """
    interpreter = str(entry.get("exec_interpreter") or "")
    if os.path.isabs(interpreter) and os.path.basename(interpreter) == "node" and not os.path.exists(interpreter):
        return {key: value for key, value in entry.items() if key != "exec_interpreter"}
    return entry


def wait_until_back(client: Client, entries: List[Entry], timeout: float) -> List[str]:
    """Wait until every entry that shall run has a process that stays up.

    :param timeout: seconds.
    :returns: a sentence for each that has not; empty when all is well.
    """
    deadline = time.monotonic() + timeout
    expected = [entry for entry in entries if entry.get("status") != STOPPED]
    steady_since: Dict[object, float] = {}
    while True:
        now = time.monotonic()
        processes = client.processes()
        running = {
            (process.pm_id, process.pid, process.restarts): process for process in processes if process.is_running()
        }
        steady_since = {key: steady_since.get(key, now) for key in running}
        steady = [running[key].env for key in running if now - steady_since[key] >= STEADY_SECONDS]
        absent = missing(expected, steady)
        if not absent:
            return []
        if now >= deadline:
            return [_what_happened(entry, processes) for entry in absent]
        time.sleep(0.1)


def _what_happened(entry: Entry, processes: Iterable[Process]) -> str:
    namespace, name, number = instance_of(entry)
    label = name if number is None else "{0} (instance {1})".format(name, number)
    for process in processes:
        if instance_of(process.env) == (namespace, name, number):
            return "{0} is {1} after {2} restarts{3}.".format(
                label,
                process.status,
                process.restarts,
                "" if process.exit_code is None else ", last exit code {0}".format(process.exit_code),
            )
    return "{0} has no process.".format(label)
