# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which C library this host has: compiled packages are for one of them."""

from __future__ import annotations

import os


def libc() -> str:
    """glibc with its version, or another one (musl has no such name)."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or "other"
    except (ValueError, OSError):
        return "other"
