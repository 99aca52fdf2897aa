# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a run of Ansible or Molecule failed, out of all that it printed. Run in tests/ as ``python -m
support.ansible_output FILE``."""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path

_FAILED_HOST = re.compile(r"([\w.-]+)\s+: ok=\d+ .*\b(?:unreachable|failed)=[1-9]")
_FAILED_TASK = re.compile(r"(?:fatal|failed): \[([\w.-]+)")
# the second is Molecule's, and it says so in every run
_COMPLAINT = re.compile(r"ERROR|\[ERROR\]|CRITICAL(?! 'molecule/default/)")
LINES_MAX = 10


def why(output: str) -> list[str]:
    """The task at which each host failed and the beginning of what it returned; else the complaints, else the end.

    Not the first failure: it may be one that a rescue expects.
    """
    lines = output.splitlines()
    failed = {match[1] for match in map(_FAILED_HOST.match, lines) if match}
    found: dict[str, list[str]] = {}
    task: list[str] = []
    for number, line in enumerate(lines):
        match = _FAILED_TASK.match(line)
        if line.startswith("TASK ["):
            task = [line.rstrip(" *")]
        elif line.startswith("[ERROR]"):
            task = [*task[:1], line]
        elif match and match[1] in failed:
            found[match[1]] = [*task, *_result(lines[number:])]
    if found:
        return [line for each in found.values() for line in each]
    said = [line for line in lines if line.strip()]
    # Molecule names the tasks that were not idempotent below its complaint
    first = next((number for number, line in enumerate(said) if _COMPLAINT.match(line)), -LINES_MAX)
    return said[first:][:LINES_MAX]


def failed(what: str, output: str) -> str:
    """For an assertion: its first lines tell why, and all of the output follows."""
    return "\n".join([f"{what}:", *why(output), "", "All that it printed:", output])


def _result(lines: list[str]) -> list[str]:
    """Of a task; in YAML from its message on, without what comes before in the alphabet."""
    below = list(itertools.takewhile(lambda line: line.startswith("    "), lines[1:]))
    message = next((number for number, line in enumerate(below) if line.startswith("    msg:")), 0)
    return [lines[0], *below[message:]][:LINES_MAX]


if __name__ == "__main__":
    print("\n".join(why(Path(sys.argv[1]).read_text(encoding="utf-8", errors="replace"))))
