# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text of the systemd unit."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._unit import (
    Mark,
    UnitSpec,
    mark_of,
    pm2_own_home,
    render,
)

SPEC = UnitSpec(
    home="/home/app/.pm2",
    user="app",
    group="1001",
    node="/usr/bin/node",
    daemon_script="/opt/pm2/current/lib/node_modules/pm2/lib/Daemon.js",
    pm2="/usr/bin/pm2",
    program=["/usr/bin/python3", "-I", "/usr/local/lib/zerodown-pm2/boot.pyz"],
    environment={"PATH": "/usr/bin:/bin", "PM2_HOME": "/home/app/.pm2"},
    start_timeout=120,
    stop_timeout=30,
)
TEXT = st.text(
    st.characters(min_codepoint=0x20, exclude_characters="\x7f", exclude_categories=["Cs", "Cc"]), min_size=1
)

# the words of systemd.syntax(7): quotes, and a backslash that takes the next character literally
WORD = re.compile(r'(?:"((?:[^"\\]|\\.)*)"|(\S+))')


def words(line: str, dollar: bool) -> list[str]:
    """Split a line as systemd does, for the escapes that we write."""
    result = []
    for quoted, plain in WORD.findall(line):
        text = re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
        text = text.replace("%%", "%")
        result.append(text.replace("$$", "$") if dollar else text)
    return result


def values(text: str, key: str) -> list[str]:
    return [line.split("=", 1)[1] for line in text.splitlines() if line.startswith(key + "=")]


def test_the_daemon_runs_in_the_foreground_and_always_comes_back() -> None:
    text = render(SPEC)

    assert values(text, "Type") == ["exec"]
    assert values(text, "ExecStart") == [f"/usr/bin/node {SPEC.daemon_script}"]
    assert values(text, "Restart") == ["always"]
    assert values(text, "StartLimitIntervalSec") == ["0"]
    assert values(text, "KillMode") == ["mixed"]
    assert values(text, "OOMPolicy") == ["continue"]
    assert values(text, "UMask") == ["0077"]
    assert values(text, "User") == ["app"]
    assert text.index("StartLimitIntervalSec") < text.index("[Service]") < text.index("Restart="), "in their sections"


def test_one_app_that_does_not_come_back_takes_nobody_down() -> None:
    wait, resurrect = values(render(SPEC), "ExecStartPost")

    assert " wait " in wait
    assert not wait.startswith("-"), "a daemon that does not answer is started again"
    assert " resurrect " in resurrect
    assert resurrect.startswith("-")


def test_systemd_waits_longer_than_our_own_program() -> None:
    text = render(replace(SPEC, stop_timeout=7, start_timeout=40))

    assert "--timeout 7" in values(text, "ExecStop")[0]
    assert int(values(text, "TimeoutStopSec")[0]) > 7
    assert int(values(text, "TimeoutStartSec")[0]) > 7 + 20 + 40


def test_system_scope_waits_for_the_network_and_user_scope_cannot() -> None:
    assert values(render(SPEC), "After") == ["network-online.target remote-fs.target"]
    assert values(render(SPEC), "Wants") == ["network-online.target"]
    assert values(render(SPEC), "WantedBy") == ["multi-user.target"]

    user = render(replace(SPEC, user=None, group=None))

    assert values(user, "After") == values(user, "User") == values(user, "Group") == []
    assert values(user, "WantedBy") == ["default.target"]


@given(TEXT)
def test_every_value_arrives_as_it_was_given(value: str) -> None:
    text = render(replace(SPEC, home="/" + value, environment={"X": value}))

    assert words(values(text, "Environment")[0], dollar=False) == ["X=" + value]
    stop = words(values(text, "ExecStop")[0], dollar=True)
    assert stop[stop.index("--home") + 1] == "/" + value
    assert mark_of(text) == Mark("/" + value, False)


@pytest.mark.parametrize("value", ["a\nExecStart=/bin/sh", "a\0b", "a\x7f"])
def test_control_characters_are_refused(value: str) -> None:
    with pytest.raises(Pm2Error, match="control characters"):
        render(replace(SPEC, environment={"X": value}))


def test_a_name_that_is_no_variable_is_refused() -> None:
    with pytest.raises(Pm2Error, match="environment variable"):
        render(replace(SPEC, environment={"A B": "1"}))


def test_paths_that_stay_open_may_be_missing() -> None:
    text = render(replace(SPEC, writable=["/srv/my shop", "/home/app/.pm2"]))

    assert values(text, "ReadWritePaths") == ['"-/srv/my shop" -/home/app/.pm2']


def test_whose_unit_it_is() -> None:
    assert mark_of(render(replace(SPEC, linger=True))) == Mark("/home/app/.pm2", True)
    assert mark_of("[Service]\nExecStart=/bin/true\n") is None


PM2_OWN = """[Unit]
Description=PM2 process manager
Documentation=https://pm2.keymetrics.io/
After=network.target

[Service]
Type=forking
User=app
LimitNOFILE=infinity
Environment=PATH=/usr/bin
Environment=PM2_HOME=/home/app/.pm2
PIDFile=/home/app/.pm2/pm2.pid
Restart=on-failure

ExecStart=/usr/lib/node_modules/pm2/bin/pm2 resurrect
ExecReload=/usr/lib/node_modules/pm2/bin/pm2 reload all
ExecStop=/usr/lib/node_modules/pm2/bin/pm2 kill

[Install]
WantedBy=multi-user.target
"""


def test_a_unit_of_pm2_startup_is_told_from_others() -> None:
    assert pm2_own_home(PM2_OWN) == "/home/app/.pm2"
    assert pm2_own_home(PM2_OWN.replace(" resurrect", " start")) is None
    assert pm2_own_home(render(SPEC)) is None
