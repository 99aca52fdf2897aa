# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which suites run a second time, and what of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from dev import suites
from dev.outcome import Failure, Result
from dev.suites import CHECK, TEST, Suite, run_all, second_run

HOSTS, DAEMON, SANITY = (next(suite for suite in TEST if suite.name == name) for name in ("hosts", "daemon", "sanity"))

DAEMON_TESTS = (
    "python -m pytest -q --durations=30 --durations-min=5 -o cache_dir=.dev/cache/daemon"
    " -n 2 --dist loadfile -m not(whole) tests/daemon"
)


def failed(*names: str, code: int | None = 1) -> Result:
    return Result(5, len(names), 0, code, [Failure(name, ["no"]) for name in names])


@pytest.mark.parametrize(
    ("suite", "first", "expected"),
    [
        (DAEMON, Result(5, 0, 0), None),
        (DAEMON, failed("", code=None), None),
        # it fails for a test that somebody switched off
        (DAEMON, failed("", code=0), None),
        (
            DAEMON,
            failed("tests/daemon/a.py::b"),
            (f"{DAEMON_TESTS} --last-failed", False),
        ),
        # not all tests ran: an error of collecting, a crash
        (
            DAEMON,
            failed("tests/daemon/a.py", code=2),
            (f"{DAEMON_TESTS} --cache-clear", True),
        ),
        (HOSTS, failed("molecule/deploy", "molecule/startup"), ("tests/hosts/run.sh deploy startup", False)),
        (HOSTS, failed(""), (f"tests/hosts/run.sh {HOSTS.first}", True)),
        (SANITY, failed(""), (f"{SANITY.command} ", True)),
    ],
)
def test_second_run(suite: Suite, first: Result, expected: tuple[str, bool] | None) -> None:
    assert second_run(suite, first) == expected


def test_each_suite_has_a_name_of_its_own() -> None:
    assert len({suite.name for suite in TEST}) == len(TEST)
    assert set(CHECK) <= set(TEST)


@pytest.fixture
def in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A function: makes a script that a suite can be, in a directory that stands for the checkout."""
    monkeypatch.setattr(suites, "ROOT", tmp_path)
    monkeypatch.setattr(suites, "LOGS", tmp_path)

    def make(text: str) -> Path:
        script = tmp_path / "script"
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)
        return script

    return make


FLAKY = """
echo run >>runs
echo FAILED tests/a::b
echo 3 passed, 1 failed
test "$(cat runs)" != run || exit 1
echo 1 passed
"""


@pytest.mark.parametrize(("has_second", "counts"), [(True, (4, 0, ["tests/a::b"])), (False, (3, 1, []))])
def test_what_passes_when_it_is_alone(
    in_place: Callable[[str], Path], has_second: bool, counts: tuple[int, int, list[str]]
) -> None:
    results = run_all([Suite("flaky", str(in_place(FLAKY)), again="{failed}"), Suite("fine", "true")], has_second)
    assert (results["flaky"].passed, results["flaky"].failed, results["flaky"].late) == counts
    assert (results["fine"].passed, results["fine"].failed) == (1, 0)


def test_what_takes_too_long_is_ended_and_not_run_again(in_place: Callable[[str], Path], tmp_path: Path) -> None:
    results = run_all([Suite("slow", str(in_place("echo run >>runs; exec sleep 1000")), timeout=3)], True)
    assert results["slow"].code is None
    assert results["slow"].failures[0].why[-1].startswith("ended by tests/dev/suites.py: still running after 3 s")
    assert (tmp_path / "runs").read_text() == "run\n"
