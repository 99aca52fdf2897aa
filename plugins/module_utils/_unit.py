# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text of the systemd unit, as pure functions."""

from __future__ import annotations

import re
from typing import Optional

# systemd ignores sections that begin with X- (systemd.unit(5))
_HOME = re.compile(r"^\[X-Zerodown\]\nPm2Home=(?P<home>/.*)$", re.MULTILINE)


def managed_home(text: str) -> Optional[str]:
    """The PM2_HOME of a unit that we wrote; ``None`` for anybody else's unit."""
    match = _HOME.search(text)
    return match.group("home") if match else None
