# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The digest that a go is bound to."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Callable, Dict

DOCUMENTATION = r"""
name: plan_digest
short_description: The digest that a go is bound to
version_added: 0.1.0
description:
  - Takes what M(zerodown.pm2.delivery) returned, and returns a digest of what a go is bound to. It is another one when
    another release, setting, variable or migration would be deployed, something else is live, or the hosts are others.
options:
  _input:
    description: The results of M(zerodown.pm2.delivery), by host and app.
    type: dict
    required: true
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: Tell what to say for it to go on
  ansible.builtin.debug:
    msg: "-e go={{ {'web1': {'shop': planned}} | zerodown.pm2.plan_digest }}"
"""

RETURN = r"""
_value:
  description: 16 hexadecimal digits.
  type: str
"""

DIGITS = 16


def plan_digest(planned: Dict[str, Dict[str, Any]]) -> str:
    """Of sha256, in hexadecimal."""
    text = json.dumps(bound(planned), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:DIGITS]


def bound(planned: Dict[str, Dict[str, Any]]) -> Dict[str, Dict[str, Any]]:
    """What counts, by host and app."""
    return {host: {app: item["bound"] for app, item in apps.items()} for host, apps in planned.items()}


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Dict[str, Callable[..., Any]]:
        return {"plan_digest": plan_digest}
