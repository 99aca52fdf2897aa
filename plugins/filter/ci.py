# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a declared app to how it is checked."""

from __future__ import annotations

from typing import Any, Callable, Dict

from ansible.errors import AnsibleFilterError

from ansible_collections.zerodown.pm2.plugins.module_utils import _ci
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error

DOCUMENTATION = r"""
name: ci
short_description: How a declared app is checked and built, once, on the build host
version_added: 0.1.0
description:
  - Takes one entry of C(pm2_apps). What C(ci) declares is run before what C(build) does, each only once.
  - The declaration is told as one digest for each part, without secrets, so that a record can tell whether it is of the
    same one.
options:
  _input:
    description: The declared app.
    type: dict
    required: true
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: What is run before it is built?
  ansible.builtin.debug:
    msg: "{{ (pm2_apps[0] | zerodown.pm2.ci).build.steps }}"
"""

RETURN = r"""
_value:
  description: >-
    C(build), options for M(zerodown.pm2.build), and C(declaration), digests of C(source), C(build), C(ci) and
    C(artifact).
  type: dict
"""


def ci(app: Dict[str, Any]) -> Dict[str, Any]:
    """:raises AnsibleFilterError: it has a name that no directory may have."""
    try:
        _ci.check_name(app)
        return {"build": _ci.build_options(app), "declaration": _ci.declaration(app)}
    except Pm2Error as error:
        raise AnsibleFilterError(error.message) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Dict[str, Callable[..., Any]]:
        return {"ci": ci}
