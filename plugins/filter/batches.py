# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""In which batches a fleet is deployed to."""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, List, Tuple, Union

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: batches
short_description: In which batches a fleet is deployed to
version_added: 0.1.0
description:
  - Takes the hosts with the apps that each of them runs, and returns lists of hosts, one after the other.
  - Hosts that run the same apps are of one kind, say those of the web and those of the workers, and each kind is
    divided for itself. So in the first batch there is a canary host of each.
  - A size is a number of hosts or a percentage of the kind, at least one host. The last size counts for what is left,
    as with C(serial) of a play.
positional: sizes
options:
  _input:
    description: The names of apps by host, in the order of the hosts.
    type: dict
    required: true
  sizes:
    description: The sizes of the batches.
    type: list
    elements: raw
    required: true
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: One host, then a quarter of the rest at a time
  ansible.builtin.debug:
    msg: "{{ {'web1': ['shop'], 'web2': ['shop'], 'job1': ['mailer']} | zerodown.pm2.batches([1, '25%']) }}"
    # [['web1', 'job1'], ['web2']]
"""

RETURN = r"""
_value:
  description: The hosts of each batch.
  type: list
  elements: list
"""

_PERCENT = re.compile(r"(\d{1,3})%")


def batches(apps: Dict[str, List[str]], sizes: List[Union[int, str]]) -> List[List[str]]:
    """:raises AnsibleFilterError: there are no sizes, or one is neither a positive number nor a percentage."""
    if not sizes or not isinstance(sizes, list):
        raise AnsibleFilterError("deploy_batches must be a list of sizes, such as [1, '25%', '100%'].")
    kinds: Dict[Tuple[str, ...], List[str]] = {}
    for host, names in apps.items():
        if names:
            kinds.setdefault(tuple(sorted(names)), []).append(host)
    divided = [_divide(hosts, sizes) for hosts in kinds.values()]
    count = max((len(parts) for parts in divided), default=0)
    return [[host for parts in divided if number < len(parts) for host in parts[number]] for number in range(count)]


def _divide(hosts: List[str], sizes: List[Union[int, str]]) -> List[List[str]]:
    parts: List[List[str]] = []
    begin = 0
    while begin < len(hosts):
        size = _number(sizes[min(len(parts), len(sizes) - 1)], len(hosts))
        parts.append(hosts[begin : begin + size])
        begin += size
    return parts


def _number(size: Any, total: int) -> int:
    text = str(size).strip()
    percent = _PERCENT.fullmatch(text)
    if percent and 0 < int(percent[1]) <= 100:
        return max(1, total * int(percent[1]) // 100)
    if text.isdigit() and int(text) > 0:
        return int(text)
    raise AnsibleFilterError("{0!r} in deploy_batches is no size; give a number of hosts or a percentage.".format(size))


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Dict[str, Callable[..., Any]]:
        return {"batches": batches}
