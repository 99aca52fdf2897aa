# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stops a cutover on a host at an exact point, so that a test can do its worst there.

Python imports it at every start, as ``usercustomize`` of the user of the apps. It does nothing unless the file ``halt``
in his home names a point: a step, which is then in the journal and not yet taken; ``dump`` or ``current``, which are
then written; ``end``, at which the journal is gone. The process gives itself SIGSTOP; its pid is in ``halted``.
"""

import json
import os
import signal
import sys
import threading

HOME = os.path.expanduser("~")
ORDER = os.path.join(HOME, "halt")
HALTED = os.path.join(HOME, "halted")
JOURNAL = "/gate/web.json"
FILES = {"dump": "/.pm2/dump.pm2", "current": "/web/current"}


class Halt:
    def __init__(self, point: str) -> None:
        self.point = point
        self.thread = 0
        self.is_over = False

    def __call__(self, event: str, arguments: tuple) -> None:
        if self.is_over:
            return
        if self.thread == threading.get_ident():
            # the first thing that is done after it
            self.is_over = True
            self.stop()
        elif event in ("os.rename", "os.remove") and self.is_reached(event, str(arguments[0]), str(arguments[1])):
            self.thread = threading.get_ident()

    def is_reached(self, event: str, path: str, target: str) -> bool:
        if event == "os.remove":
            return self.point == "end" and path.endswith(JOURNAL)
        if self.point in FILES:
            return target.endswith(FILES[self.point])
        return target.endswith(JOURNAL) and self.step(path) == self.point

    def step(self, path: str) -> str:
        # reading it is an event, too
        self.is_over = True
        with open(path) as stream:
            step = json.load(stream)["step"]
        self.is_over = False
        return str(step)

    def stop(self) -> None:
        # once: what is run afterwards to repair it must not stop
        os.unlink(ORDER)
        with open(HALTED + ".tmp", "w") as stream:
            stream.write(str(os.getpid()))
        os.rename(HALTED + ".tmp", HALTED)
        os.kill(os.getpid(), signal.SIGSTOP)


if os.path.exists(ORDER):
    with open(ORDER) as order:
        sys.addaudithook(Halt(order.read().strip()))
