# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Deliver and deploy to several hosts: the go and what it is bound to, batches, and a fleet that reverts as one."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fleet import SERVER, Fleet, fleet_of


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with fleet_of(3, tmp_path) as found:
        yield found


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Fleet]:
    with fleet_of(2, tmp_path) as found:
        yield found


def go_of(output: str) -> str:
    found = re.search(r"-e go=([0-9a-f]+)", output)
    assert found, output
    return found[1]


def recap(output: str) -> dict[str, int]:
    return {host: int(changed) for host, changed in re.findall(r"^(\w+)\s+: .*changed=(\d+)", output, re.M)}


@pytest.mark.whole
def test_a_good_release_goes_everywhere(fleet: Fleet) -> None:
    fleet.commit("one")
    output = fleet.succeeds("deploy")
    assert fleet.answers() == ["one"] * 3
    # the canary host first, and a quarter of three hosts is one of them
    assert output.index("(item=web1)") < output.index("(item=web2)") < output.index("(item=web3)")
    assert recap(fleet.succeeds("deploy")) == {"web1": 0, "web2": 0, "web3": 0}
    fleet.commit("two")
    fleet.succeeds("deploy")
    assert fleet.answers() == ["two"] * 3


def test_delivery_waits_for_a_go(pair: Fleet) -> None:
    pair.variables["deploy_mode"] = "delivery"
    first = pair.commit("one")
    pair.succeeds("deploy", "-e", "deploy_mode=deployment")
    second = pair.commit("two")
    before = [host.live() for host in pair.hosts]
    output = pair.succeeds("deliver", "-e", "delivery_file=delivery.json")
    assert f"shop: {first[:8]} -> {second[:8]} on web1, web2" in output
    assert "Make it two (Ann)" in output
    assert [host.live() for host in pair.hosts] == before
    assert pair.answers() == ["one", "one"]
    go = go_of(output)
    written = json.loads((pair.directory / "delivery.json").read_text())
    assert (written["digest"], written["hosts"]) == (go, ["web1", "web2"])
    # deploy without a go delivers as well
    again = pair.succeeds("deploy")
    assert go_of(again) == go
    assert pair.answers() == ["one", "one"]
    pair.succeeds("deploy", "-e", f"go={go}")
    assert pair.answers() == ["two", "two"]


def test_a_go_for_something_else_is_refused(pair: Fleet) -> None:
    pair.variables["deploy_mode"] = "delivery"
    pair.commit("one")
    pair.succeeds("deploy", "-e", "deploy_mode=deployment")
    pair.commit("two")
    go = go_of(pair.succeeds("deliver"))
    assert "Nothing was delivered with 'ffff'" in pair.fails("deploy", "-e", "go=ffff")

    third = pair.commit("three")
    told = pair.fails("deploy", "-e", f"go={go}")
    assert f"web1 shop: revision is {third} now, and was" in told

    go = go_of(pair.succeeds("deliver"))
    pair.apps = {host.name: [pair.shop(host, env={"GREETING": "bye", "COLOUR": "red"})] for host in pair.hosts}
    told = pair.fails("deploy", "-e", f"go={go}")
    assert "web1 shop: settings shop.env.COLOUR was added" in told
    assert "red" not in told.split("settings shop.env.COLOUR was added")[1][:40]

    pair.apps = {}
    told = pair.fails("deploy", "-e", f"go={go}", "--limit", "web1")
    assert "web2 was a host, and is not now" in told
    assert pair.answers() == ["one", "one"]
    pair.succeeds("deploy", "-e", f"go={go}")
    assert pair.answers() == ["three", "three"]


def test_a_frozen_fleet_and_a_closed_window(pair: Fleet) -> None:
    pair.commit("one")
    pair.variables["deploy_frozen"] = {"by": "Ann", "reason": "the sale"}
    assert "Deploys are frozen by Ann: the sale." in pair.fails("deploy")
    assert [host.live() for host in pair.hosts] == [None, None]
    pair.succeeds("deliver")
    pair.variables = {"deploy_windows": [{"from": "00:00", "to": "00:00", "days": []}]}


def test_hosts_for_this_and_hosts_for_that(fleet: Fleet) -> None:
    """web1 and web2 have the shop, web2 and web3 have the mailer."""
    fleet.commit("one", **{"mailer.js": "setInterval(() => {}, 1000)"})
    mailer = {
        "name": "mailer",
        "source": {"type": "git", "repo": str(fleet.repository), "version": "main"},
        "needs_build": False,
        "min_healthy_time": 0.5,
        "processes": [{"script": "mailer.js"}],
    }
    web1, web2, web3 = fleet.hosts
    fleet.apps = {"web1": [fleet.shop(web1)], "web2": [fleet.shop(web2), mailer], "web3": [mailer]}
    fleet.succeeds("deploy", "-e", "app=mailer")
    assert [host.live("mailer") is not None for host in fleet.hosts] == [False, True, True]
    assert [host.live("shop") for host in fleet.hosts] == [None, None, None]
    # each is the first of its kind
    assert "(item=web1, web2, web3)" in fleet.succeeds("deploy")
    assert web1.answer() == web2.answer() == "one"
    assert "No app nothing is declared" in fleet.fails("deploy", "-e", "app=nothing")


BAD_ON_THIRD = """
if (process.env.HOST === 'web3') throw new Error('it cannot run here')
"""


@pytest.mark.whole
def test_a_release_that_fails_on_the_last_host_goes_back_everywhere(fleet: Fleet) -> None:
    fleet.commit("one")
    fleet.succeeds("deploy")
    before = [host.live() for host in fleet.hosts]
    fleet.commit("two", BAD_ON_THIRD + SERVER)
    told = fleet.fails("deploy")
    assert "The rollout failed on web3. web1, web2 went back to what served before." in told
    assert "it cannot run here" in told
    assert fleet.answers() == ["one"] * 3
    assert [host.live() for host in fleet.hosts] == before
    # it was no fault of its own on those
    assert fleet.hosts[0].log()[-1][0] == "withdrawn"
    assert "bad" not in [event for event, _release in fleet.hosts[0].log()]
    (line,) = [json.loads(line) for line in fleet.log.read_text().splitlines()][1:]
    assert (line["result"], line["hosts"]["web2"]["shop"]["state"]) == ("reverted", "reverted")


def test_options_with_which_the_last_host_fails_are_taken_back_everywhere(pair: Fleet) -> None:
    """Of the release that is live and proven: nobody stages anything."""
    pair.commit("one", SERVER + "if (HOST + GREETING === 'web2bye') throw new Error('bye is not for web2')")
    pair.succeeds("deploy")
    before = [host.live() for host in pair.hosts]

    def greet(greeting: str) -> None:
        for host in pair.hosts:
            shop = pair.shop(host)
            shop["processes"][0]["env"]["GREETING"] = greeting
            pair.apps[host.name] = [shop]

    def greetings() -> list[str]:
        return [
            urllib.request.urlopen(f"http://127.0.0.1:{host.port}/").read().decode().split()[2] for host in pair.hosts
        ]

    greet("bye")
    told = pair.fails("deploy")
    assert "The rollout failed on web2. web1 went back to what served before." in told
    assert "bye is not for web2" in told
    assert greetings() == ["hello", "hello"]
    assert [host.log()[-1][0] for host in pair.hosts] == ["withdrawn", "proven"]
    greet("hi")
    pair.succeeds("deploy")
    assert greetings() == ["hi", "hi"]
    assert [host.live() for host in pair.hosts] == before
    assert recap(pair.succeeds("deploy")) == {"web1": 0, "web2": 0}


@pytest.mark.whole
def test_each_host_for_itself(pair: Fleet) -> None:
    pair.variables["deploy_revert"] = "host"
    pair.commit("one")
    pair.succeeds("deploy")
    pair.commit("two", BAD_ON_THIRD.replace("web3", "web2") + SERVER)
    told = pair.fails("deploy")
    assert "The rollout failed on web2. web1 runs the new release." in told
    assert pair.answers() == ["two", "one"]


@pytest.mark.whole
def test_the_whole_way(pair: Fleet) -> None:
    """Checked, packed, delivered, approved, migrated once, with hooks; and what is red goes nowhere."""
    trace = pair.directory / "trace"
    command = ["sh", "-c", f'echo "$ZERODOWN_PHASE $ZERODOWN_HOST" >> {trace}']
    phases = ("before_stage", "after_stage", "before_cutover", "after_cutover", "on_failure", "on_rollback")
    pair.variables = {
        "deploy_mode": "delivery",
        "deploy_store": str(pair.directory / "store"),
        "deploy_build_root": str(pair.directory / "build"),
        "deploy_hooks": {phase: [{"name": phase, "argv": command, "where": "controller"}] for phase in phases},
    }
    pair.apps = {
        host.name: [
            pair.shop(
                host,
                needs_build=True,
                ci={},
                artifact={},
                migrations=[{"name": "add", "class": "expand", "argv": ["sh", "-c", f"echo migrated >> {trace}"]}],
            )
        ]
        for host in pair.hosts
    }
    check = "if (require('fs').readFileSync('server.js', 'utf8').includes('red')) throw new Error('this is red')"
    package = json.dumps({"name": "shop", "version": "1.0.0", "scripts": {"test": "node check.js"}})
    lock = {
        "name": "shop",
        "version": "1.0.0",
        "lockfileVersion": 3,
        "packages": {"": {"name": "shop", "version": "1.0.0"}},
    }
    commit = pair.commit("one", **{"package.json": package, "package-lock.json": json.dumps(lock), "check.js": check})
    told = pair.fails("deliver")
    assert f"{commit}" in told
    assert "zerodown.pm2.ci" in told
    assert sorted(trace.read_text().splitlines()) == ["on_failure web1", "on_failure web2"], told
    trace.unlink()

    pair.succeeds("ci")
    go = go_of(pair.succeeds("deliver"))
    assert sorted(trace.read_text().splitlines()) == [
        "after_stage web1", "after_stage web2", "before_stage web1", "before_stage web2",
    ]  # fmt: skip
    trace.unlink()
    pair.succeeds("deploy", "-e", f"go={go}")
    assert pair.answers() == ["one", "one"]
    lines = trace.read_text().splitlines()
    assert lines.count("migrated") == 1
    assert lines.index("migrated") < lines.index("before_cutover web1") < lines.index("before_cutover web2")
    assert sorted(line for line in lines if line.startswith("after_cutover")) == [
        "after_cutover web1",
        "after_cutover web2",
    ]
    # the same bytes
    first, second = (
        json.loads((host.root("shop") / "current/.zerodown/release.json").read_text()) for host in pair.hosts
    )
    assert first["source"]["type"] == "artifact"
    assert first["source"]["checksum"] == second["source"]["checksum"]

    trace.unlink()
    pair.commit("two")
    pair.succeeds("ci")
    pair.succeeds("deploy", "-e", "deploy_mode=deployment")
    pair.succeeds("rollback")
    assert pair.answers() == ["one", "one"]
    assert sorted(trace.read_text().splitlines())[-2:] == ["on_rollback web1", "on_rollback web2"]

    before = [host.live() for host in pair.hosts]
    pair.commit("red")
    assert "this is red" in pair.fails("ci")
    assert "this is red" in pair.fails("deliver")
    assert [host.live() for host in pair.hosts] == before
    assert [len(list((host.root("shop") / "releases").glob("2*"))) for host in pair.hosts] == [2, 2]
