# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the benchmark measures: one row is one kind of new release."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

NEW = "new"
OLD = "old"
VERSIONS = {OLD: "v1", NEW: "v2"}


@dataclass(frozen=True)
class Row:
    """
    :ivar kind: of the new release, for :func:`support.gate_apps.write_release`; ``how`` is for it too.
    :ivar serves: the version that should serve afterwards.
    :ivar before: the kind of the old release.
    :ivar options: of the app, in PM2's words, for every method.
    :ivar slow: whether there are also requests that take 5 s.
    :ivar watch: seconds from the beginning of the change that the load goes on at least.
    :ivar deadline: seconds that it has to become healthy.
    :ivar long: whether it is only measured on demand.
    """

    title: str
    kind: str
    serves: str
    how: dict[str, Any] = field(default_factory=dict)
    before: str = "good"
    instances: int = 2
    options: dict[str, Any] = field(default_factory=dict)
    slow: bool = False
    watch: float = 8.0
    deadline: float = 25.0
    long: bool = False


ROWS = [
    Row("good", "good", NEW),
    Row("good, 1 instance", "good", NEW, instances=1),
    Row("good, ignores signals", "ignores_signals", NEW, before="ignores_signals"),
    Row("good, requests of 5 s in flight", "good", NEW, slow=True, options={"kill_timeout": 8000}, watch=15),
    Row("throws at boot", "throws_at_boot", OLD),
    Row("syntax error", "syntax_error", OLD),
    Row("missing module", "missing_module", OLD),
    Row("listens on the wrong port", "wrong_port", OLD),
    Row("throws after 2 s", "throws_after", OLD, {"seconds": 2}),
    Row("throws after 8 s", "throws_after", OLD, {"seconds": 8}, watch=18),
    Row("answers 500", "answers_500", OLD),
    Row("answers something else", "wrong_body", OLD),
    Row("hangs", "hangs", OLD),
    Row("never listens", "never_listens", OLD),
    Row("boots in 8 s", "boots_in", NEW, {"seconds": 8}, watch=20),
    Row("boots in 30 s", "boots_in", NEW, {"seconds": 30}, watch=70, deadline=60, long=True),
    Row("leaks memory", "leaks", OLD, options={"max_memory_restart": "150M"}),
    Row("exits with 0", "exits_0", OLD),
    Row("dies and leaves a child", "forks_child", OLD),
]
