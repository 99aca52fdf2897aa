# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.zerodown.pm2.plugins.filter.longest import (
    CANARY_DEADLINE,
    DRAIN_TIMEOUT,
    HEALTHY_DEADLINE,
    REST,
    longest,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._cutover_options import CutoverOptions
from ansible_collections.zerodown.pm2.plugins.module_utils._order import Order
from ansible_collections.zerodown.pm2.plugins.module_utils._proxy_options import CanaryOptions


def test_the_defaults_are_those_of_the_modules() -> None:
    assert Order(apps=[]).healthy_deadline == HEALTHY_DEADLINE
    assert CutoverOptions().drain_timeout == DRAIN_TIMEOUT
    assert CanaryOptions().deadline == CANARY_DEADLINE
    assert longest([{"name": "shop", "processes": [{"script": "a.js"}]}]) == REST + HEALTHY_DEADLINE + DRAIN_TIMEOUT


def test_one_app_after_another_and_the_slowest_process_of_each() -> None:
    shop = {
        "name": "shop",
        "healthy_deadline": 20,
        "bake_time": 5,
        "processes": [
            {"script": "a.js", "drain_timeout": 0},
            {"script": "b.js", "canary": [5, 50, 100], "canary_deadline": 100, "drain_timeout": 10},
        ],
    }
    assert longest([shop]) == REST + 20 + 5 + 310
    assert longest([shop, shop], 60) == 2 * (REST + 20 + 60 + 310)
    assert longest([]) == 0
