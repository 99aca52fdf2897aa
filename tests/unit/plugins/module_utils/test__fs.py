"""Files: all or nothing, and no way out of a root."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.module_utils import _fs
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error


def test_write_atomic_replaces_and_sets_the_mode(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    path.chmod(0o644)
    _fs.write_atomic(str(path), b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["f"]


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    """The file size limit stands in for the disk: write(2) fails half-way with both."""
    path = tmp_path / "f"
    path.write_text("old")
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            _fs.write_atomic(str(path), b"x" * 100_000)
        except Pm2Error as error:
            os._exit(7 if "cannot be written" in error.message else 8)
        os._exit(0)
    assert os.WEXITSTATUS(os.waitpid(pid, 0)[1]) == 7
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["f"]


def test_link_atomic_switches(tmp_path: Path) -> None:
    link = tmp_path / "current"
    for target in ("a", "b", "b"):
        _fs.link_atomic(target, str(link))
        assert os.readlink(link) == target
    assert os.listdir(tmp_path) == ["current"]


SEGMENTS = st.lists(st.sampled_from(["a", "b", "..", ".", "out", "in", ""]), min_size=1, max_size=6).map("/".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(SEGMENTS)
def test_inside_never_leaves_the_root(tmp_path: Path, relative: str) -> None:
    root = tmp_path / "root"
    (root / "in").mkdir(parents=True, exist_ok=True)
    if not (root / "out").is_symlink():
        (root / "out").symlink_to(tmp_path)
    try:
        path = _fs.inside(str(root), relative, "path")
    except Pm2Error:
        return
    assert os.path.realpath(path) == path
    assert path == str(root) or path.startswith(f"{root}/")


@pytest.mark.parametrize("relative", ["/etc/passwd", "../x", "a/../../x", "", "a\0b"])
def test_inside_refuses(tmp_path: Path, relative: str) -> None:
    with pytest.raises(Pm2Error, match="linked path"):
        _fs.inside(str(tmp_path), relative, "linked path")


def test_a_root_that_is_a_link_itself_is_no_way_out(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to("real")
    assert _fs.inside(str(tmp_path / "root"), "x", "path") == str(tmp_path / "real" / "x")


def test_the_lock_names_its_holder_and_dies_with_it(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    program = "import fcntl,os,sys,time\nf=os.open(sys.argv[1],os.O_RDWR|os.O_CREAT)\nfcntl.flock(f,fcntl.LOCK_EX)\n"
    program += "os.pwrite(f,str(os.getpid()).encode(),0)\nprint('held',flush=True)\ntime.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(Pm2Error, match=rf"\(pid {holder.pid}\) is starting things"), _fs.locked(
            path, 0.1, "starting things"
        ):
            pass
        holder.kill()
    with _fs.locked(path, 0.1, "starting things"):
        pass


def test_tail(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"line {number}\n" for number in range(1000)))
    assert _fs.tail(str(path), 2) == ["line 998", "line 999"]
    assert _fs.tail(str(path), 5, max_bytes=12) == ["98", "line 999"]
    assert _fs.tail(str(tmp_path / "none"), 2) == []
