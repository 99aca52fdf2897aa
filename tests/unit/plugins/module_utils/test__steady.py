# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is read from logs. That processes are watched rightly is shown on real daemons: tests/daemon/test_app_*.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils._bus import Bus
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process
from ansible_collections.zerodown.pm2.plugins.module_utils._steady import (
    Failure,
    LogMarks,
    failure_data,
    telling_line,
)


def crashed(directory: Path) -> Process:
    env = {"pm_err_log_path": str(directory / "err.log"), "pm_out_log_path": str(directory / "out.log")}
    return Process(pm_id=3, name="web", pid=None, status="errored", restarts=16, exit_code=1, env=env)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            ["/srv/a.js:1", "throw new Error('no')", "^", "", "Error: no", "    at f (/srv/a.js:1)", "Node.js v20"],
            "Error: no",
        ),
        (["TypeError: x is not a function", "  at y"], "TypeError: x is not a function"),
        (["Traceback (most recent call last):", "  File x", "ModuleNotFoundError: No module named 'x'"], None),
        (
            ["sqlalchemy.exc.OperationalError: (psycopg2) refused", "  help"],
            "sqlalchemy.exc.OperationalError: (psycopg2) refused",
        ),
        (["2026-01-31T14:05:09: PM2 error: Error: spawn /x ENOENT", "    at y"], None),
        (["node: bad option: --x"], "node: bad option: --x"),
        (["starting", "cannot bind", "  "], "cannot bind"),
        (["", " "], None),
        ([], None),
    ],
)
def test_the_line_that_names_the_error(lines: list[str], expected: str | None) -> None:
    found = telling_line(lines)
    if expected is None and any(line.strip() for line in lines):
        # the one line of them with an error
        expected = next(line for line in lines if "Error:" in line)
    assert found == expected


def test_only_what_was_written_since(tmp_path: Path) -> None:
    log = tmp_path / "err.log"
    log.write_text("old\n")
    marks = LogMarks([str(tmp_path), str(tmp_path / "none")], str(tmp_path / "pm2.log"))
    assert marks.since(str(log), 10) == []
    with log.open("a") as stream:
        stream.write("one\ntwo\nthree\n")
    assert marks.since(str(log), 2) == ["two", "three"]
    assert marks.since(str(log), 10) == ["one", "two", "three"]
    # a new file, and one that was rotated away under the same name
    (tmp_path / "new.log").write_text("new\n")
    assert marks.since(str(tmp_path / "new.log"), 10) == ["new"]
    log.rename(tmp_path / "err.log.1")
    log.write_text("fresh\n")
    assert marks.since(str(log), 10) == ["fresh"]
    # truncated in place
    (tmp_path / "new.log").write_text("")
    assert marks.since(str(tmp_path / "new.log"), 10) == []
    assert marks.since(str(tmp_path / "none.log"), 10) == []


def test_where_most_is_said(tmp_path: Path) -> None:
    marks = LogMarks([str(tmp_path)], str(tmp_path / "pm2.log"))
    silent = Bus(str(tmp_path / "none.sock"))
    process = crashed(tmp_path)
    (tmp_path / "pm2.log").write_text("t: PM2 log: App [web:3] starting\nnode: bad option: --x\n")
    assert marks.explain(process, silent, 5) == (str(tmp_path / "pm2.log"), ["node: bad option: --x"])
    (tmp_path / "out.log").write_text("said\n")
    assert marks.explain(process, silent, 5) == (str(tmp_path / "out.log"), ["said"])
    (tmp_path / "err.log").write_text("\n")
    assert marks.explain(process, silent, 5)[0] == str(tmp_path / "out.log")
    (tmp_path / "err.log").write_text("Error: no\n")
    assert marks.explain(process, silent, 5) == (str(tmp_path / "err.log"), ["Error: no"])


def test_a_failure_as_data(tmp_path: Path) -> None:
    marks = LogMarks([str(tmp_path)], str(tmp_path / "pm2.log"))
    (tmp_path / "err.log").write_text("Error: no\n" + "    at somewhere\n" * 30)
    data = failure_data(Failure("web", "ended", crashed(tmp_path)), marks, Bus(""), 2)
    assert data == {
        "app": "web",
        "reason": "ended",
        "pm_id": 3,
        "status": "errored",
        "exit_code": 1,
        "restarts": 16,
        "log_file": str(tmp_path / "err.log"),
        "log": ["    at somewhere"] * 2,
        "cause": "Error: no",
    }
    assert failure_data(Failure("web", "has 0 of 1 processes"), marks, Bus(""), 2) == {
        "app": "web",
        "reason": "has 0 of 1 processes",
    }
