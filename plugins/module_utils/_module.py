# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every module does around its work."""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, Iterable

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error

# documented in doc_fragments/pm2.py
COMMON_ARGUMENTS: Dict[str, Dict[str, Any]] = {
    "pm2_home": {"type": "path"},
    "pm2_executable": {"type": "path"},
    "node_executable": {"type": "path"},
}

HIDDEN = "<hidden>"

_SECRET_NAME = re.compile(r"pass|secret|token|key|credential|auth|dsn|private|salt|cookie|session", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"://[^/\s:@]*:[^/\s@]+@|-----BEGIN")
# a shorter text would blank out half of every message it happens to occur in
_SECRET_MIN = 6


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


def secret_values(environments: Iterable[Dict[str, Any]]) -> "set[str]":
    """The values of these environments that must be blanked out wherever they turn up, say in an app's log.

    Their *names* or shapes tell: blanking out every value would take ``3000`` and ``production`` out of all output.
    We never print a value of an environment ourselves, whatever its name.
    """
    return {
        str(value)
        for environment in environments
        for name, value in environment.items()
        if len(str(value)) >= _SECRET_MIN and (_SECRET_NAME.search(name) or _SECRET_VALUE.search(str(value)))
    }


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
