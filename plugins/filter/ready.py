# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of a delivery, for a person."""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, List

DOCUMENTATION = r"""
name: ready
short_description: The plan of a delivery, in a few lines
version_added: 0.1.0
description:
  - Takes what M(zerodown.pm2.delivery) returned, by host and app, and tells what a deploy would change. Hosts on which
    the same would happen are told together.
options:
  _input:
    description: The results of M(zerodown.pm2.delivery), by host and app.
    type: dict
    required: true
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: Tell
  ansible.builtin.debug:
    msg: "{{ {'web1': {'shop': planned}} | zerodown.pm2.ready }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

# of each kind; a person reads them, and the plan has all
_MAX = 10
_SHORT = 8


def ready(planned: Dict[str, Dict[str, Dict[str, Any]]]) -> List[str]:
    """App by app what would change, and on which hosts."""
    lines: List[str] = []
    for app in dict.fromkeys(name for apps in planned.values() for name in apps):
        groups: Dict[str, List[str]] = {}
        texts: Dict[str, List[str]] = {}
        for host, apps in planned.items():
            if app in apps:
                told = _told(apps[app])
                key = json.dumps(told)
                groups.setdefault(key, []).append(host)
                texts[key] = told
        for key, hosts in groups.items():
            first, *rest = texts[key]
            lines += ["{0}: {1} on {2}".format(app, first, ", ".join(hosts)), *("  " + line for line in rest)]
    return lines


def _told(planned: Dict[str, Any]) -> List[str]:
    bound = planned["bound"]
    if bound["live"] == bound["release"]:
        if not planned["settings"]:
            return ["{0} is live already, nothing to do".format(_revision(bound["revision"]))]
        return ["{0} stays".format(_revision(bound["revision"])), *_settings(planned)]
    before = planned["live_revision"]
    first = "{0} -> {1}".format(_revision(before) if before else "nothing", _revision(bound["revision"]))
    migrations = ["{0} ({1})".format(name, kind) for name, kind in bound["migrations"].items()]
    return [
        first,
        *_commits(planned["commits"]),
        *_listed("dependencies", [_dependency(item) for item in planned["dependencies"]]),
        *_settings(planned),
        *_listed("migrations", migrations),
    ]


def _commits(commits: Any) -> List[str]:
    if not commits:
        return []
    lines = ["+ {0} {1} ({2})".format(_revision(c["commit"]), c["subject"], c["author"]) for c in commits["new"]]
    gone = ["- {0} {1} ({2})".format(_revision(c["commit"]), c["subject"], c["author"]) for c in commits["gone"]]
    return [*_cut(lines, "commits"), *_cut(gone, "commits that are live and not in it")]


def _cut(lines: List[str], what: str) -> List[str]:
    more = len(lines) - _MAX
    return [*lines[:_MAX], "  and {0} more {1}".format(more, what)] if more > 0 else lines


def _settings(planned: Dict[str, Any]) -> List[str]:
    return _listed("settings", ["{option} {change}".format(**item) for item in planned["settings"]])


def _listed(what: str, items: List[str]) -> List[str]:
    if not items:
        return []
    more = len(items) - _MAX
    return ["{0}: {1}".format(what, ", ".join(items[:_MAX]) + (", and {0} more".format(more) if more > 0 else ""))]


def _dependency(item: Dict[str, Any]) -> str:
    before, after = " ".join(item["before"]), " ".join(item["after"])
    if not before:
        return "+{0} {1}".format(item["name"], after)
    if not after:
        return "-{0} {1}".format(item["name"], before)
    return "{0} {1} -> {2}".format(item["name"], before, after)


def _revision(text: str) -> str:
    return text[:_SHORT]


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Dict[str, Callable[..., Any]]:
        return {"ready": ready}
