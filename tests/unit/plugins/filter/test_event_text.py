# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sentences that people read."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.zerodown.pm2.plugins.filter.event_text import FilterModule
from ansible_collections.zerodown.pm2.plugins.filter.hooks import PHASES

event_text = FilterModule().filters()["event_text"]
EVENT: dict[str, Any] = {"app": "shop", "host": "web1", "release": "2", "previous": "1"}


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"phase": "before_stage", "release": None}, "shop on web1, a release is about to be staged"),
        ({"phase": "after_stage"}, "shop on web1, release 2 is staged"),
        ({"phase": "before_cutover", "previous": None}, "shop on web1, release 2 is about to take over"),
        ({"phase": "after_cutover", "by": "ann"}, "shop on web1, release 2 took over from 1 (by ann)"),
        ({"phase": "on_failure", "error": "no"}, "shop on web1, the deploy of release 2 failed: no"),
        (
            {"phase": "on_rollback", "by": "ann", "reason": "prices"},
            "shop on web1, back to release 2 from 1 (by ann, prices)",
        ),
        ({"phase": "after_stage", "reason": "prices {}"}, "shop on web1, release 2 is staged (prices {})"),
    ],
)
def test_a_sentence(event: dict[str, Any], text: str) -> None:
    assert event_text({**EVENT, **event}) == text


def test_each_phase_has_one() -> None:
    for phase in PHASES:
        assert event_text({"phase": phase}).startswith("None on None")
