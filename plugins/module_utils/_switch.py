# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which colour of an app gets the traffic, told to the proxy: to HAProxy, or by a program of the user's to another.

What is *committed* outlives the proxy: it lies in a file that HAProxy reads at its start. The shares of a canary do
not, so a proxy that starts anew in the middle of one serves the live colour.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from typing import Any, Dict, Tuple, Union

from ansible_collections.zerodown.pm2.plugins.module_utils._command import run
from ansible_collections.zerodown.pm2.plugins.module_utils._environment import base_environment
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import CommandError
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import write_atomic
from ansible_collections.zerodown.pm2.plugins.module_utils._haproxy import (
    DRAIN,
    MAINT,
    READY,
    Counters,
    ProxyError,
    RuntimeApi,
    find_backend_id,
    state_file,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._proxy_options import COLOURS, ProxyOptions, other

# what a user's program may take, seconds
COMMAND_TIMEOUT = 30.0
# the server of a backend where nobody listens
HOLD = "hold"


class HaproxySwitch:
    """
    Raises, all methods: :class:`Pm2Error`, :class:`ProxyError` among them.
    """

    def __init__(self, proxy: ProxyOptions) -> None:
        self._proxy = proxy
        self._api = RuntimeApi(proxy.socket)

    def check(self) -> None:
        """Whether it can do what it will be told."""
        missing = set(COLOURS) - set(self._api.servers(self._proxy.backend))
        if missing:
            raise ProxyError(
                "The backend {0} of HAProxy has no server {1}; let the role proxy write its configuration.".format(
                    self._proxy.backend, " and ".join(sorted(missing))
                )
            )
        directory = os.path.dirname(self._proxy.state_file)
        if not os.access(directory, os.W_OK):
            raise ProxyError(
                "The directory {0}, from which HAProxy learns at its start which colour serves, is not there or not "
                "for us to write; let the role proxy make it.".format(directory)
            )

    def serve(self, colour: str, is_warm: bool) -> None:
        """Give this colour all traffic, from now on and whenever HAProxy starts.

        :param is_warm: whether the other colour runs.
        """
        self.remember(colour, is_warm)
        self._give_all(colour, is_warm)

    def remember(self, colour: str, is_warm: bool) -> None:
        """Only for HAProxy's next start."""
        states = {colour: READY, other(colour): DRAIN if is_warm else MAINT}
        servers = [(name, states[name], self._proxy.endpoint(name)) for name in COLOURS]
        content = state_file(self._proxy.backend, self._backend_id(), servers)
        write_atomic(self._proxy.state_file, content.encode("ascii"), 0o644)

    def share(self, colour: str, percent: int) -> None:
        """Give this colour a share of the traffic, and the other one the rest, until :meth:`serve`."""
        if percent >= 100:
            self._give_all(colour, True)
            return
        backend = self._proxy.backend
        for name, weight in ((colour, percent), (other(colour), 100 - percent)):
            self._api.set_weight(backend, name, weight)
            self._api.set_state(backend, name, READY)
        # it listens, as the gate saw; the next health check would come too late for that
        self._api.set_up(backend, colour)

    def is_shared(self, colour: str, percent: int) -> bool:
        """Whether what :meth:`share` said still holds: HAProxy forgets it when it is started or reloaded."""
        server = self._api.servers(self._proxy.backend)[colour]
        return server.state == READY and server.weight == percent

    def counters(self) -> Dict[str, Counters]:
        """By colour."""
        found = self._api.counters(self._proxy.backend)
        return {colour: found.get(colour, Counters()) for colour in COLOURS}

    def sessions(self, colour: str) -> int:
        """That are under way on it."""
        return self.counters()[colour].sessions

    def hold(self) -> None:
        """Let new requests wait until :meth:`serve` or :meth:`share`, and those that a colour has finish.

        The one server that they are given to then refuses, and HAProxy tries again, as its configuration says. They
        must not be for a colour any more: HAProxy would use a connection that it has for the next request, wherever
        the address leads by then."""
        self._api.set_state(self._proxy.backend, HOLD, READY)
        for colour in COLOURS:
            self._api.set_state(self._proxy.backend, colour, DRAIN)

    def _give_all(self, colour: str, is_warm: bool) -> None:
        backend = self._proxy.backend
        self._api.set_weight(backend, colour, 100)
        self._api.set_state(backend, colour, READY)
        self._api.set_up(backend, colour)
        self._api.set_state(backend, other(colour), DRAIN if is_warm else MAINT)
        self._api.set_weight(backend, other(colour), 100)
        with contextlib.suppress(ProxyError):
            # one that has no such server holds nothing
            self._api.set_state(backend, HOLD, MAINT)

    def _backend_id(self) -> int:
        with contextlib.suppress(ProxyError):
            return find_backend_id(self._api.servers(self._proxy.backend)) or 0
        with contextlib.suppress(OSError), open(self._proxy.state_file, encoding="ascii", errors="replace") as stream:
            found = re.search(r"^(\d+) ", stream.read(), re.MULTILINE)
            return int(found.group(1)) if found else 0
        return 0


class CommandSwitch:
    """A user's program. It is called with one argument and one JSON object on standard input, with ``backend`` and
    ``servers``, by colour: ``address``, ``share`` (percent of the traffic), ``warm`` (whether it runs). It ends when
    traffic goes that way; any exit code but 0 means that it does not.

    - ``check``: whether it can do its work.
    - ``serve``: from now on, also after a start of the proxy.
    - ``share``: for now.
    - ``hold``: for now, let new requests wait.
    - ``counters``: prints JSON, by colour: ``requests``, ``errors``, ``response_time`` (ms), ``sessions``. Only called
      for a canary.
    """

    def __init__(self, proxy: ProxyOptions) -> None:
        self._proxy = proxy

    def check(self) -> None:
        self._call("check", {})

    def serve(self, colour: str, is_warm: bool) -> None:
        self._call("serve", {colour: (100, True), other(colour): (0, is_warm)})

    def share(self, colour: str, percent: int) -> None:
        self._call("share", {colour: (percent, True), other(colour): (100 - percent, True)})

    def is_shared(self, colour: str, percent: int) -> bool:  # noqa: ARG002 - only it knows
        return True

    def counters(self) -> Dict[str, Counters]:
        text = self._call("counters", {})
        try:
            found = json.loads(text)
            return {colour: Counters(**found[colour]) for colour in COLOURS}
        except (ValueError, KeyError, TypeError) as error:
            raise ProxyError(
                "{0} counters must print a JSON object with requests, errors, response_time and sessions of each of "
                "{1}.".format(self._name(), " and ".join(COLOURS))
            ) from error

    def sessions(self, colour: str) -> int:
        return self.counters()[colour].sessions

    def hold(self) -> None:
        self._call("hold", dict.fromkeys(COLOURS, (0, True)))

    def _name(self) -> str:
        return (self._proxy.command or [""])[0]

    def _call(self, verb: str, shares: Dict[str, Tuple[int, bool]]) -> str:
        servers = {
            colour: {"address": self._proxy.addresses[colour], "share": share, "warm": warm}
            for colour, (share, warm) in shares.items()
        }
        content: Dict[str, Any] = {"backend": self._proxy.backend, "servers": servers}
        try:
            return run(
                [*(self._proxy.command or []), verb],
                base_environment(),
                timeout=COMMAND_TIMEOUT,
                stdin=json.dumps(content).encode("utf-8") + b"\n",
            ).stdout
        except CommandError as error:
            raise ProxyError("The program of proxy.command failed: {0}".format(error.message)) from error


Switch = Union[HaproxySwitch, CommandSwitch]


def switch_of(proxy: ProxyOptions) -> Switch:
    return CommandSwitch(proxy) if proxy.command else HaproxySwitch(proxy)
