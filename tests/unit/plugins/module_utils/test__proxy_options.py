# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a user may say of a proxy, and of a canary."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._proxy_options import (
    BLUE,
    GREEN,
    CanaryOptions,
    ProxyOptions,
    other,
    parse_canary,
    parse_proxy,
)

PORTS: dict[str, Any] = {"ports": [8001, 8002]}
SOCKETS: dict[str, Any] = {"sockets": ["/run/web/blue.sock", "/run/web/green.sock"]}


def test_ports() -> None:
    proxy = parse_proxy("web", PORTS)
    assert proxy
    assert proxy.endpoint(BLUE) == ("127.0.0.1", 8001)
    assert proxy.port(GREEN) == 8002
    assert proxy.backend == "zerodown_web"
    assert proxy.socket.startswith("/run/haproxy/zerodown-")
    assert proxy.state_file.endswith("/zerodown_web")
    assert ProxyOptions(**json.loads(json.dumps(dataclasses.asdict(proxy)))) == proxy


def test_sockets() -> None:
    proxy = parse_proxy("web", {**SOCKETS, "ports": None})
    assert proxy
    assert proxy.endpoint(GREEN) == "/run/web/green.sock"
    assert proxy.port(BLUE) is None


def test_no_proxy() -> None:
    assert parse_proxy("web", None) is None
    assert parse_canary("web", {"canary": None}) is None


def test_colours() -> None:
    assert (other(BLUE), other(GREEN)) == (GREEN, BLUE)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "proxy needs ports or sockets, one for each of two colours."),
        ({**PORTS, **SOCKETS}, "proxy needs ports or sockets, one for each of two colours."),
        ({"ports": [8001]}, "proxy needs two different ports."),
        ({"ports": [8001, 8001]}, "proxy needs two different ports."),
        ({"ports": [8001, 8002, 8003]}, "proxy needs two different ports."),
        ({"ports": [0, 8001]}, "proxy.ports must be from 1 to 65535, not 0."),
        ({"ports": [65536, 8001]}, "proxy.ports must be from 1 to 65535, not 65536."),
        ({"sockets": ["blue.sock", "green.sock"]}, "proxy.sockets must be absolute paths of at most 107 bytes."),
        ({"sockets": ["/a", "/" + "b" * 107]}, "proxy.sockets must be absolute paths of at most 107 bytes."),
        ({**PORTS, "backend": "a b"}, "proxy.backend must be letters, digits and . _ : -, not 'a b'."),
        ({**PORTS, "socket": "api.sock"}, "proxy.socket must be an absolute path, not 'api.sock'."),
        ({**PORTS, "state_file": "state"}, "proxy.state_file must be an absolute path, not 'state'."),
        ({**PORTS, "command": []}, "proxy.command must name a program."),
        ({**PORTS, "command": ["x"], "socket": "/s"}, "so backend, socket and state_file mean nothing."),
    ],
)
def test_what_a_proxy_cannot_be(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Pm2Error) as caught:
        parse_proxy("web", given)
    assert caught.value.message.startswith("App web: ")
    assert caught.value.message.endswith(sentence)


def test_a_canary() -> None:
    given = {"canary": [5, 100], "canary_time": 1.0, "canary_requests": 2, "canary_slowdown_max": 2.0}
    assert parse_canary("web", given) == CanaryOptions((5, 100), time=1.0, requests=2, slowdown_max=2.0)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"canary_time": 1.0}, "canary_time needs canary, the steps."),
        ({"canary": []}, "canary must be rising percentages from 1 to 100, such as [5, 25, 100]."),
        ({"canary": [0, 100]}, "canary must be rising percentages from 1 to 100, such as [5, 25, 100]."),
        ({"canary": [25, 5]}, "canary must be rising percentages from 1 to 100, such as [5, 25, 100]."),
        ({"canary": [5, 5]}, "canary must be rising percentages from 1 to 100, such as [5, 25, 100]."),
        ({"canary": [101]}, "canary must be rising percentages from 1 to 100, such as [5, 25, 100]."),
        ({"canary": [5], "canary_time": -1.0}, "canary_time must be at most canary_deadline"),
        ({"canary": [5], "canary_time": 2.0, "canary_deadline": 1.0}, "canary_time must be at most canary_deadline"),
        ({"canary": [5], "canary_deadline": float("nan")}, "canary_time must be at most canary_deadline"),
        ({"canary": [5], "canary_requests": 0}, "canary_requests must be 1 or more."),
        ({"canary": [5], "canary_errors_max": 100.0}, "canary_errors_max must be a percentage from 0 to below 100."),
        ({"canary": [5], "canary_slowdown_max": 0.5}, "canary_slowdown_max must be 1 or more."),
    ],
)
def test_what_a_canary_cannot_be(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Pm2Error) as caught:
        parse_canary("web", given)
    assert sentence in caught.value.message
