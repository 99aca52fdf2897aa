"""Kill the process that answers at a URL; print the seconds until there is a new one, when that one answers."""

import json
import os
import signal
import sys
import time
import urllib.request
from pathlib import Path
from typing import Callable


def answering() -> int:
    with urllib.request.urlopen(sys.argv[1], timeout=5) as answer:
        return int(json.load(answer)["pid"])


def processes() -> set[int]:
    """All that run the app, under the title that PM2 cuts off; a zombie has none."""
    return {int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if runs_app(path)}


def runs_app(path: Path) -> bool:
    try:
        return b"sample-app/releases/" in path.read_bytes()
    except OSError:
        return False


def until(condition: Callable[[], object]) -> float:
    start = time.monotonic()
    while time.monotonic() < start + 60:
        try:
            if condition():
                return time.monotonic() - start
        except OSError:
            pass
        time.sleep(0.02)
    sys.exit("nothing after 60 s")


before = processes()
os.kill(answering(), signal.SIGKILL)
seconds = until(lambda: processes() - before)
until(lambda: answering() not in before)
print(round(seconds, 2))
