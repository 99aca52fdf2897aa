# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs work in a process that outlives the module: a cut ssh session or a dead controller must not stop it half-way.

Whatever the work will need must be imported before: Ansible removes the module's archive when the module ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterator, List

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error


class Interrupted(Pm2Error):
    """Somebody told the process to stop (SIGTERM)."""


@dataclass
class Aside:
    """What the work says beside its result; it arrives also when the work fails.

    :ivar warnings: sentences for the user.
    :ivar secrets: texts that must be blanked out of whatever is shown.
    """

    warnings: List[str] = field(default_factory=list)
    secrets: List[str] = field(default_factory=list, repr=False)


Work = Callable[[Aside], Dict[str, Any]]


def _nothing() -> None:
    """Afterwards."""


def run(
    work: Work,
    what: str,
    receive: Callable[[Aside], None],
    afterwards: Callable[[], None] = _nothing,
    again: str = "it first undoes or finishes what was begun",
) -> Dict[str, Any]:
    """The result of ``work``, made by a process of a session of its own.

    :param work: gives back plain data.
    :param what: names the deed in an error ("the cutover of web").
    :param receive: takes what the work said aside.
    :param afterwards: done by that process when its result was given, for as long as it takes; nobody waits for it.
    :param again: what the next run does, when this one was killed.
    :raises Pm2Error: what ``work`` raised; or the process was killed.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _become_independent(reader, writer, work, what, afterwards)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        answer = stream.read()
    os.waitpid(child, 0)
    if not answer:
        raise Pm2Error("The process that ran {0} was killed; run the task again: {1}.".format(what, again))
    content: Dict[str, Any] = json.loads(answer.decode("utf-8"))
    receive(Aside(**content["aside"]))
    if "error" in content:
        raise Pm2Error(content["error"], **content["details"])
    result: Dict[str, Any] = content["result"]
    return result


def start(work: Callable[[], None]) -> None:
    """Let a process of a session of its own do it; nobody waits for that."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if os.fork() == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.chdir("/")
            work()
    finally:
        os._exit(0)


def _become_independent(reader: int, writer: int, work: Work, what: str, afterwards: Callable[[], None]) -> None:
    """In the first child; never returns. Its own child has no terminal, no parent that waits, and none of our pipes."""
    status = 1
    try:
        os.setsid()
        if os.fork():
            status = 0
            return
        os.close(reader)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.chdir("/")

        def interrupt(_number: int, _frame: Any) -> None:
            # a second one must not disturb the undoing
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            raise Interrupted("The process that runs {0} was told to stop (SIGTERM).".format(what))

        signal.signal(signal.SIGTERM, interrupt)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        _answer(writer, _outcome(work, what))
        os.close(writer)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        afterwards()
        status = 0
    finally:
        os._exit(status)


@contextlib.contextmanager
def undisturbed() -> Iterator[List[int]]:
    """What is begun here ends here. Gives a list that is not empty once somebody told the process to stop."""
    told: List[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: told.append(number))
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before)


def _outcome(work: Work, what: str) -> Dict[str, Any]:
    aside = Aside()
    content: Dict[str, Any] = {"aside": vars(aside)}
    try:
        content["result"] = work(aside)
    except Pm2Error as error:
        content.update(error=error.message, details=error.details)
    except Exception as error:  # nobody else could tell of it
        text = "The process that ran {0} ended with an unexpected error ({1}: {2}); please report it.".format(
            what, type(error).__name__, error
        )
        content.update(error=text, details={"exception": _trace(error)})
    return content


def _trace(error: BaseException) -> List[str]:
    found, trace = [], error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        found.append("{0}:{1} {2}".format(os.path.basename(code.co_filename), trace.tb_lineno, code.co_name))
        trace = trace.tb_next
    return found


def _answer(writer: int, content: Dict[str, Any]) -> None:
    # whatever cannot be written as JSON: without an answer it would look as if this process was killed
    data = json.dumps(content, default=str).encode("utf-8")
    try:
        while data:
            data = data[os.write(writer, data) :]
    except OSError:
        # the module is gone, and with it who asked: the deploy log has what happened
        pass
