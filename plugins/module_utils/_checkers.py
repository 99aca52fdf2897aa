# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes health checks beside the watching, so that one that hangs does not keep anybody from seeing a crash."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Dict, List, Optional, Tuple, Type

from ansible_collections.zerodown.pm2.plugins.module_utils._health import run
from ansible_collections.zerodown.pm2.plugins.module_utils._health_spec import Check, Endpoint
from ansible_collections.zerodown.pm2.plugins.module_utils._probe import Outcome

# which process, and which of its checks
Key = Tuple[int, int]


class Checkers:
    """Runs checks while the ``with`` block lasts, each at most once at a time."""

    def __init__(self, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers)
        self._running: "Dict[Key, Future[Outcome]]" = {}

    def __enter__(self) -> "Checkers":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        for future in self._running.values():
            future.cancel()
        self._pool.shutdown(wait=True)

    def submit(
        self, key: Key, check: Check, endpoint: Optional[Endpoint], environment: Dict[str, str], cwd: str
    ) -> None:
        if key not in self._running:
            self._running[key] = self._pool.submit(run, check, endpoint, environment, cwd)

    def collect(self) -> List[Tuple[Key, Outcome]]:
        """The outcomes since the last time."""
        done = [key for key, future in self._running.items() if future.done()]
        return [(key, self._running.pop(key).result()) for key in done]
