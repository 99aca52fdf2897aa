# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the arguments of the module ``startup`` become, and which are refused."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.modules import startup

DEFAULTS: dict[str, Any] = {
    "scope": "system",
    "start_timeout": 120,
    "stop_timeout": 30,
    "environment": {},
    "umask": "0077",
    "limit_nofile": 65536,
    "tasks_max": None,
    "memory_high": None,
    "memory_max": None,
    "cpu_quota": None,
    "no_new_privileges": True,
    "protect_system": None,
    "protect_home": None,
    "protect_kernel": None,
    "private_tmp": None,
    "read_write_paths": [],
}


def directives(**arguments: Any) -> dict[str, str]:
    return dict(startup.settings_of({**DEFAULTS, **arguments}).directives)


def test_defaults_break_no_app() -> None:
    assert directives() == {
        "NoNewPrivileges": "yes",
        "ProtectSystem": "full",
        "ProtectHome": "false",
        "PrivateTmp": "no",
        "ProtectKernelTunables": "yes",
        "ProtectKernelModules": "yes",
        "ProtectControlGroups": "yes",
    }


def test_limits_and_sandbox() -> None:
    asked = directives(
        memory_max="2G",
        memory_high="80%",
        tasks_max="50%",
        cpu_quota="150%",
        protect_system="strict",
        protect_home="hidden",
        protect_kernel=False,
        private_tmp=True,
        no_new_privileges=False,
    )

    assert asked == {
        "TasksMax": "50%",
        "MemoryHigh": "80%",
        "MemoryMax": "2G",
        "CPUQuota": "150%",
        "NoNewPrivileges": "no",
        "ProtectSystem": "strict",
        "ProtectHome": "true",
        "PrivateTmp": "yes",
    }


def test_user_scope_has_limits_and_no_mount_namespace() -> None:
    assert directives(scope="user", memory_max="1G") == {"MemoryMax": "1G", "NoNewPrivileges": "yes"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"memory_max": "2 GB"}, "memory_max must be a value such as 2G"),
        ({"memory_high": "lots"}, "memory_high"),
        ({"cpu_quota": "2"}, "cpu_quota must be a value such as 150%"),
        ({"tasks_max": "-1"}, "tasks_max"),
        ({"umask": "999"}, "umask"),
        ({"stop_timeout": 0}, "stop_timeout must be at least 1"),
        ({"read_write_paths": ["srv"]}, "must be absolute"),
        ({"environment": {"A": [1]}}, "value of A"),
        ({"environment": {"A": "x\ny"}}, "control characters"),
        ({"scope": "user", "private_tmp": True}, "private_tmp is only available with scope: system"),
        ({"scope": "user", "read_write_paths": ["/srv"]}, "read_write_paths is only available"),
        ({"scope": "user", "protect_system": "off"}, "protect_system is only available"),
        ({"scope": "user", "protect_kernel": False}, "protect_kernel is only available"),
    ],
)
def test_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(Pm2Error, match=message):
        startup.settings_of({**DEFAULTS, **arguments})


def test_values_of_the_environment_are_texts() -> None:
    settings = startup.settings_of({**DEFAULTS, "environment": {"A": 1, "B": True, "C": "x"}})

    assert settings.environment == {"A": "1", "B": "true", "C": "x"}


@pytest.mark.parametrize(
    ("name", "unit"), [(None, "pm2-app.service"), ("shop", "shop.service"), ("shop.service", "shop.service")]
)
def test_unit_name(name: str | None, unit: str) -> None:
    assert startup.unit_name(name, "app") == unit


@pytest.mark.parametrize("name", ["../x", "a b", "x;y", "pm2@%i"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(Pm2Error, match="name of a unit"):
        startup.unit_name(name, "app")
