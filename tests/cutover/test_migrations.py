# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was migrated since decides about the way back, the automatic one and the one that somebody asks for."""

from __future__ import annotations

import json

import pytest
from support.run_module import run_module
from support.web import Web


def migrate(web: Web, release: str, kind: str) -> None:
    options = {"path": str(web.root), "release": release, "name": "drop name", "class": kind, "argv": ["true"]}
    run_module("migration", options=options)


def two_releases(web: Web, kind: str) -> None:
    """``v2`` serves, for which something was migrated."""
    web.go_live(version="v1")
    web.stage("good", "v2")
    migrate(web, "v2", kind)
    web.cutover("v2", min_healthy_time=0.3)


@pytest.mark.parametrize("kind", ["contract", pytest.param("irreversible", marks=pytest.mark.whole)])
def test_nothing_goes_back_over_it_by_itself(web: Web, kind: str) -> None:
    web.go_live(version="v1")
    web.stage("good", "v2")
    migrate(web, "v2", kind)
    failure = web.cutover("v2", smoke=[{"path": "/health", "status": ["418"]}], fails=True)
    assert failure["serves"] == (
        f"The new generation still serves, because the {kind} migration 'drop name' was run since v1 was live."
    )
    web.assert_serves("v2")
    assert web.release("v2")["bad"]


@pytest.mark.whole
def test_an_expand_is_no_obstacle(web: Web) -> None:
    web.go_live(version="v1")
    web.stage("good", "v2")
    migrate(web, "v2", "expand")
    failure = web.cutover("v2", smoke=[{"path": "/health", "status": ["418"]}], fails=True)
    assert failure["serves"] == "v1 serves again."
    web.assert_serves("v1")


def test_other_options_of_the_release_that_is_live_are_reverted_all_the_same(web: Web) -> None:
    two_releases(web, "contract")
    smoke = [{"path": "/health", "status": ["418"]}]
    failure = web.cutover("v2", {"env": {"GREETING": "new"}}, smoke=smoke, fails=True)
    assert failure["serves"] == "v2 serves again."


@pytest.mark.whole
def test_a_rollback_over_a_contract_warns(web: Web) -> None:
    two_releases(web, "contract")
    result = web.roll_back()
    assert "Release 'v1' may not work any more: the contract migration 'drop name'" in json.dumps(result["warnings"])
    web.assert_serves("v1")


def test_a_rollback_over_an_irreversible_one_must_be_meant(web: Web) -> None:
    two_releases(web, "irreversible")
    before = web.pids()
    failure = web.roll_back(fails=True)
    assert "Release 'v1' is not gone back to, because the irreversible migration 'drop name'" in failure["msg"]
    assert web.roll_back(fails=True, check=True)["msg"] == failure["msg"]
    assert web.pids() == before
    assert not web.release("v2")["bad"]

    result = web.roll_back(past_migrations=True)
    assert "may not work any more" in json.dumps(result["warnings"])
    web.assert_serves("v1")


def test_the_dead_man_timer_does_not_go_back_over_a_contract(web: Web) -> None:
    web.go_live(version="v1")
    web.stage("good", "v2")
    migrate(web, "v2", "contract")
    web.cutover("v2", min_healthy_time=0.3, confirm_timeout=60, rollout="r-1")
    result = web.module("confirmation", path=str(web.root), release="v2", rollout="r-1", state="withdrawn")
    assert "because the contract migration 'drop name' was run since v1 was live" in result["serves"]
    web.assert_serves("v2")
