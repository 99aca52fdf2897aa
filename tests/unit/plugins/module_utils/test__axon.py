"""Framing: what is encoded decodes to the same, in pieces of any size, and nothing else is taken for a message."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.module_utils._axon import MAX_ARGUMENTS, decode, encode
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import ProtocolError

# text that UTF-8 can say; a frame is bytes, so anything else must be refused before it is sent
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
NOT_TEXT = JSON.filter(lambda value: not isinstance(value, str))
# raw bytes that begin like a string or JSON would be read as such: PM2's framing has no escape, and we send none
RAW = st.binary().filter(lambda data: data[:2] not in (b"s:", b"j:"))
ARGUMENTS = st.lists(TEXT | NOT_TEXT | RAW, max_size=MAX_ARGUMENTS)


@given(ARGUMENTS)
def test_what_is_encoded_decodes_to_the_same(arguments: list[Any]) -> None:
    data = encode(arguments)
    assert decode(data) == (arguments, len(data))


@given(ARGUMENTS, ARGUMENTS)
def test_the_next_message_is_left_alone(first: list[Any], second: list[Any]) -> None:
    data = encode(first)
    assert decode(data + encode(second)) == (first, len(data))


@given(ARGUMENTS.filter(bool), st.data())
def test_a_piece_of_a_message_is_waited_for(arguments: list[Any], data: st.DataObject) -> None:
    frame = encode(arguments)
    cut = data.draw(st.integers(0, len(frame) - 1))
    assert decode(frame[:cut]) == ([], 0)


@given(st.binary(min_size=1))
def test_any_bytes_are_a_message_or_an_incomplete_one_or_refused(data: bytes) -> None:
    try:
        _arguments, taken = decode(data)
    except ProtocolError:
        return
    assert 0 <= taken <= len(data)


@given(NOT_TEXT)
def test_the_layout_is_the_one_of_the_facts(value: Any) -> None:
    """Taken apart by hand, not by our own decoder."""
    frame = encode([value, "7:0"])
    assert frame[0] == 0x12
    (length,) = struct.unpack(">I", frame[1:5])
    payload, rest = frame[5 : 5 + length], frame[5 + length :]
    assert payload[:2] == b"j:"
    assert json.loads(payload[2:]) == value
    assert rest == struct.pack(">I", 5) + b"s:7:0"


def test_a_real_call() -> None:
    assert encode([{"type": "call"}, "1:0"]) == b'\x12\x00\x00\x00\x12j:{"type": "call"}\x00\x00\x00\x05s:1:0'


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_cannot_say_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode([value])


def test_too_many_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 15"):
        encode([None] * 16)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"HTTP/1.1 400 Bad Request", id="another protocol"),
        pytest.param(b"\x21\x00\x00\x00\x01x", id="another version"),
        pytest.param(b"\x11\xff\xff\xff\xff", id="an absurd length"),
        pytest.param(b"\x11\x00\x00\x00\x04j:{x", id="broken JSON"),
        pytest.param(b"\x11\x00\x00\x00\x03s:\xff", id="broken UTF-8"),
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(data)
