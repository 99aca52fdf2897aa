# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dependency cache: what was stored comes back, what changed is noticed, no release can change another."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils import _dependency_cache as cache
from ansible_collections.zerodown.pm2.plugins.module_utils import _tree
from ansible_collections.zerodown.pm2.plugins.module_utils._release import Release

RELEASE = Release("a", "/a", "0", {}, "", "", "", True)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A release with an installed tree, and a workspace."""
    root = tmp_path / "first"
    files = {
        "node_modules/lib/index.js": "lib",
        "node_modules/lib/node_modules/inner/index.js": "inner",
        "node_modules/.package-lock.json": "{}",
        "node_modules/.bin/tool": f"#!/bin/sh\nNODE_PATH={root}/node_modules\n",
        "node_modules/.pnpm/dep/index.js": "dep",
        "packages/a/node_modules/own/index.js": "own",
        "index.js": "app",
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (root / "node_modules/a").symlink_to("../packages/a")
    (root / "node_modules/lib/index.js").chmod(0o755)
    return root


@pytest.fixture
def second(tmp_path: Path) -> Path:
    (tmp_path / "second/packages/a").mkdir(parents=True)
    return tmp_path / "second"


@pytest.fixture(params=[True, False], ids=["link", "copy"])
def link(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    # the tests may run as root; that root gets copies is shown below
    monkeypatch.setattr(cache, "_modes_bind", lambda: True)
    return bool(request.param)


def test_what_was_stored_comes_back(tmp_path: Path, first: Path, second: Path, link: bool) -> None:
    count, fault = cache.store(str(tmp_path / "cache"), "key", str(first), link)
    assert fault is None
    assert cache.exists(str(tmp_path / "cache"), "key")
    assert cache.restore(str(tmp_path / "cache"), "key", str(second), link) == count
    for tree in ("node_modules", "packages/a/node_modules"):
        names = [
            [os.path.relpath(entry.path, root) for entry in _tree.walk(str(root / tree), [])]
            for root in (first, second)
        ]
        assert names[0] == names[1]
    assert os.readlink(second / "node_modules/a") == "../packages/a"
    assert (second / "node_modules/lib/index.js").read_text() == "lib"
    assert os.access(second / "node_modules/lib/index.js", os.X_OK)
    assert not (second / "index.js").exists()


def test_linked_files_are_shared_and_read_only(tmp_path: Path, first: Path, second: Path, link: bool) -> None:
    cache.store(str(tmp_path / "cache"), "key", str(first), link)
    cache.restore(str(tmp_path / "cache"), "key", str(second), link)
    for name in ("node_modules/lib/index.js", "node_modules/.pnpm/dep/index.js"):
        assert (first / name).samefile(second / name) == link
        assert bool((second / name).stat().st_mode & 0o222) != link


def test_what_tools_rewrite_is_never_shared(tmp_path: Path, first: Path, second: Path, link: bool) -> None:
    cache.store(str(tmp_path / "cache"), "key", str(first), link)
    cache.restore(str(tmp_path / "cache"), "key", str(second), link)
    for name in ("node_modules/.package-lock.json", "node_modules/.bin/tool"):
        assert not (first / name).samefile(second / name)
        (second / name).open("a").close()
    assert str(second) in (second / "node_modules/.bin/tool").read_text()
    assert str(first) not in (second / "node_modules/.bin/tool").read_text()


def test_what_has_another_name_already_is_not_made_read_only(tmp_path: Path, first: Path, link: bool) -> None:
    os.link(first / "node_modules/lib/index.js", tmp_path / "the-store-of-pnpm")
    cache.store(str(tmp_path / "cache"), "key", str(first), link)
    assert (tmp_path / "the-store-of-pnpm").stat().st_mode & 0o200


DAMAGES: dict[str, Callable[[Path], object]] = {
    "content": lambda entry: rewrite(entry / "tree/node_modules/lib/index.js", "LIB"),
    "size": lambda entry: rewrite(entry / "tree/node_modules/lib/index.js", "longer"),
    "truncated": lambda entry: rewrite(entry / "tree/node_modules/lib/index.js", ""),
    "missing": lambda entry: (entry / "tree/node_modules/lib/index.js").unlink(),
    "mode": lambda entry: (entry / "tree/node_modules/lib/index.js").chmod(0o600),
    "list": lambda entry: (entry / "entry.json").write_text("{"),
    "format": lambda entry: (entry / "entry.json").write_text(json.dumps({"format": 0})),
}


def rewrite(path: Path, content: str) -> None:
    mode = path.stat().st_mode
    path.chmod(0o700)
    path.write_text(content)
    path.chmod(mode)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_noticed_and_cleared_away(tmp_path: Path, first: Path, second: Path, link: bool, damage: str) -> None:
    cache.store(str(tmp_path / "cache"), "key", str(first), link)
    DAMAGES[damage](tmp_path / "cache/key")
    with pytest.raises(cache.Damaged):
        cache.restore(str(tmp_path / "cache"), "key", str(second), link)
    assert not cache.exists(str(tmp_path / "cache"), "key")
    assert cache.trees(str(second)) == []


def test_a_link_out_of_the_directory_is_not_kept(tmp_path: Path, first: Path, link: bool) -> None:
    (first / "node_modules/out").symlink_to("../../elsewhere")
    count, fault = cache.store(str(tmp_path / "cache"), "key", str(first), link)
    assert "not part of the directory" in str(fault)
    assert count > 0
    assert os.listdir(tmp_path / "cache") == []


def test_nothing_installed_is_nothing_kept(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert cache.store(str(tmp_path / "cache"), "key", str(tmp_path / "empty"), True)[1] is not None
    assert not (tmp_path / "cache").exists()


def test_who_may_write_everything_gets_copies(
    tmp_path: Path, first: Path, second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_modes_bind", lambda: False)
    cache.store(str(tmp_path / "cache"), "key", str(first), True)
    cache.restore(str(tmp_path / "cache"), "key", str(second), True)
    assert not (first / "node_modules/lib/index.js").samefile(second / "node_modules/lib/index.js")


def test_whether_modes_bind_is_told_truly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "file").chmod(0o444)
    assert cache._modes_bind() != os.access(tmp_path / "file", os.W_OK)


def test_entries_of_no_release_are_unused(tmp_path: Path) -> None:
    for name in ("used", "unused", ".unused.999999999.partial", f".unused.{os.getpid()}.partial"):
        (tmp_path / name).mkdir()
    releases = [RELEASE, dataclasses.replace(RELEASE, build={"dependencies": {"key": "used"}})]
    releases.append(dataclasses.replace(RELEASE, build={"dependencies": None}))
    found = [os.path.basename(path) for path in cache.unused_entries(str(tmp_path), releases)]
    assert found == [".unused.999999999.partial", "unused"]
    assert cache.unused_entries(str(tmp_path / "missing"), []) == []


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """A directory with what a virtual environment has."""
    root = tmp_path / "one"
    for name, content in {
        ".venv/pyvenv.cfg": "home = /usr/bin\n",
        ".venv/.lock": "",
        ".venv/bin/tool": f"#!{root}/.venv/bin/python\n",
        ".venv/lib/site-packages/lib/core.py": "lib",
        ".venv/lib/site-packages/lib/__pycache__/core.pyc": f"\0{root}",
        ".venv/lib/site-packages/lib.dist-info/direct_url.json": f'{{"url": "file://{root}"}}',
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (root / ".venv/bin/python").symlink_to("/usr/bin/python3")
    (root / ".venv/bin/python3").symlink_to("python")
    (root / ".venv/lib64").symlink_to("lib")
    return root


def test_a_virtual_environment_names_its_new_place(tmp_path: Path, venv: Path, second: Path, link: bool) -> None:
    assert cache.store(str(tmp_path / "cache"), "key", str(venv), link, ".venv")[1] is None
    cache.restore(str(tmp_path / "cache"), "key", str(second), link)
    assert (second / ".venv/bin/tool").read_text() == f"#!{second}/.venv/bin/python\n"
    assert str(venv) not in (second / ".venv/lib/site-packages/lib.dist-info/direct_url.json").read_text()
    assert os.readlink(second / ".venv/bin/python") == "/usr/bin/python3"
    assert os.readlink(second / ".venv/lib64") == "lib"
    for name, shared in {"lib/core.py": link, "lib/__pycache__/core.pyc": link}.items():
        path = f".venv/lib/site-packages/{name}"
        assert (venv / path).samefile(second / path) == shared
    for name in ("pyvenv.cfg", ".lock", "bin/tool"):
        assert not (venv / ".venv" / name).samefile(second / ".venv" / name)
        (second / ".venv" / name).open("a").close()


@pytest.mark.parametrize("name", [".venv/lib/site-packages/out", ".venv/bin/own"])
def test_only_programs_may_lead_to_the_host(tmp_path: Path, venv: Path, name: str) -> None:
    target = "/usr/share" if "lib" in name else str(venv / ".venv/lib")
    (venv / name).symlink_to(target)
    fault = cache.store(str(tmp_path / "cache"), "key", str(venv), False, ".venv")[1]
    assert "not part of the directory" in str(fault)
