# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who wrote a message."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Callable, Dict

DOCUMENTATION = r"""
name: signature
short_description: The HMAC of a text, by SHA-256
version_added: 0.1.0
description: With it the receiver of a webhook, who knows the secret, sees that the body is ours and is whole.
positional: secret
options:
  _input:
    description: The text.
    type: str
    required: true
  secret:
    description: What only sender and receiver know.
    type: str
    required: true
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: Sign a body
  ansible.builtin.set_fact:
    signature: "{{ body | zerodown.pm2.signature(webhook_secret) }}"
"""

RETURN = r"""
_value:
  description: The HMAC of the text in UTF-8, as hex digits.
  type: str
"""


def signature(text: str, secret: str) -> str:
    return hmac.new(secret.encode("utf-8"), text.encode("utf-8"), hashlib.sha256).hexdigest()


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Dict[str, Callable[..., Any]]:
        return {"signature": signature}
