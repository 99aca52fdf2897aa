# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which host of a fleet has an app checked."""

from __future__ import annotations

from typing import Any, Callable, Dict

from ansible.errors import AnsibleFilterError

from ansible_collections.zerodown.pm2.plugins.module_utils import _ci
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error

DOCUMENTATION = r"""
name: ci_owners
short_description: Which host of a fleet has an app checked
version_added: 0.1.0
description:
  - An app is checked and built once, however many hosts declare it. The first one that does has it done.
  - Refuses an app that two hosts declare differently.
options:
  _input:
    description: By host, in their order, the declarations by app, as P(zerodown.pm2.ci#filter) tells them.
    type: dict
    required: true
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: Who has the shop checked?
  ansible.builtin.debug:
    msg: "{{ ({'web1': {'shop': declaration}, 'web2': {'shop': declaration}} | zerodown.pm2.ci_owners).shop }}"
"""

RETURN = r"""
_value:
  description: The host by app.
  type: dict
"""


def ci_owners(declared: Dict[str, Dict[str, Dict[str, str]]]) -> Dict[str, str]:
    """:raises AnsibleFilterError: two hosts declare one app differently."""
    try:
        return _ci.owners(declared)
    except Pm2Error as error:
        raise AnsibleFilterError(error.message) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Dict[str, Callable[..., Any]]:
        return {"ci_owners": ci_owners}
