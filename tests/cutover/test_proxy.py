# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Strategy proxy: an app in fork mode behind a real HAProxy, replaced by its other colour."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from support.proxied import Haproxy
from support.web import HEALTH, Traffic, Web


@pytest.fixture
def haproxy() -> Iterator[Haproxy]:
    with Haproxy() as found:
        yield found


@pytest.fixture
def app(web: Web, haproxy: Haproxy) -> Web:
    """In fork mode, behind the proxy."""
    web.options = {
        "exec_mode": "fork",
        "health": [HEALTH],
        "env": {"PORT": None},
        "proxy": haproxy.options,
        "standby_time": 60,
    }
    return web


def traffic(web: Web, haproxy: Haproxy) -> Traffic:
    return Traffic(f"http://127.0.0.1:{haproxy.port}/", web.record)


def test_a_good_release(app: Web, haproxy: Haproxy) -> None:
    app.go_live()
    assert haproxy.states() == {"blue": "ready", "green": "maint"}
    app.stage("good", "v2")
    with traffic(app, haproxy) as load:
        result = app.cutover("v2")
        after = load.mark()
    load.assert_only("v1", "v2")
    load.assert_only("v2", since=after)
    assert result["plan"][0]["colour"] == "green"
    assert not result["plan"][0]["outage"]
    assert haproxy.states() == {"blue": "drain", "green": "ready"}
    assert not app.cutover("v2")["changed"]


def test_a_rollback_to_the_standby(app: Web, haproxy: Haproxy) -> None:
    app.go_live()
    app.cutover(app.stage("good", "v2"))
    with traffic(app, haproxy) as load:
        start = time.monotonic()
        result = app.roll_back()
        seconds = time.monotonic() - start
        after = load.mark()
    load.assert_only("v1", "v2")
    load.assert_only("v1", since=after)
    app.record("rollback", seconds)
    assert result["timings"]["prove"] + result["timings"]["open"] + result["timings"]["canary"] < 1.0
    assert haproxy.states() == {"blue": "ready", "green": "maint"}
