# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The deploy log, ``deploys.jsonl``: one line of JSON for each thing that happened to a release, only ever appended
to."""

from __future__ import annotations

import datetime
import json
import os
import pwd
from typing import Any, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error


def now() -> str:
    """The time in UTC to the second, ``2026-01-31T14:05:09Z``."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def who() -> str:
    """The person's account where sudo tells it, else the one we run as."""
    return os.environ.get("SUDO_USER") or pwd.getpwuid(os.geteuid()).pw_name


def append(
    path: str,
    event: str,
    release: str,
    revision: str,
    by: str,
    reason: Optional[str] = None,
    previous: Optional[str] = None,
    timings: Optional[Dict[str, float]] = None,
    rollout: Optional[str] = None,
    about: Optional[Dict[str, Any]] = None,
) -> Dict[str, Any]:
    """Write one event, on disk when this returns.

    One write(2) with O_APPEND, so that lines of two runs never mix. A line that a power cut left half-written is
    closed first.

    :param timings: seconds by step.
    :param rollout: the one that it was confirmed or withdrawn in.
    :param about: what only this kind of event has.
    :raises Pm2Error: it could not be written.
    """
    entry: Dict[str, Any] = {
        "time": now(),
        "event": event,
        "release": release,
        "revision": revision,
        "previous": previous,
        "by": by,
        "reason": reason,
    }
    if timings:
        entry["timings"] = timings
    if rollout:
        entry["rollout"] = rollout
    entry.update(about or {})
    line = (json.dumps(entry) + "\n").encode("utf-8")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Pm2Error("{0} cannot be written: {1}.".format(path, error.strerror)) from error
    return entry


def read(path: str) -> List[Dict[str, Any]]:
    """All events, oldest first; a damaged line is passed over, because the others still count.

    :raises Pm2Error: it is there and cannot be read.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            lines = stream.read().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Pm2Error(
            "{0} cannot be read: {1}; run this as the user who owns it.".format(path, error.strerror)
        ) from error
    return [entry for entry in map(_parse, lines) if entry]


def _parse(line: str) -> Optional[Dict[str, Any]]:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if isinstance(entry, dict) and isinstance(entry.get("event"), str) and isinstance(entry.get("release"), str):
        return entry
    return None
