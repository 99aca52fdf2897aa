# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ports for tests, of which several suites run at once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support import pm2_host
from support.pm2_host import ROOT, find_free_port

DRAW = "from support.pm2_host import find_free_port; print(find_free_port(), flush=True); input()"


def test_the_port_of_another_process_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although nothing listens there yet."""
    path = os.pathsep.join([str(ROOT / ".dev" / "collections"), str(ROOT / "tests")])
    other = subprocess.Popen(
        [sys.executable, "-c", DRAW], env={"PYTHONPATH": path}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert other.stdout
        theirs, ours = int(other.stdout.readline()), find_free_port()
        monkeypatch.setattr(pm2_host, "PORTS", [theirs, ours])
        for _attempt in range(20):
            monkeypatch.setattr(pm2_host, "_given", set())
            assert find_free_port() == ours
    finally:
        other.communicate(b"\n")


def test_none_is_given_out_twice() -> None:
    assert len({find_free_port() for _attempt in range(200)}) == 200
