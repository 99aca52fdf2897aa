# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trees: links are never followed, the digest sees what matters, removal leaves nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils import _tree
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "deep/er").mkdir(parents=True)
    (root / "deep/er/file").write_text("content")
    (root / "program").write_text("#!/bin/sh\n")
    (root / "program").chmod(0o755)
    (root / "link").symlink_to("deep/er")
    (root / "broken").symlink_to("nowhere")
    return root


def test_a_copy_has_the_same_digest(tree: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    _tree.copy(str(tree), str(copy), [])
    assert _tree.digest(str(copy), []) == _tree.digest(str(tree), [])
    assert os.readlink(copy / "link") == "deep/er"


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "deep/er/file").write_text("other"),
        lambda root: (root / "deep/er/file").rename(root / "deep/er/other"),
        lambda root: (root / "program").chmod(0o644),
        lambda root: (root / "empty").mkdir(),
        lambda root: ((root / "broken").unlink(), (root / "broken").symlink_to("elsewhere")),
        lambda root: ((root / "broken").unlink(), (root / "broken").write_text("nowhere")),
    ],
    ids=["content", "name", "mode", "directory", "target", "kind"],
)
def test_the_digest_sees_every_change(tree: Path, change: object) -> None:
    before = _tree.digest(str(tree), [])
    assert callable(change)
    change(tree)
    assert _tree.digest(str(tree), []) != before


@pytest.mark.parametrize(("pattern", "left_out"), [("er", "deep/er"), ("deep/er", "deep/er"), ("*.log", "deep/x.log")])
def test_excluded(tree: Path, pattern: str, left_out: str) -> None:
    (tree / "deep/x.log").write_text("")
    found = [os.path.relpath(entry.path, tree) for entry in _tree.walk(str(tree), [pattern])]
    assert "deep" in found
    assert left_out not in found


def test_what_others_may_write_they_may_not_write_in_the_copy(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    for name, mode in (("open", 0o6777), ("secret", 0o400)):
        (tmp_path / "from" / name).write_text("")
        (tmp_path / "from" / name).chmod(mode)
    _tree.copy(str(tmp_path / "from"), str(tmp_path / "to"), [])
    assert {path.name: oct(path.stat().st_mode & 0o7777) for path in (tmp_path / "to").iterdir()} == {
        "open": "0o755",
        "secret": "0o600",
    }


def test_a_socket_cannot_be_copied(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "from/s"))
        with pytest.raises(Pm2Error, match="neither file, directory nor link"):
            _tree.copy(str(tmp_path / "from"), str(tmp_path / "to"), [])


def test_removal_follows_no_link_and_minds_no_mode(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("stays")
    (tree / "out").symlink_to(outside)
    (tree / "deep/er").chmod(0o500)
    (tree / "deep").chmod(0o000)
    _tree.remove(str(tree))
    assert not tree.exists()
    assert (outside / "precious").read_text() == "stays"
    _tree.remove(str(tree))


def test_a_link_is_removed_and_not_what_it_names(tree: Path) -> None:
    _tree.remove(str(tree / "link"))
    assert (tree / "deep/er/file").exists()


def test_who_runs_from_a_directory_is_seen(tmp_path: Path) -> None:
    for name in ("by-cwd", "by-script", "unused"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "app.py").write_text("import sys; print('up', flush=True); sys.stdin.read()")
    commands = [
        ([sys.executable, "app.py"], tmp_path / "by-cwd"),
        ([sys.executable, str(tmp_path / "by-script/app.py")], Path("/")),
    ]
    started = [subprocess.Popen(argv, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for argv, cwd in commands]
    try:
        for process in started:
            assert process.stdout is not None
            process.stdout.readline()
        assert _tree.in_use(str(tmp_path)) == {"by-cwd", "by-script"}
    finally:
        for process in started:
            process.communicate()
    assert _tree.in_use(str(tmp_path)) == set()
