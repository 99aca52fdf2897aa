# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Judges a candidate by what the proxy counts of it and of the live colour while both serve. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._haproxy import Counters
from ansible_collections.zerodown.pm2.plugins.module_utils._proxy_options import CanaryOptions

# so many failed requests are no accident, however few requests there were: the step need not be waited for
ERRORS_ENOUGH = 3
# milliseconds; below this, a difference says nothing
SLOWDOWN_FLOOR = 20.0


@dataclass(frozen=True)
class Window:
    """What was counted in one step.

    :ivar share: percent of the traffic that the candidate gets.
    :ivar seconds: since the step began.
    """

    share: int
    seconds: float
    candidate: Counters
    live: Counters


def since(now: Counters, before: Counters) -> Counters:
    """What was counted between the two; all of ``now`` when the proxy began to count anew meanwhile."""
    if now.requests < before.requests or now.errors < before.errors:
        return now
    return Counters(now.requests - before.requests, now.errors - before.errors, now.response_time, now.sessions)


def breach(options: CanaryOptions, window: Window) -> Optional[str]:
    """What is wrong with the candidate; completes "it ..."; ``None`` while nothing is."""
    candidate, live = window.candidate, window.live
    enough = candidate.requests >= options.requests
    too_many = _percent(candidate) > _percent(live) + options.errors_max
    if too_many and (candidate.errors >= ERRORS_ENOUGH or enough):
        return (
            "failed {0} of {1} requests ({2:.1f} %) at {3} % of the traffic, the live one {4} of {5} ({6:.1f} %); "
            "canary_errors_max is {7:g} %".format(
                candidate.errors,
                candidate.requests,
                _percent(candidate),
                window.share,
                live.errors,
                live.requests,
                _percent(live),
                options.errors_max,
            )
        )
    limit = options.slowdown_max
    if limit is None or not enough or live.requests < options.requests:
        return None
    slower = candidate.response_time > live.response_time * limit
    if slower and candidate.response_time - live.response_time > SLOWDOWN_FLOOR:
        return (
            "took {0:.0f} ms to answer at {1} % of the traffic, the live one {2:.0f} ms; canary_slowdown_max is "
            "{3:g}".format(candidate.response_time, window.share, live.response_time, limit)
        )
    return None


def is_over(options: CanaryOptions, window: Window) -> bool:
    """Whether the next step may begin."""
    return window.seconds >= options.time and window.candidate.requests >= options.requests


def ran_out(options: CanaryOptions, window: Window) -> Optional[str]:
    """Why nothing can be said of the candidate; completes "it ..."; ``None`` while there is time."""
    if window.seconds < options.deadline:
        return None
    return (
        "was sent only {0} requests at {1} % of the traffic within canary_deadline ({2:g} s), and {3} are needed to "
        "judge it (canary_requests)".format(window.candidate.requests, window.share, options.deadline, options.requests)
    )


def _percent(counters: Counters) -> float:
    return 100.0 * counters.errors / counters.requests if counters.requests else 0.0
