# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gives candidates behind a proxy their traffic, in the steps of their canaries."""

from __future__ import annotations

import time
from typing import Callable, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils import _canary, _gate
from ansible_collections.zerodown.pm2.plugins.module_utils._cutover_plan import WARM
from ansible_collections.zerodown.pm2.plugins.module_utils._gate import Gate, Verdict
from ansible_collections.zerodown.pm2.plugins.module_utils._handover import Handover
from ansible_collections.zerodown.pm2.plugins.module_utils._lookout import Lookout
from ansible_collections.zerodown.pm2.plugins.module_utils._move import Move, settled_rules
from ansible_collections.zerodown.pm2.plugins.module_utils._proxy_options import CanaryOptions, other

# between two looks at a canary, seconds
INTERVAL = 0.1


def shift(lookout: Lookout, tell: Callable[[str], None]) -> None:
    """
    :param tell: takes a sentence for the user.
    :raises Rejected: a candidate fails with traffic; the proxy still gives it some.
    """
    for move in lookout.moves:
        # with nothing beside it, it would have all of the traffic in every step
        if move.handover and move.handover.live and move.canary:
            for share in [share for share in move.canary.shares if share < 100]:
                tell("{0}: {1} % of the traffic goes to the new generation".format(move.name, share))
                _step(lookout, move, move.handover, move.canary, share)
    for move in lookout.moves:
        if move.handover:
            move.handover.switch.share(move.handover.colour, 100)


def _step(lookout: Lookout, move: Move, handover: Handover, options: CanaryOptions, share: int) -> None:
    switch = handover.switch
    before = switch.counters()
    switch.share(handover.colour, share)
    start = time.monotonic()
    gates = {each.name: Gate(settled_rules(each), start) for each in lookout.moves if each.proof != WARM}
    with lookout.looking(gates) as look:
        while True:
            look()
            if not switch.is_shared(handover.colour, share):
                switch.share(handover.colour, share)
            now = switch.counters()
            window = _canary.Window(
                share,
                time.monotonic() - start,
                _canary.since(now[handover.colour], before[handover.colour]),
                _canary.since(now[other(handover.colour)], before[other(handover.colour)]),
            )
            verdict = _verdict(options, window)
            if verdict:
                raise lookout.rejected(move.name, verdict)
            if _canary.is_over(options, window):
                return
            time.sleep(INTERVAL)


def _verdict(options: CanaryOptions, window: _canary.Window) -> Optional[Verdict]:
    """``None`` while it may go on."""
    reason = _canary.breach(options, window)
    if reason:
        return Verdict(_gate.FAILED, reason)
    reason = None if _canary.is_over(options, window) else _canary.ran_out(options, window)
    return Verdict(_gate.UNDECIDED, reason) if reason else None
