# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Strategy proxy for whatever listens: Python servers with our gate and without, a binary, on ports and on sockets; and
what becomes of WebSockets, server-sent events and HTTP/2."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.binary_app import BinaryWeb
from support.pm2_host import wait_for
from support.proxied import Haproxy
from support.python_web import PythonWeb
from support.streams import WS, Events, Http2, Stream, WebSocketStream, stage_with_streams
from support.web import HEALTH, Traffic, Web

BLUE_SERVES = {"blue": "ready", "green": "maint"}
GREEN_SERVES = {"blue": "drain", "green": "ready"}
# of a release that never gets well
DEADLINE = 5.0
# however long it took to boot
GIVES_UP = {**HEALTH, "timeout": 0.5, "failures": 5}


def behind(web: Web, haproxy: Haproxy, **options: Any) -> None:
    web.options = {"health": [HEALTH], "proxy": haproxy.options, "standby_time": 60, **options}


def traffic(web: Web, haproxy: Haproxy) -> Traffic:
    return Traffic(f"http://127.0.0.1:{haproxy.port}/", web.record)


@dataclass(frozen=True)
class Bad:
    """A release that must not be seen.

    :ivar says: is somewhere in the error.
    :ivar app: options of the app.
    :ivar deadline: seconds, where waiting comes to nothing.
    """

    kind: str
    says: str
    how: dict[str, Any] = field(default_factory=dict)
    app: dict[str, Any] = field(default_factory=dict)
    deadline: float = 60.0


def assert_rejects_and_accepts(web: Web, haproxy: Haproxy, bads: list[Bad]) -> None:
    """The release ``v1`` serves and keeps its processes whatever is tried, until a good one takes its place, once."""
    before = web.pids()
    web.stage("good", "v2")
    for bad in bads:
        web.stage(bad.kind, bad.kind.replace("_", "-"), **bad.how)
    with traffic(web, haproxy) as load:
        for bad in bads:
            release = bad.kind.replace("_", "-")
            failure = web.cutover(release, bad.app, fails=True, healthy_deadline=bad.deadline)
            assert bad.says in failure["msg"], bad.kind
            assert failure["verdict"] == "bad", bad.kind
            assert failure["serves"] == "What served before serves: web (untouched, the same processes).", bad.kind
            assert web.pids() == before, bad.kind
            assert haproxy.states() == BLUE_SERVES, bad.kind
            assert web.release(release)["bad"], bad.kind
        web.assert_serves("v1", 1, mode="fork")
        turned = load.mark()
        result = web.cutover("v2")
        after = load.mark()
    load.assert_only("v1", "v2")
    assert "v2" not in {sample.text for sample in load.samples() if sample.ended < min(turned.values())}
    load.assert_only("v2", since=after)
    assert load.answers(after) == {"v2"}
    assert not result["plan"][0]["outage"]
    assert haproxy.states() == GREEN_SERVES
    assert [entry["pm_cwd"] for entry in web.dump()] == [str(web.path("v2"))]
    assert not web.cutover("v2")["changed"]
    assert_goes_back(web, haproxy, before)


def assert_goes_back(web: Web, haproxy: Haproxy, before: list[int]) -> None:
    """``v1``, which is warm, serves again with these processes, and passes its health checks."""
    with traffic(web, haproxy) as load:
        result = web.roll_back()
        after = load.mark()
    load.assert_only("v1", "v2")
    load.assert_only("v1", since=after)
    assert result["plan"][0]["proof"] == "warm"
    assert web.pids() == before
    assert haproxy.states() == BLUE_SERVES


# Python ---------------------------------------------------------------------------------------------------------------

# FastAPI by uvicorn, Django by gunicorn; with our gate, and with nothing of ours in the app
IN_SHORT = [
    ("uvicorn", True, ["answers_500", "never_listens"]),
    ("gunicorn, sync", False, ["throws_at_boot", "wrong_port"]),
]
WHOLE = [
    ("uvicorn", True, ["throws_at_boot", "wrong_port"]),
    ("uvicorn, 4 workers", False, ["answers_500", "never_listens"]),
    ("uvicorn", False, ["throws_at_boot", "never_listens"]),
    # without the gate one that binds before it starts its workers does listen, so that is all there is to see
    ("uvicorn, 4 workers", True, ["throws_at_boot"]),
    ("gunicorn, sync", True, ["answers_500", "never_listens"]),
]


@pytest.mark.parametrize(
    ("server", "preload", "kinds"), [*IN_SHORT, *(pytest.param(*row, marks=[pytest.mark.whole]) for row in WHOLE)]
)
def test_python(python_web: PythonWeb, haproxy: Haproxy, server: str, preload: bool, kinds: list[str]) -> None:
    python_web.server = server
    # something is to be known of what hangs before the deadline
    behind(python_web, haproxy, preload=preload, health=[{**HEALTH, "timeout": 0.5}])
    python_web.go_live()
    other = python_web.other_port
    bads = [
        Bad("throws_at_boot", "boom at boot"),
        Bad("answers_500", "500", app={"health": [GIVES_UP]}),
        Bad("wrong_port", "listens on port", {"port": other}, {"at": other}, 60.0)
        if preload
        else Bad("wrong_port", "does not listen on port", {"port": other}, {"at": other}, DEADLINE),
        Bad("never_listens", "healthy_deadline", deadline=DEADLINE),
    ]
    assert_rejects_and_accepts(python_web, haproxy, [bad for bad in bads if bad.kind in kinds])


# a binary -------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[pytest.param("ports", marks=pytest.mark.whole), "sockets"])
def anywhere(request: pytest.FixtureRequest) -> Iterator[Haproxy]:
    with Haproxy(sockets=request.param == "sockets") as found:
        yield found


def test_a_binary(binary_web: BinaryWeb, anywhere: Haproxy) -> None:
    behind(binary_web, anywhere)
    binary_web.go_live()
    assert_rejects_and_accepts(
        binary_web,
        anywhere,
        [
            Bad("throws_at_boot", "Fatal errors found in configuration"),
            Bad("answers_500", "500", app={"health": [GIVES_UP]}),
            Bad("wrong_port", "does not listen on", deadline=DEADLINE),
        ],
    )


# what lasts -----------------------------------------------------------------------------------------------------------

STANDBY = 3.0
DRAIN = 2.0
# a machine that is busy is late
LATE = 15.0


@contextmanager
def left(*streams: Stream) -> Iterator[None]:
    try:
        yield
    finally:
        for stream in streams:
            stream.leave()


@pytest.mark.parametrize(
    ("server", "preload", "standby"),
    [
        ("node", True, STANDBY),
        ("node", True, 0.0),
        pytest.param("uvicorn", True, STANDBY, marks=pytest.mark.whole),
        ("uvicorn", False, STANDBY),
    ],
)
def test_what_lasts(
    request: pytest.FixtureRequest, haproxy: Haproxy, server: str, preload: bool, standby: float
) -> None:
    """It goes on with the release that it began with, until that ends; what is new goes to the new one."""
    web: Web = request.getfixturevalue("web" if server == "node" else "python_web")
    behind(web, haproxy, preload=preload, standby_time=standby, drain_timeout=DRAIN, kill_timeout=1500)
    if server == "node":
        web.options.update(exec_mode="fork", env={"PORT": None, "WS": str(WS)})
    url = f"http://127.0.0.1:{haproxy.port}/"
    web.cutover(stage_with_streams(web, "v1"), min_healthy_time=0.3)
    stage_with_streams(web, "v2")
    socket_url = url.replace("http", "ws") + "ws"
    old: list[Stream] = [WebSocketStream(socket_url), Events(url + "events"), Events(url + "events", http2=True)]
    with left(*old), traffic(web, haproxy) as load, Http2(url) as http2:
        web.cutover("v2")
        after, now = load.mark(), time.monotonic()
        if standby:
            assert [stream.says_more() for stream in old] == [True] * 3
        new: list[Stream] = [WebSocketStream(socket_url), Events(url + "events")]
        with left(*new):
            ends = [stream.wait_for_end(standby + 2 * DRAIN + LATE) for stream in old]
            assert [stream.says_more() for stream in new] == [True] * 2
        wait_for(lambda: haproxy.states() == {"blue": "maint", "green": "ready"}, "the standby does not end", LATE)
    load.assert_only("v1", "v2")
    load.assert_only("v2", since=after)
    name = "no keep-alive"
    turned = now - after[name] + min(item.ended for item in load.results[name].samples if item.text == "v2")
    lasted = [stream.ended - turned for stream in old]
    web.record("how it ended", list(zip(ends, lasted, strict=True)))
    web.record("longest gap", [stream.longest_gap for stream in old])
    assert http2.errors == {}
    assert set(http2.answers) == {"v1", "v2"}
    assert len(http2.connections) == 1
    assert [stream.versions for stream in old] == [{"v1"}] * 3
    assert [stream.versions for stream in new] == [{"v2"}] * 2
    # a WebSocket is told to go: by our preload when it drains, by uvicorn when it is stopped after that
    assert ends[0] == ("1001" if server == "node" else "1012")
    assert lasted[0] >= standby + (0 if server == "node" else DRAIN)
    assert min(lasted[1:]) >= standby + DRAIN
    wait_for(lambda: len(web.processes()) == 1, "the standby does not end", LATE)
    web.assert_serves("v2", 1, mode="fork")
