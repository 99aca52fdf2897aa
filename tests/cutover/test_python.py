# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""New releases of Python apps in fork mode, without a proxy, under traffic: a good one takes over, a bad one is never
seen; no request is lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from _pytest.mark import ParameterSet
from support.pm2_host import is_alive
from support.python_web import SERVERS, PythonWeb
from support.web import HEALTH, take_over

FEW_SERVERS = ["uvicorn", "uvicorn, 4 workers", "gunicorn, sync"]
SOME_SERVERS = [*FEW_SERVERS, "gunicorn, gthread"]
SERVER_ROWS = [pytest.param(server, marks=[] if server in FEW_SERVERS else [pytest.mark.whole]) for server in SERVERS]
EVERY_SERVER = pytest.mark.parametrize("server", SERVER_ROWS)
# where a supervisor may hide what its workers do, and where there is none; the others differ little
IN_SHORT = [
    *[(kind, "uvicorn, 4 workers") for kind in ("answers 500", "wrong port")],
    *[(kind, "gunicorn, sync") for kind in ("throws at boot", "throws after 2 s", "never listens")],
    *[(kind, "uvicorn") for kind in ("syntax error", "leaves a child")],
]


def with_servers(kind: str, *values: object) -> list[ParameterSet]:
    """A row of the table: one kind of release, with each server."""
    return [
        pytest.param(
            *(server, *values),
            id=f"{kind}-{server}",
            marks=[] if (kind, server) in IN_SHORT else [pytest.mark.whole],
        )
        for server in SOME_SERVERS
    ]


def accept(web: PythonWeb, instances: int = 1, slow: bool = False, **options: Any) -> None:
    """``v1`` serves; ``v2``, which is staged, takes its place, once."""

    def is_whole() -> None:
        web.assert_serves("v2", instances, mode="fork", numbered=instances > 1)

    result = take_over(web, is_whole, slow, **options)
    assert not any(step["outage"] for step in result["plan"])


@EVERY_SERVER
def test_good(python_web: PythonWeb, server: str) -> None:
    python_web.server = server
    python_web.go_live()
    python_web.stage("good", "v2")
    accept(python_web)


@pytest.mark.whole
def test_two_processes_of_one_app(python_web: PythonWeb) -> None:
    python_web.options["instances"] = 2
    python_web.go_live()
    python_web.stage("good", "v2")
    accept(python_web, instances=2)


def test_a_command_line_and_a_port_that_nobody_told(python_web: PythonWeb) -> None:
    """PM2's widely taught form; the port is the server's own affair."""
    line = f"{python_web.programs}/uvicorn app:app --host 127.0.0.1 --port ${{UVICORN}}"
    python_web.options.update(script=line, args=None, env={"UVICORN": str(python_web.port)}, listens=True)
    python_web.go_live()
    python_web.stage("good", "v2")
    accept(python_web)


def test_requests_of_5_s_in_flight(python_web: PythonWeb) -> None:
    python_web.go_live()
    python_web.stage("good", "v2")
    accept(python_web, slow=True)


def test_a_slow_boot_within_the_deadline(python_web: PythonWeb) -> None:
    python_web.go_live()
    python_web.stage("boots_in", "v2", seconds=8)
    accept(python_web)


@dataclass(frozen=True)
class Bad:
    """A release that must not be seen.

    :ivar says: is somewhere in the error, whatever the server.
    :ivar app: options of the app.
    :ivar options: of the module.
    """

    kind: str
    says: tuple[str, ...]
    how: dict[str, Any] = field(default_factory=dict)
    app: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


# a time in which what waits for something that never comes gives up
SHORT = {"healthy_deadline": 6.0}
BAD = {
    "throws at boot": Bad("throws_at_boot", ("boom at boot",)),
    "syntax error": Bad("syntax_error", ("SyntaxError",)),
    "missing module": Bad("missing_module", ("no_such_module",)),
    "throws after 2 s": Bad(
        "throws_after", ("boom later",), {"seconds": 2}, options={"min_healthy_time": 5.0, "healthy_deadline": 20.0}
    ),
    # what is slow to start on a busy machine is not to be taken for what never listens
    "answers 500": Bad("answers_500", ("500",), options={"healthy_deadline": 15.0}),
    "wrong body": Bad("wrong_body", ("wrong",), options={"healthy_deadline": 15.0}),
    "hangs": Bad("hangs", ("healthy_deadline",), app={"health": [{**HEALTH, "timeout": 0.5}]}, options=SHORT),
    "never listens": Bad("never_listens", ("healthy_deadline",), options=SHORT),
    "exits with 0": Bad("exits_0", ("end",)),
}


def reject(web: PythonWeb, bad: Bad) -> dict[str, Any]:
    web.go_live()
    web.stage(bad.kind, "v2", **bad.how)
    before = web.pids()
    with web.traffic() as traffic:
        failure = web.cutover("v2", bad.app, fails=True, **bad.options)
    traffic.assert_only("v1")
    assert web.pids() == before
    web.assert_serves("v1", 1, mode="fork")
    assert "The new generation of app web was rejected" in failure["msg"]
    assert all(text in failure["msg"] for text in bad.says), failure["msg"]
    assert failure["verdict"] == "bad"
    assert failure["serves"] == "What served before serves: web (untouched, the same processes)."
    assert web.release("v2")["bad"]
    return failure


@pytest.mark.parametrize(
    ("server", "bad"), [parameters for kind, bad in BAD.items() for parameters in with_servers(kind, bad)]
)
def test_bad(python_web: PythonWeb, server: str, bad: Bad) -> None:
    python_web.server = server
    failure = reject(python_web, bad)
    if bad.kind in ("throws_at_boot", "syntax_error", "missing_module", "exits_0"):
        # also a supervisor that starts its workers again and again is not waited for
        assert failure["timings"]["prove"] < 30, failure["timings"]


@pytest.mark.parametrize("server", with_servers("wrong port"))
def test_wrong_port(python_web: PythonWeb, server: str) -> None:
    python_web.server = server
    bad = Bad("wrong_port", ("which is declared",), {"port": python_web.other_port})
    reject(python_web, Bad(bad.kind, bad.says, bad.how, {"at": python_web.other_port, "port": python_web.port}))


@pytest.mark.parametrize("server", with_servers("leaves a child"))
def test_a_child_that_outlives_its_parent(python_web: PythonWeb, server: str) -> None:
    python_web.server = server
    children = python_web.directory / "children"
    reject(python_web, Bad("leaves_child", ("500",), {"pid_file": children}, options=SHORT))
    pids = list(map(int, children.read_text().split()))
    assert pids
    assert not any(map(is_alive, pids))
