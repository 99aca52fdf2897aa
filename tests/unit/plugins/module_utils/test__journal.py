# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal of a cutover: what it tells whoever comes after, and what it must not hold."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.processes import declared, member, process

from ansible_collections.zerodown.pm2.plugins.module_utils import _dump, _journal
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._journal import (
    COMMIT,
    OPEN,
    PROVE,
    RECORD,
    RETIRE,
    STEPS,
    Journal,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process

OLD, NEW, PROBE = "r1-0a1b2c", "r2-3d4e5f", "r2-3d4e5f-probe"
BEFORE_THE_COMMIT = [PROVE, OPEN]
AFTER_THE_COMMIT = [RETIRE, RECORD]
APP = declared(instances=2)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "gate").mkdir(mode=0o700)
    return Home(str(tmp_path))


def journal(step: str = PROVE, name: str = "web", **changes: Any) -> Journal:
    made = Journal(name, [name], NEW, PROBE, step, [3, 4], "/srv/web", "r2", "r1", by="anna", reason="why", started=1.5)
    return dataclasses.replace(made, **changes)


def save_list(home: Home, *processes: Process) -> None:
    _dump.write(home, [_dump.entry_of(item, stopped=False) for item in processes])


# what is written -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
def test_what_was_written_is_read(home: Home, step: str) -> None:
    written = _journal.write(home, journal(step, rollback=True, drain_timeout=7.5))
    assert _journal.read(home, "web") == written
    assert _journal.read_all(home) == [written]
    assert os.stat(_journal.path_of(home, "web")).st_mode & 0o777 == 0o600


def test_a_step_is_written_whole_and_nothing_else_changes(home: Home) -> None:
    first = _journal.write(home, journal())
    second = _journal.advance(home, first, OPEN)
    assert second == dataclasses.replace(first, step=OPEN)
    assert _journal.read(home, "web") == second
    assert os.listdir(home.gate) == ["web.json"]


def test_the_end_leaves_nothing_and_may_come_twice(home: Home) -> None:
    _journal.write(home, journal())
    _journal.write(home, journal(name="api"))
    _journal.save_before(home, "web", [member(APP)])
    for _time in range(2):
        _journal.end(home, "web")
        assert os.listdir(home.gate) == ["api.json"]
        assert _journal.read(home, "web") is None


def test_there_is_none() -> None:
    nowhere = Home("/nonexistent")
    assert _journal.read(nowhere, "web") is None
    assert _journal.read_all(nowhere) == []


DAMAGED = ["", "{", "[]", "null", "7", '"format"', "{}", '{"format": 1}', '{"format": 1, "name": "web", "step": "x"}']


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_one_is_refused_by_name(home: Home, text: str) -> None:
    path = _journal.path_of(home, "web")
    Path(path).write_text(text)
    with pytest.raises(Pm2Error, match="is damaged; look at what runs") as caught:
        _journal.read(home, "web")
    assert path in caught.value.message
    # nobody else is kept from anything
    other = _journal.write(home, journal(name="api"))
    assert _journal.read_all(home) == [other]


def test_one_that_was_not_text(home: Home) -> None:
    Path(_journal.path_of(home, "web")).write_bytes(b"\xff\xfe{")
    with pytest.raises(Pm2Error, match="is damaged"):
        _journal.read(home, "web")


@pytest.mark.parametrize("changes", [{"format": 2}, {"format": 2, "later": True}])
def test_of_another_version(home: Home, changes: dict[str, Any]) -> None:
    _journal.write(home, journal())
    path = Path(_journal.path_of(home, "web"))
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(Pm2Error, match="was written by another version of zerodown.pm2; update the collection"):
        _journal.read(home, "web")
    assert _journal.read_all(home) == []


@pytest.mark.parametrize("changes", [{"later": True}, {"step": "later"}])
def test_what_is_not_known_is_not_guessed(home: Home, changes: dict[str, Any]) -> None:
    _journal.write(home, journal())
    path = Path(_journal.path_of(home, "web"))
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(Pm2Error, match="is damaged"):
        _journal.read(home, "web")


def test_one_that_cannot_be_read(home: Home) -> None:
    os.mkdir(_journal.path_of(home, "web"))
    with pytest.raises(Pm2Error, match="cannot be read"):
        _journal.read(home, "web")


# what ran before -----------------------------------------------------------------------------------------------------


def test_what_ran_before_can_be_started_again(home: Home) -> None:
    app = declared(instances=2, env={"TOKEN": "hunter2"})
    processes = [member(app, 3, 0, OLD), member(app, 4, 1, OLD, status="stopped", pid=None)]
    _journal.save_before(home, "web", processes)
    entries = _journal.load_before(home, "web")
    assert [(entry["NODE_APP_INSTANCE"], entry["status"]) for entry in entries] == [(0, "online"), (1, "stopped")]
    assert [entry["env"]["TOKEN"] for entry in entries] == ["hunter2"] * 2
    # it holds secrets; the journal holds none
    assert os.stat(_journal.before_of(home, "web")).st_mode & 0o777 == 0o600
    _journal.write(home, journal())
    assert "hunter2" not in Path(_journal.path_of(home, "web")).read_text()
    assert _journal.read_all(home) == [journal()]


def test_nothing_ran_before(home: Home) -> None:
    assert _journal.load_before(home, "web") == []
    _journal.save_before(home, "web", [])
    assert _journal.load_before(home, "web") == []


# on which side of the commit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", [OLD, NEW])
@pytest.mark.parametrize("step", STEPS)
def test_the_saved_list_decides_only_while_it_is_written(home: Home, step: str, generation: str) -> None:
    save_list(home, member(APP, 0, 0, generation))
    expected = generation == NEW if step == COMMIT else step in AFTER_THE_COMMIT
    assert _journal.is_committed(home, journal(step)) is expected


def test_without_a_list_that_can_be_read_nothing_was_committed(home: Home) -> None:
    assert not _journal.is_committed(home, journal(COMMIT))
    Path(home.dump).write_text("[")
    assert not _journal.is_committed(home, journal(COMMIT))


def test_a_stand_in_in_the_list_is_no_commit(home: Home) -> None:
    save_list(home, member(APP, 0, 0, PROBE))
    assert not _journal.is_committed(home, journal(COMMIT))


# what must not be saved for a boot -----------------------------------------------------------------------------------

RUNNING = [
    member(APP, 0, 0, OLD),
    # started by other means
    process(APP, 1, 1),
    member(APP, 2, 0, NEW),
    member(APP, 3, 0, PROBE),
    dataclasses.replace(member(APP, 4, 0, NEW), name="api"),
    dataclasses.replace(member(APP, 5, 0, OLD), name="other"),
]


@pytest.mark.parametrize(
    ("step", "committing", "pm_ids"),
    [
        *[(step, None, [2, 3]) for step in (*BEFORE_THE_COMMIT, COMMIT)],
        *[(step, None, [0, 1]) for step in AFTER_THE_COMMIT],
        # the list that is written now is the commit
        (COMMIT, "web", [0, 1]),
        # it is another's
        (COMMIT, "api", [2, 3]),
        (PROVE, "api", [2, 3]),
    ],
)
def test_what_passes_is_not_saved(step: str, committing: str | None, pm_ids: list[int]) -> None:
    assert _journal.passing([journal(step)], RUNNING, committing) == pm_ids


def test_several_cutovers_at_once() -> None:
    both = [journal(RETIRE), journal(PROVE, "api")]
    assert _journal.passing(both, RUNNING) == [0, 1, 4]
    assert _journal.passing([journal(names=["web", "api"])], RUNNING) == [2, 3, 4]
    assert _journal.passing([], RUNNING) == []
