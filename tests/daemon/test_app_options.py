# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every option against a real daemon: declared, declared again, changed, and removed from the declaration.

One app an option, all of them in one call of the module for each step; a test then looks at its own app.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.apps import write_scripts
from support.pm2_host import environment_of, pm2_package, private_home, start_daemon, wait_for
from support.run_module import run_module

from ansible_collections.zerodown.pm2.plugins.module_utils._gate_script import strip
from ansible_collections.zerodown.pm2.plugins.module_utils._options import BY_NAME, OPTIONS
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from ansible_collections.zerodown.pm2.plugins.module_utils._state import parse_all

STEPS = ["declared", "again", "changed", "changed again", "removed", "removed again"]
MISSING = None


@dataclass(frozen=True)
class Seen:
    """A process at one step, with what the kernel says of it."""

    pm_id: Any
    pid: int | None
    env: dict[str, Any]
    environ: dict[str, str]
    cmdline: list[str]
    cwd: str
    exe: str
    uids: str
    log: str


@dataclass(frozen=True)
class Case:
    """
    :ivar first, second: two values of the option; ``{dir}`` is the directory of the scripts.
    :ivar stored: what PM2 holds then, by field: after the first, after the second, and without the option.
    :ivar base: other options that the app needs.
    :ivar proof: looks at a process: ``(process, value or None, directory)``.
    :ivar keeps_process: whether the change needs no restart.
    """

    option: str
    first: Any
    second: Any
    stored: dict[str, tuple[Any, Any, Any]] = field(default_factory=dict)
    base: dict[str, Any] = field(default_factory=dict)
    proof: Callable[[Seen, Any, str], bool] | None = None
    keeps_process: bool = False
    name: str = ""

    @property
    def app(self) -> str:
        return self.name or self.option


def plain(option: str, first: Any, second: Any, stored: tuple[Any, Any, Any], **more: Any) -> Case:
    return Case(option, first, second, {option: stored}, **more)


NODE = {"script": "{dir}/quiet.js"}
CLUSTER = {"script": "{dir}/quiet.js", "exec_mode": "cluster", "listen_timeout": 300}

CASES = [
    Case(
        "script",
        "{dir}/quiet.sh",
        "{dir}/quiet2.sh",
        {"pm_exec_path": ("{dir}/quiet.sh", "{dir}/quiet2.sh", "{dir}/quiet.sh")},
        proof=lambda seen, value, _: f"{value or 'quiet.sh'} up" in seen.log,
    ),
    Case(
        "cwd",
        "{dir}/one",
        "{dir}/two",
        {"pm_cwd": ("{dir}/one", "{dir}/two", "{dir}")},
        proof=lambda seen, value, directory: seen.cwd == (value or directory),
    ),
    plain(
        "args",
        ["--one", "a b"],
        "--two 'c d' e",
        (["--one", "a b"], ["--two", "c d", "e"], []),
        base=NODE,
        proof=lambda seen, value, _: (
            json.JSONDecoder().raw_decode(seen.log.splitlines()[-1].split(" ", 1)[1])[0]
            == ([] if value is None else ["--two", "c d", "e"] if "c d" in value else ["--one", "a b"])
        ),
    ),
    Case(
        "interpreter",
        "/bin/sh",
        "/bin/bash",
        {"exec_interpreter": ("/bin/sh", "/bin/bash", "bash")},
        proof=lambda seen, _value, _dir: "sleep" in seen.exe,
    ),
    Case(
        "interpreter",
        "{dir}/bin/node",
        "{dir}/bin2/node",
        {"exec_interpreter": ("{dir}/bin/node", "{dir}/bin2/node", "node")},
        base=NODE,
        name="interpreter_node",
        # PM2 gives a Node process the title "node <script>", so its command line is lost: its first logged line remains
        proof=lambda seen, _value, _dir: seen.exe == os.path.realpath(str(shutil.which("node"))),
    ),
    Case(
        "node_args",
        ["--max-old-space-size=100"],
        "--max-old-space-size=101 --expose-gc",
        {"node_args": (["--max-old-space-size=100"], ["--max-old-space-size=101", "--expose-gc"], [])},
        base=NODE,
    ),
    Case(
        "node_args",
        ["--max-old-space-size=100"],
        ["--max-old-space-size=101"],
        {"node_args": (["--max-old-space-size=100"], ["--max-old-space-size=101"], [])},
        base=CLUSTER,
        name="node_args_cluster",
        proof=lambda seen, value, _: strip(arguments_of_node(seen)) == (value or []),
    ),
    Case(
        "exec_mode",
        "cluster",
        "fork",
        {"exec_mode": ("cluster_mode", "fork_mode", "fork_mode")},
        base=NODE,
    ),
    plain("namespace", "blue", "green", ("blue", "green", "default")),
    Case(
        "env",
        {"GREETING": "hello", "NUMBER": 1, "YES": True, "DEEP": {"a": [1]}, "UNICODE": "grün = 1"},
        {"GREETING": "bye"},
        proof=lambda seen, value, _: (
            {name: seen.environ.get(name) for name in ("GREETING", "NUMBER", "YES", "DEEP", "UNICODE")}
            == {
                "GREETING": (value or {}).get("GREETING"),
                "NUMBER": "1" if "NUMBER" in (value or {}) else None,
                "YES": "true" if "YES" in (value or {}) else None,
                "DEEP": '{"a": [1]}' if "DEEP" in (value or {}) else None,
                "UNICODE": (value or {}).get("UNICODE"),
            }
        ),
    ),
    Case(
        "env",
        {"PATH": "/opt/one:/usr/bin:/bin"},
        {"PATH": "/opt/two:/usr/bin:/bin"},
        name="env_path",
        proof=lambda seen, value, _: seen.environ["PATH"] == (value or {"PATH": seen.environ["PATH"]})["PATH"],
    ),
    Case(
        "port",
        18391,
        18392,
        {"port": (18391, 18392, MISSING)},
        proof=lambda seen, value, _: seen.environ.get("PORT") == (str(value) if value else None),
    ),
    Case(
        "io",
        {"conf": {"a": 1}},
        {"conf": {"a": 2}},
        proof=lambda seen, value, _: seen.environ.get("io") == (json.dumps(value) if value else None),
    ),
    Case(
        "instance_var",
        "NUMBER_ONE",
        "NUMBER_TWO",
        {
            "instance_var": ("NUMBER_ONE", "NUMBER_TWO", "NODE_APP_INSTANCE"),
            "NUMBER_ONE": (0, MISSING, MISSING),
            "NUMBER_TWO": (MISSING, 0, MISSING),
            "NODE_APP_INSTANCE": (MISSING, MISSING, 0),
        },
        proof=lambda seen, value, _: seen.environ.get(value or "NODE_APP_INSTANCE") == "0",
    ),
    plain(
        "increment_var",
        "COUNTED",
        "PORT",
        ("COUNTED", "PORT", MISSING),
        base={"env": {"COUNTED": 7, "PORT": 18400}, "instances": 2, "exec_mode": "fork"},
    ),
    Case(
        "out_file",
        "{dir}/logs/one.log",
        "two.out",
        {"pm_out_log_path": ("{dir}/logs/one.log", "{dir}/two.out", "{home}/logs/out-file-out.log")},
        proof=lambda seen, _value, _dir: "up" in seen.log,
    ),
    Case(
        "error_file",
        "{dir}/logs/one.err.log",
        "/dev/null",
        {"pm_err_log_path": ("{dir}/logs/one.err.log", "/dev/null", "{home}/logs/error-file-error.log")},
    ),
    Case(
        "log_file",
        True,
        "{dir}/logs/both.log",
        {"pm_log_path": ("{home}/logs/log-file.log", "{dir}/logs/both.log", MISSING)},
    ),
    Case(
        "merge_logs",
        False,
        True,
        {
            "pm_out_log_path": (
                "{home}/logs/merge-logs-out-0.log",
                "{home}/logs/merge-logs-out.log",
                "{home}/logs/merge-logs-out.log",
            )
        },
    ),
    plain("disable_logs", True, False, (True, False, MISSING)),
    plain("log_type", "json", "raw", ("json", MISSING, MISSING)),
    plain(
        "log_date_format",
        "YYYY",
        "[at] YYYY-MM",
        ("YYYY", "[at] YYYY-MM", MISSING),
        proof=lambda seen, value, _: seen.log.rsplit("\n", 2)[-2].startswith(
            "at 20" if value == "[at] YYYY-MM" else "20" if value else "/"
        ),
    ),
    Case(
        "time",
        True,
        False,
        {"log_date_format": ("YYYY-MM-DDTHH:mm:ss", MISSING, MISSING)},
    ),
    Case(
        "pid_file",
        "{dir}/one.pid",
        "{dir}/two.pid",
        {"pm_pid_path": ("{dir}/one-{pm_id}.pid", "{dir}/two-{pm_id}.pid", "{home}/pids/pid-file-{pm_id}.pid")},
        proof=lambda seen, _value, _dir: Path(seen.env["pm_pid_path"]).read_text() == str(seen.pid),
    ),
    plain("autorestart", False, True, (False, True, True)),
    plain("max_restarts", 3, 5, (3, 5, MISSING)),
    plain("min_uptime", "2s", 500, (2000, 500, MISSING)),
    plain("restart_delay", 50, "1s", (50, 1000, MISSING)),
    plain("exp_backoff_restart_delay", "100ms", 200, (100, 200, MISSING)),
    plain("stop_exit_codes", [3, 4], [5], ([3, 4], [5], MISSING)),
    plain("max_memory_restart", "300M", "1G", (314572800, 1073741824, MISSING)),
    plain("cron_restart", "0 3 * * *", "0 4 * * SUN", ("0 3 * * *", "0 4 * * SUN", MISSING)),
    plain("wait_ready", True, False, (True, False, MISSING), base={"script": "{dir}/ready.js"}),
    plain("listen_timeout", "4s", 5000, (4000, 5000, MISSING)),
    plain("kill_timeout", "4s", 5000, (4000, 5000, MISSING)),
    plain("kill_retry_time", 50, "60ms", (50, 60, 100)),
    plain("shutdown_with_message", True, False, (True, False, MISSING)),
    plain("treekill", False, True, (False, True, True)),
    plain("watch", True, False, (True, False, False), base={"cwd": "{dir}/one"}, keeps_process=True),
    plain(
        "watch",
        ["{dir}/one"],
        ["{dir}/two"],
        (["{dir}/one"], ["{dir}/two"], False),
        base={"cwd": "{dir}/one"},
        name="watch_paths",
    ),
    plain("watch_delay", "1s", 200, (1000, 200, MISSING), base={"watch": True, "cwd": "{dir}/one"}),
    plain(
        "ignore_watch",
        ["*.tmp"],
        "*.tmp *.log",
        (["*.tmp"], ["*.tmp", "*.log"], MISSING),
        base={"watch": True, "cwd": "{dir}/one"},
    ),
    plain(
        "watch_options",
        {"followSymlinks": False},
        {"depth": 1},
        ({"followSymlinks": False}, {"depth": 1}, MISSING),
        base={"watch": True, "cwd": "{dir}/one"},
    ),
    plain("source_map_support", True, False, (True, MISSING, MISSING)),
    plain("disable_source_map_support", True, False, (True, MISSING, MISSING)),
    plain("pmx", False, True, (False, True, True), base=NODE),
    plain("automation", False, True, (False, True, True), base=NODE),
    plain("vizion", False, True, (False, True, True)),
    plain("post_update", ["npm ci"], ["true", "npm ci"], (["npm ci"], ["true", "npm ci"], MISSING)),
]

# proven otherwise: see the comment of each
ELSEWHERE = {
    "name": "it is the identity of an app",
    "instances": "test_app_states.py, with the processes that keep running",
    "execute_command": "test_app_states.py: another word for exec_mode",
    "autostart": "test_app_states.py: only with state stopped",
    "uid": "test_app_user.py, which needs root",
    "gid": "test_app_user.py, which needs root",
    "trace": "test_app_refusals.py: PM2 7 refuses it without further packages",
    "disable_trace": "test_app_refusals.py",
}
# on the older versions, what PM2 treats specially; the rest are fields that are kept as they are
ON_OLDER = [
    *("script", "cwd", "args", "interpreter", "interpreter_node", "node_args", "node_args_cluster", "exec_mode"),
    *("env", "env_path", "instance_var", "increment_var", "out_file", "log_file", "merge_logs", "pid_file"),
    *("max_memory_restart", "cron_restart", "wait_ready", "watch", "watch_paths", "watch_delay", "treekill"),
]


def test_every_option_is_tried() -> None:
    assert {case.option for case in CASES} | set(ELSEWHERE) == set(BY_NAME)
    assert not {case.option for case in CASES} & set(ELSEWHERE)
    assert set(ON_OLDER) <= {case.app for case in CASES}
    assert len(OPTIONS) == len(BY_NAME)


def cases_of(version: str) -> list[Case]:
    return [case for case in CASES if version == "7" or case.app in ON_OLDER]


@dataclass
class Run:
    """What came of all steps."""

    directory: Path
    home: Path
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    seen: dict[tuple[str, str], list[Seen]] = field(default_factory=dict)

    def filled(self, value: Any, seen: Seen | None = None) -> Any:
        """With the places of this run for ``{dir}``, ``{home}`` and ``{pm_id}``."""
        if isinstance(value, str):
            text = value.replace("{dir}", str(self.directory)).replace("{home}", str(self.home))
            return text.replace("{pm_id}", str(seen.pm_id)) if seen else text
        if isinstance(value, list):
            return [self.filled(item, seen) for item in value]
        if isinstance(value, dict):
            return {key: self.filled(item, seen) for key, item in value.items()}
        return value


def arguments_of_node(seen: Seen) -> list[str]:
    """As the process logged them when it started: ``up <arguments> <arguments of Node>``."""
    given: list[str] = json.JSONDecoder().raw_decode(seen.log.splitlines()[-1].split("] ", 1)[1])[0]
    return given


def value_at(case: Case, step: str) -> Any:
    return None if step.startswith("removed") else case.second if step.startswith("changed") else case.first


def declaration(case: Case, step: str, run: Run) -> dict[str, Any]:
    options = {"name": case.app, "script": "{dir}/quiet.sh", **case.base}
    value = value_at(case, step)
    if value is not None:
        options[case.option] = value
    filled: dict[str, Any] = run.filled(options)
    return filled


def look(process: Any) -> Seen:
    environ, cmdline, cwd, exe, uids = {}, [], "", "", ""
    if process.pid:
        with contextlib.suppress(FileNotFoundError):
            proc = Path(f"/proc/{process.pid}")
            environ = environment_of(process.pid)
            cmdline = (proc / "cmdline").read_text().split("\0")
            cwd, exe = os.readlink(proc / "cwd"), os.readlink(proc / "exe")
            uids = next(line for line in (proc / "status").read_text().splitlines() if line.startswith("Uid:"))
    log = Path(str(process.env.get("pm_out_log_path")))
    text = log.read_text() if log.is_file() else ""
    return Seen(process.pm_id, process.pid, process.env, environ, cmdline, cwd, exe, uids, text)


@contextlib.contextmanager
def all_steps(version: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    directory = write_scripts(tmp_path_factory.mktemp("scripts"))
    node = shutil.which("node")
    assert node
    for name in ("one", "two", "bin", "bin2"):
        (directory / name).mkdir()
    for name in ("bin", "bin2"):
        (directory / name / "node").symlink_to(node)
    with private_home() as home:
        start_daemon(home, pm2_package(version))
        result = Run(directory, home)
        cases = cases_of(version)
        for step in STEPS:
            result.results[step] = run_module(
                "app",
                apps=[declaration(case, step, result) for case in cases],
                pm2_home=str(home),
                pm2_executable=str(pm2_package(version) / "bin" / "pm2"),
                steady_time=0.5,
                start_timeout=60,
                timeout=400,
            )
            look_at_all(cases, step, result)
        yield result


def look_at_all(cases: list[Case], step: str, run: Run) -> None:
    """At each app once it has come to what its proof looks at: PM2 calls it online before that."""
    rpc = Rpc(str(run.home / "rpc.sock"))
    open_cases = list(cases)

    def is_proven(case: Case) -> bool:
        value = run.filled(value_at(case, step))
        with contextlib.suppress(LookupError, ValueError, OSError):
            return not case.proof or all(
                case.proof(seen, value, str(run.directory)) for seen in run.seen[case.app, step]
            )
        return False

    def all_proven() -> bool:
        processes = parse_all(rpc.processes())
        for case in open_cases:
            run.seen[case.app, step] = [look(item) for item in processes if item.name == case.app]
        open_cases[:] = [case for case in open_cases if not is_proven(case)]
        return not open_cases

    # the test of the option tells what is wrong with it
    with contextlib.suppress(AssertionError):
        wait_for(all_proven, "some are not proven", timeout=30)


@pytest.fixture(scope="module")
def newest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with all_steps("7", tmp_path_factory) as run:
        yield run


@pytest.fixture(scope="module")
def oldest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with all_steps("5", tmp_path_factory) as run:
        yield run


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.app)
def test_option(newest: Run, case: Case) -> None:
    check(newest, case)


@pytest.mark.parametrize("case", cases_of("5"), ids=lambda case: case.app)
def test_option_on_the_oldest_version(oldest: Run, case: Case) -> None:
    check(oldest, case)


def check(run: Run, case: Case) -> None:
    for step in STEPS:
        actions = [action for action in run.results[step]["plan"] if action["app"] == case.app]
        seen = run.seen[case.app, step]
        assert seen, step
        if step.endswith("again"):
            before = run.seen[case.app, STEPS[STEPS.index(step) - 1]]
            assert actions == []
            assert [item.pid for item in seen] == [item.pid for item in before], "no process may be touched"
        elif step == "declared":
            assert [action["action"] for action in actions] == ["create"]
        elif step == "changed":
            assert actions, "the change was not found"
            touched = [action for action in actions if action.get("options")]
            assert touched, actions
            if case.keeps_process:
                assert [item.pid for item in seen] == [item.pid for item in run.seen[case.app, "declared"]]
        position = STEPS.index(step) // 2
        for process in seen:
            for name, values in case.stored.items():
                expected = run.filled(values[position], process)
                actual = strip(process.env[name]) if name == "node_args" else process.env.get(name)
                assert actual == expected or (expected is MISSING and actual in (None, False)), (step, name)
            if case.proof:
                assert case.proof(process, run.filled(value_at(case, step)), str(run.directory)), (step, process)
