# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with an HTTP answer, and how it is told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Iterable, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._health_spec import HttpCheck
from ansible_collections.zerodown.pm2.plugins.module_utils._secrets import blank_out

# bytes of a body that are read
BODY_MAX = 1024 * 1024
_EXCERPT_MAX = 200
_MISSING = object()


@dataclass(frozen=True)
class Answer:
    """:ivar location: the header, where a redirect leads.
    :ivar is_cut: whether the body goes on.
    """

    status: int
    body: str
    location: Optional[str] = None
    is_cut: bool = False


def fault(check: HttpCheck, answer: Answer, secrets: Iterable[str]) -> Optional[str]:
    """What is not as declared, to follow the check's title; ``None``, all is.

    :param secrets: what must not be quoted.
    """
    quoted = excerpt(answer.body, secrets)
    quote = ": " + quoted if quoted else ""
    said = "answered {0}".format(answer.status)
    if not any(answer.status in expected for expected in check.status):
        if answer.location:
            said += " (to {0})".format(excerpt(answer.location, secrets))
        return "{0}, expected {1}{2}".format(said, ", ".join(map(str, check.status)), quote)
    if check.body and not check.body.search(answer.body):
        where = "the first MiB of its body" if answer.is_cut else "its body"
        return "{0}, but nothing in {1} matches {2!r}{3}".format(said, where, check.body.pattern, quote)
    if not check.json:
        return None
    if answer.is_cut:
        return "{0}, but its body is longer than the 1 MiB that JSON may have here".format(said)
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        return "{0}, but its body is not JSON{1}".format(said, quote)
    for path, expected in check.json.items():
        found = find(document, path)
        if found is _MISSING:
            return "{0}, but its JSON has no {1}{2}".format(said, path, quote)
        if not is_same(found, expected):
            return "{0}, but {1} is {2}, expected {3}".format(
                said, path, _show(found, secrets), _show(expected, secrets)
            )
    return None


def find(document: Any, path: str) -> Any:
    """The value at a dotted path: keys, or positions in a list; a key may hold dots itself."""
    if isinstance(document, dict):
        if path in document:
            return document[path]
        position = path.find(".")
        while position >= 0:
            if path[:position] in document:
                found = find(document[path[:position]], path[position + 1 :])
                if found is not _MISSING:
                    return found
            position = path.find(".", position + 1)
    elif isinstance(document, list):
        head, dot, rest = path.partition(".")
        if head.isascii() and head.isdigit() and int(head) < len(document):
            return find(document[int(head)], rest) if dot else document[int(head)]
    return _MISSING


def is_same(one: Any, other: Any) -> bool:
    """Equal as JSON is: ``true`` is not 1, but 1 is 1.0."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return bool(one == other)


def excerpt(text: str, secrets: Iterable[str]) -> str:
    """The beginning of a text that is not ours, on one line and without secrets."""
    line = " ".join(blank_out(text, secrets).split())
    if len(line) > _EXCERPT_MAX:
        line = line[:_EXCERPT_MAX] + "..."
    return "".join(character if character.isprintable() else "?" for character in line)


def _show(value: Any, secrets: Iterable[str]) -> str:
    return excerpt(json.dumps(value, ensure_ascii=False), secrets)
