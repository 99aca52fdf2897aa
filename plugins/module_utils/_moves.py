# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a cutover does with each app: from what is declared, and back from what ran before."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
from typing import Any, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._cutover_plan import (
    AFTERWARDS,
    HELD,
    OWN_PORT,
    WARM,
    WATCHED,
    Swap,
    rules_port,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._definitions import (
    definitions,
    in_generation,
    on_port,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._dump import Entry, definition_of
from ansible_collections.zerodown.pm2.plugins.module_utils._gate import Rules
from ansible_collections.zerodown.pm2.plugins.module_utils._gates import Preloads, is_gated, runtime_of
from ansible_collections.zerodown.pm2.plugins.module_utils._handover import Handover
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._move import Move
from ansible_collections.zerodown.pm2.plugins.module_utils._order import Order
from ansible_collections.zerodown.pm2.plugins.module_utils._plan import of_app
from ansible_collections.zerodown.pm2.plugins.module_utils._state import ONLINE, Process

# how long a revert looks at the old release, which has proven itself before
REVERT_HEALTHY_TIME = 1.0
REVERT_DEADLINE = 60.0
# without a gate it must still start and listen
NO_GATE_HEALTHY_TIME = 0.5


def forward(swap: Swap, order: Order, home: Home, preloads: Preloads) -> Move:
    """The way from what runs to what is declared."""
    app = swap.app
    is_gated = order.gate and swap.proof != WARM
    handover = _handover(swap, order)
    path = _path_of(handover)
    move = Move(
        app.name,
        definitions=definitions(app, list(range(app.instances)), "", home, preloads.get(app.gate or "")),
        old=swap.old,
        proof=swap.proof,
        outage=swap.outage,
        rules=Rules(
            app.name,
            app.instances,
            port=rules_port(app),
            path=path,
            # without the preload only a port that is declared can be looked at
            listens=app.cutover.must_listen(app.port)
            and (swap.proof == HELD or app.port is not None or path is not None),
            checks=app.cutover.health if order.gate else (),
            min_healthy_time=order.min_healthy_time if is_gated else NO_GATE_HEALTHY_TIME,
            healthy_deadline=order.healthy_deadline,
            memory_max=app.definition.get("max_memory_restart"),
        ),
        drain_timeout=app.cutover.drain_timeout,
        handover=handover,
        canary=app.cutover.canary if is_gated else None,
        **_probe(swap, home),
    )
    return dataclasses.replace(move, rules=warm_rules(move.rules)) if swap.proof == WARM else move


def _path_of(handover: Optional[Handover]) -> Optional[str]:
    """The unix socket that the candidate listens on, behind a proxy."""
    address = handover.proxy.endpoint(handover.colour) if handover else None
    return address if isinstance(address, str) else None


def _handover(swap: Swap, order: Order) -> Optional[Handover]:
    options = swap.app.cutover
    if options.proxy is None or swap.colour is None:
        return None
    return Handover(
        swap.app.name,
        options.proxy,
        swap.colour,
        swap.live,
        options.candidate_variable,
        # what is left by a rollback is not gone back to
        standby_time=0.0 if order.rollback or swap.outage else options.standby_time,
        drain_timeout=options.drain_timeout,
        waits=swap.outage,
    )


def _probe(swap: Swap, home: Home) -> Dict[str, Any]:
    if swap.proof != OWN_PORT:
        return {}
    port = _free_port()
    one = definitions(swap.app, [0], "", home, None)[0]
    return {"probe": on_port(swap.app, one, port), "probe_port": port}


def backward(
    moves: List[Move], before: List[Entry], processes: List[Process], preloads: Preloads, home: Home
) -> List[Move]:
    """The way back to what ran before.

    :param moves: those that led here.
    :param before: what ran, as it would be saved.
    """
    by_name = {move.name: move for move in moves}
    names = list(dict.fromkeys(str(entry["name"]) for entry in before))
    found = []
    for name in names:
        entries = [definition_of(entry) for entry in before if entry["name"] == name and entry.get("status") == ONLINE]
        if not entries:
            continue
        held = all(map(is_gated, entries))
        move = by_name.get(name)
        outage = move.outage if move else False
        handover = _swapped(move.handover) if move and move.handover else None
        path = _path_of(handover)
        # a socket's path is not held
        held = held and path is None
        found.append(
            Move(
                name,
                definitions=[
                    in_generation(
                        {key: value for key, value in entry.items() if key != "status"},
                        "",
                        home,
                        preloads.get(runtime_of(entry) or "") if held else None,
                    )
                    for entry in entries
                ],
                old=of_app(processes, name),
                proof=AFTERWARDS if outage and not held else HELD if held else WATCHED,
                outage=outage,
                rules=Rules(
                    name,
                    len(entries),
                    port=handover.proxy.port(handover.colour) if handover else None,
                    path=path,
                    listens=bool((held or handover) and move and move.rules.listens),
                    min_healthy_time=REVERT_HEALTHY_TIME,
                    healthy_deadline=REVERT_DEADLINE,
                ),
                drain_timeout=move.drain_timeout if move else 0.0,
                handover=handover,
            )
        )
    return found


def _swapped(handover: Handover) -> Optional[Handover]:
    """The way back; ``None`` to what had no colour."""
    if handover.live is None:
        return None
    return dataclasses.replace(handover, colour=handover.live, live=handover.colour, standby_time=0.0)


def warm_rules(rules: Rules) -> Rules:
    """A standby has held for long."""
    return dataclasses.replace(rules, min_healthy_time=0.0)


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
