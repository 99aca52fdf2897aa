# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The processes of suites: some at once, with a sign of life, ended when they take too long."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

HEARTBEAT = 20.0

T = TypeVar("T")


class Running:
    """Each process is the leader of its own group, so that nothing of a suite outlives it."""

    def __init__(self, directory: Path) -> None:
        """:param directory: where all of them run."""
        self._directory = directory
        self._lock = threading.Lock()
        self._started: dict[str, tuple[float, subprocess.Popen[bytes]]] = {}

    def run(self, name: str, command: str, log: Path, timeout: float) -> int | None:
        """Run a command with its output in a file; its return code, None when it was ended after that many seconds."""
        with log.open("wb") as output:
            process = subprocess.Popen(
                command.split(),
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        with self._lock:
            self._started[name] = (time.monotonic(), process)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with self._lock:
                del self._started[name]
            _end(process)

    def all(self, work: list[Callable[[], T]], at_once: int) -> list[T]:
        """Call functions that call :meth:`run`, as many at once, and say from time to time what runs."""
        with ThreadPoolExecutor(at_once) as pool:
            futures = [pool.submit(each) for each in work]
            try:
                shown = time.monotonic()
                while not all(future.done() for future in futures):
                    time.sleep(0.1)
                    if time.monotonic() - shown > HEARTBEAT:
                        shown = time.monotonic()
                        self._show()
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                with self._lock:
                    for _start, process in self._started.values():
                        _end(process)
                raise
        return [future.result() for future in futures]

    def _show(self) -> None:
        with self._lock:
            now = time.monotonic()
            names = [f"{name} {now - start:.0f} s" for name, (start, _process) in self._started.items()]
        if names:
            print(f"    … {', '.join(names)}", flush=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    # hosts want some time to be taken down
    for sign, patience in ((signal.SIGTERM, 60), (signal.SIGKILL, 10)):
        try:
            os.killpg(process.pid, sign)
            process.wait(patience)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
