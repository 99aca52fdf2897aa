# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file that keeps a generation from opening its ports. Without it they open: what fails must fail open."""

from __future__ import annotations

import contextlib
import os

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home


def hold(home: Home, generation: str) -> None:
    """From now on its processes do not open their ports.

    :raises Pm2Error: it cannot be kept from it.
    """
    path = marker(home, generation)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise Pm2Error("{0} cannot be written: {1}.".format(path, error.strerror)) from error


def let_through(home: Home, generation: str) -> None:
    """From now on its processes open their ports when they start; those that are held stay so until they are told."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(marker(home, generation))


def marker(home: Home, generation: str) -> str:
    return os.path.join(home.gate, generation + ".held")
