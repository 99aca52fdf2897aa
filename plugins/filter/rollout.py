# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a rollout went, on all hosts."""

from __future__ import annotations

import datetime
from typing import Any, Callable, Dict, List, Mapping

DOCUMENTATION = r"""
name: rollout
short_description: How a rollout went, on all hosts
version_added: 0.1.0
description:
  - Takes what the role P(zerodown.pm2.app#role) noted of each host, and tells it for a person and as one record for a
    log.
positional: begun, id, by
options:
  _input:
    description: By host C(planned), C(outcomes) and C(failed).
    type: dict
    required: true
  begun:
    description: When it began, seconds since 1970.
    type: float
    required: true
  id:
    description: The id of the rollout.
    type: str
    required: true
  by:
    description: Who it was.
    type: str
    required: true
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: Tell
  ansible.builtin.debug:
    msg: "{{ (hosts | zerodown.pm2.rollout(1769868309, 'r-1', 'anna')).lines }}"
  vars:
    hosts:
      web1:
        planned: {shop: {bound: {live: '', release: 20260131T140509Z-1f3a9c2e, revision: 1f3a9c2e}}}
        outcomes: {shop: {state: confirmed, seconds: 12.3}}
        failed: ''
"""

RETURN = r"""
_value:
  description: C(lines) for a person, C(message) for a failure, C(record) for a log.
  type: dict
"""

DEPLOYED = "deployed"
REVERTED = "reverted"
FAILED = "failed"
UNCHANGED = "unchanged"
# of a host, what it ended as
_WORDS = {
    "confirmed": "runs it",
    "switched": "runs it",
    "reverted": "went back",
    "unchanged": "ran it already",
    "waits": "goes back by itself, unless it is confirmed in time",
    "not reached": "not begun",
    "failed": "FAILED",
}


def rollout(hosts: Mapping[str, Dict[str, Any]], begun: float, id: str, by: str) -> Dict[str, Any]:
    """The three forms of it."""
    now = datetime.datetime.now(datetime.timezone.utc)
    found = {host: _of_host(noted) for host, noted in hosts.items()}
    failures = {host: str(noted["failed"]).strip() for host, noted in hosts.items() if noted["failed"]}
    states = [app["state"] for apps in found.values() for app in apps.values()]
    result = _result(states, bool(failures))
    record = {
        "time": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "rollout": id,
        "by": by,
        "result": result,
        "seconds": round(now.timestamp() - begun, 1),
        "hosts": found,
        "failures": failures,
    }
    return {"lines": _lines(found, failures, record), "message": _message(found, failures), "record": record}


def _of_host(noted: Dict[str, Any]) -> Dict[str, Dict[str, Any]]:
    return {
        app: {
            "release": planned["bound"]["release"],
            "revision": planned["bound"]["revision"],
            "previous": planned["bound"]["live"],
            "state": _state(noted, (noted["outcomes"] or {}).get(app)),
            "seconds": ((noted["outcomes"] or {}).get(app) or {}).get("seconds", 0),
        }
        for app, planned in noted["planned"].items()
    }


def _state(noted: Dict[str, Any], outcome: Any) -> str:
    if not outcome:
        return "failed" if noted["failed"] else "not reached"
    if outcome["state"] == "switched" and noted["failed"] and outcome.get("awaiting"):
        return "waits"
    return str(outcome["state"])


def _result(states: List[str], failed: bool) -> str:
    if failed:
        return REVERTED if "reverted" in states else FAILED
    return UNCHANGED if set(states) <= {"unchanged"} else DEPLOYED


def _lines(found: Dict[str, Dict[str, Any]], failures: Dict[str, str], record: Dict[str, Any]) -> List[str]:
    lines = ["{0} after {1:g} s, {2}".format(record["result"].upper(), record["seconds"], record["rollout"])]
    for host, apps in found.items():
        for name, app in apps.items():
            lines.append("  {0} {1} {2}: {3}".format(host, name, app["revision"][:8], _WORDS[app["state"]]))
        if host in failures:
            lines.append("    {0}".format(failures[host].splitlines()[0]))
    return lines


def _message(found: Dict[str, Dict[str, Any]], failures: Dict[str, str]) -> str:
    told = " ".join("{0}: {1}".format(host, text) for host, text in failures.items())
    back = [host for host, apps in found.items() if any(app["state"] == "reverted" for app in apps.values())]
    stays = [
        host for host, apps in found.items() if any(app["state"] in ("confirmed", "switched") for app in apps.values())
    ]
    parts = ["The rollout failed on {0}.".format(", ".join(failures))]
    if back:
        parts.append("{0} went back to what served before.".format(", ".join(back)))
    if stays:
        parts.append("{0} runs the new release.".format(", ".join(stays)))
    return " ".join([*parts, told])


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Dict[str, Callable[..., Any]]:
        return {"rollout": rollout}
