"""The preload's file and its place in a process' arguments."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.module_utils import _gate_script
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._gate_script import SCRIPT, install, is_ours, name, strip
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home

ARGUMENTS = st.lists(st.sampled_from(["-r", "--require", "./other.cjs", "--max-old-space-size=99", "/gate/preload.js"]))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_it_is_installed_privately_under_the_name_of_its_text(tmp_path: Path) -> None:
    path = Path(install(Home(str(tmp_path))))
    assert path.parent == tmp_path / "gate"
    assert path.read_text() == SCRIPT
    assert path.name == name() == f"preload-{hashlib.sha256(SCRIPT.encode()).hexdigest()[:8]}.cjs"
    assert (mode(path.parent), mode(path)) == (0o700, 0o600)


def test_installing_it_again_writes_nothing(tmp_path: Path) -> None:
    home = Home(str(tmp_path))
    before = os.stat(install(home))
    after = os.stat(install(home))
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_another_version_leaves_the_one_that_processes_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(str(tmp_path))
    before = install(home)
    monkeypatch.setattr(_gate_script, "SCRIPT", SCRIPT + "// newer\n")
    after = install(home)
    assert after != before
    assert Path(before).read_text() == SCRIPT


@pytest.mark.parametrize("damage", ["changed", "cut", "readable by all", "a link"])
def test_what_is_not_the_script_is_replaced(tmp_path: Path, damage: str) -> None:
    home = Home(str(tmp_path))
    path = Path(install(home))
    other = tmp_path / "other"
    if damage == "changed":
        path.write_text("process.exit(1)")
    elif damage == "cut":
        path.write_text(SCRIPT[:100])
    elif damage == "readable by all":
        path.chmod(0o644)
    else:
        other.write_text(SCRIPT)
        path.unlink()
        path.symlink_to(other)
        other.write_text("mine")
    assert Path(install(home)) == path
    assert path.read_text() == SCRIPT
    assert (path.is_symlink(), mode(path)) == (False, 0o600)
    # nothing is written through a link
    assert damage != "a link" or other.read_text() == "mine"


def test_the_directory_is_made_private(tmp_path: Path) -> None:
    (tmp_path / "gate").mkdir()
    (tmp_path / "gate").chmod(0o755)
    install(Home(str(tmp_path)))
    assert mode(tmp_path / "gate") == 0o700


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_directory_that_is_none_is_refused(tmp_path: Path, kind: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if kind == "link":
        (tmp_path / "gate").symlink_to(elsewhere)
    else:
        (tmp_path / "gate").touch()
    with pytest.raises(Pm2Error, match=str(tmp_path / "gate")):
        install(Home(str(tmp_path)))
    assert not list(elsewhere.iterdir())


def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gate").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: (tmp_path / "gate").stat().st_uid + 1)
    with pytest.raises(Pm2Error, match="belongs to user"):
        install(Home(str(tmp_path)))


@given(ARGUMENTS, ARGUMENTS)
def test_what_was_declared_comes_back(before: Any, after: Any) -> None:
    if before and before[-1] == "-r":
        # -r -r <ours>: no process was ever started so
        before = before[:-1]
    with_ours = [*before, "-r", "/home/a/.pm2/gate/preload-0123abcd.cjs", *after]
    assert strip(with_ours) == [*before, *after]
    assert is_ours(with_ours)
    assert strip(strip(with_ours)) == strip(with_ours)
    assert not is_ours([*before, *after])


@pytest.mark.parametrize(
    "arguments",
    [
        ["-r", "/app/preload-0123abcd.cjs"],
        ["-r", "/app/gate/preload-0123abcd.cjs.js"],
        ["/home/a/.pm2/gate/preload-0123abcd.cjs"],
        ["--require", "/home/a/.pm2/gate/preload-0123abcd.cjs"],
        [],
    ],
)
def test_what_the_app_declares_is_not_ours(arguments: Any) -> None:
    assert not is_ours(arguments)
    assert strip(arguments) == arguments
