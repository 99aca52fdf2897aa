# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What release_info and app_info say of an app, for a person."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

DOCUMENTATION = r"""
name: status
short_description: What runs, in a few lines
version_added: 0.1.0
description: Takes the name of an app and what M(zerodown.pm2.release_info) and M(zerodown.pm2.app_info) returned.
positional: releases, processes
options:
  _input:
    description: The name of the app.
    type: str
    required: true
  releases:
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
- name: Tell
  ansible.builtin.debug:
    msg: "{{ 'shop' | zerodown.pm2.status(shop_releases, shop_processes) }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def status(name: str, releases: Dict[str, Any], processes: Dict[str, Any]) -> List[str]:
    """The lines: the app, its processes, what is warm, what differs from the declaration, where a rollback goes."""
    lines = [_release_line(name, releases)]
    if not processes["daemon"]["running"]:
        lines.append("  no PM2 daemon runs")
    if releases.get("awaiting"):
        lines.append(_awaiting_line(releases["awaiting"]))
    for app in processes["apps"]:
        lines.append(_app_line(app))
        if app["standby"]:
            lines.append(_standby_line(app["standby"]))
    for action in processes.get("plan") or []:
        if "app" in action:
            lines.append("  the next deploy would change {0}".format(_action_text(action)))
    if releases["live"]:
        lines.append("  rollback goes to {0}".format(releases["rollback_target"] or "nothing: no other proven release"))
    return lines


def _release_line(name: str, releases: Dict[str, Any]) -> str:
    for release in releases["releases"]:
        if release["live"]:
            verdict = "proven" if release["proven"] else "bad" if release["bad"] else "not proven"
            since = [event for event in releases["log"] if event["event"] in ("live", "rollback")]
            how = ", live since {0} by {1}".format(since[-1]["time"], since[-1]["by"]) if since else ""
            why = ": {0}".format(since[-1]["reason"]) if since and since[-1].get("reason") else ""
            what = "revision {0}, {1}".format(release["revision"][:12], verdict)
            return "{0}: {1} ({2}{3}{4})".format(name, release["id"], what, how, why)
    return "{0}: {1}".format(name, "no release is live" if releases["exists"] else "never deployed")


def _app_line(app: Dict[str, Any]) -> str:
    parts = ["{0} {1}".format(app["name"], app["status"])]
    if app["processes"]:
        running = [process for process in app["processes"] if process["pid"]]
        parts.append("{0} of {1} processes run".format(len(running), app["instances"]))
        parts.append("restarts {0}".format(sum(process["restarts"] for process in app["processes"])))
        parts.append("{0:.0f} MiB".format(sum(process["memory"] for process in app["processes"]) / 2**20))
        if running:
            parts.append("up {0}".format(_duration(min(process["uptime"] or 0 for process in running))))
        if app["saved"] is not None:
            parts.append("saved" if app["saved"] else "NOT saved for the next boot")
    return "  " + ", ".join(parts)


def _awaiting_line(awaiting: Dict[str, Any]) -> str:
    return "  awaits confirmation of rollout {0} by {1}, {2}".format(
        awaiting["rollout"],
        awaiting["by"],
        "its cutover is not over"
        if awaiting["remaining"] is None
        else "reverts in {0}".format(_duration(awaiting["remaining"])),
    )


def _standby_line(standby: Dict[str, Any]) -> str:
    return "    standby {0}: {1} warm on {2}, {3:.0f} MiB, ends in {4}".format(
        standby["release"] or "before",
        "1 process" if standby["instances"] == 1 else "{0} processes".format(standby["instances"]),
        standby["colour"],
        standby["memory"] / 2**20,
        _duration(standby["remaining"]),
    )


def _action_text(action: Dict[str, Any]) -> str:
    subject = action["app"] + (" {0}".format(action["pm_id"]) if "pm_id" in action else "")
    reason = ", ".join(action.get("options") or []) or action.get("why", "")
    return "{0}: {1}{2}".format(subject, action["action"], " ({0})".format(reason) if reason else "")


def _duration(seconds: float) -> str:
    for size, unit in _UNITS:
        if seconds >= size:
            return "{0:.0f} {1}".format(seconds // size, unit)
    return "0 s"


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Dict[str, Callable[..., Any]]:
        return {"status": status}
