"""PM2's process list as plain data."""

from __future__ import annotations

import os
import subprocess

from ansible_collections.zerodown.pm2.plugins.module_utils._state import parse, parse_all, pid_exists


def test_an_entry_with_everything() -> None:
    process = parse(
        {
            "pid": os.getpid(),
            "pm_id": 3,
            "monit": {"memory": 1000, "cpu": 0.5},
            "pm2_env": {"name": "web", "status": "online", "restart_time": 2, "unstable_restarts": 1, "exit_code": 7},
        }
    )
    assert (process.pm_id, process.pid, process.restarts, process.exit_code) == (3, os.getpid(), 2, 7)
    assert process.is_running()


def test_online_without_a_live_pid_is_not_running() -> None:
    for pid in (0, None, 2**22 + 1):
        assert not parse({"pid": pid, "pm_id": 0, "pm2_env": {"status": "online"}}).is_running()


def test_a_zombie_does_not_run() -> None:
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert os.path.exists(f"/proc/{process.pid}")
        assert not pid_exists(process.pid)
    assert pid_exists(os.getpid())


def test_the_order_is_that_of_the_numbers() -> None:
    entries = [{"pm_id": pm_id, "pid": 1, "pm2_env": {"name": "web", "status": "online"}} for pm_id in (10, 9)]
    assert [process.pm_id for process in parse_all(entries)] == [9, 10]


def test_an_environment_is_never_shown() -> None:
    assert "s3cret" not in repr(parse({"pm_id": 0, "pm2_env": {"env": {"PASSWORD": "s3cret"}}}))


def test_what_pm2_leaves_out_is_zero() -> None:
    process = parse({"pm_id": 0, "pm2_env": {}})
    assert (process.pid, process.restarts, process.memory, process.exit_code) == (None, 0, 0, None)
