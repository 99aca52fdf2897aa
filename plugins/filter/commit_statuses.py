# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a forge says about a commit."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

from ansible.errors import AnsibleFilterError

from ansible_collections.zerodown.pm2.plugins.module_utils import _statuses
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error

DOCUMENTATION = r"""
name: commit_statuses
short_description: What GitHub or GitLab says about a commit
version_added: 0.1.0
description:
  - Takes answers of the API and says which addresses are still to be asked, or whether the commit is taken.
  - Of GitHub the commit statuses and the check runs count, of GitLab the commit statuses; of several with one name the
    worst, of GitLab the newest.
  - Named ones must have succeeded. Without names at least one must have, and none may have failed or be pending.
positional: statuses, commit
options:
  _input:
    description: What M(ansible.builtin.uri) returned, in a loop over the addresses. Empty at first.
    type: list
    elements: dict
    required: true
  statuses:
    description: The option C(ci.statuses) of the app.
    type: dict
    required: true
  commit:
    description: The commit.
    type: str
    required: true
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: Where is this asked?
  ansible.builtin.debug:
    msg: "{{ ([] | zerodown.pm2.commit_statuses({'type': 'github', 'repo': 'team/shop'}, commit)).ask }}"
"""

RETURN = r"""
_value:
  description: >-
    C(ask), the addresses to get; C(answers), those that were had; C(state), V(asking), V(pending), V(success) or
    V(failure); C(refusal), one sentence that names each status, empty when the commit is taken.
  type: dict
"""


def commit_statuses(answers: List[Dict[str, Any]], statuses: Dict[str, Any], commit: str) -> Dict[str, Any]:
    """:raises AnsibleFilterError: something is missing in the declaration."""
    try:
        return dict(vars(_statuses.judge(answers, statuses, commit)))
    except Pm2Error as error:
        raise AnsibleFilterError(error.message) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Dict[str, Callable[..., Any]]:
        return {"commit_statuses": commit_statuses}
