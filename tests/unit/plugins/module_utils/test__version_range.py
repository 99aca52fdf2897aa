# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which versions of a runtime will do."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._version_range import parse, version_in

numbers = st.lists(st.integers(0, 30), min_size=1, max_size=3).map(tuple)
versions = st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
operators = st.sampled_from([">=", "<=", ">", "<", "^", ""])


def text(version: "tuple[int, ...]") -> str:
    return ".".join(map(str, version))


def allows(wanted: str, version: "tuple[int, ...]") -> bool:
    return parse(wanted, "node").allows(version)


@pytest.mark.parametrize(
    ("wanted", "version", "will_do"),
    [
        ("20", "20.20.2", True),
        ("20", "21.0.0", False),
        ("v20.10", "20.10.3", True),
        ("20.1", "20.10.0", False),
        (">=20", "22.1.0", True),
        (">=20.10", "20.9.9", False),
        (">20", "20.11.0", False),
        (">20", "21.0.0", True),
        ("<=20", "20.11.0", True),
        ("<3.13", "3.12.9", True),
        (">=3.11,<3.13", "3.12.1", True),
        (" >= 3.11 , < 3.13 ", "3.13.0", False),
        ("^20.10", "20.10.0", True),
        ("^20.10", "20.9.0", False),
        ("^20.10", "21.0.0", False),
        ("3.12.1", "3.12", False),
        (">=3.12.0", "3.12", True),
    ],
)
def test_what_will_do(wanted: str, version: str, will_do: bool) -> None:
    assert allows(wanted, version_in(version)) is will_do


@pytest.mark.parametrize(
    "wanted",
    ["", ",", "20,", "x", "20.x", "~20", "=20", "==20", ">=", "20 || 22", "20 22", "1.2.3.4", "２０", "20.1\n2"],
)
def test_what_is_refused(wanted: str) -> None:
    with pytest.raises(Pm2Error, match=r"^runtime\.node is .*; write a version such as 20"):
        parse(wanted, "runtime.node")


@pytest.mark.parametrize(
    ("said", "version"),
    [("v20.20.2\n", (20, 20, 2)), ("Python 3.13.0rc1\n", (3, 13, 0)), ("v21.0.0-nightly", (21, 0, 0)), ("hello", ())],
)
def test_what_a_program_says(said: str, version: "tuple[int, ...]") -> None:
    assert version_in(said) == version


@given(numbers, versions)
def test_the_comparisons_are_each_others_opposite(wanted: "tuple[int, ...]", version: "tuple[int, ...]") -> None:
    assert allows(">=" + text(wanted), version) is not allows("<" + text(wanted), version)
    assert allows(">" + text(wanted), version) is not allows("<=" + text(wanted), version)
    same = allows(text(wanted), version)
    assert same is allows(f">={text(wanted)},<={text(wanted)}", version)
    assert allows("^" + text(wanted), version) is allows(f"{wanted[0]},>={text(wanted)}", version)


@given(st.lists(st.tuples(operators, numbers), min_size=1, max_size=4), versions)
def test_all_comparisons_must_hold(parts: "list[tuple[str, tuple[int, ...]]]", version: "tuple[int, ...]") -> None:
    texts = [operator + text(wanted) for operator, wanted in parts]
    assert allows(", ".join(texts), version) is all(allows(part, version) for part in texts)


@given(numbers, versions)
def test_more_numbers_say_more(wanted: "tuple[int, ...]", version: "tuple[int, ...]") -> None:
    if allows(text(wanted), version):
        assert allows(text(wanted[:-1] or wanted), version)


@given(st.text(max_size=12))
def test_anything_is_taken_or_refused(wanted: str) -> None:
    with contextlib.suppress(Pm2Error):
        assert parse(wanted, "node").comparisons
