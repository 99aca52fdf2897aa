# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every test against a real PM2 daemon starts from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.apps import write_scripts
from support.pm2_host import find_free_port, pm2_package, private_home, run_pm2, start_daemon
from support.run_module import run_module

from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process, parse_all

PM2_VERSIONS = ["7", "6", "5"]
# PM2 6 is 5 that also runs Bun: between 5.4.3 and 6.0.14 six lines of the daemon's verbs (lib/God/) differ and none of
# lib/ProcessContainerFork.js, Utility.js, Watcher.js, Event.js; between 6.0.14 and 7.0.4 over two hundred do. So 6 runs
# what speaks to the daemon in every shape, starts it, saves and holds workers; the rest runs with the newest and the
# oldest version.
WITH_ALL = {"test_rpc", "test_daemon_start", "test_daemon_dump", "test_app_calls", "test_app_info"}
IN_SHORT = {"test_rpc", "test_daemon_start"}
WITH_ALL_TESTS = {
    "test_scaling_keeps_the_others_running",
    "test_verbs_need_only_the_name",
    "test_a_worker_is_held_checked_and_let_through",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Which versions a test runs with that does not say so itself."""
    said = any("pm2_version" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "pm2_version" in metafunc.fixturenames and not said:
        every = metafunc.module.__name__.rpartition(".")[2] in WITH_ALL or metafunc.function.__name__ in WITH_ALL_TESTS
        versions = PM2_VERSIONS if every else [PM2_VERSIONS[0], PM2_VERSIONS[-1]]
        # make test has the newest, and the oldest where the wire is spoken to; make test-faults has what is left
        spoken = metafunc.module.__name__.rpartition(".")[2] in IN_SHORT
        short = {PM2_VERSIONS[0], PM2_VERSIONS[-1]} if spoken else {PM2_VERSIONS[0]}
        rows = [
            pytest.param(version, id=f"pm2-{version}", marks=[] if version in short else [pytest.mark.whole])
            for version in versions
        ]
        metafunc.parametrize("pm2_version", rows, indirect=True)


@pytest.fixture
def pm2_version(request: pytest.FixtureRequest) -> str:
    """The major version; for one of them only: ``@pytest.mark.parametrize("pm2_version", ["7"], indirect=True)``."""
    return str(request.param)


@pytest.fixture
def pm2_executable(pm2_version: str) -> str:
    return str(pm2_package(pm2_version) / "bin" / "pm2")


@pytest.fixture
def pm2_home() -> Iterator[Path]:
    """A private PM2_HOME without a daemon; whatever was started in it ends with the test."""
    with private_home() as home:
        yield home


@pytest.fixture
def daemon(pm2_home: Path, pm2_version: str) -> Rpc:
    """A running daemon of :func:`pm2_version` in :func:`pm2_home`, to look at what a module did."""
    start_daemon(pm2_home, pm2_package(pm2_version))
    return Rpc(str(pm2_home / "rpc.sock"))


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A function: each call gives a TCP port of 127.0.0.1 that nothing listens on."""
    return find_free_port


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """A directory with the scripts of support/apps.py."""
    return write_scripts(tmp_path / "app")


@pytest.fixture
def app(pm2_home: Path, pm2_executable: str) -> Callable[..., dict[str, Any]]:
    """The module ``app`` for :func:`pm2_home`: a mapping of its options, then what run_module() takes."""

    def run(options: dict[str, Any], **how: Any) -> dict[str, Any]:
        defaults = {"pm2_home": str(pm2_home), "pm2_executable": pm2_executable, "steady_time": 0.5}
        return run_module("app", options={**defaults, **options}, **how)

    return run


@pytest.fixture
def processes(pm2_home: Path) -> Callable[[str], list[Process]]:
    """A function: the processes of one name in :func:`pm2_home`, by pm_id."""

    def read(name: str) -> list[Process]:
        return [item for item in parse_all(Rpc(str(pm2_home / "rpc.sock")).processes()) if item.name == name]

    return read


@pytest.fixture
def pm2(pm2_home: Path, pm2_executable: str) -> Callable[..., str]:
    """PM2's own command line for :func:`pm2_home`, as a person uses it: ``pm2("restart", "web")``."""

    def run(*arguments: str, cwd: Path = Path("/"), **variables: str) -> str:
        return run_pm2(pm2_home, pm2_executable, *arguments, cwd=cwd, **variables)

    return run
