# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a cutover may take."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

DOCUMENTATION = r"""
name: longest
short_description: How long the cutover of a host may take
version_added: 0.1.0
description:
  - Takes the declared apps of a host, and returns the seconds that its cutover may take at most, one app after another.
  - The role P(zerodown.pm2.app#role) adds it to the time that other hosts wait to be confirmed.
positional: bake_time
options:
  _input:
    description: Entries of C(pm2_apps).
    type: list
    elements: dict
    required: true
  bake_time:
    description: C(bake_time) of all of them, where that is longer than their own.
    type: float
    default: 0
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: Wait no longer than that
  ansible.builtin.debug:
    msg: "{{ pm2_apps | zerodown.pm2.longest }}"
"""

RETURN = r"""
_value:
  description: Seconds.
  type: float
"""

# as the modules have them
HEALTHY_DEADLINE = 300.0
DRAIN_TIMEOUT = 30.0
CANARY_DEADLINE = 3600.0
# what has no limit of its own: starting a daemon, looking at processes, saving
REST = 60.0


def longest(apps: List[Dict[str, Any]], bake_time: float = 0.0) -> float:
    return sum(_of_app(app, float(bake_time)) for app in apps)


def _of_app(app: Dict[str, Any], bake_time: float) -> float:
    waits = [_of_process(process) for process in app["processes"]]
    deadline = float(app.get("healthy_deadline") or HEALTHY_DEADLINE)
    return REST + deadline + max(float(app.get("bake_time") or 0), bake_time) + max(waits, default=0.0)


def _of_process(process: Dict[str, Any]) -> float:
    drain = process.get("drain_timeout")
    steps = len(process.get("canary") or [])
    return steps * float(process.get("canary_deadline") or CANARY_DEADLINE) + float(
        DRAIN_TIMEOUT if drain is None else drain
    )


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Dict[str, Callable[..., Any]]:
        return {"longest": longest}
