# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The syntax of ``.env`` files, such that Node's ``--env-file``, dotenv and python-dotenv read the same value."""

from __future__ import annotations

import re
from typing import Any, Dict

from ansible_collections.zerodown.pm2.plugins.module_utils._environment import declared
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error

_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,-]*\Z")
_LINE = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*)=(?:'([^']*)'|\"([^\"]*)\"|`([^`]*)`|(.*))$", re.MULTILINE)


def encode(variables: Dict[str, Any]) -> bytes:
    """The file's content, in order of the names.

    :raises Pm2Error: a name or value that the syntax cannot express; the value is not shown.
    """
    texts = declared(variables, "env_file")
    return "".join("{0}={1}\n".format(name, _quoted(name, texts[name])) for name in sorted(texts)).encode("utf-8")


def decode(text: str) -> Dict[str, str]:
    """What :func:`encode` wrote."""
    return {name: "".join(values) for name, *values in _LINE.findall(text)}


def _quoted(name: str, text: str) -> str:
    if _PLAIN.match(text):
        return text
    if "\r" in text:
        raise Pm2Error("{0} in env_file holds a carriage return, which a .env file cannot; take it out.".format(name))
    # single quotes keep everything as it is; double ones turn \n into a line end
    for quote, excluded in (("'", "'"), ('"', '"\\'), ("`", "`")):
        if not any(character in text for character in excluded):
            return quote + text + quote
    raise Pm2Error(
        "{0} in env_file has single, double and back quotes, which a .env file cannot hold together; encode it, say as "
        "base64.".format(name)
    )
