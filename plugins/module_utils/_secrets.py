# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which values are secrets, and how they are kept out of a text."""

from __future__ import annotations

import re
from typing import Any, Dict, Iterable, Set
from urllib.parse import unquote

HIDDEN = "<hidden>"

_NAME = re.compile(r"pass|secret|token|key|credential|auth|dsn|private|salt|cookie|session", re.IGNORECASE)
_VALUE = re.compile(r"://[^/\s:@]*:[^/\s@]+@|-----BEGIN")
_PASSWORD = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")
# a shorter text would blank out half of every message it happens to occur in
_MIN = 6


def secret_values(environments: Iterable[Dict[str, Any]]) -> Set[str]:
    """The values of these environments that must be blanked out wherever they turn up, say in an app's log.

    Their *names* or shapes tell: blanking out every value would take ``3000`` and ``production`` out of all output.
    We never print a value of an environment ourselves, whatever its name.
    """
    found = {
        str(value)
        for environment in environments
        for name, value in environment.items()
        if len(str(value)) >= _MIN and (_NAME.search(name) or _VALUE.search(str(value)))
    }
    # a program may quote the password of an address without the rest
    passwords = {password for value in found for password in _PASSWORD.findall(value)}
    return found | {text for password in passwords for text in (password, unquote(password)) if len(text) >= _MIN}


def secret_parts(values: Iterable[str]) -> Set[str]:
    """Values that are secret as such, and their parts: an app that refuses ``Bearer <token>`` may quote the token."""
    return {part for value in values for part in (value, *re.split(r"[\s;,=]+", value)) if len(part) >= _MIN}


def blank_out(text: str, secrets: Iterable[str]) -> str:
    """``text`` without these values; the longest first, as one may be a part of another."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text
