# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Saved entries on a host where files have gone since. That they start is shown on real daemons."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from support.fake_client import FakeClient
from support.processes import declared, member

from ansible_collections.zerodown.pm2.plugins.module_utils import _gate_python, _gate_script
from ansible_collections.zerodown.pm2.plugins.module_utils._dump import entry_of
from ansible_collections.zerodown.pm2.plugins.module_utils._gates import with_present
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._resurrect import (
    resurrect,
    with_present_node,
)

GONE = "-r", "/gone/gate/preload-ffffffff.cjs"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(str(tmp_path))


@pytest.mark.parametrize(
    ("node_args", "after"),
    [
        ([*GONE], []),
        ([*GONE, "-r", "./trace.js", "--a"], ["-r", "./trace.js", "--a"]),
        # twice, which nobody should have made
        ([*GONE, *GONE, "--a"], ["--a"]),
    ],
)
def test_a_preload_that_is_gone_is_replaced(home: Home, node_args: list[str], after: list[str]) -> None:
    entry = {"name": "web", "node_args": node_args, "env": {}}
    path = str(Path(home.gate) / _gate_script.name())
    assert with_present(entry, home) == {"name": "web", "node_args": ["-r", path, *after], "env": {}}
    assert Path(path).read_text() == _gate_script.SCRIPT
    assert entry["node_args"] == node_args


def test_a_gate_of_python_that_is_gone_is_replaced(home: Home) -> None:
    entry = {"name": "web", "node_args": [], "env": {"PYTHONPATH": "/gone/gate/python-01234567:/srv/lib", "A": "1"}}
    path = Path(home.gate) / _gate_python.name()
    changed = with_present(entry, home)
    assert changed == {"name": "web", "node_args": [], "env": {"PYTHONPATH": f"{path}:/srv/lib", "A": "1"}}
    assert (path / "sitecustomize.py").read_text() == _gate_python.script()
    assert with_present(changed, home) is changed


def test_a_preload_that_is_there_stays_though_it_is_an_older_one(home: Home) -> None:
    older = Path(home.gate) / "preload-00000000.cjs"
    older.parent.mkdir()
    older.touch()
    entry = {"name": "web", "node_args": ["-r", str(older), "--a"]}
    assert with_present(entry, home) is entry
    assert [path.name for path in older.parent.iterdir()] == [older.name]


@pytest.mark.parametrize("node_args", [None, [], ["-r", "/gone/trace.js"], "--a", ["-r"], ["--a", GONE[1]]])
def test_what_has_no_preload_of_ours_gets_none(home: Home, node_args: Any) -> None:
    entry = {"name": "web", "node_args": node_args}
    assert with_present(entry, home) is entry
    assert not Path(home.gate).exists()


def test_a_node_that_is_gone_is_left_to_the_daemon() -> None:
    gone = {"name": "web", "exec_interpreter": "/gone/bin/node"}
    assert with_present_node(gone) == {"name": "web"}
    for interpreter in ("node", sys.executable, "/gone/bin/python3"):
        entry = {"name": "web", "exec_interpreter": interpreter}
        assert with_present_node(entry) is entry


def test_only_what_is_missing_is_started(home: Home, tmp_path: Path) -> None:
    script = tmp_path / "app.js"
    script.touch()
    app = declared(script=str(script), instances=3, node_args="--a")
    # cluster workers need no interpreter of their own
    entries = [entry_of(member(app, number, number), stopped=False) for number in range(3)]
    for entry in entries:
        entry["node_args"] = [*GONE, "--a"]
    client = FakeClient(home, member(app, 7, 1))
    report = resurrect(client, entries, timeout=10.0)
    assert (report.started, report.skipped, report.failed) == (["web", "web"], [], [])
    assert client.calls == [("prepare", 0), ("prepare", 2)]
    path = str(Path(home.gate) / _gate_script.name())
    assert [item.env["node_args"] for item in client.list[1:]] == [["-r", path, "--a"]] * 2
    # again: nothing is missing
    assert resurrect(client, entries, timeout=10.0).started == []
