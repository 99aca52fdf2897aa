# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The example of RFC 4231, test case 2."""

from __future__ import annotations

from ansible_collections.zerodown.pm2.plugins.filter.signature import FilterModule

signature = FilterModule().filters()["signature"]


def test_the_example_of_the_standard() -> None:
    wanted = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert signature("what do ya want for nothing?", "Jefe") == wanted
