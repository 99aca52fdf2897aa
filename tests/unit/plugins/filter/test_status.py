"""What a person reads."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.zerodown.pm2.plugins.filter.status import FilterModule

status = FilterModule().filters()["status"]

NOTHING: dict[str, Any] = {"exists": False, "live": None, "releases": [], "log": [], "rollback_target": None}
DOWN: dict[str, Any] = {
    "daemon": {"running": False},
    "apps": [{"name": "shop", "status": "absent", "standby": None, "processes": []}],
}


def process(**changes: Any) -> dict[str, Any]:
    return {"pm_id": 0, "pid": 7, "restarts": 1, "memory": 50 * 2**20, "uptime": 7300.0, **changes}


def test_a_host_that_never_saw_the_app() -> None:
    assert status("shop", NOTHING, DOWN) == ["shop: never deployed", "  no PM2 daemon runs", "  shop absent"]


@pytest.mark.parametrize(
    ("remaining", "says"), [(42.4, "reverts in 42 s"), (0.0, "reverts in 0 s"), (None, "its cutover is not over")]
)
def test_what_awaits_its_confirmation(remaining: float | None, says: str) -> None:
    awaiting = {"rollout": "r1", "by": "ann", "remaining": remaining}
    lines = status("shop", {**NOTHING, "awaiting": awaiting}, DOWN)
    assert lines[2] == f"  awaits confirmation of rollout r1 by ann, {says}"


def test_everything() -> None:
    releases = {
        "exists": True,
        "live": "2",
        "rollback_target": "1",
        "releases": [
            {"id": "1", "revision": "aa", "live": False, "proven": True, "bad": False},
            {"id": "2", "revision": "0123456789abcdef", "live": True, "proven": True, "bad": False},
        ],
        "log": [
            {"event": "live", "release": "2", "time": "2026-01-31T14:06:11Z", "by": "ann", "reason": "new prices"},
            {"event": "proven", "release": "2", "time": "2026-01-31T14:06:12Z", "by": "ann"},
        ],
    }
    processes = {
        "daemon": {"running": True},
        "apps": [
            {
                "name": "shop",
                "status": "partly",
                "instances": 2,
                "saved": False,
                "standby": {"release": "1", "colour": "blue", "remaining": 280.4, "instances": 2, "memory": 3 * 2**20},
                "processes": [process(), process(pm_id=1, pid=None, uptime=None, memory=0)],
            }
        ],
        "plan": [
            {"action": "start_daemon"},
            {"action": "update", "app": "shop", "pm_id": 0, "options": ["args"], "by": "restart"},
            {"action": "start", "app": "shop", "pm_id": 1, "why": "it is errored"},
        ],
    }
    assert status("shop", releases, processes) == [
        "shop: 2 (revision 0123456789ab, proven, live since 2026-01-31T14:06:11Z by ann: new prices)",
        "  shop partly, 1 of 2 processes run, restarts 2, 50 MiB, up 2 h, NOT saved for the next boot",
        "    standby 1: 2 processes warm on blue, 3 MiB, ends in 4 min",
        "  the next deploy would change shop 0: update (args)",
        "  the next deploy would change shop 1: start (it is errored)",
        "  rollback goes to 1",
    ]
