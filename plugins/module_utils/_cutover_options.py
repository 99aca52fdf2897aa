# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How an app may be replaced: what a user says about it beside PM2's own options."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Optional, Set, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._health_spec import (
    Check,
    CommandCheck,
    health_arguments,
    parse,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._secrets import secret_parts

AUTO = "auto"
GENERATION = "generation"
RESTART = "restart"
STRATEGIES = (AUTO, GENERATION, RESTART)

# in candidate_args: where the candidate's own port is written
PORT_PLACEHOLDER = "{port}"

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# a day
_SECONDS_MAX = 86400


def cutover_arguments() -> Dict[str, Any]:
    """The argument specification of one app; documented in doc_fragments/cutover.py and health.py.

    Without defaults, so that a list of apps and the options of one can exclude each other.
    """
    return {
        "strategy": {"type": "str", "choices": list(STRATEGIES)},
        "preload": {"type": "bool"},
        "listens": {"type": "bool"},
        "overlap": {"type": "bool"},
        "candidate_variable": {"type": "str"},
        "candidate_args": {"type": "list", "elements": "str"},
        "drain_timeout": {"type": "float"},
        "health": health_arguments(),
    }


@dataclass(frozen=True)
class CutoverOptions:
    """
    :ivar preload: whether a Node process gets the preload, which holds its ports and drains them.
    :ivar listens: whether it must listen; ``None`` when that follows from its port and its checks.
    :ivar overlap: whether the new generation may run beside the old one.
    :ivar candidate_variable: the variable with the port that a candidate on a port of its own is told.
    :ivar candidate_args: its arguments instead, with ``{port}``.
    :ivar drain_timeout: seconds that connections of the old generation have to end.
    """

    strategy: str = AUTO
    preload: bool = True
    listens: Optional[bool] = None
    overlap: bool = True
    candidate_variable: str = "PORT"
    candidate_args: Optional[List[str]] = None
    drain_timeout: float = 30.0
    health: Tuple[Check, ...] = ()

    @property
    def replaces_side_by_side(self) -> bool:
        return self.strategy != RESTART

    def must_listen(self, port: Optional[int]) -> bool:
        """:param port: the declared one."""
        if self.listens is not None:
            return self.listens
        return port is not None or any(_asks_the_network(check) for check in self.health)


def _asks_the_network(check: Check) -> bool:
    return not isinstance(check, CommandCheck)


def parse_cutover_options(name: str, options: Dict[str, Any]) -> CutoverOptions:
    """
    :param name: of the app.
    :param options: of the app; what is missing has its default.
    :raises Pm2Error: naming the app, the option and what it must be.
    """
    given = {key: options[key] for key in cutover_arguments() if options.get(key) is not None}
    try:
        given["health"] = tuple(parse(given.get("health", [])))
    except Pm2Error as error:
        raise Pm2Error("App {0}: {1}".format(name, error.message)) from error
    parsed = CutoverOptions(**given)
    # written so that NaN is refused too
    if not 0 <= parsed.drain_timeout <= _SECONDS_MAX:
        raise Pm2Error("App {0}: drain_timeout must be from 0 to {1} seconds.".format(name, _SECONDS_MAX))
    if not _VARIABLE.fullmatch(parsed.candidate_variable):
        raise Pm2Error("App {0}: candidate_variable must be the name of a variable.".format(name))
    if parsed.candidate_args is not None and not any(PORT_PLACEHOLDER in item for item in parsed.candidate_args):
        raise Pm2Error("App {0}: candidate_args must hold {1} where the port goes.".format(name, PORT_PLACEHOLDER))
    if parsed.listens is False and any(_asks_the_network(check) for check in parsed.health):
        raise Pm2Error("App {0}: it has a health check over the network, so listens cannot be false.".format(name))
    return parsed


def header_secrets(entries: Iterable[Dict[str, Any]]) -> Set[str]:
    """What must be blanked out of all output: the values of headers that health checks send.

    :param entries: the options of apps.
    """
    checks = [check for entry in entries for check in entry.get("health") or []]
    return secret_parts(str(value) for check in checks for value in (check.get("headers") or {}).values())
