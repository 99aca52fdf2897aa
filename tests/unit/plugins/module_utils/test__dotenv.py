# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The syntax of .env files; that Node reads back what is written is shown in tests/releases."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.module_utils._dotenv import decode, encode
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        (3000, "3000"),
        (True, "true"),
        (0.5, "0.5"),
        ("postgres://u:p@h/db", "postgres://u:p@h/db"),
        ("two words", "'two words'"),
        ("a#b", "'a#b'"),
        ('say "hi"', "'say \"hi\"'"),
        ("it's", '"it\'s"'),
        ("it's \\n", "`it's \\n`"),
        ("one\ntwo", "'one\ntwo'"),
        ("$HOME", "'$HOME'"),
        (" padded ", "' padded '"),
    ],
)
def test_values(value: Any, text: str) -> None:
    assert encode({"NAME": value}).decode() == f"NAME={text}\n"


@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]*", fullmatch=True), st.text("ab'\"\\ =#\n$é")))
def test_what_is_written_is_read(variables: dict[str, str]) -> None:
    assert decode(encode(variables).decode()) == variables


def test_names_are_in_order() -> None:
    assert encode({"B": 1, "A": 2}) == b"A=2\nB=1\n"


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A=B", "A\n", "$A", "é"])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(Pm2Error, match="is not valid"):
        encode({name: "x"})


@pytest.mark.parametrize("value", [None, ["a"], {"a": 1}, "nul\0secret", "cr\rsecret", "'\"`secret"])
def test_values_that_are_refused_are_not_shown(value: Any) -> None:
    with pytest.raises(Pm2Error) as error:
        encode({"NAME": value})
    assert "NAME" in error.value.message
    assert "secret" not in error.value.message
