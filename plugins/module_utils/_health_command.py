# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Making a check with a command.

Not with _command.py: of a check only the last line is kept, however much it prints, and nothing that it started may
stay behind, also when it ended in time.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from typing import IO, Dict, Iterable, Optional, Tuple, cast

from ansible_collections.zerodown.pm2.plugins.module_utils._health_answer import excerpt
from ansible_collections.zerodown.pm2.plugins.module_utils._health_spec import CommandCheck
from ansible_collections.zerodown.pm2.plugins.module_utils._probe import HEALTHY, UNHEALTHY, UNKNOWN, Outcome

# bytes; also what a pipe holds (pipe(7))
_TAIL_MAX = 64 * 1024
# seconds between two looks whether it has ended
_LOOK = 0.02


def run(check: CommandCheck, environment: Dict[str, str], cwd: str, secrets: Iterable[str]) -> Outcome:
    try:
        code, output = _execute(check, environment, cwd)
    except OSError as error:
        return Outcome(UNKNOWN, "{0} could not be run in {1}: {2}".format(check.title, cwd, error.strerror))
    if code == 0:
        return Outcome(HEALTHY, "{0} ended with exit code 0".format(check.title))
    line = excerpt(_last_line(output), secrets)
    return Outcome(UNHEALTHY, "{0} {1}{2}".format(check.title, _end(code, check.timeout), ": " + line if line else ""))


def _execute(check: CommandCheck, environment: Dict[str, str], cwd: str) -> Tuple[Optional[int], bytes]:
    """The exit code, ``None`` when it did not end in time, and the end of the output."""
    with subprocess.Popen(
        check.command,
        env=environment,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        tail = _Tail(cast("IO[bytes]", process.stdout))
        deadline = time.monotonic() + check.timeout
        try:
            while not _has_ended(process.pid) and time.monotonic() < deadline:
                tail.read(_LOOK)
            in_time = _has_ended(process.pid)
        finally:
            # it is not waited for yet, so its number is still that of its group
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        tail.read(0)
    return process.returncode if in_time else None, tail.content


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


class _Tail:
    """The last that came through a pipe."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self.content = b""
        self._pipe = pipe.fileno()
        self._poll = select.poll()
        self._poll.register(self._pipe, select.POLLIN)

    def read(self, wait: float) -> None:
        """:param wait: seconds for something to come; after its end, seconds to pass."""
        if not self._poll.poll(wait * 1000):
            return
        piece = os.read(self._pipe, _TAIL_MAX)
        if not piece:
            self._poll.unregister(self._pipe)
        self.content = (self.content + piece)[-_TAIL_MAX:]


def _last_line(output: bytes) -> str:
    lines = [line for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _end(code: Optional[int], timeout: float) -> str:
    if code is None:
        return "did not end within {0:g} s".format(timeout)
    if code < 0:
        return "was ended by signal {0}".format(-code)
    return "ended with exit code {0}".format(code)
