# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work in a process of its own: what comes back from it, and what its end and the end of its parent mean."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils import _runner
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._runner import Aside, Interrupted
from ansible_collections.zerodown.pm2.plugins.module_utils._state import pid_exists

PATIENCE = 60.0


class Told:
    """What was received aside."""

    def __init__(self) -> None:
        self.asides: list[Aside] = []

    def run(self, work: Callable[[Aside], dict[str, Any]]) -> dict[str, Any]:
        return _runner.run(work, "the cutover of web", self.asides.append)


def run(work: Callable[[Aside], dict[str, Any]]) -> dict[str, Any]:
    return Told().run(work)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_result_and_what_was_said_aside() -> None:
    def work(aside: Aside) -> dict[str, Any]:
        aside.warnings.append("mind the gap")
        aside.secrets.append("hunter2")
        return {"changed": True, "text": "Grüße \udcff"}

    told = Told()
    assert told.run(work) == {"changed": True, "text": "Grüße \udcff"}
    assert told.asides == [Aside(["mind the gap"], ["hunter2"])]
    assert "hunter2" not in repr(told.asides)


def test_more_than_a_pipe_holds() -> None:
    assert run(lambda _aside: {"log": ["x" * 1000] * 1000}) == {"log": ["x" * 1000] * 1000}


def test_an_error_with_its_details_and_what_was_said_aside() -> None:
    def work(aside: Aside) -> dict[str, Any]:
        aside.warnings.append("before it failed")
        raise Pm2Error("The release was rejected.", failures=[{"app": "web"}], verdict="bad")

    told = Told()
    with pytest.raises(Pm2Error, match=r"^The release was rejected\.$") as caught:
        told.run(work)
    assert caught.value.details == {"failures": [{"app": "web"}], "verdict": "bad"}
    assert [aside.warnings for aside in told.asides] == [["before it failed"]]


def test_an_error_that_nobody_expected_says_where() -> None:
    def work(_aside: Aside) -> dict[str, Any]:
        return {"x": 1 // 0}

    with pytest.raises(Pm2Error, match=r"unexpected error \(ZeroDivisionError: .*\); please report it") as caught:
        run(work)
    assert [line.split(":")[0] for line in caught.value.details["exception"]] == ["_runner.py", "test__runner.py"]


def test_what_is_no_plain_data_does_not_cost_the_answer() -> None:
    def work(_aside: Aside) -> dict[str, Any]:
        raise Pm2Error("No.", path=Path("/x"))

    with pytest.raises(Pm2Error, match=r"^No\.$") as caught:
        run(work)
    assert caught.value.details == {"path": "/x"}


def test_one_that_is_killed() -> None:
    def work(_aside: Aside) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    with pytest.raises(Pm2Error) as caught:
        run(work)
    assert caught.value.message == (
        "The process that ran the cutover of web was killed; run the task again: it first undoes or finishes what was "
        "begun."
    )


def test_one_that_is_told_to_stop_undoes_what_it_did_and_is_not_disturbed_twice() -> None:
    def work(aside: Aside) -> dict[str, Any]:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            aside.warnings.append("not reached")
        except Interrupted:
            os.kill(os.getpid(), signal.SIGTERM)
            aside.warnings.append("undone")
            raise
        return {}

    told = Told()
    with pytest.raises(Pm2Error, match=r"was told to stop \(SIGTERM\)"):
        told.run(work)
    assert told.asides[0].warnings == ["undone"]


def test_it_has_nothing_of_ours() -> None:
    def work(_aside: Aside) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGHUP)
        return {
            "ids": [os.getpid(), os.getppid(), os.getsid(0), os.getpgid(0)],
            "files": [os.readlink(f"/proc/self/fd/{number}") for number in (0, 1, 2)],
            "cwd": os.getcwd(),
        }

    told = run(work)
    pid, parent, session, group = told["ids"]
    assert len({os.getpid(), pid, parent}) == 3
    # not the leader of its session, so it never gets a terminal
    assert session == group != os.getsid(0)
    assert session != pid
    assert told["files"] == [os.devnull] * 3
    assert told["cwd"] == "/"
    # the one between us, which made the session, was waited for
    with pytest.raises(ChildProcessError):
        os.waitpid(session, os.WNOHANG)


# what is started under nohup ignores the hang-up, as would all its children
MODULE = """
import os, signal, sys, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)
started, go, done = sys.argv[1:4]
sys.path[:] = sys.argv[4:]
from ansible_collections.zerodown.pm2.plugins.module_utils import _runner

def work(aside):
    with open(started + ".new", "w") as stream:
        stream.write(str(os.getpid()))
    os.rename(started + ".new", started)
    while not os.path.exists(go):
        time.sleep(0.02)
    with open(done, "w") as stream:
        stream.write("done")
    return {"log": ["x" * 1000] * 1000}

_runner.run(work, "the cutover of web", print)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_it_outlives_its_parent(tmp_path: Path, number: int) -> None:
    """As when the ssh session of a module is cut: its whole group of processes gets the signal."""
    started, go, done = (tmp_path / name for name in ("started", "go", "done"))
    command = [sys.executable, "-c", MODULE, str(started), str(go), str(done), *sys.path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as module:
        until(started.exists)
        worker = int(started.read_text())
        try:
            os.killpg(module.pid, number)
            assert module.wait(PATIENCE) == -number
            # nobody waits for the end of its output
            assert module.stdout is not None
            assert module.stdout.read() == b""
            assert pid_exists(worker)
            assert not done.exists()
        finally:
            go.touch()
    until(done.exists)
    # that nobody takes its answer does not keep it
    until(lambda: not Path(f"/proc/{worker}/exe").exists())
