# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the proxy counts of an app that has all the traffic, while it is watched."""

from __future__ import annotations

import time
from typing import Callable, Dict, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils import _canary
from ansible_collections.zerodown.pm2.plugins.module_utils._app import App
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._haproxy import Counters
from ansible_collections.zerodown.pm2.plugins.module_utils._proxy_options import CanaryOptions, other
from ansible_collections.zerodown.pm2.plugins.module_utils._switch import Switch, switch_of


def watch_errors(app: App, colour: Optional[str]) -> Callable[[], Optional[str]]:
    """A question that is answered by what is wrong with the app's traffic since now, and with ``None`` while nothing is
    or nothing is known. It may fail as many requests as the other colour did in its time, and ``canary_errors_max``
    more."""
    proxy = app.cutover.proxy
    if proxy is None or colour is None:
        return lambda: None
    switch = switch_of(proxy)
    options = app.cutover.canary or CanaryOptions()
    start = time.monotonic()
    before = _counters(switch)

    def ask() -> Optional[str]:
        now = _counters(switch)
        if not now or not before:
            return None
        mine = _canary.since(now[colour], before[colour])
        window = _canary.Window(100, time.monotonic() - start, mine, before[other(colour)])
        return _canary.breach(options, window)

    return ask


def _counters(switch: Switch) -> Dict[str, Counters]:
    try:
        return switch.counters()
    except Pm2Error:
        # a proxy that is started anew, or one that does not count, says nothing against the app
        return {}
