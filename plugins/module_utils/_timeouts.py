# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long PM2 lets a process start and stop, and what we wait beside that."""

from __future__ import annotations

from typing import Any, Dict

from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process

# PM2's own, in milliseconds, when the app says nothing (PM2 constants.js KILL_TIMEOUT, GRACEFUL_LISTEN_TIMEOUT)
KILL_TIMEOUT = 1600
LISTEN_TIMEOUT = 3000
# seconds that a call may take beside the times that the app itself sets
GRACE = 10.0


def seconds(env: Dict[str, Any], name: str, default: int) -> float:
    """A time that an app sets in milliseconds, in seconds."""
    value = env.get(name)
    return (value if isinstance(value, (int, float)) and not isinstance(value, bool) else default) / 1000


def stop_timeout(process: Process) -> float:
    """Seconds that a call which ends the process may take."""
    return seconds(process.env, "kill_timeout", KILL_TIMEOUT) * 2 + GRACE
