# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Making a health check: one attempt, on one process of an app.

Whoever only reads what is declared imports _health_spec.py, which costs little; http.client and ssl come from here.
"""

from __future__ import annotations

from typing import Dict, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils import _health_command, _health_net
from ansible_collections.zerodown.pm2.plugins.module_utils._health_spec import Check, CommandCheck, Endpoint, HttpCheck
from ansible_collections.zerodown.pm2.plugins.module_utils._probe import UNHEALTHY, Outcome
from ansible_collections.zerodown.pm2.plugins.module_utils._secrets import secret_parts, secret_values


def run(check: Check, endpoint: Optional[Endpoint], environment: Dict[str, str], cwd: str) -> Outcome:
    """Takes ``check.timeout`` seconds at most. May be called from several threads.

    :param endpoint: ``None`` for a command, and when the app does not listen where the check looks.
    :param environment: of the app; its secrets are kept out of the outcome.
    :param cwd: the directory of the release.
    """
    secrets = secret_values([environment])
    if isinstance(check, CommandCheck):
        return _health_command.run(check, environment, cwd, secrets)
    if endpoint is None:
        return Outcome(UNHEALTHY, "{0}: nothing listens".format(check.title))
    if isinstance(check, HttpCheck):
        secrets |= secret_parts(check.headers.values())
    return _health_net.run(check, endpoint, secrets)
