# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How an app may be replaced: what a user says about it beside PM2's own options."""

from __future__ import annotations

import dataclasses
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
from ansible_collections.zerodown.pm2.plugins.module_utils._proxy_options import (
    CanaryOptions,
    ProxyOptions,
    parse_canary,
    parse_proxy,
    proxy_arguments,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._secrets import secret_parts

AUTO = "auto"
GENERATION = "generation"
PROXY = "proxy"
RESTART = "restart"
STRATEGIES = (AUTO, GENERATION, PROXY, RESTART)

# in candidate_args, and behind a proxy in args and env: where the port or the path of the socket is written
PORT_PLACEHOLDER = "{port}"

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# a day
_SECONDS_MAX = 86400
# seconds: most bad releases show within some minutes
STANDBY_TIME = 300.0


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
        **proxy_arguments(),
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
    :ivar proxy: how it stands behind one; ``None`` when it does not.
    :ivar canary: the steps; ``None`` for all traffic at once.
    :ivar standby_time: seconds that the old generation stays warm behind the proxy.
    """

    strategy: str = AUTO
    preload: bool = True
    listens: Optional[bool] = None
    overlap: bool = True
    candidate_variable: str = "PORT"
    candidate_args: Optional[List[str]] = None
    drain_timeout: float = 30.0
    health: Tuple[Check, ...] = ()
    proxy: Optional[ProxyOptions] = None
    canary: Optional[CanaryOptions] = None
    standby_time: float = STANDBY_TIME

    @property
    def replaces_side_by_side(self) -> bool:
        return self.strategy != RESTART

    def must_listen(self, port: Optional[int]) -> bool:
        """:param port: the declared one."""
        if self.listens is not None:
            return self.listens
        if self.proxy is not None:
            return True
        return port is not None or any(_asks_the_network(check) for check in self.health)


def _asks_the_network(check: Check) -> bool:
    return not isinstance(check, CommandCheck)


def parse_cutover_options(name: str, options: Dict[str, Any]) -> CutoverOptions:
    """
    :param name: of the app.
    :param options: of the app; what is missing has its default.
    :raises Pm2Error: naming the app, the option and what it must be.
    """
    names = [item.name for item in dataclasses.fields(CutoverOptions)]
    given = {key: options[key] for key in names if options.get(key) is not None}
    given.update(proxy=parse_proxy(name, options.get("proxy")), canary=parse_canary(name, options))
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
    _check_proxy(name, parsed, options.get("standby_time") is not None)
    return parsed


def _check_proxy(name: str, parsed: CutoverOptions, has_standby_time: bool) -> None:
    """Options that mean something only together."""
    if not 0 <= parsed.standby_time <= _SECONDS_MAX:
        raise Pm2Error("App {0}: standby_time must be from 0 to {1} seconds.".format(name, _SECONDS_MAX))
    if parsed.proxy is None:
        for option, is_given in (
            ("strategy proxy", parsed.strategy == PROXY),
            ("canary", parsed.canary is not None),
            ("standby_time", has_standby_time),
        ):
            if is_given:
                raise Pm2Error("App {0}: {1} needs proxy, which says where the app listens.".format(name, option))
        return
    if parsed.strategy == GENERATION:
        raise Pm2Error("App {0}: strategy generation leaves proxy unused; leave out one of the two.".format(name))
    if parsed.listens is False:
        raise Pm2Error("App {0}: what stands behind a proxy listens, so listens cannot be false.".format(name))
    if parsed.candidate_args is not None:
        raise Pm2Error(
            "App {0}: behind a proxy each generation has its own port, so write {1} into args instead of "
            "candidate_args.".format(name, PORT_PLACEHOLDER)
        )


def header_secrets(entries: Iterable[Dict[str, Any]]) -> Set[str]:
    """What must be blanked out of all output: the values of headers that health checks send.

    :param entries: the options of apps.
    """
    checks = [check for entry in entries for check in entry.get("health") or []]
    return secret_parts(str(value) for check in checks for value in (check.get("headers") or {}).values())
