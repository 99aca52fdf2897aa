# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The deploy log: what is appended is read, and damage costs no more than its line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils import _deploy_log
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error


def append(path: str, release: str) -> None:
    _deploy_log.append(path, "live", release, "0" * 40, "someone", "why", "before")


def test_what_is_appended_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "deploys.jsonl")
    assert _deploy_log.read(path) == []
    append(path, "a")
    append(path, "b")
    first, second = _deploy_log.read(path)
    assert (first["release"], second["release"]) == ("a", "b")
    assert {**first, "time": None} == {
        "time": None,
        "event": "live",
        "release": "a",
        "revision": "0" * 40,
        "previous": "before",
        "by": "someone",
        "reason": "why",
    }
    assert Path(path).stat().st_mode & 0o027 == 0


def test_a_line_that_was_cut_off_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "deploys.jsonl"
    append(str(path), "a")
    with path.open("a") as stream:
        stream.write('{"event": "live", "rel')
    append(str(path), "b")
    assert [event["release"] for event in _deploy_log.read(str(path))] == ["a", "b"]


@pytest.mark.parametrize("line", ["", "[]", "null", "{}", '{"event": 1, "release": "x"}', "\x00\xff"])
def test_lines_that_are_no_events_are_passed_over(tmp_path: Path, line: str) -> None:
    path = tmp_path / "deploys.jsonl"
    path.write_bytes(line.encode("latin-1") + b"\n")
    append(str(path), "a")
    assert len(_deploy_log.read(str(path))) == 1


def test_lines_of_two_runs_do_not_mix(tmp_path: Path) -> None:
    path = str(tmp_path / "deploys.jsonl")
    program = (
        "import sys; sys.path[:] = sys.argv[3:]\n"
        "from ansible_collections.zerodown.pm2.plugins.module_utils._deploy_log import append\n"
        "for number in range(int(sys.argv[2]), 60, 2):\n"
        "    append(sys.argv[1], 'live', str(number), '0' * 40, 'someone', 'why', 'before')"
    )
    runs = [subprocess.Popen([sys.executable, "-c", program, path, first, *sys.path]) for first in ("0", "1")]
    assert [run.wait(timeout=60) for run in runs] == [0, 0]
    assert sorted(int(event["release"]) for event in _deploy_log.read(path)) == list(range(60))


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(Pm2Error, match=r"deploys\.jsonl cannot be written"):
        append(str(tmp_path / "missing" / "deploys.jsonl"), "a")
