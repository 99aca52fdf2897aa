# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What GitHub and GitLab answer about a commit, in the shapes of their documentation, and what is made of it."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Optional

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils import _statuses
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error

COMMIT = "1f3a9c2e7d5b4a39c8e1f0a2b3c4d5e6f7a8b9c0"
GITHUB = {"type": "github", "repo": "team/shop"}
GITLAB = {"type": "gitlab", "repo": "team/sub/shop", "url": "https://git.example.com/api/v4/"}


def answer(url: str, body: Any, status: int = 200, **more: Any) -> Dict[str, Any]:
    return {"item": url, "status": status, "json": body, **more}


def github(
    statuses: Dict[str, str], checks: Dict[str, Optional[str]], declared: Dict[str, Any] = GITHUB
) -> _statuses.Verdict:
    """:param checks: conclusion by name; None for one that runs."""
    first = _statuses.judge([], declared, COMMIT)
    rows = [
        {"id": 1, "state": state, "context": name, "description": "x", "target_url": None}
        for name, state in statuses.items()
    ]
    runs = [
        {"id": 4, "name": name, "status": "completed" if end else "in_progress", "conclusion": end, "head_sha": COMMIT}
        for name, end in checks.items()
    ]
    bodies = [
        {"state": "pending", "sha": COMMIT, "total_count": len(rows), "statuses": rows},
        {"total_count": len(runs), "check_runs": runs},
    ]
    return _statuses.judge([answer(url, body) for url, body in zip(first.ask, bodies)], declared, COMMIT)


def gitlab(rows: List[Dict[str, Any]], **more: Any) -> _statuses.Verdict:
    declared = {**GITLAB, **more}
    (url,) = _statuses.judge([], declared, COMMIT).ask
    return _statuses.judge([answer(url, rows, x_next_page="")], declared, COMMIT)


def test_what_is_asked_first() -> None:
    base = "https://api.github.com/repos/team/shop/commits/" + COMMIT
    first = _statuses.judge([], GITHUB, COMMIT)
    assert first.state == "asking"
    assert first.ask == [base + "/status?per_page=100&page=1", base + "/check-runs?per_page=100&page=1"]
    assert _statuses.judge([], GITLAB, COMMIT).ask == [
        "https://git.example.com/api/v4/projects/team%2Fsub%2Fshop/repository/commits/"
        + COMMIT
        + "/statuses?per_page=100&page=1"
    ]


@pytest.mark.parametrize(
    ("statuses", "checks", "state", "says"),
    [
        ({"ci/build": "success"}, {}, "success", ""),
        ({}, {"test": "success", "docs": "skipped", "style": "neutral"}, "success", ""),
        ({}, {}, "pending", "anything: not reported"),
        ({}, {"docs": "skipped"}, "pending", "anything: not reported"),
        ({"ci/build": "pending"}, {"test": "success"}, "pending", "ci/build: pending"),
        ({"ci/build": "success"}, {"test": None}, "pending", "test: pending"),
        ({"ci/build": "error"}, {"test": None}, "failure", "ci/build: failure, test: pending"),
        ({}, {"test": "timed_out", "lint": "success"}, "failure", "test: failure"),
        ({}, {"test": "action_required"}, "failure", "test: failure"),
        # the worst of one name
        ({"test": "success"}, {"test": "failure"}, "failure", "test: failure"),
    ],
)
def test_all_of_github(statuses: Dict[str, str], checks: Dict[str, Optional[str]], state: str, says: str) -> None:
    verdict = github(statuses, checks)
    assert verdict.state == state
    assert says in verdict.refusal
    assert bool(verdict.refusal) == (state != "success")
    if says:
        assert verdict.refusal.startswith("Commit {0} is not staged: GitHub (team/shop) says of it ".format(COMMIT))


@pytest.mark.parametrize(
    ("checks", "state", "says"),
    [
        ({"test": "success", "lint": "success", "other": "failure"}, "success", ""),
        ({"test": "success"}, "pending", "lint: not reported"),
        ({"test": "success", "lint": "skipped"}, "failure", "lint: passed over"),
        ({"test": None, "lint": "failure"}, "failure", "lint: failure, test: pending"),
    ],
)
def test_the_named_ones(checks: Dict[str, Optional[str]], state: str, says: str) -> None:
    verdict = github({}, checks, {**GITHUB, "contexts": ["test", "lint"]})
    assert verdict.state == state
    assert says in verdict.refusal


@pytest.mark.parametrize(
    ("rows", "state", "says"),
    [
        ([{"id": 1, "name": "test", "status": "success"}], "success", ""),
        (
            [{"id": 1, "name": "test", "status": "failed"}, {"id": 2, "name": "test", "status": "success"}],
            "success",
            "",
        ),
        ([{"id": 1, "name": "test", "status": "running"}], "pending", "test: pending"),
        ([{"id": 1, "name": "test", "status": "canceled"}], "failure", "test: failure"),
        (
            [
                {"id": 1, "name": "test", "status": "success"},
                {"id": 2, "name": "audit", "status": "failed", "allow_failure": True},
                {"id": 3, "name": "release", "status": "manual", "allow_failure": False},
            ],
            "success",
            "",
        ),
        ([], "pending", "anything: not reported"),
    ],
)
def test_gitlab(rows: List[Dict[str, Any]], state: str, says: str) -> None:
    verdict = gitlab(rows)
    assert verdict.state == state
    assert says in verdict.refusal


def test_pages() -> None:
    first = _statuses.judge([], GITHUB, COMMIT)
    bodies = [{"total_count": 0, "statuses": []}, {"total_count": 230, "check_runs": []}]
    more = _statuses.judge([answer(url, body) for url, body in zip(first.ask, bodies)], GITHUB, COMMIT)
    assert [url.rpartition("?")[2] for url in more.ask] == ["per_page=100&page=2", "per_page=100&page=3"]
    # not without end
    bodies[1]["total_count"] = 10**6
    many = _statuses.judge([answer(url, body) for url, body in zip(first.ask, bodies)], GITHUB, COMMIT)
    assert len(many.ask) == _statuses.PAGES_MAX - 1
    (url,) = _statuses.judge([], GITLAB, COMMIT).ask
    second = _statuses.judge([answer(url, [], x_next_page="2")], GITLAB, COMMIT)
    assert second.ask[0].endswith("&page=2")
    row = [{"id": 1, "name": "test", "status": "success"}]
    last = _statuses.judge([*second.answers, answer(second.ask[0], row, x_next_page="")], GITLAB, COMMIT)
    assert last.state == "success"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"status": 401, "json": {"message": "Bad credentials"}}, "answered status 401 to /repos/team/shop/commits"),
        ({"status": 200, "content": "<html>"}, "answered no JSON"),
        ({"status": -1, "msg": "Connection refused"}, "answered nothing (Connection refused)"),
    ],
)
def test_what_is_no_answer(given: Dict[str, Any], says: str) -> None:
    first = _statuses.judge([], GITHUB, COMMIT)
    verdict = _statuses.judge([{"item": url, **given} for url in first.ask], GITHUB, COMMIT)
    assert verdict.state == "failure"
    assert says in verdict.refusal
    assert verdict.refusal.endswith("check url, repo and token of ci.statuses.")


def test_json_that_is_not_called_so() -> None:
    (url,) = _statuses.judge([], GITLAB, COMMIT).ask
    content = json.dumps([{"id": 1, "name": "test", "status": "success"}])
    assert _statuses.judge([{"item": url, "status": 200, "content": content}], GITLAB, COMMIT).state == "success"


@pytest.mark.parametrize("declared", [{}, {"type": "svn", "repo": "x"}, {"type": "github"}])
def test_what_is_missing(declared: Dict[str, Any]) -> None:
    with pytest.raises(Pm2Error, match="needs type, github or gitlab, and repo"):
        _statuses.judge([], declared, COMMIT)
