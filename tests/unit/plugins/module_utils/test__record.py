# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a release was run as: proposed, confirmed, withdrawn, and believed only when it is whole."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils import _record
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._record import Record
from ansible_collections.zerodown.pm2.plugins.module_utils._release import PRIVATE, Layout

ONE = Record([{"name": "web", "env": {"TOKEN": "hunter2"}}, {"name": "api"}], "/usr/bin/node", "20.1.0")
TWO = Record([{"name": "web"}], None, None)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    for release in ("r1", "r2"):
        (tmp_path / "releases" / release / PRIVATE).mkdir(parents=True)
    return Layout.at(str(tmp_path))


def files(layout: Layout, release: str = "r1") -> list[str]:
    return sorted(os.listdir(os.path.join(layout.release(release), PRIVATE)))


def test_a_proposal_counts_once_it_is_confirmed(layout: Layout) -> None:
    _record.propose(layout, "r1", ONE)
    assert _record.read(layout, "r1") is None
    _record.confirm(layout, "r1")
    assert _record.read(layout, "r1") == ONE
    assert files(layout) == ["apps.json"]
    # whoever finishes an interrupted cutover does it again
    _record.confirm(layout, "r1")
    assert _record.read(layout, "r1") == ONE


def test_a_proposal_that_is_withdrawn_leaves_what_was_proven(layout: Layout) -> None:
    _record.propose(layout, "r1", ONE)
    _record.confirm(layout, "r1")
    _record.propose(layout, "r1", TWO)
    assert _record.read(layout, "r1") == ONE
    for _time in range(2):
        _record.withdraw(layout, "r1")
        assert files(layout) == ["apps.json"]
    assert _record.read(layout, "r1") == ONE


def test_the_last_proposal_counts(layout: Layout) -> None:
    for record in (ONE, TWO):
        _record.propose(layout, "r1", record)
    _record.confirm(layout, "r1")
    assert _record.read(layout, "r1") == TWO
    assert _record.read(layout, "r2") is None


def test_it_is_private(layout: Layout) -> None:
    _record.propose(layout, "r1", ONE)
    assert os.stat(_record.path_of(layout, "r1") + ".next").st_mode & 0o777 == 0o600
    _record.confirm(layout, "r1")
    assert os.stat(_record.path_of(layout, "r1")).st_mode & 0o777 == 0o600


def test_a_release_that_is_gone(layout: Layout) -> None:
    _record.confirm(layout, "r9")
    _record.withdraw(layout, "r9")
    assert _record.read(layout, "r9") is None
    with pytest.raises(Pm2Error, match="cannot be written"):
        _record.propose(layout, "r9", ONE)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "{}", '{"format": 1}', '{"format": 1, "apps": []}'])
def test_a_damaged_one(layout: Layout, text: str) -> None:
    path = _record.path_of(layout, "r1")
    Path(path).write_text(text)
    with pytest.raises(Pm2Error, match="is damaged; remove it") as caught:
        _record.read(layout, "r1")
    assert path in caught.value.message


def test_of_another_version(layout: Layout) -> None:
    Path(_record.path_of(layout, "r1")).write_text(json.dumps({"format": 2}))
    with pytest.raises(Pm2Error, match="another version of zerodown.pm2; update the collection"):
        _record.read(layout, "r1")


def test_one_that_cannot_be_read(layout: Layout) -> None:
    os.mkdir(_record.path_of(layout, "r1"))
    with pytest.raises(Pm2Error, match="cannot be read"):
        _record.read(layout, "r1")


def test_the_apps_of_the_live_release(layout: Layout) -> None:
    assert _record.declared_names(layout) == []
    os.symlink("releases/r1", layout.current)
    assert _record.declared_names(layout) == []
    for release, record in (("r1", ONE), ("r2", TWO)):
        _record.propose(layout, release, record)
        _record.confirm(layout, release)
    assert _record.declared_names(layout) == ["web", "api"]
