"""Running programs."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils._command import run
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import CommandError
from ansible_collections.zerodown.pm2.plugins.module_utils._state import pid_exists

PYTHON = sys.executable


def test_it_gets_our_environment_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAK", "1")
    program = "import os; print(sorted(k for k in os.environ if k in ('LEAK', 'OURS')))"
    assert run([PYTHON, "-c", program], env={"OURS": "1"}).stdout == "['OURS']\n"


def test_a_failure_carries_its_last_lines() -> None:
    with pytest.raises(CommandError, match="return code 3: second") as caught:
        run([PYTHON, "-c", "import sys; sys.stderr.write('first\\nsecond\\n'); sys.exit(3)"], env={})
    assert caught.value.details["rc"] == 3
    assert caught.value.details["stderr_tail"] == ["first", "second"]


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(CommandError, match="could not be run"):
        run(["/nonexistent/program"], env={})


def test_out_of_time_takes_the_children_too(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    # a shell, because it gets there in time on any machine
    program = "sleep 1000 & echo $! >{0}; wait".format(shlex.quote(str(pid_file)))
    with pytest.raises(CommandError, match="did not end within 3 s"):
        run(["/bin/sh", "-c", program], env={"PATH": "/usr/bin:/bin"}, timeout=3)
    deadline = time.monotonic() + 60
    while pid_exists(int(pid_file.read_text())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not pid_exists(int(pid_file.read_text()))


def test_a_child_that_outlives_it_does_not_hold_us_up() -> None:
    child = int(run(["/bin/sh", "-c", "sleep 1000 & echo $!"], env={"PATH": "/usr/bin:/bin"}).stdout)
    assert pid_exists(child)
    os.kill(child, signal.SIGKILL)
