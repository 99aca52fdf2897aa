# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a user may say of how an app is replaced, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils._cutover_options import (
    CutoverOptions,
    cutover_arguments,
    parse_cutover_options,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._health_spec import CommandCheck, HttpCheck
from ansible_collections.zerodown.pm2.plugins.module_utils._proxy_options import proxy_arguments

HTTP: dict[str, Any] = {"path": "/health"}
TCP: dict[str, Any] = {"type": "tcp"}
COMMAND: dict[str, Any] = {"type": "command", "command": ["bin/check"]}
PORTS: dict[str, Any] = {"ports": [8001, 8002]}


def parsed(**options: Any) -> CutoverOptions:
    return parse_cutover_options("web", options)


def test_what_is_not_given_has_its_default() -> None:
    assert parsed() == CutoverOptions()
    # as Ansible gives what was not given
    assert parsed(**dict.fromkeys(cutover_arguments())) == CutoverOptions()
    # and what belongs to the process
    assert parsed(script="/srv/web/app.js", env={"A": "1"}) == CutoverOptions()


def test_what_is_given() -> None:
    given = {
        "strategy": "restart",
        "preload": False,
        "listens": True,
        "overlap": False,
        "candidate_variable": "HTTP_PORT",
        "candidate_args": ["--port", "{port}"],
        "drain_timeout": 0.0,
    }
    options = parsed(**given, health=[HTTP, COMMAND])
    assert {name: getattr(options, name) for name in given} == given
    assert [type(check) for check in options.health] == [HttpCheck, CommandCheck]
    assert {*given, "health", *proxy_arguments()} == set(cutover_arguments())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"strategy": "proxy"}, "strategy proxy needs proxy, which says where the app listens."),
        ({"canary": [5, 100]}, "canary needs proxy"),
        ({"standby_time": 5.0}, "standby_time needs proxy"),
        ({"proxy": PORTS, "standby_time": -1.0}, "standby_time must be from 0 to 86400 seconds."),
        ({"proxy": PORTS, "strategy": "generation"}, "strategy generation leaves proxy unused"),
        ({"proxy": PORTS, "listens": False}, "what stands behind a proxy listens"),
        ({"proxy": PORTS, "candidate_args": ["{port}"]}, "write {port} into args instead of candidate_args"),
        ({"drain_timeout": -1.0}, "drain_timeout must be from 0 to 86400 seconds."),
        ({"drain_timeout": float("nan")}, "drain_timeout must be from 0 to 86400 seconds."),
        ({"drain_timeout": float("inf")}, "drain_timeout must be from 0 to 86400 seconds."),
        ({"candidate_args": ["--port", "3000"]}, "candidate_args must hold {port} where the port goes."),
        ({"candidate_args": []}, "candidate_args must hold {port} where the port goes."),
        ({"candidate_variable": "a b"}, "candidate_variable must be the name of a variable"),
        ({"candidate_variable": "A=B"}, "candidate_variable must be the name of a variable"),
        ({"listens": False, "health": [HTTP]}, "listens cannot be false."),
        ({"listens": False, "health": [COMMAND, TCP]}, "listens cannot be false."),
        ({"health": [{"type": "command"}]}, "Health check 1: a check of type command needs command"),
    ],
)
def test_what_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Pm2Error) as caught:
        parsed(**options)
    assert caught.value.message.startswith("App web: ")
    assert sentence in caught.value.message


@pytest.mark.parametrize(
    ("options", "with_port", "without"),
    [
        ({}, True, False),
        ({"listens": True}, True, True),
        ({"listens": False}, False, False),
        ({"health": [HTTP]}, True, True),
        ({"health": [COMMAND, TCP]}, True, True),
        ({"health": [COMMAND]}, True, False),
        ({"health": [COMMAND], "listens": False}, False, False),
    ],
)
def test_whether_it_must_listen(options: dict[str, Any], with_port: bool, without: bool) -> None:
    assert parsed(**options).must_listen(3000) is with_port
    assert parsed(**options).must_listen(None) is without


@pytest.mark.parametrize(("strategy", "side_by_side"), [("auto", True), ("generation", True), ("restart", False)])
def test_which_strategy_needs_no_outage(strategy: str, side_by_side: bool) -> None:
    assert parsed(strategy=strategy).replaces_side_by_side is side_by_side
