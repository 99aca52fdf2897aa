# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lock of a cutover, between real processes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils import _cutover_lock
from ansible_collections.zerodown.pm2.plugins.module_utils._cutover_lock import Locked, held
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home

# in each test the lock is free, or will be at once
PATIENCE = 60.0

HOLDER = """
import signal, sys
home, name, how = sys.argv[1:4]
sys.path[:] = sys.argv[4:]
from ansible_collections.zerodown.pm2.plugins.module_utils._cutover_lock import held
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home

def stop(_number, _frame):
    raise KeyboardInterrupt

signal.signal(signal.SIGTERM, signal.SIG_IGN if how == "ignores" else stop)
try:
    with held(Home(home), [name], "anna", "new prices", 0, False):
        print("held", flush=True)
        sys.stdin.readline()
except KeyboardInterrupt:
    print("undone", flush=True)
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "gate").mkdir(mode=0o700)
    return Home(str(tmp_path))


@contextlib.contextmanager
def another(home: Home, name: str = "web", how: str = "undoes") -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the lock, until a line is written to it."""
    command = [sys.executable, "-c", HOLDER, home.path, name, how, *sys.path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert said(process) == "held"
            yield process
        finally:
            process.kill()


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def take(home: Home, *names: str, wait: float = 0.0, force: bool = False) -> None:
    """Take the locks, and see that they are ours."""
    with held(home, names, "bob", None, wait, force):
        for name in names:
            ours = pytest.raises(Locked, match=rf"App {name} is being cut over by bob \(pid {os.getpid()}, since")
            with ours, held(home, [name], "carol", None, 0.0, False):
                pass


def content(home: Home, name: str = "web") -> str:
    return Path(home.gate, name + ".lock").read_text()


def test_one_at_a_time_and_whose_it_is(home: Home) -> None:
    with another(home) as holder:
        with pytest.raises(Locked) as caught:
            take(home, "web")
        assert re.fullmatch(
            rf"App web is being cut over by anna \(pid {holder.pid}, since [0-9.]+ s, reason: new prices\); it was "
            r"waited for 0 s\. Wait for it, give a longer lock_timeout, or end it with force\.",
            caught.value.message,
        )
        told = caught.value.details["holder"]
        assert 0 <= told.pop("age") < PATIENCE
        assert told == {"pid": holder.pid, "by": "anna", "reason": "new prices"}
        # another app is another's affair
        take(home, "api")


def test_free_once_it_was_given_back(home: Home) -> None:
    take(home, "web")
    take(home, "web")
    assert content(home) == ""
    assert os.stat(Path(home.gate, "web.lock")).st_mode & 0o777 == 0o600


def test_free_after_a_failure(home: Home) -> None:
    with pytest.raises(RuntimeError), held(home, ["web"], "anna", None, 0.0, False):
        raise RuntimeError
    assert content(home) == ""
    take(home, "web")


def test_it_is_waited_for(home: Home) -> None:
    with another(home) as holder:
        assert holder.stdin is not None
        with pytest.raises(Locked, match=r"it was waited for 0\.2 s"):
            take(home, "web", wait=0.2)
        holder.stdin.write("\n")
        holder.stdin.flush()
        take(home, "web", wait=PATIENCE)


def test_who_was_killed_holds_nothing(home: Home) -> None:
    with another(home) as holder:
        holder.kill()
        # nobody has waited for it: its pid is still there
        take(home, "web", wait=PATIENCE)
    assert content(home) == ""


def test_force_lets_the_holder_undo_what_it_did(home: Home) -> None:
    with another(home) as holder:
        take(home, "web", force=True)
        assert said(holder) == "undone"
        assert holder.wait(PATIENCE) == 0


def test_force_ends_a_holder_that_does_not_stop(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cutover_lock, "FORCE_PATIENCE", 0.5)
    with another(home, how="ignores") as holder:
        take(home, "web", force=True, wait=PATIENCE)
        assert holder.wait(PATIENCE) == -9


def test_force_without_a_holder(home: Home) -> None:
    take(home, "web", force=True)
    # the pid that a killed one left behind may be anybody's by now: ours, say
    Path(home.gate, "web.lock").write_text('{"pid": %d}' % os.getpid())
    take(home, "web", force=True)


def test_force_ends_nobody_whose_name_is_not_known(home: Home) -> None:
    path = Path(home.gate, "web.lock")
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        for text in ("", "{", "[]", '{"pid": "x"}', '{"by": null}'):
            path.write_text(text)
            with pytest.raises(Locked, match="by somebody \\(pid (unknown|x)\\)"):
                take(home, "web", force=True)


def test_all_or_none(home: Home) -> None:
    with another(home, "web"):
        with pytest.raises(Locked, match="App web"):
            take(home, "api", "web", "zoo")
        take(home, "api", "zoo")
    take(home, "web", "api", wait=PATIENCE)


def test_the_same_apps_in_another_order_do_not_wait_for_each_other(home: Home) -> None:
    """Whoever has the first of them gets the others too."""
    with another(home, "api"), pytest.raises(Locked, match="App api"):
        take(home, "web", "api")
    assert not Path(home.gate, "web.lock").exists()
    with held(home, ["web", "api", "web"], "anna", None, 0.0, False):
        for name in ("api", "web"):
            assert '"anna"' in content(home, name)


def test_a_link_is_not_followed(home: Home, tmp_path: Path) -> None:
    target = tmp_path / "other"
    target.write_text("precious")
    Path(home.gate, "web.lock").symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        take(home, "web")
    assert target.read_text() == "precious"


def test_a_program_that_the_holder_starts_does_not_hold_it(home: Home) -> None:
    command = [sys.executable, "-c", "print('there', flush=True); input()"]
    with contextlib.ExitStack() as stack:
        with held(home, ["web"], "anna", None, 0.0, False):
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, close_fds=False
            )
            child = stack.enter_context(process)
            stack.callback(child.kill)
            assert said(child) == "there"
        take(home, "web")
