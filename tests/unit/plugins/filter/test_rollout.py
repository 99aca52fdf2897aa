# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible_collections.zerodown.pm2.plugins.filter.rollout import rollout


def noted(state: str = "", failed: str = "", awaiting: bool = False) -> dict[str, Any]:
    planned = {"shop": {"bound": {"release": "B", "revision": "b" * 40, "live": "A"}}}
    outcomes = {"shop": {"state": state, "awaiting": awaiting, "seconds": 2.5}} if state else {}
    return {"planned": planned, "outcomes": outcomes, "failed": failed}


def test_deployed() -> None:
    told = rollout({"web1": noted("confirmed"), "web2": noted("unchanged")}, 0, "r-1", "ann")
    assert told["record"]["result"] == "deployed"
    assert told["record"]["hosts"]["web1"]["shop"] == {
        "release": "B", "revision": "b" * 40, "previous": "A", "state": "confirmed", "seconds": 2.5,
    }  # fmt: skip
    assert told["lines"][1:] == ["  web1 shop bbbbbbbb: runs it", "  web2 shop bbbbbbbb: ran it already"]
    assert rollout({"web1": noted("unchanged")}, 0, "r-1", "ann")["record"]["result"] == "unchanged"


def test_reverted() -> None:
    hosts = {
        "web1": noted("reverted"),
        "web2": noted(failed="App shop: it ended"),
        "web3": noted(),
        "web4": noted("switched", "web4 cannot be reached", awaiting=True),
    }
    told = rollout(hosts, 0, "r-1", "ann")
    assert told["record"]["result"] == "reverted"
    assert told["lines"][1:] == [
        "  web1 shop bbbbbbbb: went back",
        "  web2 shop bbbbbbbb: FAILED",
        "    App shop: it ended",
        "  web3 shop bbbbbbbb: not begun",
        "  web4 shop bbbbbbbb: goes back by itself, unless it is confirmed in time",
        "    web4 cannot be reached",
    ]
    assert told["message"].startswith(
        "The rollout failed on web2, web4. web1 went back to what served before. web2: App shop: it ended"
    )


def test_failed_and_left_as_it_is() -> None:
    told = rollout({"web1": noted("confirmed"), "web2": noted(failed="no")}, 0, "r-1", "ann")
    assert told["record"]["result"] == "failed"
    assert "web1 runs the new release" in told["message"]
