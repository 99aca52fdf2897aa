# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a cutover is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._app import App
from ansible_collections.zerodown.pm2.plugins.module_utils._health_spec import Check
from ansible_collections.zerodown.pm2.plugins.module_utils._release import Layout


@dataclass(frozen=True)
class Order:
    """What is asked for.

    :ivar entries: the options that the apps were built from; secrets included.
    :ivar layout: of the releases; ``None`` for apps that have none.
    :ivar release: id of the release that they run from.
    :ivar rollback: whether that release was live before.
    :ivar always: whether to replace what runs as declared, too.
    :ivar gate: whether the candidate must pass checks and hold, or only start.
    :ivar min_healthy_time: seconds.
    :ivar healthy_deadline: seconds.
    :ivar smoke: made once after the cutover.
    :ivar bake_time: seconds.
    :ivar memory_growth_max: percent.
    :ivar auto_revert: whether a breach in the bake brings the old generation back.
    :ivar lock_timeout: seconds.
    :ivar confirm_timeout: seconds that the confirmation of the release may take; 0 for none.
    :ivar rollout: id of the rollout that it is confirmed in.
    """

    apps: List[App]
    entries: List[Dict[str, Any]] = field(default_factory=list, repr=False)
    layout: Optional[Layout] = None
    release: Optional[str] = None
    rollback: bool = False
    always: bool = False
    gate: bool = True
    min_healthy_time: float = 10.0
    healthy_deadline: float = 300.0
    smoke: List[Check] = field(default_factory=list)
    bake_time: float = 0.0
    memory_growth_max: Optional[float] = None
    auto_revert: bool = True
    by: str = ""
    reason: Optional[str] = None
    keep: int = 5
    lock_timeout: float = 0.0
    force: bool = False
    confirm_timeout: float = 0.0
    rollout: Optional[str] = None

    @property
    def names(self) -> List[str]:
        return [app.name for app in self.apps]
