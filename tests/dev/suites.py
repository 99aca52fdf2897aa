# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the test suites, three at a time; all of them, also when one fails. What failed in ``make test`` is run once more
when nothing else runs, and is told if it passes then. tests/dev/test.sh calls this in tests/, as ``python -m``."""

from __future__ import annotations

import functools
import os
import signal
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from dev.outcome import Result, result_of, together, told
from dev.running import Running

ROOT = Path(__file__).resolve().parents[2]
LOGS = ROOT / ".dev" / "logs"
# two have the processors, one may wait
AT_ONCE = 3
TAIL = 60


@dataclass(frozen=True)
class Suite:
    """One closing line.

    :ivar first: more arguments, for the first time.
    :ivar again: in their place for what failed only, where that can be told apart; ``{failed}`` stands for the names.
    :ivar alone: it counts requests under a steady load, which says nothing on a machine that has no time to answer.
    :ivar hosts: whether it makes hosts, for which it must be root.
    :ivar may_skip: what it skips is something that the machine lacks, not a test that somebody switched off.
    :ivar timeout: seconds.
    """

    name: str
    command: str
    first: str = ""
    again: str = ""
    alone: bool = False
    hosts: bool = False
    may_skip: bool = False
    timeout: float = 2000.0


def pytest(name: str, arguments: str) -> Suite:
    """Each with a cache of its own, which says what failed."""
    command = f"python -m pytest -q --durations=30 --durations-min=5 -o cache_dir=.dev/cache/{name} {arguments}"
    return Suite(name, command, first="--cache-clear", again="--last-failed")


CHECK = [
    Suite("mypy", "mypy"),
    pytest("unit", "-n 2 tests/unit"),
    Suite("ansible-lint", "ansible-lint --offline --profile production --strict"),
    Suite("docs", "antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs=all ."),
    Suite("changelog", "antsibull-changelog lint"),
    Suite("yamllint", "yamllint --strict ."),
    Suite("ruff", "ruff check --output-format concise ."),
    Suite("format", "ruff format --check ."),
    Suite("shellcheck", "tests/dev/shellcheck.sh"),
    Suite("hygiene", "env --chdir=tests python -m dev.hygiene"),
]

SCENARIOS = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))
# real hosts under load: all that may happen to a fleet, and what tests/cutover and tests/roles show on this machine
UNDER_LOAD = ["cutover", "fleet", "proxy", "python"]
# what may happen in the middle of a canary or a rollout, too; molecule/python/verify.yml, tests/hosts_fleet/conftest.py
WHOLE = "ZERODOWN_WHOLE=1"


def hosts(name: str, scenarios: list[str], alone: bool = False) -> Suite:
    return Suite(name, "tests/hosts/run.sh", " ".join(scenarios), "{failed}", alone=alone, hosts=True, timeout=2400)


FAULTS = tuple(f"tests/cutover/test_faults{part}.py" for part in ("", "_daemon", "_beside", "_proxy", "_confirmation"))

# where tests are marked "whole"
WITH_WHOLE = ("tests/cutover", "tests/apps", "tests/daemon", "tests/roles")

# kill -9 of everybody at every step, power cuts over ssh, every kind of release with every server: for a machine that
# has nothing else to do for an hour
FAULT_TESTS = [
    replace(pytest("faults", f"-n 2 --dist worksteal {' '.join(FAULTS)}"), alone=True, timeout=2400),
    replace(pytest("whole", f"-n 2 --dist worksteal -m whole {' '.join(WITH_WHOLE)}"), alone=True, timeout=3600),
    replace(hosts("hosts-faults", UNDER_LOAD, alone=True), command=f"env {WHOLE} tests/hosts/run.sh"),
]
# the long ones first, so that the lanes end together
TEST = [
    # three at a time: they mostly wait
    replace(
        pytest(
            "cutover",
            f"-n 3 --dist worksteal -m not(whole) tests/cutover {' '.join(f'--ignore={path}' for path in FAULTS)}",
        ),
        alone=True,
        timeout=2400,
    ),
    hosts("hosts-fleet", ["fleet"], alone=True),
    hosts("hosts", [name for name in SCENARIOS if name not in UNDER_LOAD]),
    # they mostly wait; by file, because the options of one version are tried in one daemon
    pytest("daemon", "-n 2 --dist loadfile -m not(whole) tests/daemon"),
    pytest("apps", "-m not(whole) tests/apps"),
    replace(pytest("roles", "-n 2 --dist worksteal -m not(whole) tests/roles"), timeout=2400),
    # they mostly wait for ansible-rulebook
    pytest("eda", "-n 2 --dist worksteal tests/eda"),
    pytest("releases", "-n 2 --dist worksteal tests/releases"),
    Suite("sanity", "env --chdir=tests python -m dev.sanity"),
    Suite("pythons", "python tests/dev/pythons.py", may_skip=True),
    pytest("package", "tests/package"),
    pytest("guides", "tests/docs"),
    pytest("demo", "tests/demo"),
    *CHECK,
]


def second_run(suite: Suite, first: Result) -> tuple[str, bool] | None:
    """The command of a second run, and whether it is the whole suite; None when there is to be none: it passed, took
    too long, or fails only for what it skips."""
    if not first.failed or not first.code:
        return None
    named = all(failure.name for failure in first.failures)
    # pytest's 1: all tests ran, and some failed
    if suite.again and named and first.code == 1:
        failed = " ".join(failure.name.rpartition("/")[2] for failure in first.failures)
        return f"{suite.command} {suite.again.format(failed=failed)}", False
    return f"{suite.command} {suite.first}", True


def say(text: str) -> None:
    """In one piece, because two suites run at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def run(running: Running, suite: Suite, command: str, log: Path) -> Result:
    start = time.monotonic()
    code = running.run(suite.name, command, log, suite.timeout)
    if code is None:
        with log.open("a") as output:
            output.write(f"\nended by tests/dev/suites.py: still running after {suite.timeout:.0f} s\n")
    text = log.read_text(errors="replace")
    result = result_of(text, code, suite.may_skip or os.geteuid() != 0)
    if result.failed:
        tail = "\n".join(text.splitlines()[-TAIL:])
        say(
            f"--- {suite.name}: the end of {log.relative_to(ROOT)}\n{tail}\n"
            f"--- {suite.name}: failed after {time.monotonic() - start:.0f} s: {command}"
        )
    return result


def run_first(running: Running, suite: Suite, has_second: bool) -> Result:
    result = run(running, suite, f"{suite.command} {suite.first}", LOGS / f"{suite.name}.log")
    later = has_second and second_run(suite, result)
    say(f"{suite.name}: {result}" + ("; once more when the others have ended" if later else ""))
    return result


def run_second(running: Running, suite: Suite, first: Result, command: str, whole: bool) -> Result:
    say(f"==> {suite.name} once more, alone: {command}")
    second = run(running, suite, command, LOGS / f"{suite.name}-again.log")
    result = together(first, second, whole)
    say(f"{suite.name}: {result}")
    return result


def run_all(suites: list[Suite], has_second: bool) -> dict[str, Result]:
    running = Running(ROOT)
    results: dict[str, Result] = {}
    for group, at_once in (([suite for suite in suites if suite.alone], 1), (suites, AT_ONCE)):
        todo = [suite for suite in group if suite.name not in results]
        first = running.all([functools.partial(run_first, running, suite, has_second) for suite in todo], at_once)
        results.update({suite.name: result for suite, result in zip(todo, first, strict=True)})
    for suite in suites if has_second else []:
        again = second_run(suite, results[suite.name])
        if again:
            work = functools.partial(run_second, running, suite, results[suite.name], *again)
            (results[suite.name],) = running.all([work], 1)
    return results


def main(arguments: list[str]) -> int:
    suites = {"check": CHECK, "test": TEST, "faults": FAULT_TESTS}[arguments[0]]
    left_out = [suite for suite in suites if suite.hosts and os.geteuid() != 0]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    start = time.monotonic()
    try:
        results = run_all([suite for suite in suites if suite not in left_out], arguments[0] != "check")
    except KeyboardInterrupt:
        print("interrupted")
        return 130
    print(f"\nin {time.monotonic() - start:.0f} s; logs in {LOGS.relative_to(ROOT)}/")
    for suite in left_out:
        print(f"LEFT OUT: {suite.name}: it makes hosts, which only root can; run: sudo make test")
    for result in results.values():
        for line in result.missing:
            print(line)
    for line in told(results):
        print(line)
    passed, failed, skipped = (
        sum(getattr(result, name) for result in results.values()) for name in ("passed", "failed", "skipped")
    )
    print(f"{passed} passed, {failed} failed, {skipped + len(left_out)} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
