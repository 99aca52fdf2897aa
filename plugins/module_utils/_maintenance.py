# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Maintenance of an app: its backend has a second one beside it, whose only server is never asked. While that is out of
service, HAProxy answers with the page of maintenance. So it is told and kept as the state of any server is.
"""

from __future__ import annotations

import re
from typing import Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._fs import write_atomic
from ansible_collections.zerodown.pm2.plugins.module_utils._haproxy import (
    MAINT,
    READY,
    ProxyError,
    RuntimeApi,
    state_file,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._proxy_options import SOCKET, STATE_FILE

# as the role proxy writes them (plugins/filter/frontends.py, roles/proxy/templates/proxy.cfg.j2)
SUFFIX = "_maintenance"
_SERVER = "off"
_ADDRESS = ("127.0.0.1", 9)
_SOCKET = re.compile(re.escape(SOCKET).replace(re.escape("{0}"), r"(?P<user>[a-z_][a-z0-9_-]*)"))


def default_state_file(socket: str, backend: str) -> Optional[str]:
    """Where it is kept for the socket of an app's user; ``None`` for any other socket."""
    match = _SOCKET.fullmatch(socket)
    return STATE_FILE.format(match.group("user"), backend + SUFFIX) if match else None


def is_on(api: RuntimeApi, backend: str) -> Optional[bool]:
    """``None`` for a backend that has none.

    :raises ProxyError: HAProxy cannot be asked.
    """
    try:
        server = api.servers(backend + SUFFIX).get(_SERVER)
    except ProxyError:
        # the same question for a backend that is there tells whether it was that
        api.servers(backend)
        return None
    return server.state == MAINT if server else None


def is_kept(path: str, backend: str) -> bool:
    """Whether a HAProxy that starts now would begin with maintenance."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            lines = stream.read().splitlines()
    except OSError:
        return False
    # the number of the backend may be another one by now
    return [line.split(" ", 1)[-1] for line in lines] == _file(backend, True)


def keep(path: str, backend: str, on: bool) -> None:
    """Let it be so after a restart of HAProxy, too.

    :raises Pm2Error: the file cannot be written.
    """
    write_atomic(path, _content(backend, on).encode("ascii"), 0o644)


def set_on(api: RuntimeApi, backend: str, on: bool) -> None:
    """:raises ProxyError: HAProxy did not do it."""
    api.set_state(backend + SUFFIX, _SERVER, MAINT if on else READY)


def _content(backend: str, on: bool) -> str:
    return state_file(backend + SUFFIX, 1, [(_SERVER, MAINT if on else READY, _ADDRESS)])


def _file(backend: str, on: bool) -> list:
    return [line.split(" ", 1)[-1] for line in _content(backend, on).splitlines()]
