# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How each app is replaced: what proves its candidate, and whether the old one must let go of the port first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.processes import declared, member, process

from ansible_collections.zerodown.pm2.plugins.module_utils._app import App
from ansible_collections.zerodown.pm2.plugins.module_utils._cutover_plan import (
    AFTERWARDS,
    HELD,
    OWN_PORT,
    WATCHED,
    make_swap,
    needs_swap,
    plan,
    rules_port,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process

CLUSTER: dict[str, Any] = {"instances": 2, "port": 3000}
FORK: dict[str, Any] = {"exec_mode": "fork", "port": 3000}
PYTHON: dict[str, Any] = {"script": "/srv/web/app.py", "interpreter": "python3", "port": 3000}
QUIET: dict[str, Any] = {"exec_mode": "fork"}
# listens on a port that it chooses by itself
CHECKED: dict[str, Any] = {"health": [{"type": "tcp", "port": 5432}]}
RESTART: dict[str, Any] = {"strategy": "restart"}
NO_PRELOAD: dict[str, Any] = {"preload": False}
BY_ARGUMENTS: dict[str, Any] = {"candidate_args": ["--port={port}"]}
GONE: dict[str, Any] = {"status": "stopped", "pid": None}


def decided(app: App, *old: Process) -> tuple[str, bool]:
    swap = make_swap(app, list(old))
    return swap.proof, swap.outage


# what is declared: how it is proven beside what serves, and when nothing serves; "" is a refusal
TABLE = [
    # workers of a cluster share their port
    (CLUSTER, (HELD, False), HELD),
    ({**CLUSTER, "instances": 1}, (HELD, False), HELD),
    ({**CLUSTER, "strategy": "generation"}, (HELD, False), HELD),
    ({**CLUSTER, **NO_PRELOAD}, (OWN_PORT, False), WATCHED),
    ({**CLUSTER, **NO_PRELOAD, "candidate_variable": "HTTP_PORT"}, None, WATCHED),
    ({**CLUSTER, **NO_PRELOAD, "candidate_variable": "HTTP_PORT", "env": {"HTTP_PORT": 1}}, (OWN_PORT, False), WATCHED),
    ({**CLUSTER, **NO_PRELOAD, "candidate_variable": "NONE", **BY_ARGUMENTS}, (OWN_PORT, False), WATCHED),
    ({"instances": 2, **CHECKED}, (HELD, False), HELD),
    ({"instances": 2, **CHECKED, **NO_PRELOAD}, None, WATCHED),
    # somebody wants it to be restarted
    ({**CLUSTER, **RESTART}, (HELD, True), HELD),
    ({**CLUSTER, **RESTART, **NO_PRELOAD}, (OWN_PORT, True), WATCHED),
    # a port has one owner in fork mode
    (FORK, None, HELD),
    ({**FORK, "strategy": "generation"}, None, HELD),
    ({**FORK, **RESTART}, (HELD, True), HELD),
    ({**FORK, **RESTART, **NO_PRELOAD}, (OWN_PORT, True), WATCHED),
    ({**PYTHON, **NO_PRELOAD}, None, WATCHED),
    ({**PYTHON, **RESTART}, (HELD, True), HELD),
    ({**PYTHON, **RESTART, **NO_PRELOAD}, (OWN_PORT, True), WATCHED),
    ({**PYTHON, **RESTART, **NO_PRELOAD, "candidate_variable": "NONE"}, (AFTERWARDS, True), WATCHED),
    ({**PYTHON, **RESTART, **NO_PRELOAD, "candidate_variable": "NONE", **BY_ARGUMENTS}, (OWN_PORT, True), WATCHED),
    ({"exec_mode": "fork", **CHECKED}, None, HELD),
    # what does not listen
    (QUIET, (HELD, False), HELD),
    ({**QUIET, "overlap": False}, (AFTERWARDS, True), HELD),
    ({**QUIET, **NO_PRELOAD}, (WATCHED, False), WATCHED),
    ({**QUIET, **NO_PRELOAD, "overlap": False}, (AFTERWARDS, True), WATCHED),
    # but may, on a port that nobody declared
    ({**QUIET, **RESTART}, (HELD, True), HELD),
    ({**QUIET, **NO_PRELOAD, **RESTART}, (AFTERWARDS, True), WATCHED),
    ({**QUIET, **RESTART, "listens": False}, (HELD, False), HELD),
    ({**FORK, "listens": False}, (HELD, False), HELD),
    ({"instances": 2, "listens": False}, (HELD, False), HELD),
    ({**PYTHON, "listens": False}, (HELD, False), HELD),
    ({**PYTHON, **NO_PRELOAD, "listens": False}, (WATCHED, False), WATCHED),
    # an app with listens, on a port that nobody named
    ({**QUIET, "listens": True}, None, HELD),
    ({"instances": 2, "listens": True}, (HELD, False), HELD),
]


@pytest.mark.parametrize(("options", "beside", "alone"), TABLE)
def test_how_it_is_replaced(options: dict[str, Any], beside: tuple[str, bool] | None, alone: str) -> None:
    app = declared(**options)
    for old in (member(app), process(app)):
        if beside:
            assert decided(app, old) == beside
        else:
            with pytest.raises(Pm2Error, match="without an outage|told a port of its own"):
                make_swap(app, [old])
        # nothing serves: nobody is disturbed by one that has the real port
        assert decided(app, replace(old, **GONE)) == (alone, False)
    assert decided(app) == (alone, False)


@pytest.mark.parametrize("strategy", ["auto", "generation"])
def test_python_shares_its_port_with_what_was_started_with_the_gate(strategy: str) -> None:
    app = declared(**PYTHON, strategy=strategy)
    assert decided(app, member(app)) == (HELD, False)
    assert decided(app, member(app, 1), member(app, 2)) == (HELD, False)
    for others in ([process(app)], [member(app, 1), process(app, 2)]):
        with pytest.raises(Pm2Error, match="was started without the gate .* strategy to restart .*option proxy"):
            make_swap(app, others)
    assert decided(app, replace(process(app), **GONE)) == (HELD, False)
    assert decided(app) == (HELD, False)


@pytest.mark.parametrize(
    ("had", "has", "beside"),
    [
        (FORK, CLUSTER, None),
        (FORK, {**CLUSTER, "strategy": "generation"}, None),
        (FORK, {**CLUSTER, **RESTART}, (HELD, True)),
        (PYTHON, {**CLUSTER, **RESTART}, (HELD, True)),
        (CLUSTER, FORK, None),
        (CLUSTER, {**FORK, **RESTART}, (HELD, True)),
        # it listened before, and is not meant to any more
        (CLUSTER, QUIET, (HELD, False)),
    ],
)
def test_another_mode(had: dict[str, Any], has: dict[str, Any], beside: tuple[str, bool] | None) -> None:
    app, old = declared(**has), member(declared(**had))
    if beside:
        assert decided(app, old) == beside
    else:
        with pytest.raises(Pm2Error, match="set strategy to restart|or strategy to restart"):
            make_swap(app, [old])


@pytest.mark.parametrize(
    ("had", "has", "why", "remedies"),
    [
        (
            FORK,
            FORK,
            "PM2 lets one process have a port; put it behind a proxy (option proxy), set instances",
            [RESTART, {**CLUSTER, **RESTART}],
        ),
        (
            FORK,
            {**FORK, "strategy": "generation"},
            "PM2 lets one process have a port; put it behind a proxy (option proxy), set instances",
            [RESTART],
        ),
        (
            {**PYTHON, **NO_PRELOAD},
            {**PYTHON, **NO_PRELOAD},
            "leave preload on for a Python app, or set strategy to restart to accept a short outage.",
            [RESTART],
        ),
        (FORK, CLUSTER, "what runs now is in fork mode", [RESTART]),
        (FORK, CLUSTER, "set strategy to restart for this one change of its mode.", [RESTART]),
    ],
)
def test_a_refusal_names_its_remedy(
    had: dict[str, Any], has: dict[str, Any], why: str, remedies: list[dict[str, Any]]
) -> None:
    app, old = declared(**has), member(declared(**had))
    with pytest.raises(Pm2Error) as caught:
        plan([app], [replace(old, env={**old.env, "args": ["-x"]})])
    assert caught.value.message.startswith("App web: ")
    assert why in caught.value.message
    for remedy in remedies:
        changed = {name: value for name, value in has.items() if name != "exec_mode"} if "instances" in remedy else has
        assert decided(declared(**{**changed, **remedy}), old)[1]


def test_one_worker_in_fork_mode_is_enough_to_keep_the_port() -> None:
    app = declared(**CLUSTER)
    forked = member(declared(**FORK), 1, 1)
    with pytest.raises(Pm2Error, match="fork mode"):
        make_swap(app, [member(app, 0, 0), forked])
    assert decided(app, member(app, 0, 0), replace(forked, **GONE)) == (HELD, False)


# whether -------------------------------------------------------------------------------------------------------------


def two(app: App) -> list[Process]:
    return [member(app, 5, 0), member(app, 6, 1)]


def test_what_runs_as_declared_is_left_alone() -> None:
    app = declared(**CLUSTER)
    assert not needs_swap(app, two(app))
    assert not needs_swap(app, two(app)[::-1])
    # one that PM2 numbered
    assert not needs_swap(app, [process(app, 5, 0), process(app, 6, 1)])
    assert plan([app], two(app)) == []
    (again,) = plan([app], two(app), always=True)
    assert again.as_data() == {
        "action": "cutover",
        "app": "web",
        "count": 2,
        "proof": HELD,
        "outage": False,
        "replaces": [5, 6],
    }


@pytest.mark.parametrize(
    "changes",
    [
        # numbers that a leader is not among, or twice
        {"fields": {"NODE_APP_INSTANCE": 2}},
        {"fields": {"NODE_APP_INSTANCE": 0}},
        {"fields": {"pm_cwd": "/elsewhere"}},
        GONE,
        {"status": "errored", "pid": None},
        {"status": "launching"},
    ],
)
def test_one_that_is_not_right_is_enough(changes: dict[str, Any]) -> None:
    app = declared(**CLUSTER)
    processes = [member(app, 5, 0), member(app, 6, 1, **changes)]
    assert needs_swap(app, processes)
    assert make_swap(app, processes).old == processes


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_or_too_many(count: int) -> None:
    app = declared(**CLUSTER)
    processes = [member(app, 5 + number, number) for number in range(count)]
    assert needs_swap(app, processes)
    assert make_swap(app, processes).options == (["instances"] if count else [])


def test_numbers_matter_only_in_a_cluster() -> None:
    app = declared(exec_mode="fork", instances=2, **RESTART)
    assert not needs_swap(app, [member(app, 5, 3), member(app, 6, 4)])


def test_a_job_that_has_done_its_work() -> None:
    job = declared(autorestart=False)
    assert not needs_swap(job, [member(job, **GONE, exit_code=0)])
    assert needs_swap(job, [member(job, **GONE, exit_code=1)])
    assert needs_swap(job, [member(job, **GONE)])


def test_others_do_not_count() -> None:
    app = declared(**CLUSTER)
    others = [replace(member(app, 8, 0), name="other"), member(app, 9, 0, fields={"pmx_module": True})]
    assert not needs_swap(app, [*two(app), *others])
    assert make_swap(app, [*two(app), *others]).old == two(app)


# what is told --------------------------------------------------------------------------------------------------------


def test_a_new_app() -> None:
    assert make_swap(declared(**CLUSTER), []).as_data() == {
        "action": "create",
        "app": "web",
        "count": 2,
        "proof": HELD,
        "outage": False,
    }


def test_the_names_of_what_changes_and_no_value() -> None:
    old = declared(**CLUSTER, env={"TOKEN": "hunter2", "A": "1"})
    new = declared(port=3000, instances=3, args="-x", env={"TOKEN": "hunter3", "A": "1"})
    swap = make_swap(new, two(old))
    assert swap.options == ["args", "env.TOKEN", "instances"]
    assert "hunter" not in repr(swap)
    assert "hunter" not in str(swap.as_data())


@pytest.mark.parametrize(
    ("options", "port"),
    [(CLUSTER, 3000), ({"instances": 2}, None), ({**CLUSTER, "listens": False}, None), (CHECKED, None)],
)
def test_the_port_that_it_must_listen_on(options: dict[str, Any], port: int | None) -> None:
    assert rules_port(declared(**options)) == port
