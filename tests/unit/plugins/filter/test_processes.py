"""From a declared app and a release to what the module app takes."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.zerodown.pm2.plugins.filter.processes import FilterModule

processes = FilterModule().filters()["processes"]
RELEASE = "/srv/shop/releases/1"


def test_names_directories_and_environments() -> None:
    app = {
        "name": "shop",
        "env": {"A": 1, "B": 1},
        "processes": [{"script": "a.js"}, {"name": "worker", "script": "b.js", "cwd": "jobs", "env": {"B": 2}}],
    }
    assert processes(app, RELEASE) == [
        {"script": "a.js", "name": "shop", "cwd": RELEASE, "env": {"A": 1, "B": 1}},
        {"script": "b.js", "name": "worker", "cwd": f"{RELEASE}/jobs", "env": {"A": 1, "B": 2}},
    ]


def test_the_declaration_itself_is_left_alone() -> None:
    app: dict[str, Any] = {"name": "shop", "processes": [{"script": "a.js"}]}
    processes(app, RELEASE)
    assert app == {"name": "shop", "processes": [{"script": "a.js"}]}


def test_what_is_for_the_role_proxy_is_left_out() -> None:
    app = {"name": "shop", "processes": [{"script": "a.js", "frontend": {"port": 80}, "proxy": {"ports": [1, 2]}}]}
    assert processes(app, RELEASE) == [
        {"script": "a.js", "name": "shop", "cwd": RELEASE, "env": {}, "proxy": {"ports": [1, 2]}}
    ]


@pytest.mark.parametrize("cwd", ["..", "../2", "/srv", "a/../../x"])
def test_a_directory_out_of_the_release_is_refused(cwd: str) -> None:
    with pytest.raises(AnsibleFilterError, match="leads out of the release"):
        processes({"name": "shop", "processes": [{"script": "a.js", "cwd": cwd}]}, RELEASE)


def test_two_processes_of_one_name_are_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="two processes are named shop"):
        processes({"name": "shop", "processes": [{"script": "a.js"}, {"script": "b.js"}]}, RELEASE)
