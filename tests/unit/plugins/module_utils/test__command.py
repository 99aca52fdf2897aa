"""Running programs."""

from __future__ import annotations

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
    program = (
        "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        f"open({str(pid_file)!r}, 'w').write(str(p.pid)); time.sleep(60)"
    )
    with pytest.raises(CommandError, match="did not end within 2 s"):
        run([PYTHON, "-c", program], env={}, timeout=2)
    deadline = time.monotonic() + 10
    while pid_exists(int(pid_file.read_text())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not pid_exists(int(pid_file.read_text()))


def test_a_child_that_outlives_it_does_not_hold_us_up() -> None:
    program = "import subprocess; subprocess.Popen(['sleep', '3']); print('done')"
    started = time.monotonic()
    assert run([PYTHON, "-c", program], env={"PATH": "/usr/bin:/bin"}).stdout == "done\n"
    assert time.monotonic() - started < 3
