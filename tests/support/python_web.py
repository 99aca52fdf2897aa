# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The app ``web`` of web.py, in Python, behind any server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from support.python_apps import write_python_release
from support.web import HEALTH, NAME, Web

# what a server is started with; {port} is where it listens
SERVERS = {
    "uvicorn": ["uvicorn", "app:app", "--port", "{port}", "--no-access-log"],
    "uvicorn, 4 workers": ["uvicorn", "app:app", "--port", "{port}", "--no-access-log", "--workers", "4"],
    "gunicorn, sync": ["gunicorn", "site_app:app", "--bind", "127.0.0.1:{port}", "--workers", "3"],
    "gunicorn, gthread": ["gunicorn", "site_app:app", "-b", "127.0.0.1:{port}", "--workers", "2", "--threads", "8"],
    "gunicorn, uvicorn": [
        *("gunicorn", "app:app", "-b", "127.0.0.1:{port}", "--workers", "2"),
        *("--worker-class", "uvicorn_worker.UvicornWorker", "--graceful-timeout", "2"),
    ],
    "hypercorn": ["hypercorn", "app:app", "--bind", "127.0.0.1:{port}"],
    "hypercorn, 2 workers": ["hypercorn", "app:app", "--bind", "127.0.0.1:{port}", "--workers", "2"],
}


@dataclass
class PythonWeb(Web):
    """
    :ivar programs: the directory of the servers.
    :ivar server: of ``SERVERS``.
    """

    options: dict[str, Any] = field(default_factory=lambda: {"health": [HEALTH]})
    programs: Path = Path("/nowhere")
    server: str = "uvicorn"
    write: ClassVar[Callable[..., Any]] = staticmethod(write_python_release)

    def declare(self, release: str, **options: Any) -> dict[str, Any]:
        program, *args = SERVERS[self.server]
        directory = self.path(release)
        # behind a proxy the cutover says where
        port = options.pop("at", "{port}" if "proxy" in self.options else self.port)
        return {
            "name": NAME,
            "script": str(self.programs / program),
            "args": [item.format(port=port) for item in args],
            "cwd": str(directory),
            "kill_timeout": 8000,
            **self.options,
            **options,
        }
