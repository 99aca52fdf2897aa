# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What release_info and app_info say of an app, for a program."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

DOCUMENTATION = r"""
name: status_data
short_description: What runs, as plain data
version_added: 0.1.0
description:
  - Takes what M(zerodown.pm2.release_info) and M(zerodown.pm2.app_info) returned for an app, and returns what the
    playbook C(status) prints with C(-e format=json).
positional: processes
options:
  _input:
    description: The result of M(zerodown.pm2.release_info).
    type: dict
    required: true
  processes:
    description:
      - The result of M(zerodown.pm2.app_info); its RV(zerodown.pm2.app_info#module:plan), if there is one, tells drift.
    type: dict
    required: true
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: Is anything else running than what was deployed?
  ansible.builtin.assert:
    that: (shop_releases | zerodown.pm2.status_data(shop_processes)).drift | length == 0
"""

RETURN = r"""
_value:
  description: The state of the app.
  type: dict
  contains:
    release:
      description: The id of the live release. None without one.
      type: str
    revision:
      description: Its revision.
      type: str
    proven:
      description: Whether its bake went well.
      type: bool
    bad:
      description: Whether it is marked as bad.
      type: bool
    deployed_at:
      description: Since when it is live.
      type: str
    deployed_by:
      description: Who let it go live.
      type: str
    reason:
      description: Why, as he said.
      type: str
    awaiting:
      description: The id of the newest release that is built and was never live. None without one.
      type: str
    previous:
      description: The id of the release that was live before it.
      type: str
    rollback_target:
      description: The id of the release that a rollback goes to.
      type: str
    daemon:
      description: Whether a PM2 daemon runs.
      type: bool
    status:
      description: V(online), V(stopped), V(errored), V(absent), or V(partly) when its processes differ.
      type: str
    saved:
      description: Whether a boot brings all its processes back as they are. None when that cannot be told.
      type: bool
    restarts:
      description: The sum of PM2's restart counters.
      type: int
    memory:
      description: Bytes of its main processes.
      type: int
    standby:
      description: What is kept warm, each as RV(zerodown.pm2.app_info#module:apps[].standby) with its C(name).
      type: list
      elements: dict
    processes:
      description: Its processes, each as RV(zerodown.pm2.app_info#module:apps[].processes) with its C(name).
      type: list
      elements: dict
    drift:
      description: What the next deploy would change, as RV(zerodown.pm2.app_info#module:plan) has it.
      type: list
      elements: dict
"""


def status_data(releases: Dict[str, Any], processes: Dict[str, Any]) -> Dict[str, Any]:
    """The state of one app."""
    live = next((release for release in releases["releases"] if release["live"]), None)
    since = next(
        (event for event in reversed(releases["log"]) if live and event["event"] in ("live", "rollback")),
        dict.fromkeys(("time", "by", "reason")),
    )
    apps = processes["apps"]
    running = [{"name": app["name"], **process} for app in apps for process in app["processes"]]
    states = {app["status"] for app in apps}
    saved = [app["saved"] for app in apps]
    return {
        "release": live and live["id"],
        "revision": live and live["revision"],
        "proven": bool(live and live["proven"]),
        "bad": bool(live and live["bad"]),
        "deployed_at": since["time"],
        "deployed_by": since["by"],
        "reason": since["reason"],
        "awaiting": _awaiting(releases),
        "previous": releases["previous"],
        "rollback_target": releases["rollback_target"],
        "daemon": processes["daemon"]["running"],
        "status": states.pop() if len(states) == 1 else "partly",
        "saved": None if None in saved else all(saved),
        "restarts": sum(process["restarts"] for process in running),
        "memory": sum(process["memory"] for process in running),
        "standby": [{"name": app["name"], **app["standby"]} for app in apps if app["standby"]],
        "processes": running,
        "drift": [action for action in processes.get("plan") or [] if "app" in action],
    }


def _awaiting(releases: Dict[str, Any]) -> Optional[str]:
    """The last release, when a deploy of it would let it go live."""
    found: List[Dict[str, Any]] = releases["releases"]
    if not found:
        return None
    last = found[-1]
    is_new = last["ready"] and not (last["live"] or last["proven"] or last["bad"])
    was_live = any(event["release"] == last["id"] and event["event"] == "live" for event in releases["log"])
    return str(last["id"]) if is_new and not was_live else None


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Dict[str, Callable[..., Any]]:
        return {"status_data": status_data}
