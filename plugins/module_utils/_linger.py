# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Does what is to be done when a time is over: by the process that made the cutover, which waits for that; where it
was killed, by whoever comes next. What is kept warm is ended so."""

from __future__ import annotations

import time
from typing import Callable, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils import _cutover_lock, _standby
from ansible_collections.zerodown.pm2.plugins.module_utils._client import Client
from ansible_collections.zerodown.pm2.plugins.module_utils._cutover_lock import Locked
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._handover import end_standby

# the lock's holder may be at it for long
LOCK_WAIT = 60.0
# after an error that may pass, such as a daemon that is started anew, seconds
PAUSE = 5.0


# does what is due; gives the seconds until it wants to be asked again, ``None`` when nothing is left to wait for
Task = Callable[[], Optional[float]]


def linger(tasks: List[Task]) -> None:
    """Until none of them has anything left to wait for."""
    while tasks:
        waits = {task: task() for task in tasks}
        tasks = [task for task in tasks if waits[task] is not None]
        if tasks:
            # not all of it at once: what was ended earlier needs no process that waits for it
            time.sleep(min(PAUSE, *(wait for wait in waits.values() if wait is not None)))


def ending_standbys(client: Client, names: List[str]) -> Task:
    """Ends the standbys that these apps have now."""
    mine = [item for item in _standby.read_all(client.home) if item.name in names]

    def task() -> Optional[float]:
        left = [item for item in _standby.read_all(client.home) if item in mine]
        if not left:
            return None
        first = min(left, key=lambda item: item.until)
        if _standby.remaining(first) > 0:
            return _standby.remaining(first)
        try:
            with _cutover_lock.held(client.home, [first.name], "standby_time", "its standby ends", LOCK_WAIT, False):
                end_expired(client, [first.name])
        except Locked:
            return 0.0
        except Pm2Error:
            return PAUSE
        return 0.0

    return task


def end_expired(client: Client, names: List[str]) -> None:
    """For who holds the locks.

    :raises Pm2Error: one of them could not be ended.
    """
    for standby in _standby.read_all(client.home):
        if standby.name in names and _standby.remaining(standby) == 0:
            end_standby(client, standby)
