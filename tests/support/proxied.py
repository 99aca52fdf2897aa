# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real HAProxy on loopback in front of an app of two colours, without root and without systemd, with what
docs/proxy.md gives for a backend of one's own."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from ansible_collections.zerodown.pm2.plugins.module_utils._haproxy import ProxyError, RuntimeApi, Server
from support.guides import DOCS, block
from support.pm2_host import find_free_port, wait_for

FRONT = """
frontend front
    mode http
    timeout client 60s
    bind 127.0.0.1:{port}
    default_backend {backend}
"""


class Haproxy:
    """One backend with its two colours."""

    def __init__(self, sockets: bool = False) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="zd-haproxy-"))
        self.port = find_free_port()
        self.backend = "zerodown_web"
        self.addresses: list[Any] = (
            [str(self.directory / f"{colour}.sock") for colour in ("blue", "green")]
            if sockets
            else [find_free_port(), find_free_port()]
        )
        self.api = RuntimeApi(str(self.directory / "api.sock"))
        self.state_file = self.directory / "state"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The option ``proxy`` of an app."""
        kind = "ports" if isinstance(self.addresses[0], int) else "sockets"
        return {
            kind: self.addresses,
            "backend": self.backend,
            "socket": self.api.path,
            "state_file": str(self.state_file),
        }

    def start(self) -> None:
        blue, green = (f"127.0.0.1:{item}" if isinstance(item, int) else f"unix@{item}" for item in self.addresses)
        places = {
            "/run/haproxy/zerodown-shop.sock user shop": self.api.path,
            "/var/lib/zerodown-proxy/shop/zerodown_api": str(self.state_file),
            "zerodown_api": self.backend,
            "127.0.0.1:8001": blue,
            "127.0.0.1:8002": green,
        }
        text = block(DOCS / "proxy.md", "haproxy")
        for there, here in places.items():
            assert there in text
            text = text.replace(there, here)
        configuration = self.directory / "haproxy.cfg"
        configuration.write_text(text + FRONT.format(port=self.port, backend=self.backend))
        log = (self.directory / "log").open("ab")
        self._process = subprocess.Popen(["/usr/sbin/haproxy", "-db", "-f", str(configuration)], stdout=log, stderr=log)
        wait_for(self._answers, "HAProxy does not start", 10.0)

    def _answers(self) -> bool:
        try:
            return bool(self.servers())
        except ProxyError:
            return False

    def kill(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def restart(self) -> None:
        self.kill()
        self.start()

    def servers(self) -> dict[str, Server]:
        return self.api.servers(self.backend)

    def states(self) -> dict[str, str]:
        """Of the two colours; nothing is left that waits."""
        states = {name: server.state for name, server in self.servers().items()}
        assert states.pop("hold") == "maint"
        return states

    def __enter__(self) -> Haproxy:
        self.start()
        # its first checks
        time.sleep(0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self.directory)
