"""PM2 stops with SIGINT, which gunicorn takes as "at once"; docs/python.md."""

from __future__ import annotations

import os
import signal
from typing import Any


def when_ready(_server: Any) -> None:
    signal.signal(signal.SIGINT, lambda *_: os.kill(os.getpid(), signal.SIGTERM))


def post_fork(_server: Any, _worker: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
