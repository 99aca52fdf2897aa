# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Doing something as another user: root has no business in the files of a user, who may have put links there."""

from __future__ import annotations

import json
import os
import pwd
import sys
import traceback
from typing import Any, Callable

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error


def as_user(name: str, work: Callable[[], Any]) -> Any:
    """What ``work`` gives back, done with the rights of this user (setuid(2) in a child process).

    Without the child when we are that user already.

    :param work: gives back plain data.
    :raises Pm2Error: as raised by ``work``, or it failed in another way.
    """
    entry = pwd.getpwnam(name)
    if entry.pw_uid == os.geteuid():
        return work()
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(source)
        _child(entry, work, sink)
    os.close(sink)
    with os.fdopen(source, "rb") as stream:
        data = stream.read()
    os.waitpid(child, 0)
    if not data:
        raise Pm2Error("Work as user {0} ended without an answer.".format(name))
    answer = json.loads(data.decode("utf-8"))
    if "message" in answer:
        raise Pm2Error(answer["message"], **answer["details"])
    return answer["result"]


def _child(entry: pwd.struct_passwd, work: Callable[[], Any], sink: int) -> None:
    """Never returns: the parent's module must not run on in it."""
    try:
        os.initgroups(entry.pw_name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
        answer = {"result": work()}
    except Pm2Error as error:
        answer = {"message": error.message, "details": error.details}
    except BaseException as error:  # whatever it was, the parent must hear of it
        answer = {
            "message": "Work as user {0} failed: {1}.".format(entry.pw_name, error),
            "details": {"exception": traceback.format_exc()},
        }
    with os.fdopen(sink, "wb") as stream:
        stream.write(json.dumps(answer).encode("utf-8"))
    sys.stdout.flush()
    os._exit(0)
