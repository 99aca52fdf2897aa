# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is started at boot after a cutover was interrupted. The boot itself: tests/daemon/test_daemon_boot.py."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from support.processes import declared, member

from ansible_collections.zerodown.pm2.plugins.module_utils import _dump, _journal
from ansible_collections.zerodown.pm2.plugins.module_utils._boot import settled
from ansible_collections.zerodown.pm2.plugins.module_utils._hold import hold, marker
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
from ansible_collections.zerodown.pm2.plugins.module_utils._state import GENERATION_KEY

OLD, NEW, PROBE = "r1-0a1b2c", "r2-3d4e5f", "r2-3d4e5f-probe"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "gate").mkdir(mode=0o700)
    return Home(str(tmp_path))


def entries(*generations: str, name: str = "web") -> list[_dump.Entry]:
    app = declared(name=name, instances=2)
    members = [member(app, number, number, generation) for number, generation in enumerate(generations)]
    return [_dump.entry_of(item, stopped=False) for item in members]


def begun(home: Home, step: str, name: str = "web") -> Journal:
    journal = Journal(name, [name], NEW, PROBE, step)
    for generation in (NEW, PROBE):
        hold(home, generation)
    return _journal.write(home, journal)


def started(home: Home, saved: list[_dump.Entry]) -> list[str]:
    """The generations of what is started from this list."""
    _dump.write(home, saved)
    return [entry[GENERATION_KEY] for entry in settled(home, saved)]


def test_without_a_cutover_everything_is(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert started(home, entries(OLD, NEW)) == [OLD, NEW]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("step", "saved", "expected"),
    [
        # as we save it
        (PROVE, [OLD, OLD], [OLD, OLD]),
        (OPEN, [OLD, OLD], [OLD, OLD]),
        (COMMIT, [OLD, OLD], [OLD, OLD]),
        (COMMIT, [NEW, NEW], [NEW, NEW]),
        (RETIRE, [NEW, NEW], [NEW, NEW]),
        (RECORD, [NEW, NEW], [NEW, NEW]),
        # as PM2's own save does in the middle of it
        (PROVE, [OLD, NEW, PROBE], [OLD]),
        (OPEN, [OLD, NEW], [OLD]),
        (COMMIT, [OLD, NEW], [OLD]),
        (RETIRE, [OLD, OLD, NEW], [NEW]),
        # where the list before had to be used, the old one is better than none
        (RETIRE, [OLD, OLD], [OLD, OLD]),
        (RETIRE, [], []),
    ],
)
def test_one_generation_and_the_right_one(home: Home, step: str, saved: list[str], expected: list[str]) -> None:
    begun(home, step)
    assert started(home, entries(*saved)) == expected


@pytest.mark.parametrize("step", STEPS)
def test_other_apps_do_not_concern_it(home: Home, step: str) -> None:
    begun(home, step)
    others = entries(OLD, "r9-ffffff", name="api")
    assert started(home, others) == [OLD, "r9-ffffff"]


@pytest.mark.parametrize("step", STEPS)
def test_what_was_held_opens_its_port(home: Home, step: str, capsys: pytest.CaptureFixture[str]) -> None:
    begun(home, step)
    hold(home, "r9-of-nobody")
    started(home, entries(NEW))
    assert not any(os.path.exists(marker(home, generation)) for generation in (NEW, PROBE))
    assert capsys.readouterr().err == (
        f"A cutover of web was interrupted in its step {step}; the next one settles it.\n"
    )
    # that one finds it
    assert _journal.read_all(home) == [replace(Journal("web", ["web"], NEW, PROBE), step=step)]


def test_a_damaged_journal_keeps_nothing_from_starting(home: Home) -> None:
    Path(_journal.path_of(home, "web")).write_text("{")
    assert started(home, entries(OLD)) == [OLD]


def test_sockets_of_processes_that_are_gone_are_removed(home: Home) -> None:
    names = {"1", "1-1", "4194399", "4194399-2", "web.lock", "preload-0123abcd.cjs"}
    for name in names:
        Path(home.gate, name).touch()
    started(home, [])
    assert set(os.listdir(home.gate)) == names - {"4194399", "4194399-2"}


def test_a_home_without_a_gate(tmp_path: Path) -> None:
    assert started(Home(str(tmp_path)), entries(OLD)) == [OLD]
