# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a declared hook becomes, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.zerodown.pm2.plugins.filter.hooks import PHASES, FilterModule

hooks = FilterModule().filters()["hooks"]


def one(hook: dict[str, Any], phase: str = "before_cutover", directory: str = "/inventory") -> dict[str, Any]:
    (found,) = hooks({"name": "shop"}, {phase: [hook]}, directory)[phase]
    return dict(found)


def test_every_phase_is_there() -> None:
    assert hooks({"name": "shop"}, {}) == {phase: [] for phase in PHASES}
    assert hooks({"name": "shop", "hooks": None}, {"on_failure": None}) == {phase: [] for phase in PHASES}


def test_those_of_the_app_come_last() -> None:
    general = {"before_stage": [{"name": "a", "argv": ["a"]}], "after_stage": [{"name": "b", "argv": ["b"]}]}
    app = {"name": "shop", "hooks": {"before_stage": [{"name": "c", "argv": ["c"]}]}}
    found = hooks(app, general)
    assert [hook["name"] for hook in found["before_stage"]] == ["a", "c"]
    assert [hook["name"] for hook in found["after_stage"]] == ["b"]


@pytest.mark.parametrize(
    ("hook", "phase", "once", "ignore_errors"),
    [
        ({"argv": ["a"]}, "before_stage", False, False),
        ({"argv": ["a"], "once": True, "ignore_errors": True}, "before_stage", True, True),
        ({"argv": ["a"], "ignore_errors": False}, "on_failure", False, True),
        ({"tasks": "a.yml"}, "on_rollback", False, True),
        ({"notify": "slack", "url": "https://a"}, "after_cutover", True, True),
        ({"notify": "slack", "url": "https://a", "ignore_errors": False, "once": False}, "after_cutover", False, False),
    ],
)
def test_how_often_and_how_strict(hook: dict[str, Any], phase: str, once: bool, ignore_errors: bool) -> None:
    found = one({"name": "x", **hook}, phase)
    assert (found["once"], found["ignore_errors"]) == (once, ignore_errors)


@pytest.mark.parametrize(
    ("path", "directory", "found"), [("a.yml", "/inventory", "/inventory/a.yml"), ("/a.yml", "", "/a.yml")]
)
def test_where_a_task_file_is(path: str, directory: str, found: str) -> None:
    assert one({"name": "x", "tasks": path}, directory=directory)["tasks"] == found


@pytest.mark.parametrize(
    ("hook", "chdir"),
    [
        ({}, ""),
        ({"chdir": "sub"}, "sub"),
        ({"where": "controller"}, "/inventory"),
        ({"where": "controller", "chdir": "sub"}, "/inventory/sub"),
        ({"where": "controller", "chdir": "/there"}, "/there"),
    ],
)
def test_where_a_command_runs(hook: dict[str, Any], chdir: str) -> None:
    assert one({"name": "x", "argv": ["a"], **hook})["chdir"] == chdir


@pytest.mark.parametrize(("encryption", "port"), [("starttls", 587), ("tls", 465), ("none", 25)])
def test_the_port_of_a_mail(encryption: str, port: int) -> None:
    mail = {"name": "x", "notify": "mail", "host": "a", "from": "b", "to": "c", "encryption": encryption}
    found = one(mail)
    assert (found["port"], found["to"], found["kind"]) == (port, ["c"], "mail")
    assert one({**mail, "port": 2525})["port"] == 2525


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        ({"name": "x"}, "has nothing to run; give it exactly one of tasks, argv and notify"),
        ({"name": "x", "argv": ["a"], "tasks": "b"}, "has tasks and argv; give it exactly one"),
        ({"argv": ["a"]}, "has no name"),
        ({"name": "x", "argv": "a b"}, "has a text for argv"),
        ({"name": "x", "argv": ["a"], "where": "moon"}, "not on 'moon'"),
        ({"name": "x", "argv": ["a"], "url": "s3cret"}, "has url, which a hook with argv does not take"),
        ({"name": "x", "notify": "pigeon"}, "can notify by webhook, slack, mail, not by 'pigeon'"),
        ({"name": "x", "notify": "mail", "host": "a"}, "needs from, to"),
        ({"name": "x", "notify": "mail", "host": "a", "from": "b", "to": "c", "encryption": "s3cret"}, "encryption"),
        ({"name": "x", "notify": "webhook", "url": "s3cret"}, "a url that begins with https://"),
        ({"name": "x", "tasks": "a.yml"}, "relative path a.yml"),
    ],
)
def test_what_is_refused(hook: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError) as refused:
        one(hook, directory="")
    assert message in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_an_unknown_phase_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="no phase after_lunch"):
        hooks({"name": "shop", "hooks": {"after_lunch": []}}, {})
