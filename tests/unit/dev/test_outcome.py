# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is read from a suite's output, and what the last lines of a run say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from dev.outcome import LINES_MAX, Failure, Result, failures_in, result_of, together, told

# as pytest 9 writes it
PYTEST = """\
FEF.                                                                     [100%]
==================================== ERRORS ====================================
__________________________ ERROR at setup of test_two __________________________

    @pytest.fixture
    def bad():
>       raise ValueError("setup")
E       ValueError: setup
E       more

tests/unit/test_x.py:5: ValueError
=================================== FAILURES ===================================
_______________________________ test_one[a - b] ________________________________
[gw0] linux -- Python 3.11.7

>       assert x == 2
E       AssertionError: long message
E       assert 'a - b' == 2

tests/unit/test_x.py:15: AssertionError
------------------------------ Captured log call -------------------------------
ERROR    root:test_x.py:12 tests/foo hello
_______________________________ TestA.test_four ________________________________

>   def test_four(self): pytest.fail("hopeless")
E   Failed: hopeless

tests/unit/test_x.py:19: Failed
_________________________________ test_without _________________________________
[XPASS(strict)] it was to fail
=========================== short test summary info ============================
SKIPPED [2] tests/unit/test_x.py:30: not root
ERROR tests/unit/test_x.py::test_two - ValueError: setup
FAILED tests/unit/test_x.py::test_one[a - b] - AssertionError: long [message]
FAILED tests/unit/test_x.py::TestA::test_four - Failed: hopeless
FAILED tests/unit/test_x.py::test_without - [XPASS(strict)] it was to fail
4 failed, 11 passed, 2 skipped, 1 error in 1.03s
"""
# tests/hosts/run.sh
HOSTS = """\
==> scenario deploy
    deploy FAILED after 3 s; the end of .dev/logs/hosts-deploy.log:
___ molecule/deploy ___
E   TASK [Look | At what PM2 says]
E   fatal: [web1]: FAILED! =>
FAILED molecule/deploy
hosts: 4 passed, 1 failed
"""
FAILED = Result(3, 1, 0, code=1, failures=[Failure("tests/a.py::b", ["no"])])


def test_each_failed_test_has_its_name_and_reason() -> None:
    assert failures_in(PYTEST) == [
        Failure("tests/unit/test_x.py::test_two", ["ValueError: setup", "more"]),
        Failure("tests/unit/test_x.py::test_one[a - b]", ["AssertionError: long message", "assert 'a - b' == 2"]),
        Failure("tests/unit/test_x.py::TestA::test_four", ["Failed: hopeless"]),
        Failure("tests/unit/test_x.py::test_without", ["[XPASS(strict)] it was to fail"]),
    ]
    assert failures_in(HOSTS) == [
        Failure("molecule/deploy", ["TASK [Look | At what PM2 says]", "fatal: [web1]: FAILED! =>"])
    ]


def test_tests_of_one_title_keep_their_own_reasons() -> None:
    reports = "___ test_it ___\nE   first\n___ test_it ___\nE   second\n"
    found = failures_in(reports + "FAILED tests/a.py::test_it\nFAILED tests/b.py::test_it")
    assert [failure.why for failure in found] == [["first"], ["second"]]


def test_the_reason_of_a_group_of_exceptions() -> None:
    report = """\
___ test_law ___
  + Exception Group Traceback (most recent call last):
  |   File "x.py", line 149, in test_law
  | hypothesis.errors.FlakyFailure: unreliable results
  +-+---------------- 1 ----------------
    | hypothesis.errors.DeadlineExceeded: Test took 258.28ms
FAILED tests/a.py::test_law
"""
    assert failures_in(report)[0].why == [
        "hypothesis.errors.FlakyFailure: unreliable results",
        "hypothesis.errors.DeadlineExceeded: Test took 258.28ms",
    ]


def test_a_test_that_failed_twice_over_is_one() -> None:
    output = "___ ERROR at teardown of test_it ___\nE   one\n___ test_it ___\nE   two\n"
    assert failures_in(output + "ERROR tests/a.py::test_it - one\nFAILED tests/a.py::test_it - two") == [
        Failure("tests/a.py::test_it", ["one", "two"])
    ]


def test_without_a_name_the_complaints_and_the_end_tell_why() -> None:
    (failure,) = failures_in("fine\nERROR: x.py:1:1: too long\n" + "\n".join(map(str, range(50))))
    assert failure == Failure("", ["ERROR: x.py:1:1: too long", "44", "45", "46", "47", "48", "49"])


@pytest.mark.parametrize(
    ("output", "code", "may_skip", "counts"),
    [
        (PYTEST, 1, True, (11, 5, 2)),
        ("12 passed, 1 skipped in 3s", 0, True, (12, 0, 1)),
        ("12 passed, 1 skipped in 3s", 0, False, (12, 1, 1)),
        ("3 passed, 0 failed, 1 skipped\nbye", 0, True, (3, 0, 1)),
        ("Success: no issues found", 0, False, (1, 0, 0)),
        ("Found 3 errors in 2 files", 1, False, (0, 1, 0)),
        # a crash after all tests, and the end of a suite that took too long
        ("12 passed in 3s", -11, False, (12, 1, 0)),
        ("......", None, False, (0, 1, 0)),
        ("1 error in 0.1s", 2, False, (0, 1, 0)),
    ],
)
def test_counts(output: str, code: int | None, may_skip: bool, counts: tuple[int, int, int]) -> None:
    result = result_of(output, code, may_skip)
    assert (result.passed, result.failed, result.skipped) == counts
    assert bool(result.failures) == bool(result.failed)


def test_what_this_machine_lacks() -> None:
    assert result_of("NOT HERE: Python 3.8\n" + PYTEST, 1, True).missing == [
        "NOT HERE: Python 3.8",
        "SKIPPED [2] tests/unit/test_x.py:30: not root",
    ]


def test_what_passes_the_second_time_is_passed_and_told() -> None:
    first = replace(FAILED, failed=2, failures=[*FAILED.failures, Failure("tests/a.py::c", ["slow"])])
    second = Result(1, 1, 0, code=1, failures=[Failure("tests/a.py::c", ["still slow"])])
    both = together(first, second, whole=False)
    assert (both.passed, both.failed, both.late) == (4, 1, ["tests/a.py::b"])
    assert both.failures == second.failures
    assert str(both) == "4 passed, 1 failed; 1 PASSED ONLY THE SECOND TIME"
    assert told({"daemon": both})[0] == "PASSED ONLY THE SECOND TIME: daemon: tests/a.py::b"


def test_a_whole_second_run_takes_the_place_of_the_first() -> None:
    first = result_of("Found 3 errors", 1, False)
    both = together(first, result_of("Success", 0, False), whole=True)
    assert (both.passed, both.failed, both.late) == (1, 0, ["the whole suite"])


@pytest.mark.parametrize("code", [None, 3])
def test_a_second_run_that_did_not_get_to_its_end_saves_nothing(code: int | None) -> None:
    both = together(FAILED, result_of("...", code, False), whole=False)
    assert (both.passed, both.failed, both.late) == (3, 1, [])


def test_nothing_to_tell() -> None:
    assert told({"unit": Result(3, 0, 0)}) == []


def test_the_last_lines_name_every_suite_and_test_and_begin_to_say_why() -> None:
    lines = told({"unit": Result(3, 0, 0), "x": result_of(PYTEST, 1, True), "hosts": result_of(HOSTS, 1, False)})
    assert lines == [
        "FAILED: x: 11 passed, 5 failed, 2 skipped",
        "  tests/unit/test_x.py::test_two",
        "  tests/unit/test_x.py::test_one[a - b]",
        "  tests/unit/test_x.py::TestA::test_four",
        "  tests/unit/test_x.py::test_without",
        "FAILED: hosts: 4 passed, 1 failed",
        "  molecule/deploy",
        "    TASK [Look | At what PM2 says]",
        "    fatal: [web1]: FAILED! =>",
    ]


def test_one_suite_gets_all_the_room() -> None:
    lines = told({"x": result_of(PYTEST, 1, True)})
    assert lines[1:5] == [
        "  tests/unit/test_x.py::test_two",
        "    ValueError: setup",
        "    more",
        "  tests/unit/test_x.py::test_one[a - b]",
    ]
    assert len(lines) <= LINES_MAX
    assert len(told({"x": replace(FAILED, failures=[Failure("tests/a.py::b", ["x" * 999] * 99)])})) == LINES_MAX


def test_more_than_there_is_room_for() -> None:
    many = replace(FAILED, failed=40, failures=[Failure(f"tests/a.py::test_{number}", ["no"]) for number in range(40)])
    assert told({"x": many})[-1] == "  … and 27 more, see the logs"
    lines = told({"x": many, "y": many, "z": FAILED})
    assert len(lines) <= LINES_MAX
    assert [line for line in lines if line.startswith("FAILED: ")] == [
        f"FAILED: {name}: 3 passed, {count} failed" for name, count in (("x", 40), ("y", 40), ("z", 1))
    ]
