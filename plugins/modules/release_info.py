# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_info
short_description: The releases of an app, which is live, proven, bad, and the deploy log
version_added: 0.1.0
description:
  - Reads what M(zerodown.pm2.release) and M(zerodown.pm2.build) keep below the app's root. Changes nothing, and works
    on a host that has nothing yet.
extends_documentation_fragment:
  - zerodown.pm2.attributes.info
options:
  path:
    description: The app's root.
    type: path
    required: true
  rollback_to:
    description:
      - The id of the release that someone wants to go back to. It comes back as RV(rollback_target). The module
        fails, and lists those that can be gone back to, unless it is proven, not bad, not live, and still on disk.
      - By default RV(rollback_target) is the last proven release before the live one.
    type: str
  events:
    description: How many entries of the deploy log to return at most, the newest ones.
    type: int
    default: 20
seealso:
  - module: zerodown.pm2.release
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: Read the releases
  zerodown.pm2.release_info:
    path: /srv/shop
  register: shop

- name: Say what a rollback would do
  ansible.builtin.debug:
    msg: "{{ shop.live }} -> {{ shop.rollback_target }}"
"""

RETURN = r"""
exists:
  description: Whether anything was ever released below O(path).
  returned: success
  type: bool
live:
  description: The id of the release that C(current) names, or null.
  returned: success
  type: str
previous:
  description: The id of the release that was live before it and is still there, or null.
  returned: success
  type: str
rollback_target:
  description: The id of the release that a rollback goes to, or null when there is none.
  returned: success
  type: str
rollback_targets:
  description: The ids of all releases that can be rolled back to, best first.
  returned: success
  type: list
  elements: str
releases:
  description: All complete releases, oldest first, each as RV(zerodown.pm2.release#module:release).
  returned: success
  type: list
  elements: dict
  sample:
    - id: 20260131T140509Z-1f3a9c2e
      path: /srv/shop/releases/20260131T140509Z-1f3a9c2e
      revision: 1f3a9c2e7d5b4a39c8e1f0a2b3c4d5e6f7a8b9c0
      live: true
      proven: true
      bad: false
awaiting:
  description: The confirmation that the live release awaits, or null.
  returned: success
  type: dict
  sample:
    release: 20260131T140509Z-1f3a9c2e
    previous: 20260130T090000Z-77aa01bc
    rollout: r-20260131-1
    by: anna
    reason: null
    timeout: 300.0
    since: '2026-01-31T14:06:11Z'
    options: false
    until: '2026-01-31T14:11:42Z'
    remaining: 212.4
  contains:
    release:
      description: The id of the release.
      type: str
    previous:
      description: The id of the release that was live before, or null.
      type: str
    rollout:
      description: The id of the rollout that is to be confirmed.
      type: str
    by:
      description: Whose rollout it is.
      type: str
    reason:
      description: Why, or null.
      type: str
    timeout:
      description: The seconds that the confirmation may take.
      type: float
    since:
      description: When the cutover began, in UTC.
      type: str
    options:
      description: Whether the release was live and proven before, and what awaits is what changed of its options.
      type: bool
    until:
      description: When the host goes back by itself, in UTC. Null while the cutover runs.
      type: str
    remaining:
      description: The seconds until then. Null while the cutover runs.
      type: float
log:
  description: The newest entries of the deploy log, oldest first.
  returned: success
  type: list
  elements: dict
  sample:
    - time: '2026-01-31T14:06:11Z'
      event: live
      release: 20260131T140509Z-1f3a9c2e
      revision: 1f3a9c2e7d5b4a39c8e1f0a2b3c4d5e6f7a8b9c0
      previous: 20260130T090000Z-77aa01bc
      by: deploy
      reason: null
  contains:
    time:
      description: When, in UTC.
      type: str
    event:
      description:
        - V(live), V(rollback), V(proven), V(bad), V(withdrawn), V(removed), or V(migrated) with C(name), C(class) and
          C(seconds) of a migration.
      type: str
    release:
      description: The id of the release.
      type: str
    revision:
      description: Its revision.
      type: str
    previous:
      description: The id of the release that was live before, for V(live) and V(rollback).
      type: str
    by:
      description: Who did it.
      type: str
    reason:
      description: Why, or null.
      type: str
    rollout:
      description: The id of the rollout.
      type: str
      returned: when it was confirmed or withdrawn
"""

import time
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.zerodown.pm2.plugins.module_utils import _confirmation, _module, _stage
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._release import Layout


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "rollback_to": {"type": "str"},
            "events": {"type": "int", "default": 20},
        },
        supports_check_mode=True,
    )
    _module.run(module, work)


def work(module: AnsibleModule) -> Dict[str, Any]:
    if module.params["events"] < 0:
        raise Pm2Error("events must be 0 or more.")
    layout = Layout.at(module.params["path"])
    now = _stage.read(layout)
    awaiting = _confirmation.read(layout)
    return {
        "changed": False,
        "exists": bool(now.releases or now.events),
        "live": now.live,
        "previous": now.previous,
        "rollback_target": now.rollback_target(module.params["rollback_to"]),
        "rollback_targets": now.rollback_targets,
        "awaiting": _confirmation.as_data(awaiting, time.time()) if awaiting and awaiting.release == now.live else None,
        "releases": [now.describe(release) for release in now.releases],
        "log": now.events[len(now.events) - module.params["events"] :] if module.params["events"] else [],
    }


if __name__ == "__main__":
    main()
