# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What came of a suite, read from its output, and how it is told. No effects."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

# of the failures, right above the totals: a build server may show no more than the last 25 lines
LINES_MAX = 15
WIDTH_MAX = 200
WHOLE = "the whole suite"

# pytest's summary, which tests/hosts/run.sh writes for scenarios too; a parameter may hold " - "
_FAILED = re.compile(r"(?:FAILED|ERROR) ((?:tests|molecule)/\S*?(?:\[.*?\])?)(?: - (.*))?")
_HEADING = re.compile(r"_+ (?:ERROR (?:at setup of|at teardown of|collecting) )?(\S.*?) _+")
# the second form is that of exceptions in a group
_REASON = re.compile(r"(?:E   | +\| (?=[\w.]+: ))(.*\S.*)")
_COMPLAINT = re.compile(r"ERROR|FATAL| +--> ")


@dataclass(frozen=True)
class Failure:
    """:ivar name: of the test; empty where the output names none.
    :ivar why: the lines that tell the reason.
    """

    name: str
    why: list[str]


@dataclass(frozen=True)
class Result:
    """Of one suite.

    :ivar code: of the process; None when it was ended because it took too long.
    :ivar missing: its lines about what this machine lacks.
    :ivar late: the names of the tests that passed only the second time.
    """

    passed: int
    failed: int
    skipped: int
    code: int | None = 0
    failures: list[Failure] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = f"{self.passed} passed, {self.failed} failed" + (f", {self.skipped} skipped" if self.skipped else "")
        return counts + (f"; {len(self.late)} PASSED ONLY THE SECOND TIME" if self.late else "")


def result_of(output: str, code: int | None, may_skip: bool) -> Result:
    """:param code: see :class:`Result`; a failure that no line counts is one.
    :param may_skip: whether a skipped test is no failure.
    """
    counts = _counts(output)
    passed, skipped = counts.get("passed", 0 if counts else int(code == 0)), counts.get("skipped", 0)
    failed = counts.get("failed", 0) + counts.get("error", 0)
    if not failed and (code != 0 or (skipped and not may_skip)):
        failed = 1
    missing = [line for line in output.splitlines() if line.startswith(("NOT HERE: ", "SKIPPED ["))]
    return Result(passed, failed, skipped, code, failures_in(output) if failed else [], missing)


def _counts(output: str) -> dict[str, int]:
    """The last line with counts, pytest's or ours."""
    for line in reversed(output.splitlines()):
        found = re.findall(r"(\d+) (passed|failed|error|skipped)s?\b", line)
        if any(word in ("passed", "failed") for _count, word in found):
            return {word: int(count) for count, word in found}
    return {}


def failures_in(output: str) -> list[Failure]:
    """Each failed test once; if there is none, one without a name: what the suite complains about, and its end."""
    lines = output.splitlines()
    reasons = _reasons(lines)
    found: dict[str, list[str]] = {}
    for match in filter(None, map(_FAILED.fullmatch, lines)):
        name, message = match.groups()
        # two tests of one title come in this order above, too
        position = next((at for at, (title, _why) in enumerate(reasons) if title == _title(name)), None)
        why = reasons.pop(position)[1] if position is not None else []
        found.setdefault(name, []).extend(why or ([message] if message else []))
    if found:
        return [Failure(name, why) for name, why in found.items()]
    said = [line for line in lines if line.strip()]
    last = said[-6:]
    return [Failure("", [line for line in said[:-6] if _COMPLAINT.match(line)][:6] + last)]


def _reasons(lines: Iterable[str]) -> list[tuple[str, list[str]]]:
    """The title of each of pytest's reports of a failure, with its lines of error."""
    reasons: list[tuple[str, list[str]]] = []
    for line in lines:
        heading, reason = _HEADING.fullmatch(line), _REASON.fullmatch(line)
        if heading:
            reasons.append((heading[1], []))
        elif reason and reasons:
            reasons[-1][1].append(reason[1].strip())
    return reasons


def _title(name: str) -> str:
    """What stands above pytest's report of a test."""
    path, _separator, test = name.partition("::")
    function, bracket, parameters = test.partition("[")
    return function.replace("::", ".") + bracket + parameters if test else path


def together(first: Result, second: Result, whole: bool) -> Result:
    """Of a suite that failed and was run once more.

    :param whole: whether all of it was run again, not only what had failed.
    """
    still = [failure.name for failure in second.failures]
    names = [failure.name for failure in first.failures]
    # a run that ended without naming what failed tells nothing about the others
    late = [] if "" in still else [name or WHOLE for name in names if name not in still]
    return Result(
        second.passed + (0 if whole else first.passed),
        second.failed,
        second.skipped + (0 if whole else first.skipped),
        second.code,
        second.failures,
        [*first.missing, *(line for line in second.missing if line not in first.missing)],
        late,
    )


def told(results: dict[str, Result]) -> list[str]:
    """The last lines before the totals, by the suites' names: what passed late, and what failed."""
    late = [f"{suite}: {name}" for suite, result in results.items() for name in result.late]
    failed = {suite: result for suite, result in results.items() if result.failed}
    # a line for its name at the least, and one for what failed
    room = max(2, LINES_MAX // max(1, len(failed)))
    lines = [f"PASSED ONLY THE SECOND TIME: {name}" for name in late]
    for suite, result in failed.items():
        lines += _told(suite, result, room)
    return lines


def _told(suite: str, result: Result, room: int) -> list[str]:
    """In as many lines: the tests that failed, and the first lines of why."""
    names = sum(bool(failure.name) for failure in result.failures)
    reasons = max(0, room - 1 - names) // len(result.failures)
    lines = [f"FAILED: {suite}: {result}"]
    for failure in result.failures:
        lines += [f"  {failure.name}"] if failure.name else []
        lines += [f"    {line}"[:WIDTH_MAX] for line in failure.why[:reasons]]
    if len(lines) > room:
        lines[room - 1 :] = [f"  … and {len(lines) - room + 1} more, see the logs"]
    return lines
