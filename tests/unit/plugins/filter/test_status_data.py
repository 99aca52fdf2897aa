# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a program reads."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.zerodown.pm2.plugins.filter.status_data import FilterModule

status_data = FilterModule().filters()["status_data"]


def release(number: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": number, "revision": "r" + number, "live": False, "proven": False, "bad": False, "ready": True, **changes
    }  # fmt: skip


def releases(*found: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"releases": list(found), "log": [], "previous": None, "rollback_target": None, **changes}


def app(name: str, status: str = "online", saved: bool | None = True, **changes: Any) -> dict[str, Any]:
    processes = [{"pm_id": 0, "restarts": 1, "memory": 10}, {"pm_id": 1, "restarts": 2, "memory": 20}]
    return {"name": name, "status": status, "saved": saved, "standby": None, "processes": processes, **changes}


def processes(*apps: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"daemon": {"running": True}, "apps": list(apps), **changes}


def test_nothing() -> None:
    found = status_data(releases(), processes(app("shop", "absent", None, processes=[])))
    assert found == {
        "release": None,
        "revision": None,
        "proven": False,
        "bad": False,
        "deployed_at": None,
        "deployed_by": None,
        "reason": None,
        "awaiting": None,
        "previous": None,
        "rollback_target": None,
        "daemon": True,
        "status": "absent",
        "saved": None,
        "restarts": 0,
        "memory": 0,
        "standby": [],
        "processes": [],
        "drift": [],
    }


def test_everything() -> None:
    log = [
        {"event": "live", "release": "1", "time": "t1", "by": "bob", "reason": None},
        {"event": "live", "release": "2", "time": "t2", "by": "ann", "reason": "prices"},
        {"event": "proven", "release": "2", "time": "t3", "by": "ann", "reason": None},
    ]
    there = releases(
        release("1", proven=True), release("2", live=True, proven=True), log=log, previous="1", rollback_target="1"
    )
    plan = [{"action": "start_daemon"}, {"action": "update", "app": "shop", "options": ["args"]}]
    warm = {"release": "1", "colour": "blue"}
    found = status_data(there, processes(app("shop", standby=warm), app("worker", "stopped", False), plan=plan))
    assert (found["release"], found["revision"], found["proven"], found["previous"]) == ("2", "r2", True, "1")
    assert (found["deployed_at"], found["deployed_by"], found["reason"]) == ("t2", "ann", "prices")
    assert (found["status"], found["saved"], found["restarts"], found["memory"]) == ("partly", False, 6, 60)
    assert found["standby"] == [{"name": "shop", **warm}]
    assert [(process["name"], process["pm_id"]) for process in found["processes"]] == [
        ("shop", 0),
        ("shop", 1),
        ("worker", 0),
        ("worker", 1),
    ]
    assert found["drift"] == plan[1:]


@pytest.mark.parametrize(
    ("last", "log", "awaiting"),
    [
        (release("2"), [], "2"),
        (release("2", ready=False), [], None),
        (release("2", live=True), [], None),
        (release("2", bad=True), [], None),
        (release("2", proven=True), [], None),
        (release("2"), [{"event": "live", "release": "2"}], None),
    ],
)
def test_what_awaits_its_deploy(last: dict[str, Any], log: list[dict[str, Any]], awaiting: str | None) -> None:
    found = status_data(releases(release("1"), last, log=[{"time": 0, "by": 0, "reason": 0, **e} for e in log]),
                        processes(app("shop")))  # fmt: skip
    assert found["awaiting"] == awaiting
