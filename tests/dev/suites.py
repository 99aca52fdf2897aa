# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the test suites, two at a time; all of them, also when one fails. tests/dev/test.sh calls this."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOGS = ROOT / ".dev" / "logs"
AT_ONCE = 2
HEARTBEAT = 20.0
TAIL = 60


@dataclass(frozen=True)
class Suite:
    """One closing line.

    :ivar hosts: whether it makes hosts, for which it must be root.
    :ivar may_skip: what it skips is something that the machine lacks, not a test that somebody switched off.
    :ivar timeout: seconds.
    """

    name: str
    command: str
    hosts: bool = False
    may_skip: bool = False
    timeout: float = 1500.0


@dataclass(frozen=True)
class Result:
    """Of one suite.

    :ivar missing: its lines about what this machine lacks.
    """

    passed: int
    failed: int
    skipped: int
    missing: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed" + (f", {self.skipped} skipped" if self.skipped else "")


PYTEST = "python -m pytest -q"

CHECK = [
    Suite("mypy", "mypy"),
    Suite("unit", f"{PYTEST} -n 2 tests/unit"),
    Suite("ansible-lint", "ansible-lint --offline --profile production --strict"),
    Suite("docs", "antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs=all ."),
    Suite("changelog", "antsibull-changelog lint"),
    Suite("yamllint", "yamllint --strict ."),
    Suite("ruff", "ruff check ."),
    Suite("format", "ruff format --check ."),
    Suite("shellcheck", "tests/dev/shellcheck.sh"),
    Suite("hygiene", "env --chdir=tests python -m dev.hygiene"),
]

# the long ones first, so that the two lanes end together
TEST = [
    Suite("hosts", "tests/hosts/run.sh", hosts=True, timeout=2400),
    Suite("daemon", f"{PYTEST} tests/daemon"),
    Suite("apps", f"{PYTEST} tests/apps"),
    Suite("releases", f"{PYTEST} tests/releases"),
    Suite("sanity", "env --chdir=tests python -m dev.sanity"),
    Suite("pythons", "python tests/dev/pythons.py", may_skip=True),
    Suite("package", f"{PYTEST} tests/package"),
    Suite("guides", f"{PYTEST} tests/docs"),
    Suite("roles", f"{PYTEST} tests/roles"),
    Suite("demo", f"{PYTEST} tests/demo"),
    *CHECK,
]


class Running:
    """The suites' processes, each the leader of its own group, so that nothing of a suite outlives it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started: dict[str, tuple[float, subprocess.Popen[bytes]]] = {}

    def run(self, suite: Suite) -> Result:
        log = LOGS / f"{suite.name}.log"
        start = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(
                suite.command.split(),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        with self._lock:
            self._started[suite.name] = (start, process)
        try:
            code = process.wait(suite.timeout)
        except subprocess.TimeoutExpired:
            code = -1
            with log.open("a") as output_text:
                output_text.write(f"\nended by tests/dev/suites.py: still running after {suite.timeout:.0f} s\n")
        finally:
            with self._lock:
                del self._started[suite.name]
            _end(process)
        text = log.read_text(errors="replace")
        result = counted(text, code, suite.may_skip)
        with self._lock:
            if result.failed:
                print(f"--- {suite.name}: the end of {log.relative_to(ROOT)}")
                print("\n".join(text.splitlines()[-TAIL:]))
                print(f"--- {suite.name}: failed after {time.monotonic() - start:.0f} s: {suite.command}")
            print(f"{suite.name}: {result}", flush=True)
        return result

    def end(self) -> None:
        with self._lock:
            for _start, process in self._started.values():
                _end(process)

    def show(self) -> None:
        with self._lock:
            now = time.monotonic()
            names = [f"{name} {now - start:.0f} s" for name, (start, _process) in self._started.items()]
        if names:
            print(f"    … {', '.join(names)}", flush=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    # hosts want some time to be taken down
    for sign, patience in ((signal.SIGTERM, 60), (signal.SIGKILL, 10)):
        try:
            os.killpg(process.pid, sign)
            process.wait(patience)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def counted(output: str, code: int, may_skip: bool) -> Result:
    """What the suite's last line with counts says (pytest's, or ours), else the return code as one test.

    :param code: the process' return code; a failure that no line counts is one.
    :param may_skip: see :class:`Suite`; other tests may be skipped only for want of root.
    """
    counts: dict[str, int] = {}
    for line in output.splitlines():
        found = re.findall(r"(\d+) (passed|failed|error|skipped)s?\b", line)
        if any(word in ("passed", "failed") for _count, word in found):
            counts = {word: int(count) for count, word in found}
    passed, skipped = counts.get("passed", 0 if counts else int(code == 0)), counts.get("skipped", 0)
    failed = counts.get("failed", 0) + counts.get("error", 0)
    if not failed and (code or (skipped and not may_skip and os.geteuid() == 0)):
        failed = 1
    missing = [line for line in output.splitlines() if line.startswith(("NOT HERE: ", "SKIPPED ["))]
    return Result(passed, failed, skipped, missing)


def main(arguments: list[str]) -> int:
    suites = {"check": CHECK, "test": TEST}[arguments[0]]
    left_out = [suite for suite in suites if suite.hosts and os.geteuid() != 0]
    running = Running()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    start = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = [pool.submit(running.run, suite) for suite in suites if suite not in left_out]
        try:
            shown = start
            while not all(future.done() for future in futures):
                time.sleep(0.1)
                if time.monotonic() - shown > HEARTBEAT:
                    shown = time.monotonic()
                    running.show()
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            running.end()
            print("interrupted")
            return 130
    results = [future.result() for future in futures]
    print(f"\nin {time.monotonic() - start:.0f} s; logs in {LOGS.relative_to(ROOT)}/")
    for suite in left_out:
        print(f"LEFT OUT: {suite.name}: it makes hosts, which only root can; run: sudo make test")
    for result in results:
        for line in result.missing:
            print(line)
    total = Result(
        sum(result.passed for result in results),
        sum(result.failed for result in results),
        sum(result.skipped for result in results) + len(left_out),
    )
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
