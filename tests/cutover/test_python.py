# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""New releases of Python apps in fork mode, without a proxy, under traffic: a good one takes over, a bad one is never
seen; no request is lost."""

from __future__ import annotations

import pytest
from support.python_web import PythonWeb


def accept(web: PythonWeb) -> None:
    """``v1`` serves; ``v2``, which is staged, takes its place, once."""
    before = web.pids()
    with web.traffic() as traffic:
        result = web.cutover("v2")
        after = traffic.mark()
    assert [step["action"] for step in result["plan"]] == ["cutover"]
    assert not any(step["outage"] for step in result["plan"])
    traffic.assert_only("v1", "v2")
    assert traffic.answers() == {"v1", "v2"}
    assert traffic.answers(after) == {"v2"}
    web.assert_serves("v2", 1, mode="fork")
    assert not set(before) & set(web.pids())

    serving = web.pids()
    again = web.cutover("v2")
    assert not again["changed"]
    assert again["plan"] == []
    assert web.pids() == serving


@pytest.mark.parametrize("server", ["uvicorn"])
def test_good(python_web: PythonWeb, server: str) -> None:
    python_web.server = server
    python_web.go_live()
    python_web.stage("good", "v2")
    accept(python_web)
