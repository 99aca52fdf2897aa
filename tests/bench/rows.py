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
CLUSTER = "cluster"
PROXIED = "proxied"


@dataclass(frozen=True)
class Row:
    """
    :ivar kind: of the new release, for :func:`support.gate_apps.write_release`; ``how`` is for it too.
    :ivar serves: the version that should serve afterwards.
    :ivar before: the kind of the old release.
    :ivar runs_as: ``cluster`` for Node in cluster mode; ``proxied`` for Node in fork mode behind HAProxy; else Python
        in fork mode, by a server of support/python_web.py.
    :ivar options: of the app, in PM2's words, for every method.
    :ivar slow: whether there are also requests that take 5 s.
    :ivar watch: seconds from the beginning of the change that the load goes on at least.
    :ivar deadline: seconds that it has to become healthy.
    :ivar ours: more options of the app for our method.
    :ivar wrong_max: percent of the requests that may be answered wrongly.
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
    runs_as: str = CLUSTER
    ours: dict[str, Any] = field(default_factory=dict)
    wrong_max: float = 0.0
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
    # all kinds of them are tested; what is measured here is what fork mode costs
    Row("Node in fork mode behind HAProxy: good", "good", NEW, runs_as=PROXIED),
    Row("Node in fork mode behind HAProxy: throws at boot", "throws_at_boot", OLD, runs_as=PROXIED),
    Row("Node in fork mode behind HAProxy: boots in 8 s", "boots_in", NEW, {"seconds": 8}, watch=20, runs_as=PROXIED),
    Row(
        "Node in fork mode behind HAProxy: fails a fifth of its requests",
        "fails_some",
        OLD,
        {"one_of": 5},
        runs_as=PROXIED,
        ours={"canary": [5, 25, 100], "canary_time": 10},
        # a fifth of the canary's share
        wrong_max=1.0,
    ),
    Row("FastAPI, uvicorn: good", "good", NEW, runs_as="uvicorn"),
    Row("FastAPI, uvicorn with 4 workers: good", "good", NEW, runs_as="uvicorn, 4 workers"),
    Row("FastAPI, uvicorn: throws at boot", "throws_at_boot", OLD, runs_as="uvicorn"),
    Row("FastAPI, uvicorn: answers 500", "answers_500", OLD, runs_as="uvicorn"),
    Row("Django, gunicorn: good", "good", NEW, runs_as="gunicorn, gthread"),
    Row("Django, gunicorn: throws at boot", "throws_at_boot", OLD, runs_as="gunicorn, gthread"),
]
