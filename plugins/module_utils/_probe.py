# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What came of one attempt of a health check, and what a series of them means. No clock: the caller tells the time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._health_spec import Check

HEALTHY = "healthy"
# the app answered wrongly, refused, hung, or broke off
UNHEALTHY = "unhealthy"
# the check itself could not be made: nothing is said about the app
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Outcome:
    """Of one attempt.

    :ivar verdict: HEALTHY, UNHEALTHY or UNKNOWN.
    :ivar detail: one short sentence without a full stop, for a message; no secrets.
    """

    verdict: str
    detail: str


class Probe:
    """The series of one check on one process.

    :ivar successes: in a row, up to the last attempt; an attempt that could not be made ends the row.
    :ivar failures: attempts in a row that found the app unhealthy; those that could not be made are passed over.
    :ivar last: the last outcome, ``None`` before the first.
    """

    def __init__(self, check: Check) -> None:
        self.check = check
        self.successes = 0
        self.failures = 0
        self.last: Optional[Outcome] = None
        self._noted_at: Optional[float] = None

    def due(self, now: float) -> bool:
        """Whether it is time for the next attempt.

        :param now: seconds of any clock that never goes back, the same for all calls.
        """
        return self._noted_at is None or now >= self._noted_at + self.check.interval

    def note(self, outcome: Outcome, now: float) -> None:
        """:param now: when the attempt ended."""
        self.last = outcome
        self._noted_at = now
        self.successes = self.successes + 1 if outcome.verdict == HEALTHY else 0
        if outcome.verdict == HEALTHY:
            self.failures = 0
        elif outcome.verdict == UNHEALTHY:
            self.failures += 1

    @property
    def healthy(self) -> bool:
        return self.successes >= self.check.successes

    @property
    def given_up(self) -> bool:
        """Whether it failed as often in a row as was declared to be final."""
        return self.check.failures is not None and self.failures >= self.check.failures
