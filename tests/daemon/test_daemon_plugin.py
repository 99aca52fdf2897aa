# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module ``plugin`` with pm2-logrotate from the npm registry, under real daemons."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.pm2_host import end_daemon, environment_of
from support.run_module import run_module

from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process, parse_all

NAME = "pm2-logrotate"


@pytest.fixture
def plugin(pm2_home: Path, pm2_executable: str) -> Callable[..., dict[str, Any]]:
    # the machine's own extra certificates, where it has some
    passed = {name: os.environ[name] for name in ("NODE_EXTRA_CA_CERTS",) if name in os.environ}

    def call(check: bool = False, fails: bool = False, **arguments: Any) -> dict[str, Any]:
        return run_module(
            "plugin",
            check=check,
            fails=fails,
            pm2_home=str(pm2_home),
            pm2_executable=pm2_executable,
            environment=passed,
            timeout=400,
            options={"name": NAME, **arguments},
        )

    return call


def running(home: Path) -> Process:
    (process,) = parse_all(Rpc(str(home / "rpc.sock")).processes())
    assert process.is_running()
    assert process.is_module
    return process


def test_install_set_and_remove(plugin: Callable[..., dict[str, Any]], pm2_home: Path, pm2_executable: str) -> None:
    settings = {"max_size": "7M", "retain": 5, "compress": True}
    predicted = plugin(version="2.7.0", settings=settings, check=True)
    assert predicted["changed"] is True
    assert predicted["installed_version"] == "2.7.0"
    assert list(pm2_home.iterdir()) == []

    assert plugin(version="2.7.0", settings=settings)["installed_version"] == "2.7.0"
    first = running(pm2_home)
    assert first.pid
    told = json.loads(environment_of(first.pid)[NAME])
    assert (told["max_size"], told["retain"], told["compress"]) == ("7M", "5", "true")
    assert plugin(version="2.7.0", settings=settings)["changed"] is False
    assert running(pm2_home).pid == first.pid, "nothing was restarted"

    # a change of settings reaches the process, and leaves the others alone
    result = plugin(settings={"max_size": "8M"})
    assert result["changed"] is True
    assert (result["settings"]["max_size"], result["settings"]["retain"]) == ("8M", "5")
    second = running(pm2_home)
    assert second.pid
    told = json.loads(environment_of(second.pid)[NAME])
    assert (told["max_size"], told["retain"]) == ("8M", "5")

    # it is in no dump, and comes back with the daemon
    assert run_module("dump", pm2_home=str(pm2_home), pm2_executable=pm2_executable)["processes"] == {}
    end_daemon(pm2_home)
    assert run_module("daemon", pm2_home=str(pm2_home), pm2_executable=pm2_executable)["changed"] is True
    assert json.loads(environment_of(running(pm2_home).pid or 0)[NAME])["max_size"] == "8M"
    assert plugin(settings={"max_size": "8M"})["changed"] is False

    assert plugin(state="absent", check=True)["changed"] is True
    running(pm2_home)
    assert plugin(state="absent")["changed"] is True
    assert Rpc(str(pm2_home / "rpc.sock")).processes() == []
    assert not (pm2_home / "modules" / NAME).exists()
    assert NAME not in (pm2_home / "module_conf.json").read_text()
    assert plugin(state="absent")["changed"] is False


@pytest.mark.parametrize("pm2_version", ["7"], indirect=True)
def test_another_version_keeps_the_settings(plugin: Callable[..., dict[str, Any]], pm2_home: Path) -> None:
    plugin(version="2.7.0", settings={"retain": 9})

    result = plugin(version="3.0.0")

    assert result["changed"] is True
    assert result["installed_version"] == "3.0.0"
    assert json.loads(environment_of(running(pm2_home).pid or 0)[NAME])["retain"] == "9"
    assert [path.name for path in pm2_home.glob(".install-*")] == []


@pytest.mark.parametrize("pm2_version", ["7"], indirect=True)
def test_a_package_that_does_not_exist_leaves_nothing(plugin: Callable[..., dict[str, Any]], pm2_home: Path) -> None:
    missing = plugin(version="99.99.99", fails=True)

    assert "pm2" in missing["msg"]
    assert list((pm2_home / "modules").iterdir()) == []
    assert plugin(state="absent")["changed"] is False


@pytest.mark.parametrize("pm2_version", ["7"], indirect=True)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "x; touch /tmp/y"}, "name of an npm package"),
        ({"name": "../../x"}, "name of an npm package"),
        ({"version": "^3"}, "exact version"),
        ({"settings": {"a:b": "1"}}, "setting 'a:b'"),
        ({"settings": {"__proto__": "1"}}, "setting '__proto__'"),
        ({"settings": {"list": [1]}}, "setting 'list'"),
    ],
)
def test_bad_input_is_refused_before_anything_changes(
    arguments: dict[str, Any], message: str, plugin: Callable[..., dict[str, Any]], pm2_home: Path
) -> None:
    assert message in plugin(fails=True, **arguments)["msg"]
    assert list(pm2_home.iterdir()) == []
