# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files of the artifact store may go."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

from ansible.errors import AnsibleFilterError

from ansible_collections.zerodown.pm2.plugins.module_utils import _ci
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error

DOCUMENTATION = r"""
name: ci_expired
short_description: Which files of the artifact store may go
version_added: 0.1.0
description:
  - Takes the files of an app in the store, as M(ansible.builtin.find) returns them, and returns the paths of those that
    are neither of one of the newest records nor of one of the newest artifacts. Other files are left alone.
positional: keep
options:
  _input:
    description: The files, with C(path) and C(mtime).
    type: list
    elements: dict
    required: true
  keep:
    description: How many commits to keep, at least 1.
    type: int
    required: true
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: What is old?
  ansible.builtin.debug:
    msg: "{{ stored.files | zerodown.pm2.ci_expired(10) }}"
"""

RETURN = r"""
_value:
  description: The paths.
  type: list
  elements: str
"""


def ci_expired(files: List[Dict[str, Any]], keep: int) -> List[str]:
    """:raises AnsibleFilterError: ``keep`` leaves nothing."""
    try:
        return _ci.expired(files, int(keep))
    except Pm2Error as error:
        raise AnsibleFilterError(error.message) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Dict[str, Callable[..., Any]]:
        return {"ci_expired": ci_expired}
