# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The framing on PM2's sockets, as pure functions.

A message is one byte ``version << 4 | argc`` (version 1), then per argument a 4-byte big-endian length and that
many bytes (PM2's modules/pm2-axon and the amp package below it). An argument is a string (``s:`` and UTF-8), JSON
(``j:`` and JSON text) or raw bytes. Measured the same in PM2 5, 6 and 7.
"""

from __future__ import annotations

import json
import struct
from typing import Any, List, Tuple, Union

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import ProtocolError

VERSION = 1
MAX_ARGUMENTS = 15
# far above any answer seen (100 processes: 0.6 MB), far below what would hurt a small host
MAX_ARGUMENT_BYTES = 256 * 1024 * 1024

Argument = Union[str, bytes, dict, list, int, float, bool, None]


def encode(arguments: List[Argument]) -> bytes:
    """The bytes of one message.

    :param arguments: at most 15; ``str`` goes as string, ``bytes`` raw, everything else as JSON.
    :raises ValueError: too many arguments, or one that JSON cannot say (NaN, infinity, other types).
    """
    if len(arguments) > MAX_ARGUMENTS:
        raise ValueError("an axon message has at most {0} arguments, not {1}".format(MAX_ARGUMENTS, len(arguments)))
    parts = [bytes([VERSION << 4 | len(arguments)])]
    for argument in arguments:
        data = _encode_argument(argument)
        parts.append(struct.pack(">I", len(data)))
        parts.append(data)
    return b"".join(parts)


def _encode_argument(argument: Argument) -> bytes:
    if isinstance(argument, bytes):
        return argument
    if isinstance(argument, str):
        return b"s:" + argument.encode("utf-8")
    # ensure_ascii: a lone surrogate stays an escape and cannot break the UTF-8 of the frame
    return b"j:" + json.dumps(argument, allow_nan=False).encode("ascii")


def decode(data: bytes) -> Tuple[List[Any], int]:
    """The first message in ``data`` and how many bytes it took; ``([], 0)`` while it is incomplete.

    :raises ProtocolError: these bytes are no message of this protocol.
    """
    if not data:
        return [], 0
    version, count = data[0] >> 4, data[0] & 0x0F
    if version != VERSION:
        raise ProtocolError("The socket does not speak PM2's protocol: first byte {0:#04x}.".format(data[0]))
    position, arguments = 1, []
    for _each in range(count):
        if len(data) < position + 4:
            return [], 0
        (length,) = struct.unpack_from(">I", data, position)
        if length > MAX_ARGUMENT_BYTES:
            raise ProtocolError("The socket announced an argument of {0} bytes, which PM2 never sends.".format(length))
        position += 4
        if len(data) < position + length:
            return [], 0
        arguments.append(_decode_argument(data[position : position + length]))
        position += length
    return arguments, position


def _decode_argument(data: bytes) -> Any:
    try:
        if data[:2] == b"s:":
            return data[2:].decode("utf-8")
        if data[:2] == b"j:":
            return json.loads(data[2:].decode("utf-8"))
    except ValueError as error:
        raise ProtocolError("The socket sent an argument that cannot be read: {0}.".format(error)) from error
    return data
