# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is different from the plan that somebody said go to."""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from ansible_collections.zerodown.pm2.plugins.filter.plan_digest import bound, plan_digest

DOCUMENTATION = r"""
name: plan_refusal
short_description: Why a go is not for what would be deployed now
version_added: 0.1.0
description:
  - Takes what M(zerodown.pm2.delivery) returned now, and the digest that somebody said go to. Returns a sentence that
    names what is different from what was delivered, or nothing when all of it is as it was.
positional: go
options:
  _input:
    description: The results of M(zerodown.pm2.delivery), by host and app.
    type: dict
    required: true
  go:
    description: The digest.
    type: str
    required: true
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: Refuse
  ansible.builtin.assert:
    that: reason | length == 0
    fail_msg: "{{ reason }}"
  vars:
    reason: "{{ {'web1': {'shop': planned}} | zerodown.pm2.plan_refusal('5c0d7a0c9f86d081') }}"
"""

RETURN = r"""
_value:
  description: The sentence, or nothing.
  type: str
"""

_SEALED = "sealed:"
Bound = Dict[str, Any]
Plan = Dict[str, Dict[str, Bound]]


def plan_refusal(planned: Dict[str, Dict[str, Any]], go: str) -> str:
    """What was added, taken away or changed since."""
    if plan_digest(planned) == go:
        return ""
    recorded = [item["recorded"] for apps in planned.values() for item in apps.values() if item["recorded"]]
    for delivery in recorded:
        if delivery["digest"] == go:
            changes = "; ".join(plan_changes(bound(planned), delivery["plan"]))
            return (
                "What {0} delivered at {1} with the digest {2} is not what would be deployed now: {3}. Deliver "
                "again.".format(delivery["by"], delivery["at"], go, changes)
            )
    return "Nothing was delivered with {0!r}; {1}. Deliver, and say go to the digest that it ends with.".format(
        go,
        "delivered was " + ", ".join("{digest} by {by} at {at}".format(**item) for item in recorded[:1])
        if recorded
        else "nothing was delivered to these hosts",
    )


def plan_changes(now: Plan, then: Plan) -> List[str]:
    """A sentence for each thing that is different."""
    found: List[str] = []
    for host in sorted({*now, *then}):
        if host not in then:
            found.append("{0} is a host now, and was not".format(host))
        elif host not in now:
            found.append("{0} was a host, and is not now".format(host))
        else:
            found += _of_host(host, now[host], then[host])
    return found


def _of_host(host: str, now: Dict[str, Bound], then: Dict[str, Bound]) -> Iterator[str]:
    for app in sorted({*now, *then}):
        if app not in then:
            yield "{0} has the app {1} now, and had not".format(host, app)
        elif app not in now:
            yield "{0} had the app {1}, and has not now".format(host, app)
        else:
            before, after = dict(_leaves(then[app])), dict(_leaves(now[app]))
            # another commit is another release, too
            skipped = {"release"} if before.get("revision") != after.get("revision") else set()
            for name in sorted({*before, *after} - skipped):
                if before.get(name) != after.get(name):
                    yield "{0} {1}: {2}".format(host, app, _change(name, before.get(name), after.get(name)))


def _leaves(bound: Bound, path: str = "") -> Iterator[Tuple[str, str]]:
    for name, value in bound.items():
        if isinstance(value, dict):
            yield from _leaves(value, name)
        else:
            yield "{0} {1}".format(path, name).strip(), value if isinstance(value, str) else json.dumps(value)


def _change(name: str, before: Optional[str], after: Optional[str]) -> str:
    if before is None:
        return "{0} was added".format(name)
    if after is None:
        return "{0} was taken away".format(name)
    if before.startswith(_SEALED) or after.startswith(_SEALED):
        return "{0} changed".format(name)
    return "{0} is {1} now, and was {2}".format(name, after or "nothing", before or "nothing")


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Dict[str, Callable[..., Any]]:
        return {"plan_refusal": plan_refusal}
