# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a cutover does with one app, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._definitions import Definition
from ansible_collections.zerodown.pm2.plugins.module_utils._gate import Rules
from ansible_collections.zerodown.pm2.plugins.module_utils._handover import Handover
from ansible_collections.zerodown.pm2.plugins.module_utils._proxy_options import CanaryOptions
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process

# how long a generation must hold once it takes traffic, before the old one goes
SETTLE_TIME = 0.5
SETTLE_DEADLINE = 15.0


@dataclass
class Move:
    """One app that gets a new generation.

    :ivar definitions: of the new processes.
    :ivar old: what they replace.
    :ivar proof: see _cutover_plan.py.
    :ivar outage: whether the old ones must let go of the port first.
    :ivar rules: what the candidate must do.
    :ivar probe: the definition of a stand-in on a port of its own.
    :ivar drain_timeout: seconds that the connections of the old ones have.
    :ivar handover: of its traffic; ``None`` without a proxy.
    :ivar canary: the steps; ``None`` for all traffic at once.
    """

    name: str
    definitions: List[Definition] = field(repr=False)
    old: List[Process]
    proof: str
    outage: bool
    rules: Rules
    drain_timeout: float = 30.0
    probe: Optional[Definition] = field(default=None, repr=False)
    probe_port: Optional[int] = None
    handover: Optional[Handover] = None
    canary: Optional[CanaryOptions] = None


def settled_rules(move: Move) -> Rules:
    """It may close what it listened on, or get stuck, when traffic comes."""
    return Rules(
        move.name,
        len(move.definitions),
        port=move.rules.port,
        path=move.rules.path,
        listens=move.rules.listens,
        min_healthy_time=SETTLE_TIME,
        healthy_deadline=SETTLE_DEADLINE,
    )


def probe_rules(move: Move) -> Rules:
    rules = move.rules
    return Rules(
        rules.app,
        1,
        port=move.probe_port,
        listens=True,
        checks=rules.checks,
        min_healthy_time=rules.min_healthy_time,
        healthy_deadline=rules.healthy_deadline,
        memory_max=rules.memory_max,
    )
