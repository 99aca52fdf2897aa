# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Saving the live process list."""

from __future__ import annotations

import time

from ansible_collections.zerodown.pm2.plugins.module_utils import _dump
from ansible_collections.zerodown.pm2.plugins.module_utils._client import Client
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home

# between two looks at a list in which something is not up: an app that restarts is up, gone or further on by then
LOOKS = 3
LOOK_INTERVAL = 0.2


def look(client: Client) -> _dump.Snapshot:
    """The list as it is to be saved; takes 0.4 s longer when something is not up."""
    samples = [client.processes()]
    while len(samples) < LOOKS and _dump.needs_another_look(samples[-1]):
        time.sleep(LOOK_INTERVAL)
        samples.append(client.processes())
    return _dump.snapshot(samples)


def save(home: Home, client: Client) -> _dump.Snapshot:
    """Write the live list, when it is not what is saved already."""
    snapshot = look(client)
    if not _dump.is_saved(home, snapshot.entries):
        _dump.write(home, snapshot.entries)
    return snapshot
