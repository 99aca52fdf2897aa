# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Strategy proxy: an app in fork mode behind a real HAProxy, replaced by its other colour."""

from __future__ import annotations

import json
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cutover.conftest import proxied
from support.pm2_host import wait_for
from support.proxied import Haproxy
from support.web import HEALTH, Traffic, Web

BLUE_SERVES = {"blue": "ready", "green": "maint"}
# blue is warm
GREEN_SERVES = {"blue": "drain", "green": "ready"}


def traffic(web: Web, haproxy: Haproxy, slow: bool = False) -> Traffic:
    return Traffic(f"http://127.0.0.1:{haproxy.port}/", web.record, slow)


def released(web: Web) -> set[str]:
    """The releases of which a process runs, warm ones too."""
    return {Path(item.env["pm_cwd"]).name for item in web.processes() if item.is_running()}


# a good release -------------------------------------------------------------------------------------------------------


def test_a_good_release(app: Web, haproxy: Haproxy) -> None:
    app.go_live()
    assert haproxy.states() == BLUE_SERVES
    app.stage("good", "v2")
    with traffic(app, haproxy) as load:
        result = app.cutover("v2")
        after = load.mark()
    load.assert_only("v1", "v2")
    load.assert_only("v2", since=after)
    assert result["plan"] == [
        {
            "action": "cutover",
            "app": "web",
            "count": 1,
            "proof": "held",
            "outage": False,
            "options": ["cwd", "script"],
            "colour": "green",
            "replaces": [0],
        }
    ]
    assert haproxy.states() == GREEN_SERVES
    assert released(app) == {"v1", "v2"}
    # what is warm is no part of the app
    assert [entry["pm_cwd"] for entry in app.dump()] == [str(app.path("v2"))]
    (info,) = app.module("app_info", names=["web"])["apps"]
    assert [item["cwd"] for item in info["processes"]] == [str(app.path("v2"))]
    assert info["saved"]
    assert (info["standby"]["colour"], info["standby"]["instances"]) == ("blue", 1)
    assert 0 < info["standby"]["remaining"] <= 60
    assert info["standby"]["memory"] > 2**20
    assert not app.cutover("v2")["changed"]


@pytest.mark.parametrize("preload", [True, pytest.param(False, marks=pytest.mark.whole)])
def test_back_and_forth(app: Web, haproxy: Haproxy, preload: bool) -> None:
    """Each takes the address that the standby before it had. Without the preload HAProxy alone keeps what comes."""
    app.options["preload"] = preload
    app.go_live()
    with traffic(app, haproxy, slow=True) as load:
        for version in ("v2", "v3", "v4"):
            app.cutover(app.stage("good", version))
            assert released(app) >= {version}
    load.assert_only("v1", "v2", "v3", "v4")
    assert haproxy.states() == GREEN_SERVES
    assert released(app) == {"v3", "v4"}


def test_requests_of_5_s_without_a_standby(app: Web, haproxy: Haproxy) -> None:
    app.options.update(standby_time=0, preload=False)
    app.go_live()
    app.stage("good", "v2")
    with traffic(app, haproxy, slow=True) as load:
        app.cutover("v2")
        assert released(app) == {"v2"}
    load.assert_only("v1", "v2")
    assert haproxy.states() == {"blue": "maint", "green": "ready"}


def test_a_cluster(app: Web, haproxy: Haproxy) -> None:
    app.options.update(exec_mode="cluster", instances=2)
    app.go_live()
    app.stage("good", "v2")
    with traffic(app, haproxy) as load:
        app.cutover("v2")
    load.assert_only("v1", "v2")
    assert haproxy.states() == GREEN_SERVES
    assert not app.cutover("v2")["changed"]


@pytest.mark.whole
def test_unix_sockets(web: Web) -> None:
    with Haproxy(sockets=True) as haproxy:
        app = proxied(web, haproxy)
        app.options["health"] = [HEALTH]
        app.go_live("socket")
        app.stage("socket", "v2")
        app.stage("answers_500_socket", "v3")
        with traffic(app, haproxy) as load:
            app.cutover("v2")
            app.cutover("v3", fails=True, healthy_deadline=4.0)
        load.assert_only("v1", "v2")
        assert haproxy.states() == {"blue": "maint", "green": "ready"}
        assert not app.cutover("v2")["changed"]


def test_an_app_that_stood_there_alone(web: Web, haproxy: Haproxy) -> None:
    """It had a port of its own, which its users still ask until the proxy has it."""
    web.options = {"exec_mode": "fork", "health": [HEALTH]}
    web.go_live()
    app = proxied(web, haproxy)
    app.stage("good", "v2")
    result = app.cutover("v2")
    assert not result["plan"][0]["outage"]
    assert haproxy.states() == BLUE_SERVES
    assert released(app) == {"v2"}
    app.assert_serves("v2", 1, mode="fork")


# a bad release --------------------------------------------------------------------------------------------------------

BAD = {
    "throws_at_boot": "boom at boot",
    "syntax_error": "SyntaxError",
    "missing_module": "no-such-module",
    "wrong_port": "listens on port",
    "throws_after": "boom later",
    "answers_500": "500",
    "wrong_body": "is not healthy",
    "hangs": "is not healthy",
    "never_listens": "does not listen",
    "exits_0": "ended",
}


# of one that hangs, something is to be known before the deadline
CHECK = {**HEALTH, "timeout": 1}


IN_SHORT = ("throws_at_boot", "answers_500")


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind in IN_SHORT else [pytest.mark.whole]) for kind in BAD]
)
def test_a_bad_release(app: Web, haproxy: Haproxy, kind: str) -> None:
    app.go_live()
    app.stage(kind, "v2", **({"port": app.other_port} if kind == "wrong_port" else {}))
    before = app.pids()
    with traffic(app, haproxy) as load:
        failure = app.cutover("v2", {"health": [CHECK]}, True, healthy_deadline=4.0, min_healthy_time=2.5)
    load.assert_only("v1")
    assert BAD[kind] in failure["msg"]
    assert failure["serves"] == "What served before serves: web (untouched, the same processes)."
    assert app.pids() == before
    app.assert_serves("v1", 1, mode="fork")
    assert haproxy.states() == BLUE_SERVES
    assert app.release("v2")["bad"]


def test_a_bad_release_ends_the_standby_before_it(app: Web, haproxy: Haproxy) -> None:
    """It needs the address."""
    app.go_live()
    app.cutover(app.stage("good", "v2"))
    app.stage("throws_at_boot", "v3")
    with traffic(app, haproxy) as load:
        app.cutover("v3", fails=True)
    load.assert_only("v2")
    assert released(app) == {"v2"}
    assert haproxy.states() == {"blue": "maint", "green": "ready"}


# canary ---------------------------------------------------------------------------------------------------------------

CANARY: dict[str, Any] = {"canary": [5, 25, 100], "canary_time": 2.0, "canary_requests": 10}


def test_a_good_canary(app: Web, haproxy: Haproxy) -> None:
    app.options.update(CANARY)
    app.go_live()
    app.stage("good", "v2")
    with traffic(app, haproxy) as load:
        result = app.cutover("v2")
    load.assert_only("v1", "v2")
    assert 4.0 < result["timings"]["canary"] < 15.0
    assert haproxy.states() == GREEN_SERVES


def test_a_canary_that_fails_a_fifth_of_its_requests(app: Web, haproxy: Haproxy) -> None:
    """It is stopped in its first step, and no more is affected than its share."""
    app.options.update(CANARY)
    app.options["canary_time"] = 20.0
    app.go_live()
    app.stage("fails_some", "v2", one_of=5)
    with traffic(app, haproxy) as load:
        failure = app.cutover("v2", fails=True)
        after = load.mark()
    samples = load.samples()
    seen = [sample for sample in samples if sample.text == "v2"]
    wrong = [sample for sample in samples if not 200 <= sample.status < 300]
    assert wrong
    assert all(sample.text == "v2" for sample in wrong)
    assert len(seen) <= 0.05 * len(samples) + 1
    app.record("canary", f"{len(wrong)} failed, {len(seen)} of {len(samples)} seen by the canary")
    load.assert_only("v1", since=after)
    assert "at 5 % of the traffic" in failure["msg"]
    assert failure["verdict"] == "bad"
    assert haproxy.states() == BLUE_SERVES
    app.assert_serves("v1", 1, mode="fork")


@pytest.mark.whole
def test_a_canary_that_is_slow(app: Web, haproxy: Haproxy) -> None:
    app.options.update(CANARY, canary=[20, 100], canary_slowdown_max=3.0)
    app.go_live()
    app.stage("slow", "v2", ms=250)
    with traffic(app, haproxy) as load:
        failure = app.cutover("v2", fails=True)
        after = load.mark()
    load.assert_only("v1", "v2")
    load.assert_only("v1", since=after)
    assert "ms to answer at 20 % of the traffic" in failure["msg"]


@pytest.mark.whole
def test_a_canary_that_nobody_asks(app: Web, haproxy: Haproxy) -> None:
    """Nothing can be said of it."""
    app.options.update(CANARY, canary_deadline=2.0)
    app.go_live()
    app.stage("good", "v2")
    failure = app.cutover("v2", fails=True)
    assert "was sent only 0 requests at 5 % of the traffic" in failure["msg"]
    assert failure["verdict"] == "unknown"
    assert not app.release("v2")["bad"]
    assert haproxy.states() == BLUE_SERVES


def test_a_canary_that_ends(app: Web, haproxy: Haproxy) -> None:
    app.options.update(CANARY, canary_time=20.0)
    app.go_live()
    app.stage("throws_after", "v2", seconds=6)
    with traffic(app, haproxy) as load:
        failure = app.cutover("v2", fails=True)
    # HAProxy asks the other colour again for what was not answered
    load.assert_only("v1", "v2")
    assert "boom later" in failure["msg"]
    assert haproxy.states() == BLUE_SERVES


# standby --------------------------------------------------------------------------------------------------------------


def test_a_rollback_to_the_standby(app: Web, haproxy: Haproxy) -> None:
    app.go_live()
    app.cutover(app.stage("good", "v2"))
    pids = {item.pid for item in app.processes() if item.env["pm_cwd"] == str(app.path("v1"))}
    with traffic(app, haproxy) as load:
        result = app.roll_back()
        after = load.mark()
    load.assert_only("v1", "v2")
    load.assert_only("v1", since=after)
    flip = sum(result["timings"][step] for step in ("prove", "open", "canary"))
    app.record("flip", flip)
    assert result["plan"][0]["proof"] == "warm"
    assert flip < 1.0
    assert set(app.pids()) == pids
    assert haproxy.states() == BLUE_SERVES
    app.assert_serves("v1", 1, mode="fork")
    assert app.release("v2")["bad"]


@pytest.mark.parametrize(
    "by_itself", [pytest.param(False, marks=pytest.mark.whole), True], ids=["asked for", "by itself"]
)
def test_what_nobody_confirms_goes_back_to_the_standby(app: Web, haproxy: Haproxy, by_itself: bool) -> None:
    app.go_live()
    pids = set(app.pids())
    rollout: dict[str, Any] = {"path": str(app.root), "release": "v2", "rollout": "r1"}
    with traffic(app, haproxy) as load:
        app.cutover(app.stage("good", "v2"), rollout="r1", confirm_timeout=2.0 if by_itself else 600.0)
        if not by_itself:
            assert app.module("confirmation", **rollout, state="withdrawn")["plan"][0]["proof"] == "warm"
        wait_for(lambda: not (app.root / "unconfirmed.json").exists(), "it does not go back")
        after = load.mark()
    load.assert_only("v1", "v2")
    load.assert_only("v1", since=after)
    assert haproxy.states() == BLUE_SERVES
    assert set(app.pids()) == pids
    app.assert_serves("v1", 1, mode="fork")
    assert not app.release("v2")["bad"]


@pytest.mark.whole
def test_a_rollback_to_a_standby_that_died(app: Web, haproxy: Haproxy) -> None:
    """Then the release is started anew."""
    app.go_live()
    app.cutover(app.stage("good", "v2"))
    (warm,) = [item for item in app.processes() if item.env["pm_cwd"] == str(app.path("v1"))]
    app.rpc.delete(warm.pm_id, 10.0)
    with traffic(app, haproxy) as load:
        result = app.roll_back()
    load.assert_only("v1", "v2")
    assert result["plan"][0]["proof"] == "held"
    assert haproxy.states() == BLUE_SERVES


def test_a_revert_to_the_standby(app: Web, haproxy: Haproxy) -> None:
    """A breach in the bake only turns the traffic back."""
    app.go_live()
    trigger = app.directory / "now"
    app.stage("fails_later", "v2", trigger=str(trigger), seconds=2)
    with traffic(app, haproxy) as load:
        failure = app.cutover("v2", fails=True, bake_time=30.0)
        after = load.mark()
    load.assert_only("v1", since=after)
    app.record("revert", failure["timings"]["revert"])
    assert failure["serves"] == "v1 serves again."
    assert haproxy.states() == BLUE_SERVES
    app.assert_serves("v1", 1, mode="fork")


@pytest.mark.whole
def test_a_bake_counts_what_the_proxy_counts(app: Web, haproxy: Haproxy) -> None:
    """Its health check is content all the time."""
    app.go_live()
    app.stage("fails_some", "v2", one_of=5)
    with traffic(app, haproxy) as load:
        failure = app.cutover("v2", fails=True, bake_time=30.0)
        after = load.mark()
    load.assert_only("v1", since=after)
    assert "at 100 % of the traffic" in failure["msg"]
    assert failure["serves"] == "v1 serves again."


def test_a_standby_ends_by_itself(app: Web, haproxy: Haproxy) -> None:
    app.options["standby_time"] = 3
    app.go_live()
    with traffic(app, haproxy) as load:
        app.cutover(app.stage("good", "v2"))
        assert released(app) == {"v1", "v2"}
        wait_for(lambda: released(app) == {"v2"}, "the standby does not end", 15.0)
        wait_for(lambda: haproxy.states()["blue"] == "maint", "the proxy was not told", 5.0)
    load.assert_only("v1", "v2")
    app.assert_serves("v2", 1, mode="fork")


@pytest.mark.parametrize("state", ["stopped", pytest.param("absent", marks=pytest.mark.whole)])
def test_who_ends_the_app_ends_the_standby(app: Web, haproxy: Haproxy, state: str) -> None:
    app.go_live()
    app.cutover(app.stage("good", "v2"))
    assert haproxy.states() == GREEN_SERVES
    app.module("app", name="web", state=state)
    assert released(app) == set()


# the proxy ------------------------------------------------------------------------------------------------------------


def test_a_proxy_that_starts_anew(app: Web, haproxy: Haproxy) -> None:
    app.go_live()
    app.cutover(app.stage("good", "v2"))
    haproxy.restart()
    assert haproxy.states() == GREEN_SERVES
    with traffic(app, haproxy) as load:
        pass
    load.assert_only("v2")


def test_a_proxy_that_dies_in_a_canary(app: Web, haproxy: Haproxy) -> None:
    """The live colour serves as soon as it is back, and the candidate is gone."""
    app.options.update(CANARY, canary_time=20.0)
    app.go_live()
    app.stage("good", "v2")
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(app.cutover, "v2", fails=True)
        wait_for(lambda: haproxy.states() == {"blue": "ready", "green": "ready"}, "no canary", 20.0)
        haproxy.kill()
        failure = run.result()
    assert "No HAProxy answers on" in failure["msg"]
    haproxy.start()
    assert haproxy.states() == BLUE_SERVES
    app.assert_serves("v1", 1, mode="fork")
    assert not app.release("v2")["bad"]


@pytest.mark.whole
def test_a_proxy_that_forgets_in_a_canary(app: Web, haproxy: Haproxy) -> None:
    """As one that is reloaded does, for a renewed certificate, say."""
    app.options.update(CANARY, canary_time=8.0)
    app.go_live()
    app.stage("good", "v2")
    with ThreadPoolExecutor(1) as pool, traffic(app, haproxy) as load:
        run = pool.submit(app.cutover, "v2")
        wait_for(lambda: haproxy.states() == {"blue": "ready", "green": "ready"}, "no canary", 20.0)
        haproxy.api.set_weight(haproxy.backend, "blue", 100)
        haproxy.api.set_weight(haproxy.backend, "green", 100)
        haproxy.api.set_state(haproxy.backend, "green", "maint")
        haproxy.api.ask("clear counters all")
        wait_for(lambda: haproxy.states()["green"] == "ready", "the canary is forgotten", 5.0)
        run.result()
    load.assert_only("v1", "v2")
    assert haproxy.states() == GREEN_SERVES


def test_no_proxy_no_cutover(app: Web, haproxy: Haproxy) -> None:
    app.go_live()
    before = app.pids()
    haproxy.kill()
    app.stage("good", "v2")
    failure = app.cutover("v2", fails=True)
    haproxy.start()
    assert "App web: No HAProxy answers on" in failure["msg"]
    assert not failure["changed"]
    assert app.pids() == before


def test_an_address_that_somebody_has(app: Web, haproxy: Haproxy) -> None:
    app.go_live()
    app.stage("good", "v2")
    with socket.create_server(("127.0.0.1", haproxy.addresses[1])):
        failure = app.cutover("v2", fails=True)
    assert f"port {haproxy.addresses[1]} is taken by process" in failure["msg"]
    assert haproxy.states() == BLUE_SERVES


# requests wait --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{"strategy": "restart"}, pytest.param({"overlap": False}, marks=pytest.mark.whole)]
)
def test_requests_wait_for_a_restart(app: Web, haproxy: Haproxy, options: dict[str, Any]) -> None:
    app.options.update(options)
    app.go_live()
    app.stage("boots_in", "v2", seconds=2)
    with traffic(app, haproxy) as load:
        result = app.cutover("v2")
    assert result["plan"][0]["outage"]
    load.assert_only("v1", "v2")
    assert haproxy.states() == {"blue": "maint", "green": "ready"}
    assert released(app) == {"v2"}


def test_requests_wait_for_an_app_that_just_ends(app: Web, haproxy: Haproxy) -> None:
    """It does nothing about signals, and what it has is waited for."""
    app.options.update(overlap=False, preload=False)
    app.go_live()
    app.stage("boots_in", "v2", seconds=2)
    with traffic(app, haproxy, slow=True) as load:
        app.cutover("v2")
    load.assert_only("v1", "v2")
    assert haproxy.states() == {"blue": "maint", "green": "ready"}


def test_requests_wait_for_the_way_back(app: Web, haproxy: Haproxy) -> None:
    app.options["overlap"] = False
    app.go_live()
    app.stage("throws_at_boot", "v2")
    with traffic(app, haproxy) as load:
        app.cutover("v2", fails=True)
    load.assert_only("v1")
    assert haproxy.states() == BLUE_SERVES
    assert released(app) == {"v1"}


# another proxy --------------------------------------------------------------------------------------------------------

PROGRAM = """\
import json, sys
log, verb, content = sys.argv[1], sys.argv[2], json.load(sys.stdin)
with open(log, "a") as stream:
    stream.write(json.dumps([verb, content]) + "\\n")
if verb == "counters":
    empty = {"requests": 0, "errors": 0, "response_time": 0, "sessions": 0}
    print(json.dumps({"blue": empty, "green": empty}))
"""


def test_another_proxy(web: Web, haproxy: Haproxy) -> None:
    program, log = web.directory / "switch.py", web.directory / "calls"
    program.write_text(PROGRAM)
    proxied(web, haproxy)
    web.options["proxy"] = {"ports": haproxy.addresses, "command": [sys.executable, str(program), str(log)]}
    web.go_live()
    log.unlink()
    web.cutover(web.stage("good", "v2"))
    calls = [call for call in map(json.loads, log.read_text().splitlines()) if call[0] != "counters"]
    # once when all is committed, and once more when it was written down
    assert calls.pop() == calls[-1]
    blue, green = ({"address": address, "warm": True} for address in haproxy.addresses)
    servers = {"green": {**green, "share": 100}, "blue": {**blue, "share": 0}}
    assert calls == [
        ["check", {"backend": "zerodown_web", "servers": {}}],
        ["share", {"backend": "zerodown_web", "servers": servers}],
        ["serve", {"backend": "zerodown_web", "servers": servers}],
    ]


@pytest.mark.whole
def test_another_proxy_that_fails(web: Web, haproxy: Haproxy) -> None:
    proxied(web, haproxy)
    command = [sys.executable, "-c", "import sys; sys.exit('nobody is at home')"]
    web.options["proxy"] = {"ports": haproxy.addresses, "command": command}
    failure = web.cutover(web.stage("good", "v1"), fails=True)
    assert "The program of proxy.command failed" in failure["msg"]
    assert "nobody is at home" in failure["msg"]
    assert web.pids() == []


@pytest.mark.whole
def test_how_long_a_flip_takes(app: Web, haproxy: Haproxy) -> None:
    """From the order to the first answer of the old code, and to the last one of the new."""
    app.go_live()
    app.cutover(app.stage("good", "v2"))
    with traffic(app, haproxy) as load:
        before = load.mark()
        start = time.monotonic()
        app.roll_back()
        app.record("module", time.monotonic() - start)
    name = "no keep-alive"
    first_old = min(s.ended for s in load.results[name].samples if s.sent >= before[name] and s.text == "v1")
    last_new = max(s.ended for s in load.results[name].samples if s.text == "v2")
    app.record("first old answer", first_old - before[name])
    app.record("last new answer", last_new - before[name])
    load.assert_only("v1", "v2")
