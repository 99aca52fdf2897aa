# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: confirmation
short_description: Confirm a release that awaits it, or go back from it
version_added: 0.1.0
description:
  - Answers a cutover that was made with O(zerodown.pm2.cutover#module:confirm_timeout). Its release serves, and the
    host goes back from it by itself unless it is confirmed in time.
  - Confirming and going back take the same lock, and the first one wins. Who confirms too late is told what happened,
    and when.
  - The work is done by a process of its own. A cut SSH session or a dead controller does not stop it half-way.
extends_documentation_fragment:
  - zerodown.pm2.attributes
  - zerodown.pm2.pm2
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows the release that is live, and what it awaits.
  idempotent:
    support: partial
    details: Not with O(state=awaited), which lets the time begin anew each time.
options:
  state:
    description:
      - V(given), the release is marked proven, and the host no longer waits. It fails when the host has gone back by
        itself, when another release is live, and when the release awaits nothing and has not proven itself.
      - V(awaited), its time begins anew.
      - V(withdrawn), the host goes back now to the last proven release, by the way that a rollback takes. What was
        withdrawn is not marked bad, as it may be no fault of its own on this host. When no release was proven before,
        it goes on serving, and RV(serves) says so. Refused for a release that has proven itself, because that is a
        rollback, and for one that is not live.
      - Where only the options of a release that had proven itself were changed, the host goes back to those that it was
        run with before, and the release stays proven.
    type: str
    choices: [given, awaited, withdrawn]
    default: given
  path:
    description: The app's root.
    type: path
    required: true
  release:
    description: The id of the release.
    type: str
    required: true
  rollout:
    description: The id of the rollout, as it was given to the cutover.
    type: str
    required: true
  timeout:
    description:
      - Seconds that the confirmation may take from now on, with O(state=awaited).
      - By default as many as before.
    type: float
  by:
    description: Who did this, for the lock and the deploy log. By default the user who ran the module.
    type: str
  reason:
    description: Why, for the lock and the deploy log.
    type: str
  lock_timeout:
    description: Seconds to wait for a cutover of the same app.
    type: float
    default: 60
  force:
    description:
      - End a running cutover of the app instead of waiting for it. What it has begun is undone or finished first.
    type: bool
    default: false
seealso:
  - module: zerodown.pm2.cutover
  - module: zerodown.pm2.release_info
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: Let a release go live that must be confirmed
  zerodown.pm2.cutover:
    path: /srv/shop
    release: 20260131T140509Z-1f3a9c2e
    apps:
      - name: shop
        script: server.js
        cwd: /srv/shop/releases/20260131T140509Z-1f3a9c2e
        instances: 2
        env:
          PORT: 3000
    rollout: r-20260131-1
    confirm_timeout: 300

- name: See from here what users see
  ansible.builtin.uri:
    url: https://shop.example.com/health
  delegate_to: localhost

- name: Confirm it
  zerodown.pm2.confirmation:
    path: /srv/shop
    release: 20260131T140509Z-1f3a9c2e
    rollout: r-20260131-1

- name: Go back from it, because another host of the rollout failed
  zerodown.pm2.confirmation:
    path: /srv/shop
    release: 20260131T140509Z-1f3a9c2e
    rollout: r-20260131-1
    state: withdrawn
    reason: web7 failed
"""

RETURN = r"""
live:
  description: The id of the release that is live now, or null.
  type: str
  returned: always
  sample: 20260131T140509Z-1f3a9c2e
awaiting:
  description: What M(zerodown.pm2.release_info) returns of the confirmation that is still awaited, or null.
  type: dict
  returned: success
  sample: null
serves:
  description: What was left, and what serves now, one sentence.
  type: str
  returned: with O(state=withdrawn), when it went back
  sample: Release 20260131T140509Z-1f3a9c2e was withdrawn by anna; 20260130T090000Z-77aa01bc serves again.
plan:
  description: What was done to go back, as M(zerodown.pm2.cutover) returns it.
  type: list
  elements: dict
  returned: with O(state=withdrawn), when it went back
apps:
  description: What runs now, as M(zerodown.pm2.app) returns it.
  type: list
  elements: dict
  returned: with O(state=withdrawn), when it went back
timings:
  description: Seconds of each step of going back.
  type: dict
  returned: with O(state=withdrawn), when it went back
  sample: {prove: 1.9, open: 0.6, commit: 0.01, retire: 0.3, bake: 0.0}
repaired:
  description: Sentences about what earlier runs left, and was undone or finished first.
  type: list
  elements: str
  returned: always but in check mode
  sample: []
withdrawal:
  description: The entry of the deploy log that tells how the host went back.
  type: dict
  returned: when it went back before it was confirmed
  sample:
    time: '2026-01-31T14:11:42Z'
    event: withdrawn
    release: 20260131T140509Z-1f3a9c2e
    revision: 1f3a9c2e7d5b4a39c8e1f0a2b3c4d5e6f7a8b9c0
    previous: null
    by: the host
    reason: not confirmed within 300 s by anna
    rollout: r-20260131-1
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.zerodown.pm2.plugins.module_utils import _deploy_log, _runner
from ansible_collections.zerodown.pm2.plugins.module_utils._confirmation import AWAITED, GIVEN, WITHDRAWN
from ansible_collections.zerodown.pm2.plugins.module_utils._dead_man import Answer, carry_out, keep_watch, preview
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._module import COMMON_ARGUMENTS, run
from ansible_collections.zerodown.pm2.plugins.module_utils._release import Layout, check_id
from ansible_collections.zerodown.pm2.plugins.module_utils._secrets import secret_values
from ansible_collections.zerodown.pm2.plugins.module_utils._settings import Settings

DAY = 86400


def work(module: AnsibleModule) -> Dict[str, Any]:
    answer = _answer(module.params)

    def settings(aside: _runner.Aside) -> Settings:
        return Settings(
            home=Home.of(module.params["pm2_home"]),
            pm2_executable=module.params["pm2_executable"],
            node_executable=module.params["node_executable"],
            check_mode=module.check_mode,
            warn=aside.warnings.append,
            hide=lambda environments: aside.secrets.extend(secret_values(environments)),
        )

    def receive(aside: _runner.Aside) -> None:
        module.no_log_values |= set(aside.secrets)
        for sentence in aside.warnings:
            module.warn(sentence)

    aside = _runner.Aside()
    mine = settings(aside)
    mine.home.check_owner()
    if module.check_mode:
        result = preview(answer, mine)
        receive(aside)
        return result
    return _runner.run(
        lambda inside: carry_out(answer, settings(inside)),
        "the confirmation of {0}".format(answer.release),
        receive,
        lambda: keep_watch([], answer.layout, mine),
    )


def _answer(parameters: Dict[str, Any]) -> Answer:
    timeout = parameters["timeout"]
    # not (… >= 0): NaN is no time either
    if timeout is not None and not 0 < timeout <= DAY:
        raise Pm2Error("timeout must be more than 0 and at most {0} seconds.".format(DAY))
    if timeout is not None and parameters["state"] != AWAITED:
        raise Pm2Error("timeout is of use only with state awaited.")
    if not 0 <= parameters["lock_timeout"] <= DAY:
        raise Pm2Error("lock_timeout must be from 0 to {0} seconds.".format(DAY))
    return Answer(
        state=parameters["state"],
        layout=Layout.at(parameters["path"]),
        release=check_id(parameters["release"]),
        rollout=parameters["rollout"],
        by=parameters["by"] or _deploy_log.who(),
        reason=parameters["reason"],
        timeout=timeout,
        lock_timeout=parameters["lock_timeout"],
        force=parameters["force"],
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": [GIVEN, AWAITED, WITHDRAWN], "default": GIVEN},
            "path": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "rollout": {"type": "str", "required": True},
            "timeout": {"type": "float"},
            "by": {"type": "str"},
            "reason": {"type": "str"},
            "lock_timeout": {"type": "float", "default": 60.0},
            "force": {"type": "bool", "default": False},
            **COMMON_ARGUMENTS,
        },
        supports_check_mode=True,
    )
    run(module, work)


if __name__ == "__main__":
    main()
