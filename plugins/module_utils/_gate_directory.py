# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The directory of the gate: ours alone, with scripts that are what they should be."""

from __future__ import annotations

import os
import stat

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import write_atomic
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home, user_name

# bytes (unix(7), sun_path without its NUL), and the largest pid that there is (proc_pid_max(5))
SOCKET_PATH_MAX = 107
_LONGEST_SOCKET = "/4194304-9999"


def has_room(home: Home) -> bool:
    """Whether the paths of its sockets are short enough; where they are not, an app starts without the gate."""
    return len(os.fsencode(home.gate)) + len(_LONGEST_SOCKET) <= SOCKET_PATH_MAX


def make_directory(path: str) -> None:
    """:raises Pm2Error: it is not ours alone, or cannot be made."""
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode):
            raise Pm2Error("{0} must be a directory, not a link; remove it.".format(path))
        if status.st_uid != os.geteuid():
            raise Pm2Error(
                "{0} belongs to user {1}, but the task runs as {2}; run it as the owner of PM2_HOME "
                "(become_user).".format(path, user_name(status.st_uid), user_name(os.geteuid()))
            )
        if stat.S_IMODE(status.st_mode) != 0o700:
            os.chmod(path, 0o700)
    except OSError as error:
        raise Pm2Error("{0} cannot be made: {1}.".format(path, error.strerror)) from error


def write_script(path: str, text: str) -> None:
    """Unless it is there."""
    data = text.encode("utf-8")
    if not _is_there(path, data):
        write_atomic(path, data)


def _is_there(path: str, data: bytes) -> bool:
    try:
        if stat.S_IMODE(os.stat(path, follow_symlinks=False).st_mode) != 0o600:
            return False
        with open(path, "rb") as stream:
            return stream.read() == data
    except OSError:
        return False
