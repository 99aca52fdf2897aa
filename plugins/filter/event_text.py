# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happened in a deploy, for people who are told of it."""

from __future__ import annotations

from typing import Any, Callable, Dict

DOCUMENTATION = r"""
name: event_text
short_description: An event of a deploy in one sentence
version_added: 0.1.0
description: Takes C(deploy_event), as hooks see it, and returns a sentence for a chat or a mail.
options:
  _input:
    description: The event.
    type: dict
    required: true
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: Write it down
  ansible.builtin.lineinfile:
    path: /var/log/deploys
    line: "{{ deploy_event | zerodown.pm2.event_text }}"
    create: true
    mode: '0644'
"""

RETURN = r"""
_value:
  description: The sentence, say V(shop on web1, release 2 took over from 1 (by ann, new prices\\)).
  type: str
"""

_HAPPENED = {
    "before_stage": "{what} is about to be staged",
    "after_stage": "{what} is staged",
    "before_cutover": "{what} is about to take over{origin}",
    "after_cutover": "{what} took over{origin}",
    "on_failure": "the deploy of {what} failed{error}",
    "on_rollback": "back to {what}{origin}{error}",
}


def event_text(event: Dict[str, Any]) -> str:
    """The event in one sentence."""
    what = "release {0}".format(event["release"]) if event.get("release") else "a release"
    told = ", ".join(str(event[key]) for key in ("by", "reason") if event.get(key))
    return "{0} on {1}, {2}{3}".format(
        event.get("app"),
        event.get("host"),
        _HAPPENED[event["phase"]].format(
            what=what,
            origin=" from {0}".format(event["previous"]) if event.get("previous") else "",
            error=": {0}".format(event["error"]) if event.get("error") else "",
        ),
        " ({0}{1})".format("by " if event.get("by") else "", told) if told else "",
    )


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Dict[str, Callable[..., Any]]:
        return {"event_text": event_text}
