# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The app ``web`` of web.py as a binary, of which neither Node nor Python knows anything: another HAProxy, which
answers by itself. ``BIND`` tells it where to listen, in its own words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from support.web import NAME, Web

_CONFIGURATION = """\
defaults
    mode http
    timeout client 60s
frontend front
    bind "{bind}"
    {more}
    acl health path /health
    http-request return status {status} content-type application/json string '{{"status":"{word}"}}' if health
    http-request return status {status} content-type text/plain string {text}
"""
_GOOD = {"bind": "${BIND}", "more": "", "status": "200", "word": "ok"}
_KINDS = {
    "good": _GOOD,
    "throws_at_boot": {**_GOOD, "more": "boom"},
    "answers_500": {**_GOOD, "status": "500", "word": "failed"},
    "wrong_port": {**_GOOD, "bind": "unix@elsewhere.sock"},
}


def write_binary_release(directory: Path, kind: str, version: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "app.cfg").write_text(_CONFIGURATION.format(text=version, **_KINDS[kind]))


class BinaryWeb(Web):
    write: ClassVar[Callable[..., Any]] = staticmethod(write_binary_release)

    def declare(self, release: str, **options: Any) -> dict[str, Any]:
        return {
            "name": NAME,
            "script": "/usr/sbin/haproxy",
            "interpreter": "none",
            "args": ["-db", "-f", "app.cfg"],
            "cwd": str(self.path(release)),
            "env": {"BIND": "127.0.0.1:{port}" if "ports" in self.options["proxy"] else "unix@{port}"},
            **self.options,
            **options,
        }
