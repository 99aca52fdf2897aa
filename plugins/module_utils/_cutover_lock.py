# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One cutover of an app at a time, and whose it is.

flock(2) tells whether the holder lives: the kernel frees it however the holder ends, a power cut included. What is
written into the file is only for people, and for ending a holder by force.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from typing import Any, Dict, Iterable, Iterator, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home

POLL_INTERVAL = 0.1
# what a holder that is told to stop may take to undo what it did
FORCE_PATIENCE = 60.0


class Locked(Pm2Error):
    """Somebody else holds the lock; details ``holder``."""


@contextlib.contextmanager
def held(home: Home, names: Iterable[str], by: str, reason: Optional[str], wait: float, force: bool) -> Iterator[None]:
    """Hold the locks of all these apps.

    :param by: who holds it, for others.
    :param wait: seconds to wait for another holder.
    :param force: end the process that holds it; what it has not finished is then undone or finished by us.
    :raises Locked: somebody else holds one of them, naming who, why and since when.
    """
    with contextlib.ExitStack() as stack:
        # in one order, so that two runs with the same apps cannot wait for each other
        for name in sorted(set(names)):
            stack.enter_context(_one(home, name, by, reason, wait, force))
        yield


@contextlib.contextmanager
def _one(home: Home, name: str, by: str, reason: Optional[str], wait: float, force: bool) -> Iterator[None]:
    path = os.path.join(home.gate, name + ".lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        taken = _try(descriptor) or (force and _end_holder(descriptor))
        deadline = time.monotonic() + wait
        while not taken:
            if time.monotonic() >= deadline:
                holder = _read(descriptor)
                raise Locked(_sentence(name, holder, wait), holder=_shown(holder))
            time.sleep(POLL_INTERVAL)
            taken = _try(descriptor)
        content = {"pid": os.getpid(), "by": by, "reason": reason, "since": time.time()}
        # a full disk must not keep anybody from undoing
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(content).encode("utf-8"), 0)
        try:
            yield
        finally:
            # only one that was killed leaves its name behind
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(descriptor: int) -> Dict[str, Any]:
    try:
        content = json.loads(os.pread(descriptor, 4096, 0).decode("utf-8"))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _shown(holder: Dict[str, Any]) -> Dict[str, Any]:
    since = holder.get("since")
    return {
        "pid": holder.get("pid"),
        "by": holder.get("by"),
        "reason": holder.get("reason"),
        "age": round(time.time() - since, 1) if isinstance(since, (int, float)) else None,
    }


def _sentence(name: str, holder: Dict[str, Any], wait: float) -> str:
    shown = _shown(holder)
    return (
        "App {0} is being cut over by {1} (pid {2}{3}{4}); it was waited for {5:g} s. Wait for it, give a longer "
        "lock_timeout, or end it with force.".format(
            name,
            shown["by"] or "somebody",
            shown["pid"] or "unknown",
            ", since {0:g} s".format(shown["age"]) if shown["age"] is not None else "",
            ", reason: {0}".format(shown["reason"]) if shown["reason"] else "",
            wait,
        )
    )


def _end_holder(descriptor: int) -> bool:
    """Tell the holder to stop: it undoes what it did. It surely is the one that is written there, as it wrote that
    while it held the lock and holds it still.

    :returns: whether the lock is ours now; not, when somebody else was quicker.
    """
    pid = _read(descriptor).get("pid")
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not isinstance(pid, int):
            return False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
        deadline = time.monotonic() + FORCE_PATIENCE
        while time.monotonic() < deadline:
            # the lock is looked at, not the pid, which stays as long as nobody has waited for the process
            if _try(descriptor):
                return True
            if _read(descriptor).get("pid") not in (pid, None):
                return False
            time.sleep(POLL_INTERVAL)
    return False
