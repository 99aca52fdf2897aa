# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.filter.plan_digest import bound, plan_digest
from ansible_collections.zerodown.pm2.plugins.filter.plan_refusal import plan_refusal
from ansible_collections.zerodown.pm2.plugins.filter.ready import ready


def planned(**more: Any) -> dict[str, Any]:
    return {
        "bound": {
            "live": "A",
            "release": "B",
            "revision": "b" * 40,
            "settings": {"shop.instances": "2", "shop.env.TOKEN": "sealed:1"},
            "migrations": {"add": "expand"},
        },
        "live_revision": "a" * 40,
        "commits": {"new": [{"commit": "b" * 40, "author": "Ann", "subject": "Mend"}], "gone": []},
        "dependencies": [{"name": "express", "before": ["1"], "after": ["2"]}],
        "settings": [{"option": "shop.instances", "change": "1 -> 2"}],
        "recorded": None,
        **more,
    }


def fleet() -> dict[str, dict[str, Any]]:
    return {"web1": {"shop": planned()}, "web2": {"shop": planned()}}


def delivered() -> tuple[str, dict[str, dict[str, Any]]]:
    now = fleet()
    digest = plan_digest(now)
    record = {"digest": digest, "plan": bound(fleet()), "by": "ann", "at": "2026-01-31T14:05:09Z"}
    for apps in now.values():
        apps["shop"]["recorded"] = record
    return digest, now


def test_what_was_delivered_may_go() -> None:
    digest, now = delivered()
    assert plan_refusal(now, digest) == ""


def test_what_is_different_is_named() -> None:
    digest, now = delivered()
    web1, web2 = now["web1"]["shop"]["bound"], now["web2"]["shop"]["bound"]
    web1.update(revision="c" * 40, release="C")
    web1["settings"]["shop.env.TOKEN"] = "sealed:2"
    web2["settings"]["shop.instances"] = "4"
    web2["live"] = ""
    web2["migrations"] = {}
    now["web3"] = {"shop": planned()}
    told = plan_refusal(now, digest)
    assert told == (
        "What ann delivered at 2026-01-31T14:05:09Z with the digest {0} is not what would be deployed now: web1 shop: "
        "revision is {1} now, and was {2}; web1 shop: settings shop.env.TOKEN changed; web2 shop: live is nothing now, "
        "and was A; web2 shop: migrations add was taken away; web2 shop: settings shop.instances is 4 now, and was 2; "
        "web3 is a host now, and was not. Deliver again.".format(digest, "c" * 40, "b" * 40)
    )


def test_what_never_was_delivered() -> None:
    assert "nothing was delivered to these hosts" in plan_refusal(fleet(), "x")
    digest, now = delivered()
    assert f"delivered was {digest} by ann" in plan_refusal(now, "x")


@given(st.sampled_from(["live", "release", "revision"]), st.text(), st.sampled_from(["web1", "web2"]))
def test_another_plan_has_another_digest(name: str, value: str, host: str) -> None:
    now, then = fleet(), fleet()
    now[host]["shop"]["bound"][name] = value
    assert (plan_digest(now) == plan_digest(then)) is (bound(now) == bound(then))


def test_what_a_person_reads_does_not_count() -> None:
    other = copy.deepcopy(fleet())
    other["web1"]["shop"].update(commits=None, dependencies=[], live_revision="")
    assert plan_digest(other) == plan_digest(fleet())


def test_ready_tells_hosts_with_the_same_plan_together() -> None:
    now = fleet()
    now["web3"] = {"shop": planned(live_revision="", commits=None, dependencies=[], settings=[])}
    now["web3"]["shop"]["bound"]["live"] = ""
    now["web4"] = {"shop": planned(settings=[])}
    now["web4"]["shop"]["bound"]["live"] = "B"
    assert ready(now) == [
        "shop: aaaaaaaa -> bbbbbbbb on web1, web2",
        "  + bbbbbbbb Mend (Ann)",
        "  dependencies: express 1 -> 2",
        "  settings: shop.instances 1 -> 2",
        "  migrations: add (expand)",
        "shop: nothing -> bbbbbbbb on web3",
        "  migrations: add (expand)",
        "shop: bbbbbbbb is live already, nothing to do on web4",
    ]


def test_ready_cuts_what_nobody_reads() -> None:
    commits = [{"commit": f"{number:040}", "author": "Ann", "subject": str(number)} for number in range(25)]
    lines = ready({"web1": {"shop": planned(commits={"new": commits, "gone": []})}})
    assert lines[11] == "    and 15 more commits"
