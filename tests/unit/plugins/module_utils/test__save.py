# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Saving the process list beside cutovers: what is on its way in or out is not in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_client import FakeClient
from support.processes import declared, member

from ansible_collections.zerodown.pm2.plugins.module_utils import _dump, _journal
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._journal import COMMIT, OPEN, PROVE, RETIRE, Journal
from ansible_collections.zerodown.pm2.plugins.module_utils._save import LOOKS, look, save
from ansible_collections.zerodown.pm2.plugins.module_utils._state import GENERATION_KEY, Process

OLD, NEW = "r1-0a1b2c", "r2-3d4e5f"
APP = declared(instances=2)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "gate").mkdir(mode=0o700)
    return Home(str(tmp_path))


def journal(step: str, name: str = "web") -> Journal:
    return Journal(name, [name], NEW, NEW + "-probe", step)


def one(pm_id: int, generation: str, name: str = "web") -> Process:
    return replace(member(declared(name=name, instances=2), pm_id, 0, generation))


def saved(home: Home) -> list[tuple[str, str]]:
    return generations(_dump.load(home).entries)


def generations(entries: list[_dump.Entry]) -> list[tuple[str, str]]:
    return [(entry["name"], entry[GENERATION_KEY]) for entry in entries]


@pytest.mark.parametrize(
    ("step", "committing", "expected"),
    [
        (PROVE, None, [("web", OLD)]),
        (OPEN, None, [("web", OLD)]),
        (COMMIT, None, [("web", OLD)]),
        (COMMIT, "web", [("web", NEW)]),
        (COMMIT, "other", [("web", OLD)]),
        (RETIRE, None, [("web", NEW)]),
        (None, None, [("web", OLD), ("web", NEW)]),
    ],
)
def test_what_a_cutover_is_about_to_prove_or_to_end(
    home: Home, step: str | None, committing: str | None, expected: list[tuple[str, str]]
) -> None:
    if step:
        _journal.write(home, journal(step))
    client = FakeClient(home, one(0, OLD), one(1, NEW), one(2, NEW, "api"))
    assert generations(look(client, committing).entries) == [*expected, ("api", NEW)]


def test_a_cutover_that_begins_while_the_list_is_asked_for(home: Home) -> None:
    client = FakeClient(home, one(0, OLD))

    def begin() -> None:
        _journal.write(home, journal(PROVE))
        client.list = [one(0, OLD), one(1, NEW)]

    client.before_answer = begin
    assert generations(look(client).entries) == [("web", OLD)]


def test_a_cutover_that_ends_while_the_list_is_asked_for(home: Home) -> None:
    _journal.write(home, journal(PROVE))
    client = FakeClient(home, one(0, OLD), one(1, NEW))
    answers = []

    def end() -> None:
        answers.append(len(client.list))
        if len(answers) == 2:
            client.list = [one(1, NEW)]

    client.before_answer = end
    # it went on between two looks at the journals
    real = _journal.read_all
    steps = iter([PROVE, RETIRE])

    def read_all(place: Home) -> list[Journal]:
        step = next(steps, None)
        if step:
            _journal.write(home, journal(step))
        else:
            _journal.end(home, "web")
        return real(place)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_journal, "read_all", read_all)
        assert generations(look(client).entries) == [("web", NEW)]
    assert len(answers) > 1


def test_a_candidate_that_starts_between_two_looks(home: Home) -> None:
    """Another app that is not up makes it look again."""
    _journal.write(home, journal(PROVE))
    broken = replace(one(5, OLD, "broken"), status="errored", pid=None)
    client = FakeClient(home, one(0, OLD), broken)
    looks = []

    def start() -> None:
        looks.append(1)
        if len(looks) == LOOKS:
            client.list.append(one(6, NEW))

    client.before_answer = start
    assert generations(look(client).entries) == [("web", OLD), ("broken", OLD)]
    assert len(looks) == LOOKS


# only some apps ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("only", "expected", "changed"),
    [
        (None, [("api", NEW), ("new", NEW), ("web", NEW)], True),
        (["web"], [("api", OLD), ("web", NEW)], True),
        (["web", "new"], [("api", OLD), ("new", NEW), ("web", NEW)], True),
        # nobody had said that it is to be saved
        (["new"], [("api", OLD), ("web", OLD)], False),
        ([], [("api", OLD), ("web", OLD)], False),
        # it is gone
        (["api", "web", "old"], [("api", NEW), ("web", NEW)], True),
    ],
)
def test_the_others_stay_as_they_are_saved(
    home: Home, only: list[str] | None, expected: list[tuple[str, str]], changed: bool
) -> None:
    _dump.write(home, [_dump.entry_of(one(0, OLD, name), stopped=False) for name in ("web", "api")])
    client = FakeClient(home, *(one(number, NEW, name) for number, name in enumerate(("web", "api", "new"))))
    snapshot, did = save(home, client, only=only)
    assert did is changed
    assert sorted(saved(home)) == expected
    assert sorted(generations(snapshot.entries)) == expected


def test_one_that_is_gone_leaves_the_list(home: Home) -> None:
    _dump.write(home, [_dump.entry_of(one(0, OLD, name), stopped=False) for name in ("web", "api")])
    save(home, FakeClient(home), only=["web"])
    assert saved(home) == [("api", OLD)]


def test_nothing_was_ever_saved(home: Home) -> None:
    snapshot, changed = save(home, FakeClient(home, one(0, NEW)), only=["web"])
    assert snapshot.entries == []
    assert not changed
    assert not Path(home.dump).exists()


# the order of things -------------------------------------------------------------------------------------------------


def test_the_step_is_written_before_the_list_and_the_next_one_after(home: Home) -> None:
    """So that after a kill -9 the list alone tells on which side of the commit it was."""
    _dump.write(home, [_dump.entry_of(one(0, OLD), stopped=False)])
    now = _journal.write(home, journal(OPEN))
    seen = []

    def begin() -> None:
        seen.append(("begin", saved(home)))
        _journal.advance(home, now, COMMIT)
        assert not _journal.is_committed(home, journal(COMMIT))

    def done() -> None:
        seen.append(("done", saved(home)))
        assert _journal.is_committed(home, journal(COMMIT))

    client = FakeClient(home, one(0, OLD), one(1, NEW))
    save(home, client, begin, done, committing="web")
    assert seen == [("begin", [("web", OLD)]), ("done", [("web", NEW)])]
    assert generations(_dump.read(home.dump_backup, Path(home.path).stat().st_uid) or []) == [("web", OLD)]


def test_without_a_daemon_nothing_begins(home: Home) -> None:
    class NoDaemon(FakeClient):
        def version(self) -> str:
            raise ConnectionError

    begun: list[bool] = []
    with pytest.raises(ConnectionError):
        save(home, NoDaemon(home), begin=lambda: begun.append(True))
    assert not begun
    assert not Path(home.dump_lock).exists()
