# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dead-man timer: a release that nobody confirms in time is gone back from by the host itself. What a person or a
controller says about it, and the process that waits for him."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from dataclasses import dataclass
from typing import Any, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils import _confirmation, _cutover
from ansible_collections.zerodown.pm2.plugins.module_utils._client import Client, connect
from ansible_collections.zerodown.pm2.plugins.module_utils._confirmation import AWAITED, GIVEN, WITHDRAWN, Awaiting
from ansible_collections.zerodown.pm2.plugins.module_utils._cutover_lock import Locked
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import DaemonNotRunning, Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._gates import Preloads, install
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._linger import (
    LOCK_WAIT,
    PAUSE,
    Task,
    ending_standbys,
    linger,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._release import Layout, Overview
from ansible_collections.zerodown.pm2.plugins.module_utils._settings import Settings
from ansible_collections.zerodown.pm2.plugins.module_utils._settlement import unfinished
from ansible_collections.zerodown.pm2.plugins.module_utils._stage import read

# at most, between two attempts to go back, seconds
PAUSE_MAX = 60.0


@dataclass(frozen=True)
class Answer:
    """What is said about a release that awaits its confirmation.

    :ivar state: ``given``, ``awaited`` or ``withdrawn``.
    :ivar timeout: seconds, for ``awaited``; ``None`` for as many as before.
    :ivar lock_timeout: seconds.
    :ivar force: whether to end another cutover of the app.
    """

    state: str
    layout: Layout
    release: str
    rollout: str
    by: str
    reason: Optional[str] = None
    timeout: Optional[float] = None
    lock_timeout: float = 60.0
    force: bool = False


def preview(answer: Answer, settings: Settings) -> Dict[str, Any]:
    """What would be done; changes nothing.

    :raises Pm2Error: it would be refused.
    """
    overview, awaiting = read(answer.layout), _confirmation.read(answer.layout)
    names = _names(answer.layout, awaiting, settings.home)
    for journal in unfinished(settings.home, names):
        settings.warn(
            "A cutover of {0} was interrupted in its step {1}; the next run settles it first.".format(
                ", ".join(journal.names), journal.step
            )
        )
    if awaiting and answer.state != WITHDRAWN and _confirmation.is_due(awaiting, time.time()):
        raise Pm2Error(
            "Release {0} was {1}; the next run goes back from it.".format(awaiting.release, awaiting.too_late)
        )
    changes = _is_to_do(answer, awaiting, overview)
    live, more = overview.live, {}
    if changes and awaiting and answer.state == WITHDRAWN:
        order = _cutover.back_order(awaiting, settings)
        if order:
            live, more = order.release, {"plan": _cutover.preview(order, settings)["plan"]}
    after = _after(answer, awaiting) if changes else awaiting
    return {**more, **_result(changes, live, after), "diff": _diff(overview, awaiting, live, after)}


def carry_out(answer: Answer, settings: Settings) -> Dict[str, Any]:
    """
    :raises Pm2Error: it cannot be any more, or not yet; and what happened instead.
    """
    client, preloads = _cutover.ready(settings)
    layout, home = answer.layout, settings.home
    names = _names(layout, _confirmation.read(layout), home)
    with _cutover.undivided(
        client, names, settings, answer.by, answer.reason, answer.lock_timeout, answer.force
    ) as repaired:
        overview, before = read(layout), _confirmation.read(layout)
        due = before if answer.state != WITHDRAWN else None
        settled = repaired + (_cutover.settle(due, settings, client, preloads) if due else [])
        awaiting = _confirmation.read(layout)
        try:
            changes = _is_to_do(answer, awaiting, read(layout))
        except Pm2Error as error:
            details = {"changed": bool(settled), "repaired": settled, **error.details}
            raise Pm2Error(error.message, **details) from error
        more: Dict[str, Any] = {}
        if changes and awaiting:
            more = _do(answer, awaiting, settings, client, preloads)
        live, after = read(layout).live, _confirmation.read(layout)
        return {
            **more,
            **_result(changes or bool(settled), live, after),
            "diff": _diff(overview, before, live, after),
            "repaired": settled,
        }


def _do(answer: Answer, awaiting: Awaiting, settings: Settings, client: Client, preloads: Preloads) -> Dict[str, Any]:
    if answer.state == AWAITED:
        _confirmation.write(settings.home, _confirmation.renewed(awaiting, time.time(), answer.timeout))
        return {}
    decided = _confirmation.decided(awaiting, answer.state, answer.by, answer.reason)
    if answer.state == GIVEN:
        _cutover.confirm(decided, settings.home)
        return {}
    result = _cutover.go_back(decided, settings, client, preloads)
    if read(answer.layout).live == answer.release and not awaiting.options:
        settings.warn(result["serves"])
    return {key: result[key] for key in ("serves", "plan", "apps", "timings") if key in result}


def _is_to_do(answer: Answer, awaiting: Optional[Awaiting], overview: Overview) -> bool:
    host = socket.gethostname()
    return _confirmation.is_to_do(answer.state, answer.release, answer.rollout, awaiting, overview, host)


def _after(answer: Answer, awaiting: Optional[Awaiting]) -> Optional[Awaiting]:
    """What is written down when it is done."""
    if answer.state != AWAITED or awaiting is None:
        return None
    return _confirmation.renewed(awaiting, time.time(), answer.timeout)


def _result(changed: bool, live: Optional[str], awaiting: Optional[Awaiting]) -> Dict[str, Any]:
    return {"changed": changed, "live": live, "awaiting": _confirmation.as_data(awaiting, time.time())}


def _diff(
    overview: Overview, before: Optional[Awaiting], live: Optional[str], after: Optional[Awaiting]
) -> Dict[str, str]:
    return {"before": _text(overview.live, before), "after": _text(live, after)}


def _text(live: Optional[str], awaiting: Optional[Awaiting]) -> str:
    data = _confirmation.as_data(awaiting, time.time())
    lines = ["release: {0}".format(live)]
    if data:
        lines.append("awaits: rollout {0} by {1}, until {2}".format(data["rollout"], data["by"], data["until"]))
    return "\n".join(lines) + "\n"


def _names(layout: Layout, awaiting: Optional[Awaiting], home: Home) -> List[str]:
    return _cutover.concerned(awaiting.names if awaiting else [], layout, home)


# who waits -----------------------------------------------------------------------------------------------------------


def keep_watch(names: List[str], layout: Optional[Layout], settings: Settings) -> None:
    """What is left to do when the result of a module is known: to go back from what nobody confirms, and to end what
    stays warm, each in its time.

    :param names: of the apps whose standbys are waited for.
    """
    client = connect(settings.home, settings.install, settings.warn)
    tasks: List[Task] = [ending_standbys(client, names)]
    if layout:
        tasks.insert(0, Timer(layout, settings))
    linger(tasks)


def keep_all(settings: Settings) -> None:
    """The same for all apps of this PM2_HOME, when a boot has ended whoever waited."""
    linger([Timer(Layout.at(root), settings) for root in _confirmation.roots(settings.home)])


class Timer:
    """Waits for the confirmation of what is live in one root, and goes back when its time is over.

    One process waits for it, whoever else would: it holds a lock.
    """

    def __init__(self, layout: Layout, settings: Settings) -> None:
        self.layout = layout
        self.settings = settings
        self.pause = PAUSE
        self.not_before = 0.0
        self._sign: Optional[int] = None

    def __call__(self) -> Optional[float]:
        try:
            awaiting = _confirmation.read(self.layout)
            if awaiting is None or not self._is_mine():
                return None
            wait = max(_confirmation.remaining(awaiting, time.time()), self.not_before - time.monotonic())
            if wait > 0:
                return wait
            self._attend(awaiting)
        except Locked:
            return 0.0
        except (Pm2Error, OSError) as error:
            # it may pass: a daemon that is started anew, a full disk
            self.settings.warn(str(error))
            self.not_before = time.monotonic() + self.pause
            self.pause = min(2 * self.pause, PAUSE_MAX)
            return PAUSE
        self.pause = PAUSE
        return 0.0

    def _attend(self, awaiting: Awaiting) -> None:
        settings = self.settings
        client = connect(settings.home, settings.install, settings.warn)
        if not client.is_running():
            raise DaemonNotRunning("No daemon runs, so there is nothing to go back from.")
        preloads = install(settings.home)
        names = _names(self.layout, awaiting, settings.home)
        by, reason = _confirmation.THE_HOST, awaiting.too_late
        with _cutover.undivided(client, names, settings, by, reason, LOCK_WAIT, False) as repaired:
            # it may have been confirmed, or renewed, while the lock was waited for
            now = _confirmation.read(self.layout)
            for sentence in repaired + (_cutover.settle(now, settings, client, preloads) if now else []):
                settings.warn(sentence)

    def _is_mine(self) -> bool:
        path = _confirmation.sign_of(self.settings.home, self.layout)
        with contextlib.suppress(FileNotFoundError):
            if self._sign is not None:
                return os.fstat(self._sign).st_ino == os.stat(path).st_ino
            sign = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(sign, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(sign)
                return False
            self._sign = sign
            return True
        return False
