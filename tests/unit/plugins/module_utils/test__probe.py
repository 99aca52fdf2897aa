"""What a series of attempts means; with made-up time."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.module_utils._health_spec import parse
from ansible_collections.zerodown.pm2.plugins.module_utils._probe import HEALTHY, UNHEALTHY, UNKNOWN, Outcome, Probe


def probe(*verdicts: str, **options: Any) -> Probe:
    (check,) = parse([options])
    made = Probe(check)
    for second, verdict in enumerate(verdicts):
        made.note(Outcome(verdict, verdict), float(second))
    return made


def test_the_first_attempt_is_due_at_once_and_the_next_after_the_interval() -> None:
    made = probe(interval=2)
    assert made.due(-100.0)
    made.note(Outcome(UNHEALTHY, "no"), 7.0)
    assert not made.due(8.9)
    assert made.due(9.0)


def test_nothing_is_known_before_the_first_attempt() -> None:
    made = probe()
    assert not made.healthy
    assert not made.given_up
    assert made.last is None


def test_successes_must_be_in_a_row() -> None:
    assert not probe(HEALTHY, HEALTHY, successes=3).healthy
    assert not probe(HEALTHY, HEALTHY, UNHEALTHY, HEALTHY, successes=3).healthy
    assert not probe(HEALTHY, HEALTHY, UNKNOWN, HEALTHY, successes=3).healthy
    assert probe(UNHEALTHY, HEALTHY, HEALTHY, HEALTHY, successes=3).healthy


def test_it_is_healthy_only_as_long_as_it_is() -> None:
    assert probe(HEALTHY).healthy
    assert not probe(HEALTHY, UNHEALTHY).healthy
    assert not probe(HEALTHY, UNKNOWN).healthy


def test_failures_are_final_only_when_declared_so() -> None:
    assert not probe(*[UNHEALTHY] * 100).given_up
    assert not probe(UNHEALTHY, UNHEALTHY, HEALTHY, UNHEALTHY, failures=3).given_up
    assert probe(UNHEALTHY, UNHEALTHY, UNHEALTHY, failures=3).given_up


def test_an_attempt_that_could_not_be_made_says_nothing_about_the_app() -> None:
    assert not probe(*[UNKNOWN] * 100, failures=1).given_up
    made = probe(UNHEALTHY, UNKNOWN, UNHEALTHY, UNKNOWN, failures=2)
    assert made.given_up
    assert made.last == Outcome(UNKNOWN, UNKNOWN)


@given(st.lists(st.sampled_from([HEALTHY, UNHEALTHY, UNKNOWN])), st.integers(1, 4), st.integers(1, 4))
def test_counters_are_those_of_the_last_row(verdicts: list[str], successes: int, failures: int) -> None:
    made = probe(*verdicts, successes=successes, failures=failures)
    row = verdicts[len(verdicts) - next((i for i, v in enumerate(reversed(verdicts)) if v != HEALTHY), len(verdicts)) :]
    since = [verdict for verdict in verdicts if verdict != UNKNOWN]
    while HEALTHY in since:
        since = since[since.index(HEALTHY) + 1 :]
    assert (made.successes, made.failures) == (len(row), len(since))
    assert made.healthy == (len(row) >= successes)
    assert made.given_up == (len(since) >= failures)
    assert not (made.healthy and made.given_up)
