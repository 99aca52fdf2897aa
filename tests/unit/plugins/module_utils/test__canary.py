# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a canary is stopped, when its next step may begin, and when nothing can be said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.module_utils._canary import (
    ERRORS_ENOUGH,
    Window,
    breach,
    is_over,
    ran_out,
    since,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._haproxy import Counters
from ansible_collections.zerodown.pm2.plugins.module_utils._proxy_options import CanaryOptions

OPTIONS = CanaryOptions(shares=(5, 100), time=10.0, requests=20, deadline=60.0, errors_max=1.0, slowdown_max=2.0)


def window(
    candidate: tuple[int, int], live: tuple[int, int], times: tuple[float, float] = (5.0, 5.0), seconds: float = 10.0
) -> Window:
    """:param candidate: requests and errors."""
    return Window(5, seconds, Counters(*candidate, times[0]), Counters(*live, times[1]))


@pytest.mark.parametrize(
    ("seen", "stops"),
    [
        (window((0, 0), (0, 0)), False),
        (window((100, 0), (1000, 0)), False),
        # few, but no accident
        (window((3, 3), (100, 0)), True),
        # may be one
        (window((3, 2), (100, 0)), False),
        (window((20, 1), (100, 0)), True),
        (window((200, 2), (1000, 0)), False),
        (window((200, 3), (1000, 0)), True),
        # no worse than what serves
        (window((200, 40), (1000, 200)), False),
        (window((200, 60), (1000, 200)), True),
        # slower
        (window((20, 0), (100, 0), (90.0, 40.0)), True),
        (window((20, 0), (100, 0), (70.0, 40.0)), False),
        # below what says anything
        (window((20, 0), (100, 0), (9.0, 1.0)), False),
        (window((19, 0), (100, 0), (900.0, 40.0)), False),
        (window((20, 0), (19, 0), (900.0, 40.0)), False),
    ],
)
def test_breach(seen: Window, stops: bool) -> None:
    assert (breach(OPTIONS, seen) is not None) == stops


def test_what_a_breach_says() -> None:
    assert breach(OPTIONS, window((10, 5), (100, 1))) == (
        "failed 5 of 10 requests (50.0 %) at 5 % of the traffic, the live one 1 of 100 (1.0 %); canary_errors_max is "
        "1 %"
    )
    assert breach(OPTIONS, window((20, 0), (100, 0), (900.0, 40.0))) == (
        "took 900 ms to answer at 5 % of the traffic, the live one 40 ms; canary_slowdown_max is 2"
    )


def test_without_a_limit_it_may_be_slow() -> None:
    assert breach(CanaryOptions((5, 100)), window((20, 0), (100, 0), (900.0, 1.0))) is None


@given(requests=st.integers(0, 1000), failed=st.integers(0, 1000), more=st.integers(0, 1000), live=st.integers(0, 1000))
def test_more_errors_never_save_it(requests: int, failed: int, more: int, live: int) -> None:
    total = requests + failed + more
    before = breach(OPTIONS, window((total, failed), (live, 0)))
    after = breach(OPTIONS, window((total, failed + more), (live, 0)))
    assert after or not before


@given(requests=st.integers(1, 1000), failed=st.integers(0, 1000))
def test_a_release_like_the_live_one_is_never_stopped(requests: int, failed: int) -> None:
    failed = min(failed, requests)
    assert breach(OPTIONS, window((requests, failed), (requests, failed))) is None


def test_a_release_that_fails_is_stopped_at_once() -> None:
    assert breach(OPTIONS, window((ERRORS_ENOUGH, ERRORS_ENOUGH), (0, 0), seconds=0.1))


@pytest.mark.parametrize(
    ("requests", "seconds", "over"), [(20, 10.0, True), (19, 10.0, False), (20, 9.9, False), (0, 59.0, False)]
)
def test_a_step_is_over(requests: int, seconds: float, over: bool) -> None:
    assert is_over(OPTIONS, window((requests, 0), (100, 0), seconds=seconds)) == over


def test_too_few_requests() -> None:
    assert ran_out(OPTIONS, window((3, 0), (57, 0), seconds=59.9)) is None
    assert ran_out(OPTIONS, window((3, 0), (57, 0), seconds=60.0)) == (
        "was sent only 3 requests at 5 % of the traffic within canary_deadline (60 s), and 20 are needed to judge it "
        "(canary_requests)"
    )


def test_counters_since() -> None:
    assert since(Counters(10, 2, 7.0, 1), Counters(4, 1, 3.0, 5)) == Counters(6, 1, 7.0, 1)
    # HAProxy was started anew
    assert since(Counters(3, 0, 7.0, 1), Counters(400, 1, 3.0, 5)) == Counters(3, 0, 7.0, 1)
