# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The watch after a cutover: smoke checks, then for a while restarts, health and memory. Only then it is proven."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Optional, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils import _health
from ansible_collections.zerodown.pm2.plugins.module_utils._checkers import Checkers
from ansible_collections.zerodown.pm2.plugins.module_utils._generation import WORKERS, Generation, lost
from ansible_collections.zerodown.pm2.plugins.module_utils._health_spec import Check, Endpoint
from ansible_collections.zerodown.pm2.plugins.module_utils._plan import has_done_its_work
from ansible_collections.zerodown.pm2.plugins.module_utils._probe import HEALTHY, UNHEALTHY, Probe
from ansible_collections.zerodown.pm2.plugins.module_utils._state import LAUNCHING, Process
from ansible_collections.zerodown.pm2.plugins.module_utils._steady import Failure

POLL_INTERVAL = 0.2
# so many failed checks in a row are a breach, where the check itself says nothing else: one may be an accident
FAILURES_MAX = 3
# below this, growth in percent says nothing
MEMORY_FLOOR = 32 * 2**20


def _says_nothing() -> Optional[str]:
    """For an app without a proxy."""
    return None


@dataclass(frozen=True)
class Watched:
    """One app in the bake.

    :ivar port: where traffic reaches it.
    :ivar path: of the unix socket where it does instead.
    :ivar errors: tells what the proxy in front of it says against it; completes "it ...".
    :ivar memory_before: bytes that a process of the old generation used; ``None`` without one.
    :ivar restarts_before: that do not count, by pm_id.
    """

    generation: Generation
    count: int
    port: Optional[int]
    checks: Tuple[Check, ...]
    memory_before: Optional[float]
    restarts_before: Dict[int, int] = field(default_factory=dict)
    path: Optional[str] = None
    errors: Callable[[], Optional[str]] = _says_nothing

    def endpoint(self, port: Optional[int]) -> Optional[Endpoint]:
        """:param port: another one than its own."""
        if port is None and self.path:
            return self.path
        port = port or self.port
        return ("127.0.0.1", port) if port else None


def mean_memory(processes: List[Process]) -> Optional[float]:
    """Bytes of one process."""
    sizes = [process.memory for process in processes if process.is_running() and process.memory]
    return sum(sizes) / len(sizes) if sizes else None


def smoke(checks: List[Check], apps: List[Watched]) -> Optional[Failure]:
    """Make the checks once, in order, over the way that traffic takes.

    :returns: the first that failed. One that could not be made counts as failed: nothing was proven.
    """
    if not checks or not apps:
        return None
    first = next((app for app in apps if app.endpoint(None)), apps[0])
    processes = first.generation.mine(first.generation.client.processes())
    for check in checks:
        process = processes[0] if processes else None
        outcome = _health.run(
            check,
            first.endpoint(check.port),
            {str(key): str(value) for key, value in (process.env.get("env") or {}).items()} if process else {},
            str(process.env.get("pm_cwd")) if process else "/",
        )
        if outcome.verdict != HEALTHY:
            return Failure(first.generation.name, "failed its smoke check: {0}".format(outcome.detail), process)
    return None


def watch(apps: List[Watched], bake_time: float, memory_growth_max: Optional[float]) -> Optional[Failure]:
    """
    :param bake_time: seconds.
    :param memory_growth_max: percent that a process may use more than one of the old generation, at the end.
    :returns: the breach that was seen, at once.
    :raises Pm2Error: PM2 has not all of the processes.
    """
    if not apps:
        return None
    end = time.monotonic() + bake_time
    probes: Dict[Tuple[int, int], Probe] = {}
    client = apps[0].generation.client
    with Checkers(WORKERS) as checkers:
        while True:
            processes = client.processes()
            by_id = {process.pm_id: process for process in processes}
            now = time.monotonic()
            for key, outcome in checkers.collect():
                probes[key].note(outcome, now)
                limit = probes[key].check.failures or FAILURES_MAX
                if outcome.verdict == UNHEALTHY and probes[key].failures >= limit and key[0] in by_id:
                    text = "is not healthy {0} times in a row: {1}".format(limit, outcome.detail)
                    return Failure(by_id[key[0]].name, text, by_id[key[0]])
            for app in apps:
                breach = _breach(app, processes)
                if breach:
                    return breach
                counted = app.errors()
                if counted:
                    return Failure(app.generation.name, counted)
                _submit_due(app, processes, probes, checkers, now)
            is_up = not any(item.status == LAUNCHING for app in apps for item in app.generation.mine(processes))
            if now >= end and is_up:
                return _grown(apps, processes, memory_growth_max)
            # after the end it is what is launching that is waited for
            time.sleep(min(POLL_INTERVAL, end - now) if now < end else POLL_INTERVAL)


def _breach(app: Watched, processes: List[Process]) -> Optional[Failure]:
    own = app.generation.mine(processes)
    if len(own) < app.count:
        # PM2 keeps a process in its list whatever becomes of it: the app is not to blame
        raise lost(app.generation.name)
    for process in own:
        restarted = process.restarts > app.restarts_before.get(process.pm_id, 0)
        # a daemon that died and was started again has just begun to bring it back
        is_up = process.is_running() or process.status == LAUNCHING or has_done_its_work(process)
        if restarted or not is_up:
            return Failure(process.name, "ended while it was watched", process)
    return None


def _submit_due(
    app: Watched, processes: List[Process], probes: Dict[Tuple[int, int], Probe], checkers: Checkers, now: float
) -> None:
    own = app.generation.mine(processes)
    if app.checks:
        app.generation.ask(own)
    for process in own:
        for number, check in enumerate(app.checks):
            probe = probes.setdefault((process.pm_id, number), Probe(check))
            if probe.due(now):
                own_socket = app.generation.socket(process.pm_id, check.port or app.port)
                endpoint = own_socket or app.endpoint(check.port)
                environment = {str(key): str(value) for key, value in (process.env.get("env") or {}).items()}
                checkers.submit((process.pm_id, number), check, endpoint, environment, str(process.env.get("pm_cwd")))


def _grown(apps: List[Watched], processes: List[Process], limit: Optional[float]) -> Optional[Failure]:
    if limit is None:
        return None
    for app in apps:
        after = mean_memory(app.generation.mine(processes))
        before = app.memory_before
        if before and after and after > MEMORY_FLOOR and after > before * (1 + limit / 100):
            return Failure(
                app.generation.name,
                "uses {0:.0f} MiB of memory a process, {1:.0f} % more than the {2:.0f} MiB of the one before".format(
                    after / 2**20, (after / before - 1) * 100, before / 2**20
                ),
            )
    return None
