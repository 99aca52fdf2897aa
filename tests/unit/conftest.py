# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No law of ours is about speed; hypothesis would fail an example that takes 0.2 s, as any may on a busy machine."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "any machine",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    # fewer where only the Python is another (tests/dev/pythons.py)
    max_examples=int(os.environ.get("EXAMPLES", "100")),
)
settings.load_profile("any machine")
