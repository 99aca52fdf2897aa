# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The watch after a cutover, on a process list that a test makes. On real daemons: tests/cutover/."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from support.fake_client import FakeClient
from support.processes import GENERATION, declared, member

from ansible_collections.zerodown.pm2.plugins.module_utils import _bake
from ansible_collections.zerodown.pm2.plugins.module_utils._bake import Watched, mean_memory, smoke, watch
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._generation import Generation
from ansible_collections.zerodown.pm2.plugins.module_utils._health_spec import Check, parse
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process

MIB = 2**20
# a check that fails is made again at once
COMMAND: dict[str, Any] = {"type": "command", "interval": 0.01}
GONE: dict[str, Any] = {"status": "stopped", "pid": None}
# so long that only a breach ends it
LONG = 600.0


@pytest.fixture
def client(tmp_path: Path) -> FakeClient:
    app = declared(cwd=str(tmp_path), script="/srv/web/app.js", instances=2)
    return FakeClient(Home(str(tmp_path)), member(app, 0, 0), member(app, 1, 1), member(app, 2, 0, "r0-older1"))


def checks(*entries: dict[str, Any]) -> tuple[Check, ...]:
    return tuple(parse(entries))


def watched(client: FakeClient, *made: Check, **changes: Any) -> Watched:
    options: dict[str, Any] = {"count": 2, "port": None, "checks": made, "memory_before": None, **changes}
    return Watched(Generation(client, "web", GENERATION), **options)


def test_nothing_to_watch() -> None:
    assert watch([], LONG, 10.0) is None
    assert smoke(list(checks({})), []) is None


def test_a_generation_that_holds(client: FakeClient) -> None:
    assert watch([watched(client, *checks({**COMMAND, "command": ["true"]}))], 0.3, None) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"restarts": 1}, "ended while it was watched"),
        (GONE, "ended while it was watched"),
        ({"status": "errored", "pid": None}, "ended while it was watched"),
        ({"status": "online", "pid": None}, "ended while it was watched"),
    ],
)
def test_one_that_ends_is_a_breach_at_once(client: FakeClient, changes: dict[str, Any], reason: str) -> None:
    looks = []

    def later() -> None:
        looks.append(1)
        if len(looks) == 2:
            client.change(1, **changes)

    client.before_answer = later
    failure = watch([watched(client)], LONG, None)
    assert failure is not None
    assert (failure.app, failure.reason) == ("web", reason)
    assert failure.process is not None
    assert failure.process.pm_id == 1


def test_one_that_somebody_deleted_is_no_breach(client: FakeClient) -> None:
    """Or that was lost with its daemon: the app did nothing wrong, and yet nothing can be said of it."""
    client.delete(1, 0)
    with pytest.raises(Pm2Error, match="are gone from PM2's list"):
        watch([watched(client)], LONG, None)


def test_one_that_is_being_brought_back_is_waited_for(client: FakeClient) -> None:
    """Its daemon died and was started again; only when it is up it may count as proven."""
    looks = []
    client.change(1, status="launching", pid=None)

    def later() -> None:
        looks.append(1)
        if len(looks) == 3:
            client.change(1, status="online", pid=os.getpid())

    client.before_answer = later
    assert watch([watched(client)], 0.0, None) is None
    assert len(looks) == 3


def test_a_job_may_end_its_work(client: FakeClient) -> None:
    env = {**client.list[1].env, "autorestart": False}
    client.change(1, **GONE, exit_code=0, env=env)
    assert watch([watched(client)], 0.0, None) is None
    client.change(1, **GONE, exit_code=1, env=env)
    assert watch([watched(client)], 0.0, None) is not None


def test_only_restarts_since_then_count(client: FakeClient) -> None:
    client.change(0, restarts=3)
    assert watch([watched(client, restarts_before={0: 3, 1: 0})], 0.0, None) is None
    client.change(1, restarts=1)
    assert watch([watched(client, restarts_before={0: 3, 1: 0})], 0.0, None) is not None


def test_the_generation_before_is_not_watched(client: FakeClient) -> None:
    client.change(2, **GONE, restarts=7)
    assert watch([watched(client)], 0.0, None) is None


@pytest.mark.parametrize(("failures", "times"), [(None, _bake.FAILURES_MAX), (1, 1), (5, 5)])
def test_a_check_that_fails_often_in_a_row_is_a_breach(client: FakeClient, failures: int | None, times: int) -> None:
    (check,) = checks({**COMMAND, "command": ["false"], "failures": failures})
    failure = watch([watched(client, check)], LONG, None)
    assert failure is not None
    assert failure.reason == f"is not healthy {times} times in a row: command false ended with exit code 1"
    assert failure.process is not None


def test_a_check_that_cannot_be_made_is_none(client: FakeClient) -> None:
    (check,) = checks({**COMMAND, "command": ["/nonexistent"], "failures": 1})
    assert watch([watched(client, check)], 0.5, None) is None


def test_a_check_that_fails_now_and_then_is_none(client: FakeClient) -> None:
    # every second attempt of a process; its own file tells
    script = "test -e $NODE_APP_INSTANCE && rm $NODE_APP_INSTANCE || { touch $NODE_APP_INSTANCE; exit 1; }"
    for item in client.list:
        item.env["env"] = {"PATH": os.environ["PATH"], "NODE_APP_INSTANCE": str(item.pm_id)}
    (check,) = checks({**COMMAND, "command": ["sh", "-c", script], "failures": 2})
    assert watch([watched(client, check)], 0.6, None) is None


# memory --------------------------------------------------------------------------------------------------------------


def test_the_mean_of_what_runs() -> None:
    app = declared()

    def of(*sizes: int) -> list[Process]:
        return [member(app, number, memory=size) for number, size in enumerate(sizes)]

    assert mean_memory(of(40 * MIB, 60 * MIB)) == 50 * MIB
    # PM2 has not measured it yet, or it does not run
    assert mean_memory([*of(40 * MIB, 0), member(app, 9, memory=MIB, **GONE)]) == 40 * MIB
    assert mean_memory(of(0)) is None
    assert mean_memory([]) is None


@pytest.mark.parametrize(
    ("before", "after", "limit", "reason"),
    [
        (100, 120, None, None),
        (100, 120, 20.0, None),
        (100, 130, 20.0, "uses 130 MiB of memory a process, 30 % more than the 100 MiB of the one before"),
        (100, 300, 100.0, "uses 300 MiB of memory a process, 200 % more than the 100 MiB of the one before"),
        # too little to say anything
        (10, 31, 20.0, None),
        (None, 300, 20.0, None),
    ],
)
def test_growth(client: FakeClient, before: int | None, after: int, limit: float | None, reason: str | None) -> None:
    for pm_id, size in ((0, after - 5), (1, after + 5), (2, 1000)):
        client.change(pm_id, memory=size * MIB)
    failure = watch([watched(client, memory_before=before and before * MIB)], 0.0, limit)
    assert (failure.reason if failure else None) == reason


# smoke ---------------------------------------------------------------------------------------------------------------


def commands(*programs: str) -> list[Check]:
    return list(checks(*({"type": "command", "command": ["sh", "-c", program]} for program in programs)))


def test_smoke_checks_are_made_once_in_their_order(client: FakeClient, tmp_path: Path) -> None:
    client.list[0].env["env"] = {"PATH": os.environ["PATH"], "WORD": "hello"}
    assert smoke(commands("echo $WORD >> said", "echo two >> said"), [watched(client)]) is None
    assert (tmp_path / "said").read_text() == "hello\ntwo\n"


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        ({"type": "command", "command": ["false"]}, "command false ended with exit code 1"),
        # what could not be made proved nothing
        ({"type": "command", "command": ["/nonexistent"]}, "command /nonexistent could not be run"),
        ({"type": "tcp"}, "TCP connection: nothing listens"),
        ({"path": "/x"}, "GET /x: nothing listens"),
    ],
)
def test_the_first_smoke_check_that_fails(
    client: FakeClient, tmp_path: Path, check: dict[str, Any], reason: str
) -> None:
    made = [*checks({"type": "command", "command": ["true"]}, check), *commands("touch reached")]
    failure = smoke(made, [watched(client)])
    assert failure is not None
    assert failure.reason.startswith(f"failed its smoke check: {reason}")
    assert not (tmp_path / "reached").exists()


def test_smoke_checks_go_to_the_app_with_a_port(client: FakeClient) -> None:
    quiet, serving = watched(client), watched(client, port=1)
    failure = smoke(list(checks({"path": "/x"})), [quiet, serving])
    assert failure is not None
    assert "the connection was refused" in failure.reason
