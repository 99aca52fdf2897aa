# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every module does around its work."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._secrets import HIDDEN, secret_values

# documented in doc_fragments/pm2.py
COMMON_ARGUMENTS: Dict[str, Dict[str, Any]] = {
    "pm2_home": {"type": "path"},
    "pm2_executable": {"type": "path"},
    "node_executable": {"type": "path"},
}


def run(module: AnsibleModule, work: Callable[[AnsibleModule], Dict[str, Any]], hidden: Iterable[str] = ()) -> None:
    """Do the module's work and end it: with ``exit_json``, or for a :class:`Pm2Error` with ``fail_json``.

    :param work: gives back what the module returns.
    :param hidden: names of options, at any depth, whose values ``invocation`` must not show (see
        :func:`narrow_no_log`).
    """
    invocation = {"module_args": masked(module.params, hidden)}
    try:
        result = work(module)
    except Pm2Error as error:
        module.fail_json(msg=error.message, **{"changed": False, "invocation": invocation, **error.details})
    else:
        module.exit_json(**{"invocation": invocation, **result})


def narrow_no_log(module: AnsibleModule, environments: Iterable[Dict[str, Any]]) -> None:
    """For a module whose ``env`` options are ``no_log``: keep them out of the journal and the invocation, as Ansible
    does, but blank out of the result only what is a secret (see :func:`secret_values`)."""
    module.no_log_values = secret_values(environments)


def masked(parameters: Dict[str, Any], hidden: Iterable[str]) -> Dict[str, Any]:
    """``parameters`` with the values below the keys ``hidden`` replaced, at any depth, for ``invocation``."""
    names = set(hidden)

    def mask(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: _hide(item) if key in names and item is not None else mask(item) for key, item in value.items()
            }
        return [mask(item) for item in value] if isinstance(value, list) else value

    result: Dict[str, Any] = mask(parameters)
    return result


def _hide(value: Any) -> Any:
    return dict.fromkeys(value, HIDDEN) if isinstance(value, dict) else HIDDEN
