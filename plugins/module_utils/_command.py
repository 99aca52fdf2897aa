# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running programs: argument lists only, an environment of our own, and a time limit that ends the whole tree."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from typing import IO, Dict, Iterable, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import CommandError

TAIL_LINES = 30


@dataclass(frozen=True)
class Completed:
    rc: int
    stdout: str
    stderr: str


def run(
    argv: List[str],
    env: Dict[str, str],
    cwd: str = "/",
    timeout: float = 60.0,
    check: bool = True,
    stdin: Optional[bytes] = None,
    output: Optional[IO[bytes]] = None,
    inherits: Iterable[int] = (),
) -> Completed:
    """Run a program to its end.

    Its output goes to temporary files, so a child that survives it and keeps the descriptors cannot hold us up.

    :param env: the whole environment, see :func:`base_environment`.
    :param timeout: seconds; then the process group gets SIGKILL.
    :param check: raise when the return code is not 0.
    :param output: a file that gets stdout and stderr as they come, instead of what is returned and of the tails.
    :param inherits: descriptors that stay open in it.
    :raises CommandError: not found, out of time, or (with ``check``) failed; details ``cmd``, ``rc``, ``stdout_tail``,
        ``stderr_tail``.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            process = subprocess.Popen(
                argv,
                env=env,
                cwd=cwd,
                stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
                stdout=output or out,
                stderr=output or err,
                start_new_session=True,
                pass_fds=tuple(inherits),
            )
        except OSError as error:
            raise CommandError(
                "{0} could not be run in {1}: {2}.".format(argv[0], cwd, error.strerror), cmd=argv
            ) from error
        try:
            if stdin is not None and process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.write(stdin)
                    process.stdin.close()
            process.wait(timeout=timeout)
        except subprocess.TimeoutExpired as error:
            _end(process)
            raise CommandError(
                "{0} did not end within {1:g} s and was killed.".format(" ".join(argv[:2]), timeout),
                cmd=argv,
                stdout_tail=_read(out).splitlines()[-TAIL_LINES:],
                stderr_tail=_read(err).splitlines()[-TAIL_LINES:],
            ) from error
        except BaseException:
            # we are told to stop
            _end(process)
            raise
        completed = Completed(rc=process.returncode, stdout=_read(out), stderr=_read(err))
    if check and completed.rc != 0:
        last = (completed.stderr.strip() or completed.stdout.strip() or "no output").splitlines()[-1]
        raise CommandError(
            "{0} failed with return code {1}: {2}".format(" ".join(argv[:2]), completed.rc, last),
            cmd=argv,
            rc=completed.rc,
            stdout_tail=completed.stdout.splitlines()[-TAIL_LINES:],
            stderr_tail=completed.stderr.splitlines()[-TAIL_LINES:],
        )
    return completed


def _end(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode("utf-8", "replace")
