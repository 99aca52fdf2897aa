# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
from support.pm2_host import find_free_port

from ansible_collections.zerodown.pm2.plugins.module_utils._ports import foreign_holder, listeners


@pytest.mark.parametrize(
    ("family", "address"),
    [
        (socket.AF_INET, "127.0.0.1"),
        (socket.AF_INET, "0.0.0.0"),
        (socket.AF_INET6, "::1"),
        (socket.AF_INET6, "::"),
        (socket.AF_INET6, "::ffff:127.0.0.1"),
    ],
)
def test_a_listener_is_found(family: int, address: str) -> None:
    with socket.socket(family) as listener:
        listener.bind((address, 0))
        port = listener.getsockname()[1]
        assert listeners(port) == []
        listener.listen()
        (found,) = listeners(port)
        assert found.uid == os.geteuid()
        assert str(foreign_holder(port, [])) == f"process {os.getpid()} ({name_of(os.getpid())})"
        assert foreign_holder(port, [os.getpid()]) is None
    assert foreign_holder(port, []) is None


def name_of(pid: int) -> str:
    with open(f"/proc/{pid}/comm") as stream:
        return stream.read().strip()


def test_an_address_that_no_app_of_this_host_will_want() -> None:
    with socket.socket() as listener:
        listener.bind(("127.5.5.5", 0))
        listener.listen()
        assert listeners(listener.getsockname()[1]) == []


def test_a_child_of_our_own_process_is_our_own() -> None:
    port = find_free_port()
    script = (
        f"import socket; s = socket.socket(); s.bind(('127.0.0.1', {port})); s.listen(); print(1, flush=True); input()"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout
        child.stdout.readline()
        assert foreign_holder(port, [os.getpid()]) is None
        holder = foreign_holder(port, [])
        assert holder
        assert holder.pid == child.pid
    finally:
        child.communicate(b"\n", timeout=60)
