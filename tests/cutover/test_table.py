# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""New releases of every kind, under traffic: a good one takes over, a bad one is never seen; no request is lost."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import pytest
from cutover.conftest import EVERY_PM2
from support.pm2_host import is_alive
from support.web import Web, take_over


def accept(web: Web, instances: int = 2, slow: bool = False, app: dict[str, Any] | None = None, **options: Any) -> None:
    """``v1`` serves; ``v2``, which is staged, takes its place, once."""

    def is_whole() -> None:
        web.assert_serves("v2", instances)
        logs = {f"web-{kind}-{number}.log" for kind in ("out", "error") for number in range(instances)}
        assert {path.name for path in (web.home / "logs").iterdir()} == logs

    take_over(web, is_whole, slow, app, **options)


@EVERY_PM2
def test_good(web: Web) -> None:
    web.go_live()
    web.stage("good", "v2")
    accept(web)


@EVERY_PM2
def test_good_with_one_instance(web: Web) -> None:
    web.options["instances"] = 1
    web.go_live()
    web.stage("good", "v2")
    accept(web, instances=1)


def test_good_on_all_cores(web: Web) -> None:
    web.options["instances"] = "max"
    web.go_live()
    web.stage("good", "v2")
    accept(web, instances=os.cpu_count() or 1)


def test_es_module(web: Web) -> None:
    web.go_live("es_module")
    web.stage("es_module", "v2")
    accept(web)


def test_apps_that_ignore_signals(web: Web) -> None:
    web.go_live("ignores_signals")
    web.stage("ignores_signals", "v2")
    accept(web)


def test_requests_of_5_s_in_flight(web: Web) -> None:
    """Those that the old release has taken it also answers."""
    web.go_live()
    web.stage("good", "v2")
    accept(web, slow=True, app={"drain_timeout": 15})


@pytest.mark.parametrize("seconds", [8, pytest.param(30, marks=[pytest.mark.whole])])
def test_a_slow_boot_within_the_deadline(web: Web, seconds: int) -> None:
    web.go_live()
    web.stage("boots_in", "v2", seconds=seconds)
    accept(web)


@dataclass(frozen=True)
class Bad:
    """A release that must not be seen.

    :ivar says: is somewhere in the error.
    :ivar how: for the kind, see support/gate_apps.py.
    :ivar app: options of the app.
    :ivar options: of the module.
    """

    kind: str
    says: str
    how: dict[str, Any] = field(default_factory=dict)
    app: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


# a time in which what waits for something that never comes gives up
SHORT = {"healthy_deadline": 4.0}


def reject(web: Web, bad: Bad) -> None:
    web.go_live()
    web.stage(bad.kind, "v2", **bad.how)
    before = web.pids()
    with web.traffic() as traffic:
        failure = web.cutover("v2", bad.app, fails=True, **bad.options)
    traffic.assert_only("v1")
    assert web.pids() == before
    web.assert_serves("v1")
    assert "The new generation of app web was rejected" in failure["msg"]
    assert bad.says in failure["msg"]
    assert failure["verdict"] == "bad"
    assert failure["serves"] == "What served before serves: web (untouched, the same processes)."
    assert failure["failures"]
    release = web.release("v2")
    assert release["bad"]
    assert bad.says in release["reason"]
    assert web.release("v1")["live"]


@EVERY_PM2
def test_throws_at_boot(web: Web) -> None:
    reject(web, Bad("throws_at_boot", "boom at boot"))


@EVERY_PM2
def test_throws_after_2_s(web: Web) -> None:
    reject(web, Bad("throws_after", "boom later", {"seconds": 2}, options={"min_healthy_time": 4.0}))


@EVERY_PM2
def test_answers_500(web: Web) -> None:
    reject(web, Bad("answers_500", "500", options=SHORT))


REJECTED = {
    "syntax error": Bad("syntax_error", "SyntaxError"),
    "missing module": Bad("missing_module", "Cannot find module 'no-such-module'"),
    "ES module that throws": Bad("es_module_throws", "boom in module"),
    "throws after 8 s": Bad("throws_after", "boom later", {"seconds": 8}, options={"min_healthy_time": 10.0}),
    "wrong body": Bad("wrong_body", "wrong", options=SHORT),
    "hangs": Bad("hangs", "healthy_deadline", app={"health": [{"path": "/health", "timeout": 0.5}]}, options=SHORT),
    "never listens": Bad("never_listens", "does not listen on port", options=SHORT),
    "leaks": Bad(
        "leaks",
        "more than max_memory_restart (150 MiB)",
        app={"max_memory_restart": "150M"},
        options={"min_healthy_time": 10.0},
    ),
    "exits with 0": Bad("exits_0", "ended"),
}


def test_wrong_port(web: Web) -> None:
    reject(web, Bad("wrong_port", "which is declared", {"port": web.other_port}))


@pytest.mark.parametrize("bad", REJECTED.values(), ids=REJECTED)
def test_bad(web: Web, bad: Bad) -> None:
    reject(web, bad)


@pytest.mark.parametrize(("then", "says"), [("throws", "boom after fork"), ("fails", "500")])
def test_a_child_that_outlives_its_parent(web: Web, then: str, says: str) -> None:
    children = web.directory / "children"
    reject(web, Bad("forks_child", says, {"pid_file": children, "then": then}, options=SHORT))
    pids = list(map(int, children.read_text().split()))
    assert pids
    assert not any(map(is_alive, pids))


# of every third kind in turn
BAD: list[tuple[str, dict[str, Any]]] = [
    ("throws_at_boot", {}),
    ("answers_500", {}),
    ("exits_0", {}),
    ("throws_after", {"seconds": 0.3}),
    ("wrong_body", {}),
    ("never_listens", {}),
    ("syntax_error", {}),
]


@pytest.mark.parametrize("count", [6, pytest.param(20, marks=[pytest.mark.whole])])
def test_many_in_a_row(web: Web, count: int) -> None:
    """Good ones and bad ones mixed; after each the right one serves."""
    kinds = {f"v{number:02}": BAD[number // 3] if number % 3 == 1 else ("good", {}) for number in range(1, count + 1)}
    web.go_live(version="v00")
    for version, (kind, how) in kinds.items():
        web.stage(kind, version, **how)
    live = "v00"
    # a load has an end; nothing happens between the two
    for half in (list(kinds)[: count // 2], list(kinds)[count // 2 :]):
        serving = {live}
        with web.traffic() as traffic:
            for version in half:
                is_good = kinds[version][0] == "good"
                deadline = 60.0 if is_good else 2.0
                # those that wait for their turn stay
                web.cutover(
                    version, fails=not is_good, min_healthy_time=0.5, healthy_deadline=deadline, keep=len(kinds)
                )
                live = version if is_good else live
                serving.add(live)
                web.assert_serves(live)
            after = traffic.mark()
        traffic.assert_only(*serving)
        assert traffic.answers(after) == {live}
    assert live == f"v{count:02}"
