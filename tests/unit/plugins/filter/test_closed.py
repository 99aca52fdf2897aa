# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.zerodown.pm2.plugins.filter.closed import closed


def at(text: str) -> float:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.timezone.utc).timestamp()


# a Monday
NOON = at("2026-11-23T12:00")
OFFICE = {"days": ["mon", "tue", "wed", "thu"], "from": "09:00", "to": "16:00", "timezone": "Europe/Berlin"}


def test_nothing_declared_is_open() -> None:
    assert closed({}, [], NOON) == ""


def test_a_freeze_says_who_and_why() -> None:
    told = closed({"by": "Ann", "reason": "the sale.", "until": "2026-11-24"}, [], NOON)
    assert told == "Deploys are frozen by Ann until 2026-11-24 00:00 UTC: the sale."
    assert closed({"by": "Ann", "reason": "the sale", "until": "2026-11-23T13:00+02:00"}, [], NOON) == ""


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-11-23T07:59", False),
        ("2026-11-23T08:00", True),
        ("2026-11-23T14:59", True),
        ("2026-11-23T15:00", False),
        # in summer Berlin is two hours ahead
        ("2026-07-20T07:00", True),
        # a Friday
        ("2026-11-27T12:00", False),
    ],
)
def test_a_window_has_a_time_zone(moment: str, is_open: bool) -> None:
    assert (closed({}, [OFFICE], at(moment)) == "") is is_open


def test_a_window_over_midnight_counts_for_the_day_on_which_it_begins() -> None:
    night = {"days": ["sun"], "from": "22:00", "to": "04:00"}
    assert closed({}, [night], at("2026-11-22T23:00")) == ""
    assert closed({}, [night], at("2026-11-23T03:59")) == ""
    assert closed({}, [night], at("2026-11-23T04:00")) != ""
    assert closed({}, [night], at("2026-11-23T23:00")) != ""


def test_one_window_is_enough_and_all_are_named() -> None:
    night = {"from": "22:00", "to": "04:00"}
    assert closed({}, [night, OFFICE], NOON) == ""
    told = closed({}, [night, OFFICE], at("2026-11-27T12:00"))
    assert told == (
        "No deploy goes on now, Fri 12:00 UTC, but daily from 22:00 to 04:00 UTC and mon, tue, wed, thu from 09:00 to "
        "16:00 Europe/Berlin."
    )


def test_yaml_reads_a_time_without_quotes_as_a_number() -> None:
    assert closed({}, [{"from": 570, "to": 720}], at("2026-11-23T11:59")) == ""


@pytest.mark.parametrize(
    ("frozen", "windows"),
    [
        ({"by": "Ann"}, []),
        (True, []),
        ({"by": "Ann", "reason": "x", "until": "soon"}, []),
        ({}, [{"from": "9 o'clock", "to": "16:00"}]),
        ({}, [{"from": "09:00"}]),
        ({}, [{**OFFICE, "days": ["someday"]}]),
        ({}, [{**OFFICE, "timezone": "Europe/Atlantis"}]),
        ({}, [{**OFFICE, "day": ["mon"]}]),
    ],
)
def test_what_cannot_be_understood_is_refused(frozen: Any, windows: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="deploy_"):
        closed(frozen, windows, NOON)
