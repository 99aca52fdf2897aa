# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Linked paths: none leads out, a missing file is found first, links hold wherever the root is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils import _shared
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._release import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    for name in ("releases/r", "shared"):
        (tmp_path / "app" / name).mkdir(parents=True)
    return Layout(str(tmp_path / "app"))


@pytest.mark.parametrize(
    "path",
    ["", ".", "..", "/etc", "../x", "a/../b", "a//b", "a/", "./a", "a/../../..", ".zerodown", ".zerodown/x", ".env"],
)
def test_paths_that_are_refused(layout: Layout, path: str) -> None:
    with pytest.raises(Pm2Error, match="shared path"):
        _shared.check(layout, [path], [], [".env"])
    with pytest.raises(Pm2Error, match="shared path"):
        _shared.check(layout, [], [path], [".env"])


@pytest.mark.parametrize("paths", [["a", "a"], ["a", "a/b"], ["a/b/c", "a"]])
def test_paths_in_each_other_are_refused(layout: Layout, paths: list[str]) -> None:
    with pytest.raises(Pm2Error, match="twice|lies within"):
        _shared.check(layout, paths, [], [])


def test_a_link_that_leads_out_of_shared_is_refused(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (Path(layout.shared) / "out").symlink_to(tmp_path / "outside")
    with pytest.raises(Pm2Error, match="leads out"):
        _shared.check(layout, ["out/logs"], [], [])


def test_a_missing_file_is_named_with_the_remedy(layout: Layout) -> None:
    with pytest.raises(Pm2Error) as error:
        _shared.check(layout, [], ["config/db.yml"], [])
    assert f"{layout.shared}/config/db.yml is missing; put it there" in error.value.message


def test_a_file_where_a_directory_is_wanted_is_refused(layout: Layout) -> None:
    (Path(layout.shared) / "logs").write_text("")
    with pytest.raises(Pm2Error, match="not a directory"):
        _shared.check(layout, ["logs"], [], [])


def test_links(layout: Layout) -> None:
    shared, release = Path(layout.shared), Path(layout.release("r"))
    (shared / "db.yml").write_text("host: db")
    (release / "uploads").mkdir()
    (release / "uploads/seed.txt").write_text("from the source")
    _shared.link(layout, str(release), ["uploads", "var/log"], ["db.yml"])
    assert (release / "uploads").is_symlink()
    assert (release / "uploads/seed.txt").read_text() == "from the source"
    assert (release / "var/log").resolve() == shared / "var/log"
    assert (release / "db.yml").read_text() == "host: db"
    assert not os.path.isabs(os.readlink(release / "uploads"))


def test_what_is_in_shared_already_wins(layout: Layout) -> None:
    (Path(layout.shared) / "uploads").mkdir()
    release = Path(layout.release("r"))
    (release / "uploads").mkdir()
    (release / "uploads/seed.txt").write_text("from the source")
    _shared.link(layout, str(release), ["uploads"], [])
    assert list((release / "uploads").iterdir()) == []


def test_links_hold_when_the_root_is_reached_by_a_link(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "some/where").mkdir(parents=True)
    (tmp_path / "some/where/else").symlink_to(layout.root)
    behind = Layout(str(tmp_path / "some/where/else"))
    _shared.link(behind, behind.release("r"), ["var/log"], [])
    (Path(layout.release("r")) / "var/log/x").write_text("")
    assert (Path(layout.shared) / "var/log/x").exists()


def test_a_link_in_the_source_cannot_lead_the_link_out(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (Path(layout.release("r")) / "var").symlink_to(tmp_path / "outside")
    with pytest.raises(Pm2Error, match="leads out"):
        _shared.link(layout, layout.release("r"), ["var/log"], [])
    assert list((tmp_path / "outside").iterdir()) == []
