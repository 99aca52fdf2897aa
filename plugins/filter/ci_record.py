# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is written down about one run of the checks."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils import _ci

DOCUMENTATION = r"""
name: ci_record
short_description: What is written down about one run of the checks
version_added: 0.1.0
description: Takes a declared app and what the modules said. Secrets of the declaration are blanked out.
positional: commit
options:
  _input:
    description: The declared app.
    type: dict
    required: true
  commit:
    description: The commit.
    type: str
    required: true
  built:
    description: The result of M(zerodown.pm2.build). Empty when it failed.
    type: dict
    default: {}
  failed:
    description: The result of the module that failed. Empty when none did.
    type: dict
    default: {}
  packed:
    description: The result of M(zerodown.pm2.artifact). Empty without an artifact.
    type: dict
    default: {}
  versions:
    description: Results of commands such as C([git, --version]) in a loop.
    type: list
    elements: dict
    default: []
  who:
    description: Who ran it.
    type: str
    required: true
  when:
    description: When it was begun, such as V(2026-01-31T14:05:09.123456Z).
    type: str
    required: true
  until:
    description: When it ended.
    type: str
    required: true
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: Make the record of a run
  ansible.builtin.set_fact:
    record: >-
      {{ pm2_apps[0] | zerodown.pm2.ci_record(staged.release.revision, built=built, who='ann',
         when='2026-01-31T14:05:09.000000Z', until='2026-01-31T14:06:09.000000Z') }}
"""

RETURN = r"""
_value:
  description: The record.
  type: dict
  sample:
    format: 1
    app: shop
    commit: 1f3a9c2e7d5b4a39c8e1f0a2b3c4d5e6f7a8b9c0
    result: red
    steps:
      - {name: install, seconds: 6.1, ok: true}
      - {name: script test, seconds: 2.4, ok: false}
    failed: {step: script test, message: "Step 'script test' failed with return code 1.", lines: [1 failing]}
    tools: {git: 2.39.5, node: v20.20.2, npm: 10.8.2}
    platform: {system: linux, machine: x86_64}
    artifact: null
    who: ann
    when: '2026-01-31T14:05:09.123456Z'
    seconds: 9.3
"""


def ci_record(
    app: Dict[str, Any],
    commit: str,
    who: str,
    when: str,
    until: str,
    built: Optional[Dict[str, Any]] = None,
    failed: Optional[Dict[str, Any]] = None,
    packed: Optional[Dict[str, Any]] = None,
    versions: Optional[List[Dict[str, Any]]] = None,
) -> Dict[str, Any]:
    """The record; an empty dict says as much as None."""
    return _ci.record(app, commit, built or None, failed or None, packed or None, versions or [], who, when, until)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Dict[str, Callable[..., Any]]:
        return {"ci_record": ci_record}
