# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The errors that code below the modules raises.

A message is one sentence that says what was wrong, where, and what to do. Everything else (command, return
code, log lines) goes into ``details``, which a module returns beside ``msg``.
"""

from __future__ import annotations

from typing import Any


class Pm2Error(Exception):
    """Anything that ends a module with a message for a person.

    :param message: one sentence with its remedy.
    :param details: keys that the module returns beside ``msg``; plain data, no secrets.
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class DaemonNotRunning(Pm2Error):
    """Nothing listens on the daemon's RPC socket."""


class RpcTimeout(Pm2Error):
    """The daemon took the call but did not answer in time."""


class RpcError(Pm2Error):
    """The daemon answered a call with an error."""


class ProtocolError(Pm2Error):
    """What listens on the socket does not speak PM2's protocol as we know it."""


class CommandError(Pm2Error):
    """A program we ran ended with a return code that is not 0, could not be started, or ran out of time."""
