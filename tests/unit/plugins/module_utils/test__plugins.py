# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file in which PM2 keeps its modules and their settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils import _plugins
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._state import parse

CONTENT = {
    "module-db-v2": {"pm2-logrotate": {}, "other": {"uid": 5}},
    "pm2-logrotate": {"max_size": "10M", "retain": 30, "compress": False},
    "keep": "me",
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "module_conf.json").write_text(json.dumps(CONTENT))
    return Home(str(tmp_path))


def content(home: Home) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(Path(home.module_configuration).read_text())
    return result


def test_what_is_installed_and_set(home: Home) -> None:
    assert _plugins.installed(home) == ["other", "pm2-logrotate"]
    assert _plugins.settings(home, "pm2-logrotate") == {"max_size": "10M", "retain": "30", "compress": "false"}
    assert _plugins.settings(home, "unknown") == {}
    assert _plugins.version(home, "pm2-logrotate") is None


def test_a_change_leaves_all_else(home: Home) -> None:
    _plugins.write_settings(home, "pm2-logrotate", {"retain": "5"})

    assert content(home) == {**CONTENT, "pm2-logrotate": {"max_size": "10M", "retain": "5", "compress": False}}
    assert Path(home.module_configuration).stat().st_mode & 0o777 == 0o600


def test_forgotten_with_its_settings(home: Home) -> None:
    _plugins.forget(home, "pm2-logrotate")

    assert content(home) == {"module-db-v2": {"other": {"uid": 5}}, "keep": "me"}


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_a_file_that_is_damaged_is_named(home: Home, text: str) -> None:
    Path(home.module_configuration).write_text(text)

    with pytest.raises(Pm2Error, match=home.module_configuration):
        _plugins.installed(home)


def test_a_running_one_gets_each_setting_and_all_as_json() -> None:
    process = parse(
        {"pid": 1, "pm_id": 0, "pm2_env": {"name": "x", "pmx_module": True, "env": {"PATH": "/bin", "retain": "1"}}}
    )

    changes = _plugins.environment_with_settings(process, {"retain": "5"})

    assert changes["env"] == {"PATH": "/bin", "retain": "5", "x": '{"retain": "5"}'}
