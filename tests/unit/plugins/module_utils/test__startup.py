# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is to be done for a registration, and the paths that go into its unit."""

from __future__ import annotations

import getpass
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils import _startup
from ansible_collections.zerodown.pm2.plugins.module_utils._boot_program import build
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import Pm2Install
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._systemd import UnitState

SYSTEM = _startup.Registration("system", getpass.getuser(), Home("/home/app/.pm2"), "pm2-app.service")
NOTHING = _startup.Plan(home=False, linger=False, program=False, unit=False, remove=[], enable=False, disable=False)
IN_PLACE = _startup.Found(
    text="unit",
    linger_by_us=False,
    replaces=[],
    program=build(),
    state=UnitState("active", "enabled", 1, 5.0, SYSTEM.path),
    lingers=False,
    has_home=True,
)


@pytest.mark.parametrize(
    ("found", "enabled", "expected"),
    [
        ({}, True, {}),
        ({"text": "other"}, True, {"unit": True}),
        ({"program": b"older"}, True, {"program": True}),
        ({"has_home": False}, True, {"home": True}),
        ({"state": UnitState("inactive", "disabled", 0, None, SYSTEM.path)}, True, {"enable": True}),
        ({"state": UnitState("inactive", "disabled", 0, None, SYSTEM.path)}, False, {}),
        ({}, False, {"disable": True}),
        ({"replaces": [SYSTEM.path, "/etc/systemd/system/pm2-x.service"]}, True,
         {"remove": ["/etc/systemd/system/pm2-x.service"]}),
    ],
    ids=["nothing", "unit", "program", "home", "enable", "stays disabled", "disable", "of pm2 startup"],
)  # fmt: skip
def test_plan(found: dict[str, object], enabled: bool, expected: dict[str, object]) -> None:
    todo = _startup.plan(SYSTEM, replace(IN_PLACE, **found), "unit", enabled)  # type: ignore[arg-type] # a table

    assert todo == replace(NOTHING, **expected)  # type: ignore[arg-type] # a table
    assert todo.changes() is bool(expected)


def test_only_user_scope_lingers() -> None:
    assert _startup.plan(replace(SYSTEM, scope="user"), IN_PLACE, "unit", True).linger is True
    assert _startup.plan(replace(SYSTEM, scope="user"), replace(IN_PLACE, lingers=True), "unit", True).linger is False
    assert _startup.plan(SYSTEM, IN_PLACE, "unit", True).linger is False


def package(root: Path) -> Path:
    path = root / "lib" / "node_modules" / "pm2"
    (path / "lib").mkdir(parents=True)
    (path / "lib" / "Daemon.js").touch()
    (path / "bin").mkdir()
    (path / "bin" / "pm2").touch()
    (root / "bin").mkdir()
    (root / "bin" / "pm2").symlink_to("../lib/node_modules/pm2/bin/pm2")
    return path


def install(executable: Path, found: Path) -> Pm2Install:
    return Pm2Install(str(executable), str(found), "7.0.4", "/usr/bin/node")


def test_a_link_to_the_current_version_stays_in_the_path(tmp_path: Path) -> None:
    found = package(tmp_path / "7.0.4")
    (tmp_path / "current").symlink_to("7.0.4")
    link = tmp_path / "pm2"
    link.symlink_to(tmp_path / "current" / "bin" / "pm2")

    script = _startup.stable_daemon_script(install(link, found))

    assert script == str(tmp_path / "current" / "lib" / "node_modules" / "pm2" / "lib" / "Daemon.js")


def test_where_a_directory_is_a_link_the_real_path_is_taken(tmp_path: Path) -> None:
    found = package(tmp_path / "real")
    (tmp_path / "elsewhere").mkdir()
    # its "../lib" is not beside the link but beside what the link leads to
    (tmp_path / "elsewhere" / "bin").symlink_to(tmp_path / "real" / "bin")

    script = _startup.stable_daemon_script(install(tmp_path / "elsewhere" / "bin" / "pm2", found))

    assert script == str(found / "lib" / "Daemon.js")
