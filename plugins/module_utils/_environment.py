# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The small environment that everything we start gets, instead of what the ssh session happened to have."""

from __future__ import annotations

import os
import pwd
from typing import Dict, Iterable, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._executables import SYSTEM_PATH


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
