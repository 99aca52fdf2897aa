# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a delivery would change on a host, as plain data; and what a person's go is bound to.

Values of variables are in it only as digests with a key that stays on the host: they are compared, and nobody learns
them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any, Dict, Iterator, List, Tuple

SEALED = "sealed:"
# hexadecimal
_DIGITS = 16
# of a process, by the name that its option has
_SECRET = ("env",)


def settings(apps: List[Dict[str, Any]], env_file: str, directory: str, key: str) -> Dict[str, str]:
    """Every option as one line of text, by its path, such as ``web.instances``.

    :param apps: the options of the processes, as the module cutover takes them.
    :param env_file: the text of the ``.env`` of the release.
    :param directory: of the release: the path itself is no difference.
    :param key: for what is sealed.
    """
    lines = dict(line.split("=", 1) for line in env_file.splitlines() if "=" in line)
    found = dict(_leaves(lines, ("env_file",), key, True))
    for app in apps:
        options = {name: value for name, value in app.items() if name != "name" and value is not None}
        found.update(_leaves(options, (str(app["name"]),), key, False))
    return {path: text.replace(directory, ".") for path, text in found.items()}


def _leaves(value: Any, path: Tuple[str, ...], key: str, sealed: bool) -> Iterator[Tuple[str, str]]:
    """A list is one value: its order counts."""
    if isinstance(value, dict):
        for name in value:
            yield from _leaves(value[name], (*path, str(name)), key, sealed or name in _SECRET)
    elif sealed or _holds_secret(value):
        yield ".".join(path), seal(value, key)
    else:
        yield ".".join(path), value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _holds_secret(value: Any) -> bool:
    """A health check may have headers, with a token in it."""
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def seal(value: Any, key: str) -> str:
    """A digest of something that is compared and not told. A number and its text are one value, as for PM2."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return SEALED + hmac.new(key.encode("utf-8"), text.encode("utf-8"), hashlib.sha256).hexdigest()[:_DIGITS]


def changed_settings(before: Dict[str, str], after: Dict[str, str]) -> List[Dict[str, str]]:
    """Option by option ``option`` and ``change``, in order; values of variables are not told."""
    return [
        {"option": path, "change": _change(before.get(path), after.get(path))}
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    ]


def _change(before: Any, after: Any) -> str:
    if before is None:
        return "added" if _is_sealed(after) else "added: {0}".format(after)
    if after is None:
        return "removed"
    return "changed" if _is_sealed(before) or _is_sealed(after) else "{0} -> {1}".format(before, after)


def _is_sealed(text: str) -> bool:
    return text.startswith(SEALED)
