# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filters around the checks: what goes in and comes out, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.zerodown.pm2.plugins.filter import (
    ci,
    ci_expired,
    ci_owners,
    ci_record,
    ci_tested,
    commit_statuses,
)

COMMIT = "1f3a9c2e7d5b4a39c8e1f0a2b3c4d5e6f7a8b9c0"
APP: dict[str, Any] = {"name": "shop", "source": {"type": "git", "repo": "/srv/shop.git"}, "ci": {}}


def called(module: Any, *arguments: Any, **options: Any) -> Any:
    ((_name, function),) = module.FilterModule().filters().items()
    return function(*arguments, **options)


def test_from_the_declaration_to_what_is_staged() -> None:
    found = called(ci, APP)
    assert found["build"]["checks"]
    assert called(ci_owners, {"web1": {"shop": found["declaration"]}}) == {"shop": "web1"}
    when = "2026-01-31T14:05:09.000000Z"
    record = called(ci_record, APP, COMMIT, who="ann", when=when, until=when, built={"steps": []}, failed={}, packed={})
    assert record["result"] == "green"
    assert record["declaration"] == found["declaration"]
    assert called(ci_tested, APP, COMMIT, "")["refusal"]
    assert called(ci_tested, {**APP, "ci": None})["source"] == APP["source"]
    assert called(commit_statuses, [], {"type": "github", "repo": "a/b"}, COMMIT)["state"] == "asking"
    assert called(ci_expired, [], "3") == []


@pytest.mark.parametrize(
    ("module", "arguments", "says"),
    [
        (ci, [{**APP, "name": "../shop"}], "use another"),
        (ci_tested, [{**APP, "name": "../shop"}], "use another"),
        (ci_tested, [APP, "1f3a9c2e"], "write all of its digits"),
        (ci_owners, [{"web1": {"shop": {"ci": "1"}}, "web2": {"shop": {"ci": "2"}}}], "with one ci for web1"),
        (ci_expired, [[], 0], "1 or more"),
        (commit_statuses, [[], {}, COMMIT], "needs type"),
    ],
)
def test_what_is_refused(module: Any, arguments: list[Any], says: str) -> None:
    with pytest.raises(AnsibleFilterError, match=says):
        called(module, *arguments)
