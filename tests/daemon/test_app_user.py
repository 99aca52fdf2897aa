# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes under another user than the daemon's, which only root can have."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.pm2_host import environment_of

from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only a daemon of root can change the user")


def identity(process: Process) -> list[str]:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return [line.split()[1] for line in lines if line.startswith(("Uid:", "Gid:"))]


def test_user_and_group(app: Callable[..., dict[str, Any]], processes: Callable[[str], list[Process]]) -> None:
    # a program that everybody can read
    declared = {"name": "web", "script": "sleep", "args": "1000", "cwd": "/"}
    nobody, daemon = pwd.getpwnam("nobody"), pwd.getpwnam("daemon")
    app({**declared, "user": "nobody"})
    (process,) = processes("web")
    assert identity(process) == [str(nobody.pw_uid), str(nobody.pw_gid)]
    assert environment_of(process.pid or 0)["HOME"] == nobody.pw_dir
    assert environment_of(process.pid or 0)["USER"] == "nobody"
    assert not app({**declared, "uid": nobody.pw_uid})["changed"]
    app({**declared, "uid": "daemon", "gid": "nogroup"})
    assert identity(processes("web")[0]) == [str(daemon.pw_uid), str(nobody.pw_gid)]
    app(declared)
    assert identity(processes("web")[0]) == ["0", "0"]
    assert not app(declared)["changed"]


@pytest.mark.parametrize("pm2_version", ["7"], indirect=True)
def test_unknown_ones(app: Callable[..., dict[str, Any]]) -> None:
    declared = {"name": "web", "script": "sleep", "cwd": "/"}
    assert "there is no user nosuch" in app({**declared, "uid": "nosuch"}, fails=True)["msg"]
    assert "there is no group nosuch" in app({**declared, "uid": "nobody", "gid": "nosuch"}, fails=True)["msg"]
