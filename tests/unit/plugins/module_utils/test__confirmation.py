# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A release that awaits its confirmation: what is kept of it, what may be said about it, and what is told."""

from __future__ import annotations

import dataclasses
import os
import stat
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.module_utils import _confirmation
from ansible_collections.zerodown.pm2.plugins.module_utils._confirmation import (
    AWAITED,
    GIVEN,
    THE_HOST,
    WITHDRAWN,
    Awaiting,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._release import Layout, Overview

BASE = Awaiting("/srv/shop", "B", "r1", "A", ["shop"], 300.0, 1000.0, "anna", "why", until=1600.0)
TIMES = st.floats(min_value=0, max_value=4e9)


def event(kind: str, release: str, **more: Any) -> Dict[str, Any]:
    return {"event": kind, "release": release, "time": "2026-01-31T14:00:00Z", "by": "anna", **more}


LIVE = [event("live", "A"), event("proven", "A"), event("live", "B")]
BACK = [event("rollback", "A"), event("withdrawn", "B", by=THE_HOST, reason=BASE.too_late, rollout="r1")]


def overview(live: Optional[str], *events: Dict[str, Any]) -> Overview:
    return Overview(releases=[], live=live, events=list(events))


def is_to_do(
    state: str, awaiting: Optional[Awaiting], found: Overview, release: str = "B", rollout: str = "r1"
) -> bool:
    return _confirmation.is_to_do(state, release, rollout, awaiting, found, "web1")


@pytest.fixture
def place(tmp_path: Path) -> "tuple[Home, Layout]":
    (tmp_path / "pm2" / "gate").mkdir(parents=True)
    (tmp_path / "shop").mkdir()
    return Home(str(tmp_path / "pm2")), Layout.at(str(tmp_path / "shop"))


# on disk -------------------------------------------------------------------------------------------------------------


def test_what_was_written_is_read(place: "tuple[Home, Layout]") -> None:
    home, layout = place
    assert _confirmation.read(layout) is None
    assert _confirmation.read_all(home) == []
    written = _confirmation.write(home, dataclasses.replace(BASE, root=layout.root))
    assert _confirmation.read(layout) == written
    assert _confirmation.roots(home) == [layout.root]
    assert _confirmation.read_all(home) == [written]
    for path in (_confirmation.path_of(layout), _confirmation.sign_of(home, layout)):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    sign = os.stat(_confirmation.sign_of(home, layout)).st_ino
    _confirmation.write(home, _confirmation.renewed(written, 5.0))
    assert os.stat(_confirmation.sign_of(home, layout)).st_ino == sign, "somebody may hold its lock"
    _confirmation.drop(home, layout)
    _confirmation.drop(home, layout)
    assert (_confirmation.read(layout), _confirmation.roots(home)) == (None, [])


@pytest.mark.parametrize(
    ("content", "says"), [("", "is damaged"), ("[]", "is damaged"), ('{"format": 2}', "another version")]
)
def test_what_cannot_be_used(place: "tuple[Home, Layout]", content: str, says: str) -> None:
    home, layout = place
    _confirmation.write(home, dataclasses.replace(BASE, root=layout.root))
    Path(_confirmation.path_of(layout)).write_text(content, encoding="utf-8")
    with pytest.raises(Pm2Error, match=says):
        _confirmation.read(layout)
    assert _confirmation.read_all(home) == []


def test_what_does_not_serve_awaits_nothing(place: "tuple[Home, Layout]") -> None:
    home, layout = place
    _confirmation.drop_unless_live(home, layout, "A")
    first = _confirmation.write(home, dataclasses.replace(BASE, root=layout.root))
    _confirmation.drop_unless_live(home, layout, "B")
    assert _confirmation.read(layout) == first
    second = dataclasses.replace(first, release="C", until=None, replaces=dataclasses.asdict(first))
    _confirmation.write(home, second)
    _confirmation.drop_unless_live(home, layout, "C")
    assert _confirmation.read(layout) == second
    _confirmation.drop_unless_live(home, layout, "B")
    assert _confirmation.read(layout) == first, "what it would have replaced"
    _confirmation.write(home, second)
    _confirmation.drop_unless_live(home, layout, "A")
    assert _confirmation.read(layout) is None


# its time ------------------------------------------------------------------------------------------------------------


@given(now=TIMES, until=TIMES)
def test_what_is_due_has_no_time_left(now: float, until: float) -> None:
    awaiting = dataclasses.replace(BASE, until=until)
    assert _confirmation.is_due(awaiting, now) == (_confirmation.remaining(awaiting, now) == 0)
    open_ended = dataclasses.replace(BASE, until=None)
    assert not _confirmation.is_due(open_ended, now)
    assert _confirmation.remaining(open_ended, now) == 0, "who waits asks at once whether a cutover runs"


@given(now=TIMES, until=TIMES, kind=st.sampled_from([GIVEN, WITHDRAWN]))
def test_what_is_decided_is_due(now: float, until: float, kind: str) -> None:
    decided = _confirmation.decided(dataclasses.replace(BASE, until=until), kind, "bob", None)
    assert _confirmation.is_due(decided, now)
    assert _confirmation.remaining(decided, now) == 0


@given(now=TIMES, timeout=st.floats(min_value=0.1, max_value=86400))
def test_time_begins_anew(now: float, timeout: float) -> None:
    assert _confirmation.renewed(BASE, now).until == now + 300
    renewed = _confirmation.renewed(BASE, now, timeout)
    assert (renewed.timeout, renewed.until) == (timeout, now + timeout)


def test_what_is_told() -> None:
    assert _confirmation.as_data(None, 0) is None
    assert _confirmation.as_data(BASE, 1500.0) == {
        "release": "B",
        "previous": "A",
        "rollout": "r1",
        "by": "anna",
        "reason": "why",
        "timeout": 300.0,
        "since": "1970-01-01T00:16:40Z",
        "options": False,
        "until": "1970-01-01T00:26:40Z",
        "remaining": 100.0,
    }
    running = _confirmation.as_data(dataclasses.replace(BASE, until=None), 1500.0)
    assert running
    assert (running["until"], running["remaining"]) == (None, None)
    assert _confirmation.refusal(BASE) == (
        "Release B awaits the confirmation of rollout r1 by anna, since 1970-01-01T00:16:40Z, until "
        "1970-01-01T00:26:40Z; wait for it, or set force to let this cutover take its place."
    )


# what may be said ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [GIVEN, AWAITED, WITHDRAWN])
def test_what_is_awaited_can_be_answered(state: str) -> None:
    assert is_to_do(state, BASE, overview("B", *LIVE))


@pytest.mark.parametrize(
    ("state", "awaiting", "events", "live", "expected"),
    [
        (GIVEN, None, [*LIVE, event("proven", "B")], "B", False),
        (AWAITED, None, [*LIVE, event("proven", "B")], "B", False),
        (WITHDRAWN, None, [*LIVE, event("proven", "B")], "B", "B has proven itself on web1"),
        (WITHDRAWN, None, [*LIVE, *BACK], "A", False),
        (GIVEN, None, [*LIVE, *BACK], "A", "web1 went back to A at 2026-01-31T14:00:00Z by itself, because "
         "release B was not confirmed within 300 s by anna."),
        (AWAITED, None, [*LIVE, *BACK], "A", "by itself"),
        (GIVEN, None, [*LIVE, BACK[0], event("withdrawn", "B", by="bob", rollout="r1", reason=None)], "A",
         "because release B was withdrawn by bob \\(no reason given\\)"),
        (GIVEN, None, [event("live", "B"), event("withdrawn", "B", rollout="r1", reason="x")], "B",
         "nothing ran before"),
        # what changed of its options was withdrawn
        (GIVEN, None, [*LIVE, event("proven", "B"), BACK[1]], "B",
         "went back to what release B was run as before, .* its changed options were not confirmed within 300 s"),
        (GIVEN, None, [*LIVE, event("proven", "B"), {**BACK[1], "by": "bob", "reason": None}], "B",
         "its changed options were withdrawn by bob \\(no reason given\\)"),
        (WITHDRAWN, None, [*LIVE, event("proven", "B"), BACK[1]], "B", False),
        # of an earlier rollout, or before it went live again
        (GIVEN, None, [*LIVE, BACK[0], {**BACK[1], "rollout": "r0"}], "A", "B is not live on web1: A is, since 2026"),
        (GIVEN, None, [*LIVE, *BACK, event("live", "B"), event("live", "C")], "C",
         "B is not live on web1: C is, since"),
        (WITHDRAWN, None, [], None, "none is"),
        (GIVEN, None, LIVE, "B", "awaits no confirmation"),
        (WITHDRAWN, None, LIVE, "B", "awaits no confirmation"),
        (GIVEN, dataclasses.replace(BASE, rollout="r2"), LIVE, "B", "B of rollout r2 is awaited on web1, and not B of"),
        # the record of a cutover that never came to it
        (GIVEN, dataclasses.replace(BASE, release="C"), [*LIVE, event("proven", "B")], "B", False),
    ],
)  # fmt: skip
def test_what_is_not_awaited(
    state: str, awaiting: Optional[Awaiting], events: List[Dict[str, Any]], live: Optional[str], expected: Any
) -> None:
    if expected is False:
        assert not is_to_do(state, awaiting, overview(live, *events))
    else:
        with pytest.raises(Pm2Error, match=expected):
            is_to_do(state, awaiting, overview(live, *events))


def test_a_proof_counts_since_it_went_live() -> None:
    before = [event("live", "B"), event("proven", "B"), event("live", "A")]
    assert not _confirmation.proven_since([*before, event("live", "B")], "B")
    assert _confirmation.proven_since([*before, event("live", "B"), event("proven", "B")], "B")
