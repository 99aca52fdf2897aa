# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An app is told its address, and its processes are known by it."""

from __future__ import annotations

from typing import Any

import pytest
from support.processes import declared, member

from ansible_collections.zerodown.pm2.plugins.module_utils._colours import (
    colour_of,
    in_colour,
    live_colour,
    spare_colour,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._proxy_options import BLUE, GREEN
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process

PROXY: dict[str, Any] = {"exec_mode": "fork", "proxy": {"ports": [8001, 8002]}}
APP = declared(**PROXY, args=["--port={port}", "x"], env={"URL": "http://127.0.0.1:{port}/", "A": "b"})
SOCKETS = declared(exec_mode="fork", proxy={"sockets": ["/run/b", "/run/g"]}, args=["--uds", "{port}"])


def ran_as(colour: str | None, pm_id: int = 0) -> Process:
    return member(in_colour(APP, colour), pm_id)


def test_it_is_told_its_address() -> None:
    app = in_colour(APP, GREEN)
    assert app.definition["args"] == ["--port=8002", "x"]
    assert app.definition["env"]["URL"] == "http://127.0.0.1:8002/"
    assert app.definition["env"]["A"] == "b"
    assert app.definition["env"]["PORT"] == "8002"
    assert app.port == 8002
    # as it was declared it stays, for the other colour
    assert in_colour(APP, BLUE).definition["args"] == ["--port=8001", "x"]


def test_a_socket() -> None:
    app = in_colour(SOCKETS, GREEN)
    assert app.definition["args"] == ["--uds", "/run/g"]
    assert app.definition["env"]["PORT"] == "/run/g"
    assert app.port is None


def test_without_a_proxy_nothing_changes() -> None:
    app = declared(port=3000, args=["{port}"])
    assert in_colour(app, GREEN) is app


@pytest.mark.parametrize(
    ("processes", "live", "spare"),
    [
        ([], None, BLUE),
        ([ran_as(BLUE)], BLUE, GREEN),
        ([ran_as(GREEN)], GREEN, BLUE),
        ([ran_as(GREEN, 0), ran_as(GREEN, 1)], GREEN, BLUE),
        # nobody knows which serves
        ([ran_as(BLUE, 0), ran_as(GREEN, 1)], None, BLUE),
    ],
)
def test_who_is_live(processes: list[Process], live: str | None, spare: str) -> None:
    assert live_colour(processes, APP) == live
    assert spare_colour(live) == spare


def test_what_has_no_colour() -> None:
    process = member(declared(exec_mode="fork", port=3000))
    assert APP.cutover.proxy
    assert colour_of(process, APP.cutover.proxy, "PORT") is None
    assert live_colour([process], APP) is None
    assert live_colour([process], declared(port=3000)) is None
