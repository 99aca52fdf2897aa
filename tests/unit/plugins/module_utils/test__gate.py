# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verdict of the gate, rule by rule, and what holds of it in every history; with made-up time."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.module_utils._gate import (
    FAILED,
    PASSED,
    PENDING,
    UNDECIDED,
    Gate,
    Rules,
    Sample,
    Verdict,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._health_spec import Check, parse
from ansible_collections.zerodown.pm2.plugins.module_utils._probe import HEALTHY, UNHEALTHY, UNKNOWN, Outcome
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process

PORT = 3000
# two pids that are there
PID, OTHER_PID = os.getpid(), os.getppid()
START = 1000.0


def checks(*entries: dict[str, Any]) -> tuple[Check, ...]:
    return tuple(parse(entries))


def rules(count: int = 1, **changes: Any) -> Rules:
    made = Rules("web", count, port=PORT, listens=True, min_healthy_time=10.0, healthy_deadline=60.0)
    return replace(made, **changes)


def process(pm_id: int = 0, **changes: Any) -> Process:
    return replace(Process(pm_id=pm_id, name="web", pid=PID, status="online"), **changes)


def sample(pm_id: int = 0, ports: Any = (PORT,), fault: str | None = None, **changes: Any) -> Sample:
    return Sample(process(pm_id, **changes), None if ports is None else frozenset(ports), fault)


def ended(**changes: Any) -> Sample:
    return sample(ports=None, **{"pid": None, "status": "stopped", **changes})


def history(gate: Gate, *rounds: tuple[float, list[Sample]]) -> Verdict:
    """The last of the verdicts, all others of which are *pending*; a round is seconds since the start and samples."""
    verdict = Verdict(PENDING)
    for seconds, samples in rounds:
        assert not verdict.is_final, verdict.reason
        verdict = gate.judge(samples, START + seconds)
    return verdict


def note(gate: Gate, seconds: float, verdict: str, pm_id: int = 0, number: int = 0) -> None:
    gate.note(pm_id, number, Outcome(verdict, f"it is {verdict}"), START + seconds)


# what fails at once --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (sample(restarts=1), "ended 3.0 s after it was started"),
        (sample(status="errored", pid=None), "ended 3.0 s"),
        # PM2's counter was set to 0 since
        (sample(pid=OTHER_PID), "ended 3.0 s"),
        (ended(exit_code=1), "ended 3.0 s"),
        (sample(status="waiting restart", pid=None), "ended 3.0 s"),
        (sample(status="stopping"), "ended 3.0 s"),
        # PM2 says online for a moment longer
        (sample(pid=None), "ended 3.0 s"),
        (ended(exit_code=0), "ended 3.0 s"),
        # it must listen, so it cannot have done its work
        (ended(exit_code=0, env={"autorestart": False}), "ended 3.0 s"),
        (sample(memory=101 * 2**20), r"uses 101 MiB of memory, more than max_memory_restart \(100 MiB\)"),
        (sample(fault="could not be loaded"), "could not be loaded"),
    ],
)
def test_a_fault_is_final_at_once(after: Sample, reason: str) -> None:
    gate = Gate(rules(2, memory_max=100 * 2**20), START)
    verdict = history(gate, (1, [sample(), sample(1)]), (3, [sample(1), after]))
    assert (verdict.state, verdict.process) == (FAILED, after.process)
    assert re.match(reason, verdict.reason)


@pytest.mark.parametrize(
    "before",
    [
        sample(restarts=1),
        sample(status="errored", pid=None),
        # it is not started again, and nobody saw its pid
        ended(exit_code=1, env={"autorestart": False}),
        ended(exit_code=0, env={"autorestart": False}),
    ],
)
def test_what_ended_before_the_first_look_is_seen_too(before: Sample) -> None:
    assert history(Gate(rules(), START), (0.1, [before])).state == FAILED


@pytest.mark.parametrize(
    "early",
    [
        sample(status="launching", ports=None),
        sample(status="launching", pid=None, ports=None),
        # PM2 has entered it and not started it yet
        sample(status="stopped", pid=None, ports=None),
        sample(memory=100 * 2**20),
        sample(ports=None),
        sample(ports=()),
    ],
)
def test_no_fault(early: Sample) -> None:
    gate = Gate(rules(memory_max=100 * 2**20), START)
    assert history(gate, (0, [early]), (1, [sample()]), (11, [sample()])).state == PASSED


def test_without_a_limit_memory_says_nothing() -> None:
    assert history(Gate(rules(), START), (0, [sample(memory=2**40)])).state == PENDING


def test_what_is_not_meant_to_listen_may_end_its_work() -> None:
    done = ended(exit_code=0, env={"autorestart": False})
    quiet = rules(listens=False, port=None, min_healthy_time=5.0)
    assert history(Gate(quiet, START), (0, [sample()]), (1, [done]), (6, [done])).state == PASSED
    failed = ended(exit_code=1, env={"autorestart": False})
    assert history(Gate(quiet, START), (0, [sample()]), (1, [failed])).state == FAILED


# listening -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "ports", "state"),
    [
        ({}, [PORT], PASSED),
        ({}, [PORT, 9000], PASSED),
        ({}, [], PENDING),
        ({}, None, PENDING),
        ({"port": None}, [9000], PASSED),
        ({"port": None}, [], PENDING),
        ({"port": None}, None, PENDING),
        ({"listens": False}, [], PASSED),
        ({"listens": False}, None, PASSED),
        ({"listens": False}, [9000], PASSED),
    ],
)
def test_it_must_listen_where_it_was_told_to(changes: dict[str, Any], ports: list[int] | None, state: str) -> None:
    gate = Gate(rules(**changes), START)
    assert history(gate, (0, [sample(ports=ports)]), (10, [sample(ports=ports)])).state == state


@pytest.mark.parametrize(
    ("ports", "port", "reason"),
    [
        ([], PORT, "does not listen on port 3000"),
        ([], None, "does not listen on any port"),
        (None, PORT, "did not answer the gate"),
    ],
)
def test_what_does_not_listen_fails_at_the_deadline(ports: list[int] | None, port: int | None, reason: str) -> None:
    silent = sample(ports=ports)
    verdict = history(Gate(rules(port=port), START), (0, [silent]), (59.9, [silent]), (60, [silent]))
    assert verdict.state == FAILED
    assert reason in verdict.reason
    assert "healthy_deadline 60 s" in verdict.reason
    assert verdict.process == silent.process


def test_on_another_port_it_has_as_long_as_it_must_be_healthy() -> None:
    gate = Gate(rules(), START)
    elsewhere = sample(ports=[4000, 3999])
    verdict = history(gate, (5, [elsewhere]), (14.9, [elsewhere]), (15, [elsewhere]))
    assert verdict.state == FAILED
    assert verdict.reason == "listens on port 3999, 4000 and not on 3000, which is declared"


def test_a_second_port_may_be_the_right_one() -> None:
    gate = Gate(rules(), START)
    right, wrong = sample(ports=[4000, PORT]), sample(ports=[4000])
    # the time on the wrong port begins anew
    assert history(gate, (0, [wrong]), (9, [right]), (12, [wrong]), (20, [wrong])).state == PENDING
    assert history(gate, (21, [right]), (31, [right])).state == PASSED


# time ----------------------------------------------------------------------------------------------------------------


def test_healthy_for_the_whole_time() -> None:
    verdict = history(Gate(rules(), START), (2, [sample()]), (11.9, [sample()]))
    assert (verdict.state, verdict.reason) == (PENDING, "is healthy for 9.9 of 10 s")
    assert history(Gate(rules(), START), (2, [sample()]), (12, [sample()])).state == PASSED


@pytest.mark.parametrize("broken", [[sample(ports=())], [sample(status="launching")], []])
def test_a_break_begins_the_time_anew(broken: list[Sample]) -> None:
    gate = Gate(rules(), START)
    well = [sample()]
    assert history(gate, (0, well), (9, well), (9.5, broken), (10, well), (19.9, well)).state == PENDING
    assert history(gate, (20, well)).state == PASSED


def test_no_healthy_time_at_all() -> None:
    assert history(Gate(rules(min_healthy_time=0.0), START), (0, [sample()])).state == PASSED


def test_all_processes_must_be_there() -> None:
    gate = Gate(rules(3), START)
    two = [sample(0), sample(1)]
    verdict = history(gate, (0, two), (20, two), (60, two))
    assert (verdict.state, verdict.process) == (FAILED, None)
    assert verdict.reason == "has 2 of 3 processes (healthy_deadline 60 s)"


def test_one_of_several_that_is_not_healthy_is_named() -> None:
    gate = Gate(rules(2), START)
    verdict = history(gate, (30, [sample(0), sample(1, ports=())]))
    assert (verdict.state, verdict.process) == (PENDING, process(1))


def test_too_late_to_be_healthy_long_enough() -> None:
    verdict = history(Gate(rules(), START), (0, [sample(ports=())]), (55, [sample()]), (60, [sample()]))
    assert (verdict.state, verdict.reason) == (FAILED, "is healthy for 5.0 of 10 s (healthy_deadline 60 s)")


def test_healthy_long_enough_right_at_the_deadline() -> None:
    assert history(Gate(rules(), START), (50, [sample()]), (60, [sample()])).state == PASSED


# checks --------------------------------------------------------------------------------------------------------------


def test_checks_are_due_of_each_process_once_it_listens() -> None:
    gate = Gate(rules(2, checks=checks({"interval": 2.0}, {"type": "tcp"})), START)
    samples = [sample(0), sample(1, ports=()), sample(2, pid=None), sample(3, status="launching")]
    assert [(pm_id, number) for pm_id, number, _check in gate.due(samples, START)] == [(0, 0), (0, 1)]
    assert [check for _pm_id, _number, check in gate.due(samples, START)] == list(gate.rules.checks)
    note(gate, 1, UNHEALTHY)
    assert [(pm_id, number) for pm_id, number, _check in gate.due(samples, START + 2.9)] == [(0, 1)]
    assert [(pm_id, number) for pm_id, number, _check in gate.due(samples, START + 3)] == [(0, 0), (0, 1)]


def test_what_need_not_listen_is_checked_at_once() -> None:
    gate = Gate(rules(listens=False, checks=checks({"type": "command", "command": ["x"]})), START)
    assert len(gate.due([sample(ports=None)], START)) == 1


def test_every_check_of_every_process_must_succeed() -> None:
    both = [sample(0), sample(1)]
    gate = Gate(rules(2, checks=checks({}, {"type": "tcp"}), min_healthy_time=0.0), START)
    assert history(gate, (0, both)).reason == "was not checked yet"
    for pm_id, number in ((0, 0), (0, 1), (1, 0)):
        assert history(gate, (1, both)).state == PENDING
        note(gate, 1, HEALTHY, pm_id, number)
    assert history(gate, (2, both)).process == process(1)
    note(gate, 2, HEALTHY, 1, 1)
    assert history(gate, (2, both)).state == PASSED


def test_successes_in_a_row_begin_the_healthy_time() -> None:
    gate = Gate(rules(checks=checks({"successes": 2})), START)
    note(gate, 0, HEALTHY)
    assert history(gate, (0, [sample()])).reason == "is not healthy: it is healthy"
    note(gate, 5, HEALTHY)
    assert history(gate, (5, [sample()]), (14.9, [sample()])).state == PENDING
    assert history(gate, (15, [sample()])).state == PASSED


def test_a_failed_check_is_a_break() -> None:
    gate = Gate(rules(checks=checks({})), START)
    note(gate, 0, HEALTHY)
    assert history(gate, (0, [sample()])).state == PENDING
    note(gate, 9, UNHEALTHY)
    assert history(gate, (9, [sample()])).reason == "is not healthy: it is unhealthy"
    note(gate, 10, HEALTHY)
    assert history(gate, (10, [sample()]), (19, [sample()])).state == PENDING
    assert history(gate, (20, [sample()])).state == PASSED


def test_failures_are_final_where_the_check_says_so() -> None:
    gate = Gate(rules(checks=checks({"failures": 2})), START)
    for seconds in (0, 1):
        assert history(gate, (seconds, [sample()])).state == PENDING
        note(gate, seconds, UNHEALTHY)
    verdict = history(gate, (2, [sample()]))
    assert (verdict.state, verdict.reason) == (FAILED, "is not healthy: it is unhealthy")


@pytest.mark.parametrize(
    ("outcomes", "state", "reason"),
    [
        # (process 0, process 1)
        ([UNKNOWN, HEALTHY], UNDECIDED, "could not be checked: it is unknown (healthy_deadline 60 s)"),
        ([UNHEALTHY, HEALTHY], FAILED, "is not healthy: it is unhealthy (healthy_deadline 60 s)"),
        # that one of them is bad is known
        ([UNKNOWN, UNHEALTHY], FAILED, "is not healthy: it is unhealthy (healthy_deadline 60 s)"),
        ([UNHEALTHY, UNKNOWN], FAILED, "is not healthy: it is unhealthy (healthy_deadline 60 s)"),
    ],
)
def test_bad_is_told_from_unknown(outcomes: list[str], state: str, reason: str) -> None:
    gate = Gate(rules(2, checks=checks({})), START)
    for pm_id, outcome in enumerate(outcomes):
        note(gate, 0, outcome, pm_id)
    both = [sample(0), sample(1)]
    verdict = history(gate, (0, both), (59, both), (60, both))
    assert (verdict.state, verdict.reason) == (state, reason)


# in every history ----------------------------------------------------------------------------------------------------

MIN, DEADLINE = 3.0, 9.0

FRAMES = {
    "well": sample(),
    "silent": sample(ports=()),
    "deaf": sample(ports=None),
    "elsewhere": sample(ports=[4000]),
    "launching": sample(status="launching", ports=None),
    "ended": ended(exit_code=1),
    "restarted": sample(restarts=1),
    "another pid": sample(pid=OTHER_PID),
    "gone": None,
}
OUTCOMES = st.sampled_from([None, HEALTHY, HEALTHY, UNHEALTHY, UNKNOWN])
FRAME = st.tuples(st.sampled_from(["well"] * 8 + sorted(FRAMES)), OUTCOMES)
ROUND = st.tuples(st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.lists(FRAME, min_size=2, max_size=2))
# mostly what may pass
ROUNDS = st.lists(ROUND | st.tuples(st.just(1.0), st.just([("well", HEALTHY)] * 2)), max_size=25)


class Seen:
    """What one history was, told without the gate: for each round its time, whether all was well, whether any process
    had ended until then."""

    def __init__(self, rounds: list[tuple[float, list[tuple[str, str | None]]]], successes: int) -> None:
        self.rounds: list[tuple[float, bool]] = []
        self.verdicts: list[Verdict] = []
        self.ended = False
        gate = Gate(
            Rules("web", 2, PORT, True, checks({"successes": successes}), MIN, DEADLINE),
            START,
        )
        outcomes: list[list[str]] = [[], []]
        now = START
        for step, frames in rounds:
            now += step
            samples = []
            for pm_id, (name, outcome) in enumerate(frames):
                found = FRAMES[name]
                if found:
                    samples.append(Sample(replace(found.process, pm_id=pm_id), found.ports))
                if outcome:
                    outcomes[pm_id].append(outcome)
                    gate.note(pm_id, 0, Outcome(outcome, outcome), now)
                self.ended |= name in ("restarted", "ended")
            healthy = all(row[-successes:] == [HEALTHY] * successes for row in outcomes)
            self.rounds.append((now - START, healthy and all(name == "well" for name, _outcome in frames)))
            self.verdicts.append(gate.judge(samples, now))
            if self.verdicts[-1].is_final:
                return

    @property
    def verdict(self) -> str:
        return self.verdicts[-1].state if self.verdicts else PENDING


@given(ROUNDS, st.integers(1, 3))
def test_whoever_ended_once_never_passes(rounds: Any, successes: int) -> None:
    seen = Seen(rounds, successes)
    assert not (seen.ended and seen.verdict == PASSED)
    if seen.ended:
        assert seen.verdict == FAILED


@given(ROUNDS, st.integers(1, 3))
def test_passed_means_healthy_without_a_break(rounds: Any, successes: int) -> None:
    seen = Seen(rounds, successes)
    since = None
    for seconds, well in seen.rounds:
        since = (seconds if since is None else since) if well else None
    long_enough = since is not None and seen.rounds[-1][0] - since >= MIN
    assert (seen.verdict == PASSED) == long_enough


@given(ROUNDS, st.integers(1, 3))
def test_a_verdict_is_final_at_the_deadline(rounds: Any, successes: int) -> None:
    seen = Seen(rounds, successes)
    if any(seconds >= DEADLINE for seconds, _well in seen.rounds):
        assert seen.verdicts[-1].is_final
    # undecided is said only then
    if seen.verdict == UNDECIDED:
        assert seen.rounds[-1][0] >= DEADLINE


# what PM2 does not see -----------------------------------------------------------------------------------------------


def test_workers_that_end_again_and_again() -> None:
    gate = Gate(rules(), START)
    verdict = history(gate, *((float(number), [replace(sample(), ended=5 + number)]) for number in range(4)))
    assert (verdict.state, verdict.reason) == (FAILED, "starts workers that end, 3 of them so far")


def test_a_worker_that_ends_once_begins_the_healthy_time_anew() -> None:
    gate = Gate(rules(), START)
    one, none = replace(sample(), ended=1), sample()
    assert history(gate, (0, [none]), (9, [one]), (18, [one])).state == PENDING
    assert gate.judge([one], START + 19.5).state == PASSED


@pytest.mark.parametrize("port", [PORT, None])
def test_a_port_that_nobody_could_hold(port: int | None) -> None:
    loose = replace(sample(ports=()), loose=frozenset([PORT]))
    verdict = Gate(rules(port=port), START).judge([loose], START + 1)
    assert verdict.state == FAILED
    assert f"listens on port {PORT} and cannot be held" in verdict.reason
    other = replace(sample(), loose=frozenset([PORT + 1]))
    assert Gate(rules(port=port), START).judge([other], START + 1).state == PENDING
