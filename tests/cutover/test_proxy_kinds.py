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
from pathlib import Path
from typing import Any

import pytest
from cutover.conftest import proxied
from support.binary_app import BinaryWeb
from support.pm2_host import wait_for
from support.proxied import Haproxy
from support.python_web import PythonWeb
from support.streams import WS, Events, Http2, Stream, WebSocketStream, stage_with_streams
from support.web import HEALTH, Traffic, Web

BLUE_SERVES = {"blue": "ready", "green": "maint"}
GREEN_SERVES = {"blue": "drain", "green": "ready"}


def behind(web: Web, haproxy: Haproxy, **options: Any) -> None:
    web.options = {"health": [HEALTH], "proxy": haproxy.options, "standby_time": 60, **options}


def traffic(web: Web, haproxy: Haproxy) -> Traffic:
    return Traffic(f"http://127.0.0.1:{haproxy.port}/", web.record)


def assert_accepts(web: Web, haproxy: Haproxy, version: str = "v2") -> None:
    """The release ``v1`` serves; the other one, which is staged, takes its place, once."""
    with traffic(web, haproxy) as load:
        result = web.cutover(version)
        after = load.mark()
    load.assert_only("v1", version)
    load.assert_only(version, since=after)
    assert load.answers(after) == {version}
    assert not result["plan"][0]["outage"]
    assert haproxy.states() == GREEN_SERVES
    assert [entry["pm_cwd"] for entry in web.dump()] == [str(web.path(version))]
    assert not web.cutover(version)["changed"]


@dataclass(frozen=True)
class Bad:
    """A release that must not be seen.

    :ivar says: is somewhere in the error.
    :ivar app: options of the app.
    """

    kind: str
    says: str
    how: dict[str, Any] = field(default_factory=dict)
    app: dict[str, Any] = field(default_factory=dict)


def assert_rejects(web: Web, haproxy: Haproxy, bads: list[Bad]) -> None:
    """The release ``v1`` serves and keeps its processes, whatever is tried."""
    before = web.pids()
    with traffic(web, haproxy) as load:
        for bad in bads:
            release = web.stage(bad.kind, f"{bad.kind}-1", **bad.how)
            failure = web.cutover(release, bad.app, fails=True, healthy_deadline=3.0)
            assert bad.says in failure["msg"], bad.kind
            assert failure["verdict"] == "bad", bad.kind
            assert failure["serves"] == "What served before serves: web (untouched, the same processes).", bad.kind
            assert web.pids() == before, bad.kind
            assert haproxy.states() == BLUE_SERVES, bad.kind
            assert web.release(release)["bad"], bad.kind
    load.assert_only("v1")
    web.assert_serves("v1", 1, mode="fork")


# Python ---------------------------------------------------------------------------------------------------------------


# FastAPI by uvicorn, Django by gunicorn; with our gate, and with nothing of ours in the app
PYTHON_APPS = [
    ("uvicorn", True),
    ("uvicorn", False),
    ("uvicorn, 4 workers", False),
    ("gunicorn, sync", True),
    ("gunicorn, sync", False),
]


@pytest.mark.parametrize(("server", "preload"), [*PYTHON_APPS, ("uvicorn, 4 workers", True)])
def test_a_good_release_of_python(python_web: PythonWeb, haproxy: Haproxy, server: str, preload: bool) -> None:
    python_web.server = server
    behind(python_web, haproxy, preload=preload)
    python_web.go_live()
    python_web.stage("good", "v2")
    assert_accepts(python_web, haproxy)


@pytest.mark.parametrize(("server", "preload"), PYTHON_APPS)
def test_bad_releases_of_python(python_web: PythonWeb, haproxy: Haproxy, server: str, preload: bool) -> None:
    python_web.server = server
    behind(python_web, haproxy, preload=preload)
    python_web.go_live()
    # something is to be known of it before the deadline
    python_web.options["health"] = [{**HEALTH, "timeout": 0.5}]
    elsewhere = {"at": python_web.other_port}
    port = {"port": python_web.other_port}
    assert_rejects(
        python_web,
        haproxy,
        [
            Bad("throws_at_boot", "boom at boot"),
            Bad("answers_500", "500"),
            Bad("wrong_port", "listens on port" if preload else "does not listen on port", port, elsewhere),
            # a server that binds before it starts its workers does listen
            Bad("never_listens", "healthy_deadline"),
        ],
    )


# a binary -------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["ports", "sockets"])
def anywhere(request: pytest.FixtureRequest) -> Iterator[Haproxy]:
    with Haproxy(sockets=request.param == "sockets") as found:
        yield found


def test_a_good_release_of_a_binary(binary_web: BinaryWeb, anywhere: Haproxy) -> None:
    behind(binary_web, anywhere)
    binary_web.go_live()
    binary_web.stage("good", "v2")
    assert_accepts(binary_web, anywhere)


def test_bad_releases_of_a_binary(binary_web: BinaryWeb, anywhere: Haproxy) -> None:
    behind(binary_web, anywhere)
    binary_web.go_live()
    assert_rejects(
        binary_web,
        anywhere,
        [
            Bad("throws_at_boot", "Fatal errors found in configuration"),
            Bad("answers_500", "500"),
            Bad("wrong_port", "does not listen on"),
        ],
    )


# what lasts -----------------------------------------------------------------------------------------------------------

STANDBY = 3.0
DRAIN = 2.0
# a machine that is busy is late
LATE = 15.0


@pytest.fixture(params=["node", "uvicorn"])
def streaming(request: pytest.FixtureRequest, haproxy: Haproxy) -> Web:
    if request.param == "uvicorn":
        found: Web = request.getfixturevalue("python_web")
        behind(found, haproxy, kill_timeout=1500)
    else:
        found = proxied(request.getfixturevalue("web"), haproxy)
        found.options.update(env={"PORT": None, "WS": str(WS)}, kill_timeout=1500)
    return found


@contextmanager
def left(*streams: Stream) -> Iterator[None]:
    try:
        yield
    finally:
        for stream in streams:
            stream.leave()


@pytest.mark.parametrize("preload", [True, False])
def test_what_lasts(streaming: Web, haproxy: Haproxy, preload: bool) -> None:
    """It goes on with the release that it began with, until that ends."""
    web, url = streaming, f"http://127.0.0.1:{haproxy.port}/"
    web.options.update(preload=preload, standby_time=STANDBY, drain_timeout=DRAIN)
    web.cutover(stage_with_streams(web, "v1"), min_healthy_time=0.3)
    stage_with_streams(web, "v2")
    socket_url = url.replace("http", "ws") + "ws"
    old: list[Stream] = [WebSocketStream(socket_url), Events(url + "events"), Events(url + "events", http2=True)]
    with left(*old), traffic(web, haproxy) as load, Http2(url) as http2:
        web.cutover("v2")
        warm_from = time.monotonic()
        after = load.mark()
        new: list[Stream] = [WebSocketStream(socket_url), Events(url + "events")]
        with left(*new):
            assert [stream.says_more() for stream in old] == [True] * 3, [(s.end, s.ended-warm_from, s.longest_gap) for s in old]
            ends = [stream.wait_for_end(STANDBY + 3 * DRAIN + LATE) for stream in old]
            web.record("ends", [(end, stream.ended - warm_from) for end, stream in zip(ends, old)])
            assert [stream.says_more() for stream in new] == [True] * 2
        wait_for(lambda: haproxy.states() == {"blue": "maint", "green": "ready"}, "the standby does not end", LATE)
    print(ends, [stream.ended - warm_from for stream in old], [s.longest_gap for s in old], http2.answers, http2.connections, preload)
    load.assert_only("v1", "v2")
    load.assert_only("v2", since=after)
    assert http2.errors == {}
    assert set(http2.answers) == {"v1", "v2"}
    assert len(http2.connections) == 1
    assert [stream.versions for stream in old] == [{"v1"}] * 3
    assert [stream.versions for stream in new] == [{"v2"}] * 2
    assert all(stream.ended - warm_from > STANDBY + DRAIN for stream in old)
    web.assert_serves("v2", 1, mode="fork")
