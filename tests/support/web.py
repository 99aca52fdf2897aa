# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The app ``web`` under a private PM2, with releases made by the module ``release``, replaced by the module ``cutover``
while traffic comes in; and what a cutover must leave behind, and what it must not."""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process, parse_all
from support.gate_apps import write_release
from support.load import Load, Result, Sample, prefer
from support.pm2_host import descendants, find_free_port, is_alive, owned, pm2_package, run_pm2, start_daemon
from support.run_module import run_module

NAME = "web"
HEALTH = {"path": "/health", "json": {"status": "ok"}, "interval": 0.2}
# seconds of traffic before and after what a test does
BEFORE = 0.5
AFTER = 0.5
# requests a second, each with keep-alive and without, and of those that take 5 s
RATE = 100.0
SLOW_RATE = 10.0
SLOW = "slow?ms=5000"
# seconds that an answer may take: on a machine that is busy with other things it is late, what is lost never comes
TIMEOUT = 60.0

# by the name of the load: seconds since its start
Moment = dict[str, float]


class Traffic:
    """Requests to one app while the ``with`` block lasts: with keep-alive, without, and where asked for slow ones.

    An answer is right when it is the text of a version that may serve.
    """

    def __init__(
        self,
        url: str,
        record: Callable[[str, object], None],
        slow: bool = False,
        rate: float = RATE,
        timeout: float = TIMEOUT,
    ) -> None:
        """
        :param rate: requests a second, each with keep-alive and without.
        :param timeout: seconds that an answer may take.
        """
        self._record = record
        self._loads = {
            "keep-alive": Load(url, rate, keep_alive=True, timeout=timeout),
            "no keep-alive": Load(url, rate, keep_alive=False, timeout=timeout),
        }
        if slow:
            self._loads["5 s"] = Load(url + SLOW, SLOW_RATE, timeout=TIMEOUT)

    def __enter__(self) -> Traffic:
        with ExitStack() as stack:
            for load in self._loads.values():
                stack.enter_context(load)
            self._stack = stack.pop_all()
        time.sleep(BEFORE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            time.sleep(AFTER)
            for load in self._loads.values():
                load.stop()
        self._stack.__exit__(kind, error, trace)
        if kind is None:
            for name, result in self.results.items():
                texts = dict(sorted(result.by_body.items()))
                self._record(
                    name,
                    f"{result.requests} sent, {result.failed} failed, gap {result.longest_gap:.2f} s, answers {texts}",
                )

    def mark(self) -> Moment:
        """Now, for :meth:`samples`."""
        return {name: load.elapsed() for name, load in self._loads.items()}

    @property
    def results(self) -> dict[str, Result]:
        return {name: load.result() for name, load in self._loads.items()}

    @property
    def failed(self) -> int:
        return sum(result.failed for result in self.results.values())

    @property
    def longest_gap(self) -> float:
        return max(result.longest_gap for name, result in self.results.items() if name != "5 s")

    def samples(self, since: Moment | None = None) -> list[Sample]:
        """The requests that were sent after a moment."""
        start = since or dict.fromkeys(self._loads, 0.0)
        return [
            sample for name, result in self.results.items() for sample in result.samples if sample.sent >= start[name]
        ]

    def answers(self, since: Moment | None = None) -> set[str]:
        return {sample.text for sample in self.samples(since) if sample.status}

    def assert_none_lost(self) -> None:
        assert {name: result.errors for name, result in self.results.items() if result.failed} == {}

    def assert_only(self, *versions: str, since: Moment | None = None) -> None:
        """No request was lost, and every answer was one of a version that may serve."""
        wrong = Counter(
            sample.text
            for sample in self.samples(since)
            if not 200 <= sample.status < 300 or sample.text not in versions
        )
        assert wrong == {}


@dataclass
class Web:
    """One app on one host.

    :ivar options: of the app, for every cutover.
    :ivar record: takes a name and a value for the report of the test.
    :ivar other_port: one that nobody asks.
    """

    home: Path
    pm2_version: str
    directory: Path
    record: Callable[[str, object], None]
    options: dict[str, Any] = field(default_factory=lambda: {"instances": 2, "health": [HEALTH]})
    port: int = field(default_factory=find_free_port)
    other_port: int = field(default_factory=find_free_port)
    write: ClassVar[Callable[..., Any]] = staticmethod(write_release)

    def __post_init__(self) -> None:
        self.executable = str(pm2_package(self.pm2_version) / "bin" / "pm2")
        self.daemon = start_daemon(self.home, pm2_package(self.pm2_version))
        prefer(self.daemon)
        self.rpc = Rpc(str(self.home / "rpc.sock"))
        self.root = self.directory / "srv"

    # what a user does ------------------------------------------------------------------------------------------

    def stage(self, kind: str, version: str, **how: Any) -> str:
        """Make the release ``version``, which answers with its name.

        :param how: see support/gate_apps.py.
        """
        source = self.directory / "source" / version
        self.write(source, kind, version, **how)
        run_module(
            "release",
            path=str(self.root),
            source={"type": "directory", "directory": str(source)},
            release=version,
            needs_build=False,
        )
        return version

    def declare(self, release: str, **options: Any) -> dict[str, Any]:
        """The options of the app as it runs from a release. A variable that is ``None`` is not declared."""
        directory = self.path(release)
        env = {"PORT": str(self.port), **self.options.get("env", {}), **options.pop("env", {})}
        env = {name: value for name, value in env.items() if value is not None}
        script = "app.mjs" if (directory / "app.mjs").exists() else "app.js"
        return {"name": NAME, "script": script, "cwd": str(directory), **self.options, **options, "env": env}

    def path(self, release: str) -> Path:
        return self.root / "releases" / release

    def cutover(
        self, release: str, app: dict[str, Any] | None = None, fails: bool = False, **options: Any
    ) -> dict[str, Any]:
        """The module ``cutover``, to let a release go live.

        :param app: options of the app beside those of :meth:`declare`.
        :param options: of the module.
        """
        declared = self.declare(release, **(app or {}))
        return self.module("cutover", fails, path=str(self.root), release=release, apps=[declared], **options)

    def roll_back(self, fails: bool = False, **options: Any) -> dict[str, Any]:
        """The module ``cutover``, to go back."""
        return self.module("cutover", fails, path=str(self.root), state="rolled_back", **options)

    def module(self, name: str, /, fails: bool = False, check: bool = False, **options: Any) -> dict[str, Any]:
        """Any module that speaks to PM2; ``cutover`` with times that keep a test short."""
        times = {"min_healthy_time": 1.0, "healthy_deadline": 60.0} if name == "cutover" else {}
        place = {"pm2_home": str(self.home), "pm2_executable": self.executable}
        result = run_module(name, check=check, fails=fails, options={**place, **times, **options})
        if name == "cutover" and result["changed"] and not check:
            self.record("timings", result.get("timings"))
        return result

    def go_live(self, kind: str = "good", version: str = "v1", app: dict[str, Any] | None = None, **how: Any) -> None:
        """Stage a release and let it serve, before a test begins."""
        self.cutover(self.stage(kind, version, **how), app, min_healthy_time=0.3)

    def traffic(self, slow: bool = False, timeout: float = TIMEOUT) -> Traffic:
        return Traffic(f"http://127.0.0.1:{self.port}/", self.record, slow, timeout=timeout)

    def pm2(self, *arguments: str, **variables: str) -> str:
        return run_pm2(self.home, self.executable, *arguments, cwd=Path("/"), **variables)

    # what is ---------------------------------------------------------------------------------------------------

    def processes(self) -> list[Process]:
        """All that PM2 has, by instance number."""
        return sorted(parse_all(self.rpc.processes()), key=lambda process: process.env["NODE_APP_INSTANCE"])

    def pids(self) -> list[int]:
        return [process.pid for process in self.processes() if process.pid]

    def release(self, version: str) -> dict[str, Any]:
        """What ``release_info`` says of one."""
        releases = run_module("release_info", path=str(self.root))["releases"]
        (found,) = [release for release in releases if release["id"] == version]
        return dict(found)

    def dump(self) -> list[dict[str, Any]]:
        path = self.home / "dump.pm2"
        return list(json.loads(path.read_text())) if path.exists() else []

    # what must be ----------------------------------------------------------------------------------------------

    def assert_serves(
        self, version: str, instances: int = 2, mode: str = "cluster", numbered: bool | None = None
    ) -> None:
        """This release is live, whole and alone; a person finds what he expects, and nothing was left behind."""
        processes = self.processes()
        assert [process.name for process in processes] == [NAME] * instances
        assert [process.env["NODE_APP_INSTANCE"] for process in processes] == list(range(instances))
        assert [process.env["pm_cwd"] for process in processes] == [str(self.path(version))] * instances
        assert {process.env["exec_mode"] for process in processes} == {f"{mode}_mode"}
        assert all(process.is_running() and process.restarts == 0 for process in processes)
        assert os.path.realpath(self.root / "current") == str(self.path(version))
        self.assert_logs(instances, mode == "cluster" if numbered is None else numbered)
        self.assert_clean()
        assert [entry["pm_cwd"] for entry in self.dump()] == [process.env["pm_cwd"] for process in processes]
        generations = {process.generation for process in processes}
        assert len(generations) == 1
        assert {entry["zerodown_generation"] for entry in self.dump()} == generations

    def assert_logs(self, instances: int, numbered: bool = True) -> None:
        for kind, key in (("out", "pm_out_log_path"), ("error", "pm_err_log_path")):
            names = [f"{NAME}-{kind}-{number}.log" if numbered else f"{NAME}-{kind}.log" for number in range(instances)]
            wanted = [str(self.home / "logs" / name) for name in names]
            assert [process.env[key] for process in self.processes()] == wanted

    def assert_clean(self) -> None:
        """Nothing is left of a cutover that has ended, however it did."""
        live = {str(pid) for pid in self.pids()}
        left = [
            name
            for name in sorted(os.listdir(self.home / "gate"))
            if not re.fullmatch(r"preload-[0-9a-f]{8}\.cjs|python-[0-9a-f]{8}", name)
            # empty: its last holder ended well
            # where its traffic goes, for the next boot
            and not name.endswith(".proxy")
            and not (name.endswith(".awaiting") and (self.root / "unconfirmed.json").exists())
            and not (name.endswith(".lock") and (self.home / "gate" / name).stat().st_size == 0)
            and name.split("-")[0] not in live
        ]
        assert left == []
        assert owned(self.home) - descendants(self.daemon) - {self.daemon} == set(), "orphans"
        known = set(self.pids()).union(*map(descendants, self.pids()))
        workers = {pid for pid in descendants(self.daemon) if is_alive(pid)}
        assert workers == known, "processes that PM2 does not list"


def take_over(
    web: Web, is_whole: Callable[[], None], slow: bool = False, app: dict[str, Any] | None = None, **options: Any
) -> dict[str, Any]:
    """``v1`` serves; ``v2``, which is staged, takes its place under traffic, once; what the cutover returned.

    :param is_whole: asserts that the new one is there as it should be.
    :param slow: whether there are also requests of 5 s.
    :param app: options of the app.
    """
    before = web.pids()
    with web.traffic(slow) as traffic:
        result = web.cutover("v2", app, **options)
        after = traffic.mark()
    assert result["changed"]
    assert [step["action"] for step in result["plan"]] == ["cutover"]
    traffic.assert_only("v1", "v2")
    assert traffic.answers() == {"v1", "v2"}
    assert traffic.answers(after) == {"v2"}
    is_whole()
    assert not set(before) & set(web.pids())

    serving = web.pids()
    again = web.cutover("v2", app, **options)
    assert not again["changed"]
    assert again["plan"] == []
    assert web.pids() == serving
    return result
