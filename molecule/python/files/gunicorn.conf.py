"""PM2 stops with SIGINT, which gunicorn takes as "at once"; docs/python.md."""

from __future__ import annotations

import os
import signal
from typing import Any


def when_ready(server: Any) -> None:
    signal.signal(signal.SIGINT, lambda *_: os.kill(os.getpid(), signal.SIGTERM))


def post_fork(server: Any, worker: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
