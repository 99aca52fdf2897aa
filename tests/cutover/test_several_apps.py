# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A release of several apps goes live whole or not at all."""

from __future__ import annotations

from typing import Any

from support.web import Web


def stage(web: Web, release: str, jobs: str) -> None:
    """The site, and ``jobs``, which listens on nothing.

    :param jobs: its program.
    """
    web.stage("good", release)
    (web.path(release) / "jobs.js").write_text(jobs)


def cutover(web: Web, release: str, with_jobs: bool = True, fails: bool = False) -> dict[str, Any]:
    site = web.declare(release)
    jobs = {"name": "jobs", "script": "jobs.js", "cwd": site["cwd"]}
    apps = [site, jobs] if with_jobs else [site]
    return web.module("cutover", fails, path=str(web.root), release=release, apps=apps)


def cwds(web: Web) -> list[tuple[str, str]]:
    return sorted((process.name, str(process.env["pm_cwd"])) for process in web.processes())


GOOD = "setInterval(() => {}, 1000);\n"


def test_all_or_none(web: Web) -> None:
    stage(web, "v1", GOOD)
    stage(web, "v2", "setTimeout(() => { throw new Error('no job today'); }, 500);\n")
    stage(web, "v3", GOOD)
    cutover(web, "v1")
    before = {process.pid for process in web.processes()}
    assert len(before) == 3

    with web.traffic() as traffic:
        failure = cutover(web, "v2", fails=True)
        assert {process.pid for process in web.processes()} == before
        web.assert_clean()
        result = cutover(web, "v3")
        after = traffic.mark()
    assert "app jobs was rejected" in failure["msg"]
    assert "no job today" in failure["msg"]
    assert web.release("v2")["bad"]
    assert sorted(step["app"] for step in result["plan"]) == ["jobs", "web"]
    traffic.assert_only("v1", "v3")
    assert traffic.answers(after) == {"v3"}
    where = str(web.path("v3"))
    assert cwds(web) == [("jobs", where), ("web", where), ("web", where)]
    assert sorted((entry["name"], entry["pm_cwd"]) for entry in web.dump()) == cwds(web)
    web.assert_clean()


def test_an_app_that_is_no_longer_declared_goes(web: Web) -> None:
    for release in ("v1", "v2"):
        stage(web, release, GOOD)
    cutover(web, "v1")
    with web.traffic() as traffic:
        result = cutover(web, "v2", with_jobs=False)
    traffic.assert_only("v1", "v2")
    assert [(step["action"], step["app"]) for step in result["plan"]] == [("cutover", "web"), ("delete", "jobs")]
    web.assert_serves("v2")
