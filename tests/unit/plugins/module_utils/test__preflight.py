# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whose port PM2's daemon holds."""

from __future__ import annotations

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils._options import CLUSTER
from ansible_collections.zerodown.pm2.plugins.module_utils._preflight import holds_for
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process


def process(name: str, port: "int | str | None", mode: str = CLUSTER) -> Process:
    env = {} if port is None else {"PORT": port}
    return Process(0, name, 1, "online", env={"exec_mode": mode, "env": env})


@pytest.mark.parametrize(
    ("processes", "ours"),
    [
        ([], False),
        ([process("web", 3000)], True),
        ([process("web", "3000")], True),
        ([process("web", None)], True),
        ([process("web", 4000)], True),
        ([process("web", None), process("other", 3000)], False),
        ([process("web", 3000), process("other", 3000)], True),
        ([process("web", None), process("other", 4000)], True),
        ([process("web", 3000, "fork_mode")], False),
        ([process("other", None)], False),
    ],
)
def test_whether_the_daemon_may_hold_it_for_us(processes: "list[Process]", ours: bool) -> None:
    assert holds_for(3000, processes, ["web"]) is ours
