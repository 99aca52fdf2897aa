# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The small environment that everything we start gets, instead of what the ssh session happened to have."""

from __future__ import annotations

import os
import pwd
import re
from typing import Any, Dict, Iterable, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import SYSTEM_PATH
from ansible_collections.zerodown.pm2.plugins.module_utils._options import scalar_text

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def base_environment(path: Iterable[str] = (), user: Optional[str] = None) -> Dict[str, str]:
    """PATH, HOME, USER, LOGNAME, SHELL and LANG, from the user database and nothing else.

    :param path: directories to put before the system's (the app's Node, a virtual environment).
    :param user: whose; ``None`` for the one who runs the module.
    """
    entry = pwd.getpwnam(user) if user else pwd.getpwuid(os.geteuid())
    directories: List[str] = []
    for directory in list(path) + SYSTEM_PATH:
        if directory and directory not in directories:
            directories.append(directory)
    return {
        "PATH": os.pathsep.join(directories),
        "HOME": entry.pw_dir,
        "USER": entry.pw_name,
        "LOGNAME": entry.pw_name,
        "SHELL": entry.pw_shell or "/bin/sh",
        "LANG": "C.UTF-8",
    }


def declared(variables: Dict[str, Any], where: str) -> Dict[str, str]:
    """Variables as a person declares them, as texts.

    :param where: the option, for the error, which never holds a value.
    :raises Pm2Error: a name that no shell knows, no value, a list or dictionary, or a NUL byte.
    """
    texts: Dict[str, str] = {}
    for name, value in variables.items():
        if not isinstance(name, str) or not _NAME.match(name):
            raise Pm2Error(
                "The name {0!r} in {1} is not valid: use letters, digits and '_', and no digit first.".format(
                    name, where
                )
            )
        try:
            texts[name] = scalar_text(value)
        except ValueError as error:
            raise Pm2Error(
                "{0} in {1} must be a text, a number or a truth value; quote it, or leave it out.".format(name, where)
            ) from error
        if "\0" in texts[name]:
            raise Pm2Error("{0} in {1} holds a NUL byte, which no variable can; take it out.".format(name, where))
    return texts
