# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which versions of a runtime will do, as a person writes it: ``20``, ``^20.10``, ``>=3.11,<3.13``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import List, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error

_PART = re.compile(r"(>=|<=|>|<|\^|)\s*v?([0-9]+(?:\.[0-9]+){0,2})")
_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)*")

Version = Tuple[int, ...]


@dataclass(frozen=True)
class Comparison:
    """
    :ivar operator: ``>=``, ``>``, ``<=``, ``<``, ``^`` (the same first number, and not lower), or empty (the same).
    :ivar numbers: one to three; no more of a version are looked at, so that 20.11 is not above ``20``.
    """

    operator: str
    numbers: Version

    def allows(self, version: Version) -> bool:
        found = (version + (0, 0))[: len(self.numbers)]
        if self.operator == "^":
            return found[0] == self.numbers[0] and found >= self.numbers
        return {
            ">=": found >= self.numbers,
            "<=": found <= self.numbers,
            ">": found > self.numbers,
            "<": found < self.numbers,
            "": found == self.numbers,
        }[self.operator]


@dataclass(frozen=True)
class Range:
    """
    :ivar text: as it was written.
    :ivar comparisons: all of which must hold.
    """

    text: str
    comparisons: List[Comparison]

    def allows(self, version: Version) -> bool:
        return all(comparison.allows(version) for comparison in self.comparisons)


def parse(text: str, what: str) -> Range:
    """
    :param what: names the option, for the error.
    :raises Pm2Error: it is not written like this.
    """
    parts = [_PART.fullmatch(part.strip()) for part in text.split(",")]
    comparisons = [Comparison(part[1], _numbers(part[2])) for part in parts if part]
    if len(comparisons) < len(parts):
        raise Pm2Error(
            "{0} is {1!r}; write a version such as 20 or 3.12, or comparisons with >=, >, <=, < or ^ and commas "
            "between them, such as '>=3.11,<3.13'.".format(what, text)
        )
    return Range(text, comparisons)


def version_in(text: str) -> Version:
    """The version in what a program says of itself, ``v20.20.2`` or ``Python 3.12.1``; empty when there is none."""
    found = _VERSION.search(text)
    return _numbers(found[0]) if found else ()


def _numbers(text: str) -> Version:
    return tuple(int(number) for number in text.split("."))
