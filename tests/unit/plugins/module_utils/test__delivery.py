# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any, Dict

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.module_utils._delivery import changed_settings, seal, settings

PATH = "/srv/shop/releases/B"


def app(**more: Any) -> Dict[str, Any]:
    return {"name": "web", "script": "server.js", "cwd": PATH, "instances": 2, "env": {"PORT": 3000}, **more}


def test_options_by_their_path() -> None:
    found = settings([app(watch=None, args=["a", "b"])], "TOKEN=s3cret\n", PATH, "key")
    assert found == {
        "web.script": "server.js",
        "web.cwd": ".",
        "web.instances": "2",
        "web.args": '["a", "b"]',
        "web.env.PORT": seal("3000", "key"),
        "env_file.TOKEN": seal("s3cret", "key"),
    }


def test_what_may_hold_a_secret_is_sealed() -> None:
    health = [{"path": "/", "headers": {"Authorization": "Bearer s3cret"}}]
    found = settings([app(health=health)], "", PATH, "key")
    assert "s3cret" not in str(found)
    assert found["web.health"].startswith("sealed:")


def test_changes_without_values_of_variables() -> None:
    before = settings([app(env={"PORT": 3000, "OLD": "x"})], "A=1\n", PATH, "key")
    after = settings(
        [app(instances=4, env={"PORT": "3001", "NEW": "y"}, cron_restart="0 0 * * *")], "A=1\n", PATH, "key"
    )
    assert changed_settings(before, after) == [
        {"option": "web.cron_restart", "change": "added: 0 0 * * *"},
        {"option": "web.env.NEW", "change": "added"},
        {"option": "web.env.OLD", "change": "removed"},
        {"option": "web.env.PORT", "change": "changed"},
        {"option": "web.instances", "change": "2 -> 4"},
    ]


def test_another_directory_is_no_change() -> None:
    other = "/srv/shop/releases/A"
    before = settings([app(cwd=other)], "", other, "key")
    assert changed_settings(before, settings([app()], "", PATH, "key")) == []


@given(st.dictionaries(st.text(min_size=1), st.one_of(st.text(), st.integers(), st.booleans())), st.text(min_size=1))
def test_no_value_of_a_variable_is_told(env: Dict[str, Any], key: str) -> None:
    found = settings([{"name": "web", "env": env}], "", PATH, key)
    assert all(value.startswith("sealed:") for value in found.values())
    assert len(found) == len(env)
