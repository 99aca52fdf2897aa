# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The saved list: what of a process is saved, when two lists are the same, and what is not believed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.module_utils import _dump
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process, parse


def process(pm_id: int = 0, status: str = "online", pid: int | None = None, restarts: int = 0, **env: Any) -> Process:
    pid = os.getpid() if pid is None and status == "online" else pid
    return parse(
        {
            "pid": pid,
            "name": env.get("name", "web"),
            "pm_id": pm_id,
            "pm2_env": {
                "name": "web",
                "namespace": "default",
                "pm_id": pm_id,
                "status": status,
                "restart_time": restarts,
                "pm_exec_path": "/srv/web/app.js",
                "pm_cwd": "/srv/web",
                "exec_mode": "cluster_mode",
                "exec_interpreter": "node",
                "args": ["--x"],
                "node_args": [],
                "pm_out_log_path": f"/home/app/.pm2/logs/web-out-{pm_id}.log",
                "pm_err_log_path": f"/home/app/.pm2/logs/web-error-{pm_id}.log",
                "pm_pid_path": f"/home/app/.pm2/pids/web-{pm_id}.pid",
                "NODE_APP_INSTANCE": 0,
                "env": {"SECRET": "hunter2", "unique_id": "u"},
                "SECRET": "hunter2",
                "unique_id": "u",
                "instances": 2,
                "created_at": 1700000000000,
                "axm_monitor": {"Heap": 1},
                "version": "1.0.0",
                "LEFT_OVER": "from an earlier declaration",
                **env,
            },
        }
    )


def test_an_entry_holds_what_was_declared_and_each_variable_once() -> None:
    entry = _dump.entry_of(process(), stopped=False)

    assert json.dumps(entry).count("hunter2") == 1
    assert entry["env"] == {"SECRET": "hunter2"}
    assert entry["NODE_APP_INSTANCE"] == 0
    assert entry["status"] == "online"
    gone = {"instances", "pm_id", "created_at", "restart_time", "axm_monitor", "version", "unique_id", "LEFT_OVER"}
    assert not gone & set(entry)


def test_a_field_that_a_variable_overrides_stays() -> None:
    entry = _dump.entry_of(process(name="evil", env={"name": "evil", "args": "--y", "other": "1"}, other="1"), False)

    assert entry["name"] == "evil"
    assert entry["args"] == ["--x"]
    assert "other" not in entry


def test_an_instance_variable_of_another_name_is_kept() -> None:
    entry = _dump.entry_of(process(instance_var="WORKER", WORKER=3, increment_var="PORT", PORT=3003), stopped=False)

    assert (entry["WORKER"], entry["PORT"]) == (3, 3003)
    assert _dump.instance_of(entry) == ("default", "web", 3)


@pytest.mark.parametrize(
    ("samples", "stopped"),
    [
        ([process(status="stopped")], True),
        ([process(status="stopped"), process(status="stopped")], True),
        ([process(status="stopped"), process(status="online")], False),
        ([process(status="online"), process(status="stopped", restarts=1)], False),
        ([process(status="stopped", restarts=1), process(status="stopped", restarts=2)], False),
        ([process(status="errored")], False),
        ([process(status="waiting restart")], False),
        ([process(status="online", pid=0)], False),
        ([process(status="stopped", pid=1)], False),
    ],
    ids=["once", "twice", "up again", "just down", "counter moves", "errored", "waiting", "no pid", "ending"],
)
def test_stopped_on_purpose(samples: list[Process], stopped: bool) -> None:
    assert _dump.is_stopped_on_purpose(samples) is stopped


def test_a_snapshot_leaves_out_modules_and_tells_accidents() -> None:
    module = process(1, name="pm2-logrotate", pmx_module=True)
    broken = process(2, status="errored", name="broken")

    snapshot = _dump.snapshot([[process(), module, broken]])

    assert [entry["name"] for entry in snapshot.entries] == ["web", "broken"]
    assert snapshot.entries[1]["status"] == "online"
    assert snapshot.accidents == ["broken (id 2) is errored now; it is saved as an app that shall run."]


def test_ids_in_file_names_do_not_make_a_difference() -> None:
    assert _dump.comparable([_dump.entry_of(process(0), False)]) == _dump.comparable(
        [_dump.entry_of(process(7), False)]
    )


def test_with_merged_logs_they_do() -> None:
    one, two = (_dump.entry_of(process(pm_id, merge_logs=True), False) for pm_id in (0, 7))
    assert _dump.comparable([one]) != _dump.comparable([two])


ENTRIES = st.lists(
    st.builds(
        lambda name, number, stopped: _dump.entry_of(process(name=name, NODE_APP_INSTANCE=number), stopped),
        st.sampled_from(["web", "api", "job"]),
        st.integers(0, 3),
        st.booleans(),
    ),
    max_size=6,
)


@given(ENTRIES, ENTRIES)
def test_what_is_missing_and_what_is_present_make_the_whole(saved: list[_dump.Entry], live: list[_dump.Entry]) -> None:
    missing = _dump.missing(saved, live)

    assert _dump.missing(saved, live + missing) == []
    assert _dump.missing(saved, saved) == []
    assert all(entry in saved for entry in missing)


@given(ENTRIES, st.randoms())
def test_the_order_makes_no_difference(entries: list[_dump.Entry], random: Any) -> None:
    shuffled = list(entries)
    random.shuffle(shuffled)

    assert _dump.comparable(entries) == _dump.comparable(shuffled)
    assert _dump.differing_keys(entries, shuffled) == {}


def test_a_diff_names_keys_and_shows_no_value() -> None:
    before = [_dump.entry_of(process(), False)]
    after = [_dump.entry_of(process(env={"SECRET": "other", "NEW": "1"}, args=[]), False)]

    assert _dump.differing_keys(before, after) == {"web": ["args", "env.NEW", "env.SECRET"]}
    assert _dump.summary(after) == {"web": {"instances": 1, "stopped": 0}}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(str(tmp_path))


def test_what_is_written_is_read_and_the_one_before_is_the_backup(home: Home) -> None:
    first, second = [_dump.entry_of(process(), False)], [_dump.entry_of(process(name="api"), True)]
    _dump.write(home, first)
    assert _dump.is_saved(home, first)
    _dump.write(home, second)

    assert _dump.read(home.dump, os.geteuid()) == second
    assert _dump.read(home.dump_backup, os.geteuid()) == first
    assert {os.stat(path).st_mode & 0o777 for path in (home.dump, home.dump_backup)} == {0o600}
    assert _dump.load(home) == _dump.Saved(second, home.dump)


@given(data=st.binary(max_size=60))
def test_whatever_is_in_the_file_is_a_list_of_processes_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("dump") / "dump.pm2"
    path.write_bytes(data)
    path.chmod(0o600)

    try:
        entries = _dump.read(str(path), os.geteuid())
    except Pm2Error:
        return
    assert isinstance(entries, list)


@pytest.mark.parametrize("content", ["{}", "[1]", "null", '[{"name": "x"}]', "([])", "[" * 100000])
def test_what_is_no_list_of_processes_is_refused(home: Home, content: str) -> None:
    Path(home.dump).write_text(content)
    Path(home.dump).chmod(0o600)

    with pytest.raises(Pm2Error, match=home.dump):
        _dump.read(home.dump, os.geteuid())


def test_a_damaged_dump_never_becomes_the_backup(home: Home) -> None:
    good = [_dump.entry_of(process(), False)]
    _dump.write(home, good)
    _dump.write(home, [])
    Path(home.dump).write_bytes(b"")

    loaded = _dump.load(home)
    assert (loaded.entries, loaded.path) == (good, home.dump_backup)
    assert "is empty" in loaded.problems[0]
    _dump.write(home, [])
    assert _dump.read(home.dump_backup, os.geteuid()) == good


def test_others_files_and_links_are_refused(home: Home, tmp_path: Path) -> None:
    _dump.write(home, [])
    with pytest.raises(Pm2Error, match="belongs to"):
        _dump.read(home.dump, os.geteuid() + 1)
    link = tmp_path / "link"
    link.symlink_to(home.dump)
    with pytest.raises(Pm2Error, match="cannot be read"):
        _dump.read(str(link), os.geteuid())
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(Pm2Error, match="not a regular file"):
        _dump.read(str(tmp_path / "fifo"), os.geteuid())


def test_nothing_saved_is_not_an_error(home: Home) -> None:
    assert _dump.load(home) == _dump.Saved([], None)


def test_what_keeps_an_entry_from_running(tmp_path: Path) -> None:
    script = tmp_path / "app.js"
    script.write_text("")
    good = {
        **_dump.entry_of(process(exec_mode="fork_mode"), False),
        "pm_exec_path": str(script),
        "pm_cwd": str(tmp_path),
    }

    def found(name: str, _path: object) -> str:
        return name

    def nowhere(_name: str, _path: object) -> None:
        return None

    assert _dump.obstacle(good, found) is None
    assert "its interpreter node is missing" in str(_dump.obstacle(good, nowhere))
    assert _dump.obstacle({**good, "exec_mode": "cluster_mode"}, nowhere) is None, "a cluster has the daemon's Node"
    assert "not executable" in str(_dump.obstacle({**good, "exec_interpreter": "none"}, found))
    assert "script" in str(_dump.obstacle({**good, "pm_exec_path": str(tmp_path / "no.js")}, found))
    assert "directory" in str(_dump.obstacle({**good, "pm_cwd": str(tmp_path / "no")}, found))
