# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the record of a commit to what a host stages of it."""

from __future__ import annotations

from typing import Any, Callable, Dict

from ansible.errors import AnsibleFilterError

from ansible_collections.zerodown.pm2.plugins.module_utils import _ci
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error

DOCUMENTATION = r"""
name: ci_tested
short_description: What a host stages of a commit, and whether it may
version_added: 0.1.0
description:
  - Takes a declared app and says what a host makes its release from, by the record of the commit in the store.
  - With C(ci), only what was checked with the declaration of now, and passed. With C(artifact), what was packed then.
    Otherwise what is declared.
positional: commit, record
options:
  _input:
    description: The declared app.
    type: dict
    required: true
  commit:
    description: The commit. Empty for an app with neither C(ci) nor C(artifact).
    type: str
    default: ''
  record:
    description: The text of the record. Empty when there is none.
    type: str
    default: ''
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: May it be staged?
  ansible.builtin.assert:
    that: verdict.refusal == ''
    fail_msg: "{{ [verdict.refusal] + verdict.lines }}"
  vars:
    verdict: "{{ pm2_apps[0] | zerodown.pm2.ci_tested(commit, lookup('ansible.builtin.file', record))) }}"
"""

RETURN = r"""
_value:
  description: >-
    C(green), whether it passed; C(refusal), one sentence, empty when it may be staged, with C(lines) of the step that
    failed; C(source) for M(zerodown.pm2.release), of an artifact with C(name) in the store in place of C(file) or
    C(url); C(build) for M(zerodown.pm2.build), or null when there is nothing left to build; C(built), the commit and
    its record in short.
  type: dict
"""


def ci_tested(app: Dict[str, Any], commit: str = "", record: str = "") -> Dict[str, Any]:
    """:raises AnsibleFilterError: the app's name cannot be in a path, or the commit is not a whole one."""
    try:
        _ci.check_name(app)
        if commit:
            _ci.check_commit(app["name"], commit)
        return dict(vars(_ci.tested(app, commit, record)))
    except Pm2Error as error:
        raise AnsibleFilterError(error.message) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Dict[str, Callable[..., Any]]:
        return {"ci_tested": ci_tested}
