# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cutovers that stop at an exact point, so that a test can do its worst there; and what must be true afterwards.

Several apps run under one daemon. The process that runs a cutover on a host is the *runner*, its parent the *module*.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import re
import shutil
import signal
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils import _boot, _journal
from ansible_collections.zerodown.pm2.plugins.module_utils._release import Layout, Overview
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from ansible_collections.zerodown.pm2.plugins.module_utils._source_directory import DirectorySource
from ansible_collections.zerodown.pm2.plugins.module_utils._stage import Wanted, read, stage
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process, parse_all
from support.gate_apps import write_release
from support.load import Load, Result
from support.pm2_host import (
    descendants,
    find_free_port,
    is_alive,
    owned,
    pm2_package,
    run_pm2,
    start_daemon,
    wait_for,
)
from support.proxied import Haproxy
from support.run_module import ModuleFailed, run_module

# of one app, with keep-alive and without, each
RATE = 40.0
# seconds that anything here may take on a busy machine
PATIENCE = 90.0
# of the 180 s that a load may last
RENEWED_AFTER = 60.0
HEALTH = {"path": "/health", "json": {"status": "ok"}, "interval": 0.2}

AFTERWARDS = ("_transaction.Transaction.retire", "_activate.go_live", "_journal.end", "_bake.watch")

# replaces one function by one that first, or then, waits until it is told to go on
_PRELUDE = """
import importlib, json, os, sys, time

PACKAGE = "ansible_collections.zerodown.pm2.plugins.module_utils."

def _stop_at(order):
    module = os.getpid()
    importlib.import_module(PACKAGE + "_cutover")
    path, *names = order["function"].split(".")
    holder = importlib.import_module(PACKAGE + path)
    for name in names[:-1]:
        holder = getattr(holder, name)
    original = getattr(holder, names[-1])
    calls = []

    def stop(args):
        if order["step"] and order["step"] not in [getattr(argument, "step", None) for argument in args]:
            return
        calls.append(args)
        if len(calls) != order["count"]:
            return
        with open(order["reached"] + ".tmp", "w") as stream:
            json.dump({"runner": os.getpid(), "module": module}, stream)
        os.rename(order["reached"] + ".tmp", order["reached"])
        while not os.path.exists(order["go"]):
            time.sleep(0.002)

    def replacement(*args, **named):
        if order["when"] == "before":
            stop(args)
        result = original(*args, **named)
        if order["when"] == "after":
            stop(args)
        return result

    # also where it was imported by its name
    for one in [holder, *(module for name, module in sys.modules.items() if name.startswith(PACKAGE))]:
        if vars(one).get(names[-1]) is original:
            setattr(one, names[-1], replacement)
"""


# lets the runner believe that a unit starts the daemon again
_HAS_UNIT = """
import time
from ansible_collections.zerodown.pm2.plugins.module_utils import _cutover, _rpc, _settlement

def _leave_it_to_the_unit(home, install, timeout):
    was_down = False
    while not _rpc.Rpc(home.rpc_socket).is_alive():
        was_down = True
        time.sleep(0.05)
    return was_down

_settlement.pm2_own_units = lambda home: ["a test"]
_settlement.ensure_running = _cutover.ensure_running = _leave_it_to_the_unit
"""


@dataclass(frozen=True)
class Point:
    """A point in a cutover: just before a function of module_utils is called, or just after it returned.

    :ivar function: ``_journal.write``.
    :ivar when: ``before`` or ``after``.
    :ivar step: of the journal that it is called with; without it any call counts.
    :ivar count: which of these calls.
    """

    function: str
    when: str
    step: str = ""
    count: int = 1

    @property
    def is_committed(self) -> bool:
        """Whether the new generation is the one that a boot would start."""
        if self.function == "_dump.write":
            return self.when == "after"
        return self.step in AFTER_THE_COMMIT or self.function in AFTERWARDS

    @property
    def has_journal(self) -> bool:
        """Whether there is something to undo or to finish."""
        first = self.function == "_journal.save_before" or (self.when, self.step) == ("before", _journal.PROVE)
        last = (self.when, self.function) == ("after", "_journal.end") or self.function == "_bake.watch"
        return not (first or last)

    def __str__(self) -> str:
        number = f" {self.count}" if self.count > 1 else ""
        return f"{self.when} {self.function}{f'({self.step})' if self.step else ''}{number}"


def around(function: str, step: str = "", count: int = 1) -> list[Point]:
    return [Point(function, when, step, count) for when in ("before", "after")]


AFTER_THE_COMMIT = (_journal.RETIRE, _journal.RECORD)
# each step of the journal
STEPS = [point for step in _journal.STEPS for point in around("_journal.write", step)]
# and what lies between
BETWEEN = [
    *around("_journal.save_before"),
    Point("_generation.Generation.start", "after"),
    *around("_generation.Generation.open"),
    *around("_dump.write"),
    *around("_activate.go_live"),
    *around("_journal.end"),
]


def in_parts(points: list[Point], number: int) -> pytest.MarkDecorator:
    """Several kills in a row on one host, and these parts side by side where tests are run so."""
    parts = [points[first::number] for first in range(number)]
    return pytest.mark.parametrize("points", parts, ids=[str(part[0]) for part in parts])


@contextlib.contextmanager
def at(point: object) -> Iterator[None]:
    """Names it when what is done there fails."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"{point}: {error}") from error


def stopping(point: Point, directory: Path) -> str:
    """What lets a module, and the processes that it leaves behind, stop at this point: ``reached`` appears in the
    directory then, and it goes on when ``go`` does."""
    order = {**vars(point), "reached": str(directory / "reached"), "go": str(directory / "go")}
    return f"\n{_PRELUDE}\n_stop_at({order!r})\n"


class Stopped:
    """A run of ``cutover`` that stops at a point. Made by :meth:`App.stopped`.

    :ivar runner: pid.
    :ivar module: pid.
    """

    def __init__(self, future: Future[dict[str, Any]], directory: Path, point: Point) -> None:
        self._future = future
        self._go = directory / "go"
        reached = directory / "reached"
        wait_for(lambda: reached.exists() or future.done(), f"it never came to {point}", PATIENCE)
        if not reached.exists():
            raise AssertionError(f"it ended before it came to {point}: {future.exception() or future.result()}")
        pids = json.loads(reached.read_text())
        self.runner: int = pids["runner"]
        self.module: int = pids["module"]

    def kill(self) -> None:
        """SIGKILL to the runner; the module tells."""
        os.kill(self.runner, signal.SIGKILL)
        assert "was killed" in self.result(fails=True)["msg"]

    def go(self) -> None:
        self._go.touch()

    def outcome(self) -> dict[str, Any]:
        """Lets it go on; what the module returned in the end, also when it failed."""
        self.go()
        return self._end()

    def result(self, fails: bool = False) -> dict[str, Any]:
        self.go()
        return self.ended(fails)

    def ended(self, fails: bool) -> dict[str, Any]:
        """The same for one that ends where it stands."""
        result = self._end()
        assert bool(result.get("failed")) is fails, result.get("msg", result)
        return result

    def _end(self) -> dict[str, Any]:
        try:
            return self._future.result(PATIENCE)
        except ModuleFailed as error:
            return error.result

    def end(self) -> None:
        """When the test has failed meanwhile, too."""
        self.go()
        with contextlib.suppress(AssertionError):
            self._future.result(PATIENCE)


@dataclass
class Host:
    """One PM2_HOME with a daemon.

    :ivar directory: for the apps.
    :ivar has_unit: whether the runner is to think that somebody else starts the daemon again.
    """

    home: Path
    directory: Path
    major: str = "7"
    has_unit: bool = False

    def __post_init__(self) -> None:
        self.executable = str(pm2_package(self.major) / "bin" / "pm2")
        self.rpc = Rpc(str(self.home / "rpc.sock"))
        start_daemon(self.home, pm2_package(self.major))

    def app(self, name: str = "web", **options: Any) -> App:
        return App(self, name, options)

    def module(self, name: str, fails: bool = False, prelude: str = "", **options: Any) -> dict[str, Any]:
        place = {"pm2_home": str(self.home), "pm2_executable": self.executable}
        prelude = (_HAS_UNIT if self.has_unit else "") + prelude
        return run_module(name, fails=fails, prelude=prelude, timeout=PATIENCE, options={**place, **options})

    def pm2(self, *arguments: str) -> str:
        return run_pm2(self.home, self.executable, *arguments)

    # the worst ------------------------------------------------------------------------------------------------

    def kill_daemon(self) -> None:
        daemon = self.rpc.daemon_pid()
        os.kill(daemon, signal.SIGKILL)
        wait_for(lambda: not is_alive(daemon), "SIGKILL")

    def cut_power(self, *others: int) -> None:
        """SIGKILL to the daemon, to all that runs under it and to these."""
        daemon = self.rpc.daemon_pid()
        pids = [*others, daemon, *sorted((descendants(daemon) | owned(self.home)) - {daemon, *others})]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not any(map(is_alive, pids)), "SIGKILL")

    def boot(self) -> int:
        """What the unit does: a daemon, then what was saved; the exit code of the latter."""
        start_daemon(self.home, pm2_package(self.major))
        return self.bring_back()

    def bring_back(self) -> int:
        node = shutil.which("node")
        assert node
        options = ["--home", str(self.home), "--timeout", "60", "--pm2", self.executable, "--node", node]
        return _boot.main(["resurrect", *options])

    # what is --------------------------------------------------------------------------------------------------

    def processes(self) -> list[Process]:
        return parse_all(self.rpc.processes())

    def dump(self) -> list[dict[str, Any]]:
        path = self.home / "dump.pm2"
        return list(json.loads(path.read_text())) if path.exists() else []

    # what must be ---------------------------------------------------------------------------------------------

    def assert_clean(self) -> None:
        """Nothing is left of any cutover: no file of one, no process that PM2 does not have."""
        live = {process.pid for process in self.processes() if process.pid}
        left = [
            name
            for name in sorted(os.listdir(self.home / "gate"))
            if not re.fullmatch(r"preload-[0-9a-f]{8}\.cjs|python-[0-9a-f]{8}", name)
            # where its traffic goes, for the next boot
            and not name.endswith(".proxy")
            and not (name.endswith(".awaiting") and _is_awaited(self.home / "gate" / name))
            # empty: its last holder ended well
            and not (name.endswith(".lock") and (self.home / "gate" / name).stat().st_size == 0)
            and not (re.fullmatch(r"\d+(-\d+)?", name) and int(name.split("-")[0]) in live)
        ]
        assert left == []
        assert [name for name in os.listdir(self.home) if name.startswith(".dump")] == []
        daemon = self.rpc.daemon_pid()
        others = (descendants(daemon) | owned(self.home)) - live - {daemon}
        assert {pid: _describe(pid) for pid in others if is_alive(pid)} == {}, "processes that PM2 does not list"


class App:
    """One app with releases, under a daemon with others."""

    def __init__(self, host: Host, name: str, options: dict[str, Any]) -> None:
        """:param options: of the app, beside what every app here has."""
        self.host = host
        self.name = name
        self.port = find_free_port()
        self.root = host.directory / name
        self.layout = Layout.at(str(self.root))
        self.app_options = {"instances": 2, "health": [HEALTH], **options}
        self.released = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def stand_behind(self, haproxy: Haproxy, **options: Any) -> App:
        """In fork mode, and its users come by the proxy."""
        self.port = haproxy.port
        self.app_options.update({"instances": 1, "exec_mode": "fork", "env": {}, "proxy": haproxy.options, **options})
        return self

    def stage(self, kind: str = "good", script: str = "", **how: Any) -> str:
        """A new release, which answers with its name: v1, v2, …

        :param script: what it does instead of ``serve();``, see support/gate_apps.py.
        """
        self.released += 1
        version = f"v{self.released}"
        source = self.host.directory / "source" / self.name / version
        path = write_release(source, kind, version, **how)
        if script:
            path.write_text(path.read_text().replace("serve();\n", script))
        wanted = Wanted(
            source=DirectorySource(str(source), str(self.root), []),
            directories=[],
            files=[],
            env=None,
            variant={},
            needs_build=False,
            retry_bad=False,
            release=version,
            by="tester",
        )
        stage(self.layout, wanted, check=False)
        return version

    def cutover(self, release: str | None, fails: bool = False, prelude: str = "", **options: Any) -> dict[str, Any]:
        """The module.

        :param release: ``None`` for a rollback.
        :param options: of the module; ``app`` has those of the app.
        """
        return self.host.module("cutover", fails, prelude, **self.options(release, **options))

    def options(self, release: str | None, **options: Any) -> dict[str, Any]:
        app = {**self.app_options, **options.pop("app", {})}
        what: dict[str, Any] = {"state": "rolled_back"}
        if release:
            directory = str(self.root / "releases" / release)
            entry = {"name": self.name, "script": "app.js", "cwd": directory, "env": {"PORT": str(self.port)}, **app}
            what = {"release": release, "apps": [entry]}
        times = {"min_healthy_time": 0.3, "healthy_deadline": 60.0, "keep": 100}
        return {"path": str(self.root), **times, **what, **options}

    @contextlib.contextmanager
    def stopped(
        self,
        point: Point,
        release: str | None,
        prelude: str = "",
        run: Callable[..., dict[str, Any]] | None = None,
        **options: Any,
    ) -> Iterator[Stopped]:
        """A run that has come to this point and waits there.

        :param run: what is run, with ``prelude`` and the options, instead of a cutover to the release.
        """
        with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(1) as pool:
            directory = Path(name)
            run = run or functools.partial(self.cutover, release)
            future = pool.submit(run, prelude=prelude + stopping(point, directory), **options)
            try:
                stopped = Stopped(future, directory, point)
                yield stopped
                stopped.end()
            finally:
                (directory / "go").touch()

    def run_on(self, release: str, **options: Any) -> list[str]:
        """The run after a fault, which must come to what is wanted; then one that finds nothing to do.

        :returns: what was repaired.
        """
        result = self.cutover(release, **options)
        serving = self.pids()
        again = self.cutover(release, **options)
        assert not again["changed"]
        assert self.pids() == serving
        self.assert_live(release)
        return list(result["repaired"])

    # what is --------------------------------------------------------------------------------------------------

    def get(self, path: str = "") -> str:
        with urllib.request.urlopen(self.url + path, timeout=10) as response:
            return str(response.read().decode())

    def processes(self) -> list[Process]:
        """By instance number."""
        own = [process for process in self.host.processes() if process.name == self.name]
        return sorted(own, key=lambda process: process.env["NODE_APP_INSTANCE"])

    def pids(self) -> list[int]:
        return [process.pid for process in self.processes() if process.pid]

    def releases(self) -> Overview:
        return read(self.layout)

    @property
    def holder(self) -> int | None:
        """The pid of the runner that has the lock."""
        path = self.host.home / "gate" / f"{self.name}.lock"
        inode = path.stat().st_ino if path.exists() else None
        for line in Path("/proc/locks").read_text().splitlines():
            found = re.search(r"FLOCK +ADVISORY +WRITE +(\d+) +\w+:\w+:(\d+) ", line)
            if found and int(found[2]) == inode:
                return int(found[1])
        return None

    def wait_until_begun(self) -> None:
        wait_for(lambda: self.holder is not None, "no runner", PATIENCE)

    def wait_until_over(self) -> None:
        """For a run whose module is gone."""
        wait_for(lambda: self.holder is None, "the runner does not end", PATIENCE)

    def serves(self) -> str | None:
        """What answers; ``None`` when nobody does."""
        try:
            return self.get()
        except OSError:
            return None

    def wait_until_serves(self, release: str | None) -> None:
        wait_for(lambda: self.serves() == release, f"not {release}", PATIENCE)

    # what must be ---------------------------------------------------------------------------------------------

    def assert_live(self, release: str) -> None:
        """This release is live, whole and alone, and a boot would start it and nothing else."""
        directory = str(self.root / "releases" / release)
        count = self.app_options["instances"]
        processes = self.processes()
        assert [process.env["pm_cwd"] for process in processes] == [directory] * count
        assert [process.env["NODE_APP_INSTANCE"] for process in processes] == list(range(count))
        assert all(process.is_running() and process.restarts == 0 for process in processes)
        generations = {process.generation for process in processes}
        assert len(generations) == 1
        saved = [entry for entry in self.host.dump() if entry["name"] == self.name]
        assert [entry["pm_cwd"] for entry in saved] == [directory] * count
        assert {entry["zerodown_generation"] for entry in saved} == generations
        assert os.path.realpath(self.root / "current") == directory
        assert self.get() == release


class Traffic:
    """Requests to apps while the ``with`` block lasts, with keep-alive and without."""

    def __init__(self, apps: list[App], rate: float = RATE) -> None:
        self._apps = apps
        self._rate = rate
        self._ended: list[tuple[float, Result]] = []

    def __enter__(self) -> Traffic:
        self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        if kind is None:
            self._stop()
        else:
            self._stack.close()

    def renew(self) -> None:
        """Called now and then: a load lasts 180 s at most, and a busy machine takes its time."""
        if time.monotonic() - self._started > RENEWED_AFTER:
            self._stop()
            self._start()

    @contextlib.contextmanager
    def at(self, point: object) -> Iterator[None]:
        """One of several faults under it, see :func:`at`."""
        self.renew()
        with at(point):
            yield

    def results(self) -> list[Result]:
        return [result for _started, result in self._ended]

    def assert_none_lost(self) -> None:
        assert all(result.requests for result in self.results())
        assert [(result.errors, result.wrong) for result in self.results() if result.failed or result.wrong] == []

    def outage(self, since: float, until: float) -> float:
        """The longest time without a right answer, seconds.

        :param since: by the monotonic clock.
        """
        longest = 0.0
        for started, result in self._ended:
            if started <= since and until <= started + result.seconds:
                ended = (started + sample.ended for sample in result.samples if 200 <= sample.status < 300)
                moments = [since, *sorted(moment for moment in ended if since < moment < until), until]
                longest = max(longest, *(later - earlier for earlier, later in itertools.pairwise(moments)))
        return longest

    def answers(self) -> set[str]:
        return {text for result in self.results() for text in result.by_body}

    def _start(self) -> None:
        self._loads = [
            Load(app.url, self._rate, keep_alive, clients=8, timeout=20.0)
            for app in self._apps
            for keep_alive in (True, False)
        ]
        with contextlib.ExitStack() as stack:
            for load in self._loads:
                stack.enter_context(load)
            self._stack = stack.pop_all()
        self._started = time.monotonic()

    def _stop(self) -> None:
        now = time.monotonic()
        starts = [now - load.elapsed() for load in self._loads]
        for load in self._loads:
            load.stop()
        with self._stack:
            self._ended += zip(starts, [load.result() for load in self._loads], strict=True)


def _is_awaited(sign: Path) -> bool:
    return Path(sign.read_text(), "unconfirmed.json").exists()


def _describe(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return "gone"
