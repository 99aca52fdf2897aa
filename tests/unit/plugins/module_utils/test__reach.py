# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether other machines can be reached."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pm2_host import find_free_port

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._reach import Address, parse, reach


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("db.internal:5432", "db.internal:5432"),
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("[::1]:5432", "[::1]:5432"),
        ("tcp://db:1234", "db:1234"),
        ("https://api.example.com/v1?a=b", "api.example.com:443"),
        ("https://api.example.com:8443", "api.example.com:8443"),
        ("postgres://shop:s3cret@db/shop", "db:5432"),
        ("redis://[fe80::2]/0", "[fe80::2]:6379"),
    ],
)
def test_an_address(text: str, address: str) -> None:
    assert str(parse(text)) == address


@pytest.mark.parametrize(
    "text", ["", "db", "db:", ":80", "db:port", "db:99999", "db:0", "tcp://db", "[::1", "::1:80:x"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(Pm2Error, match="in reach is no address"):
        parse(text)


def test_a_password_is_not_shown() -> None:
    with pytest.raises(Pm2Error, match=r"^'db' in reach") as caught:
        parse("tcp://shop:s3cret@db")
    assert "s3cret" not in caught.value.message


@given(st.text(max_size=20))
def test_anything_is_taken_or_refused(text: str) -> None:
    with contextlib.suppress(Pm2Error):
        assert 0 < parse(text).port < 65536


def test_what_listens_and_what_does_not() -> None:
    with socket.socket() as one, socket.socket(socket.AF_INET6) as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("::1", 0))
        for listener in (one, two):
            listener.listen()
        here = [Address("127.0.0.1", one.getsockname()[1]), Address("::1", two.getsockname()[1])]
        nobody = Address("127.0.0.1", find_free_port())
        unknown = Address("no-such-host.invalid", 80)
        found = reach([*here, nobody, unknown], 20)
    assert [item.address for item in found] == [*here, nobody, unknown]
    assert [item.fault for item in found] == [None, None, "connection refused", "its name is not known here"]
    assert [item.milliseconds is not None and item.milliseconds > 0 for item in found] == [True, True, False, False]


def test_one_that_does_not_answer_does_not_hold_the_others_up() -> None:
    """A full queue of connections: the kernel answers no more of them."""
    with socket.socket() as full, socket.socket() as one, socket.socket() as two, socket.socket() as good:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        good.bind(("127.0.0.1", 0))
        good.listen()
        for client in (one, two):
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        begun = time.monotonic()
        silent = Address(*full.getsockname())
        found = reach([silent, Address(*good.getsockname()), silent], 1)
        assert time.monotonic() - begun >= 1
    assert [item.fault for item in found] == ["no answer within 1 s", None, "no answer within 1 s"]


def test_nothing_to_reach() -> None:
    assert reach([], 3) == []
