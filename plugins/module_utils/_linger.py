# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ends what is kept warm when its time is over: by the process that made the cutover, which waits for that; where it
was killed, by whoever comes next."""

from __future__ import annotations

import time
from typing import List

from ansible_collections.zerodown.pm2.plugins.module_utils import _cutover_lock, _standby
from ansible_collections.zerodown.pm2.plugins.module_utils._client import Client
from ansible_collections.zerodown.pm2.plugins.module_utils._cutover_lock import Locked
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._handover import end_standby

# the lock's holder may be at it for long
LOCK_WAIT = 60.0
# after an error that may pass, such as a daemon that is started anew, seconds
PAUSE = 5.0


def linger(client: Client, names: List[str]) -> None:
    """Until none of the standbys that these apps have now is left."""
    mine = [item for item in _standby.read_all(client.home) if item.name in names]
    while True:
        left = [item for item in _standby.read_all(client.home) if item in mine]
        if not left:
            return
        first = min(left, key=lambda item: item.until)
        wait = _standby.remaining(first)
        if wait > 0:
            # not all of it at once: a standby that was ended earlier needs no process that waits for it
            time.sleep(min(wait, PAUSE))
            continue
        names = [first.name]
        try:
            with _cutover_lock.held(client.home, names, "standby_time", "its standby ends", LOCK_WAIT, False):
                end_expired(client, names)
        except Locked:
            continue
        except Pm2Error:
            time.sleep(PAUSE)


def end_expired(client: Client, names: List[str]) -> None:
    """For who holds the locks.

    :raises Pm2Error: one of them could not be ended.
    """
    for standby in _standby.read_all(client.home):
        if standby.name in names and _standby.remaining(standby) == 0:
            end_standby(client, standby)
