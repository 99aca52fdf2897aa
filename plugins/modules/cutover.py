# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cutover
short_description: Replace what serves by a new release, which must prove itself first
version_added: 0.1.0
description:
  - Starts a new generation of the processes of an app beside the one that serves, and keeps it from taking traffic
    until it has proven itself. If it fails at any moment, the one that serves was never touched.
  - One call does the whole transaction on the host. It takes a lock, writes each step down before it takes it, starts
    the candidate, lets it through the gate, opens its ports beside the old one (PM2 lets all workers of a port share
    it), saves PM2's process list, lets the connections of the old one end and removes it, switches C(current) and
    watches the new one for O(bake_time).
  - The work is done by a process of its own. A cut SSH session or a dead controller does not stop it half-way. If that
    process is killed or the host loses power, the next run first undoes or finishes what was begun, and what serves
    meanwhile is the old generation or the new one, whole.
  - The gate. Each process must run without a restart, listen where it was told to, stay below C(max_memory_restart)
    and pass its C(health) checks for O(min_healthy_time) without a break, and within O(healthy_deadline).
  - The processes keep their name and are numbered from 0 in C(NODE_APP_INSTANCE). Their log files have these numbers.
  - When everything runs as declared from the release that is live, nothing is touched.
  - An app in fork mode that listens cannot be replaced without an outage. It is refused, unless its C(strategy) is
    V(restart).
extends_documentation_fragment:
  - zerodown.pm2.attributes
  - zerodown.pm2.pm2
  - zerodown.pm2.process
  - zerodown.pm2.process.apps
  - zerodown.pm2.health.smoke
attributes:
  check_mode:
    support: full
    details:
      - Starts no daemon and no process, and takes no lock. A script, directory or interpreter that does not exist yet
        is a warning, as an earlier task may create it.
  diff_mode:
    support: full
    details: Shows the release and the options. Of variables it shows the names only.
  idempotent:
    support: partial
    details: Not with O(state=rolled_back) without O(release), which goes one release further back each time.
options:
  state:
    description:
      - V(live), the apps run as declared, from O(release) when there is one.
      - V(rolled_back), the apps run as they did when O(release), or the last proven release before the live one, was
        live. Code, variables, options and dependencies come back together. The release that is left is marked bad.
    type: str
    choices: [live, rolled_back]
    default: live
  path:
    description:
      - The app's root, with its C(releases), see M(zerodown.pm2.release).
      - Without it no release is involved. The apps are replaced because their options changed.
    type: path
  release:
    description:
      - The release that goes live. The apps must be declared to run from it. Required with O(path) and O(state=live).
      - With O(state=rolled_back) the one to go back to, by default the last proven one before the live one.
    type: str
  gate:
    description:
      - V(full), the candidate must pass the gate.
      - V(none), for an emergency. It must start and listen, and nothing more.
    type: str
    choices: [full, none]
    default: full
  min_healthy_time:
    description: Seconds that all processes of the candidate must be healthy without a break.
    type: float
    default: 10
  healthy_deadline:
    description: Seconds within which they must have been that, from their start.
    type: float
    default: 300
  bake_time:
    description:
      - Seconds to watch the new generation after the cutover. A restart, health checks that fail three times in a row
        (or as often as their C(failures) says) or too much memory is a breach.
      - Only when it is over the release is marked proven, or awaits its confirmation (O(confirm_timeout)).
    type: float
    default: 0
  memory_growth_max:
    description:
      - How much more memory, in percent, a process may use at the end of the bake than one of the old generation used.
      - By default it is not compared.
    type: float
  auto_revert:
    description:
      - Whether a breach in the bake brings the old generation back, by the same way. The release is marked bad in any
        case.
    type: bool
    default: true
  past_migrations:
    description:
      - Whether a rollback may go back over an V(irreversible) migration, see M(zerodown.pm2.migration). The data of
        then does not come back with it.
      - After a V(contract) one a rollback warns. A breach in the bake reverts over neither of them.
    type: bool
    default: false
  keep:
    description: How many releases to keep, see O(zerodown.pm2.release#module:keep).
    type: int
    default: 5
  by:
    description: Who did this, for the lock and the deploy log. By default the user who ran the module.
    type: str
  reason:
    description: Why, for the lock and the deploy log.
    type: str
  lock_timeout:
    description: Seconds to wait for another cutover of the same app.
    type: float
    default: 60
  force:
    description:
      - End the other cutover instead of waiting for it. What it has begun is undone or finished first.
      - A release that awaits the confirmation of another rollout is replaced all the same. When this cutover fails,
        that one is awaited as before.
    type: bool
    default: false
  confirm_timeout:
    description:
      - A dead-man timer. With more than V(0), the release is not marked proven at the end. It awaits its confirmation
        by M(zerodown.pm2.confirmation) for this many seconds, counted from the end of the bake. When none came, the
        host goes back by itself to the last proven release. Nobody needs to reach it for that.
      - It is written down before anything is touched, so that neither a kill nor a reboot of the host loses it.
      - Where only the options of the release that is live and proven change, it stays proven, and these options await
        the confirmation. When none came, the host goes back to those before. When nothing changes, nothing is awaited.
      - With the same O(rollout) again, the time begins anew.
      - Meanwhile a cutover of another rollout, or of none, is refused, unless O(force). O(state=rolled_back) is not.
    type: float
    default: 0
  rollout:
    description: The id of the rollout that this cutover is part of. Required with O(confirm_timeout).
    type: str
  start_timeout:
    description: Seconds that the daemon may take to start.
    type: float
    default: 30
  log_lines:
    description: How many log lines of a process that failed are returned.
    type: int
    default: 20
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: Let a release go live
  zerodown.pm2.cutover:
    path: /srv/shop
    release: 20260131T140509Z-1f3a9c2e
    apps:
      - name: shop
        script: server.js
        cwd: /srv/shop/releases/20260131T140509Z-1f3a9c2e
        instances: 2
        env:
          NODE_ENV: production
          PORT: 3000
        health:
          - path: /health
            json:
              status: ok
    bake_time: 60

- name: Change an option of an app without releases, and lose no request
  zerodown.pm2.cutover:
    name: shop
    script: server.js
    cwd: /srv/shop
    instances: 2
    max_memory_restart: 300M
    env:
      PORT: 3000
    min_healthy_time: 5

- name: Let a release go live, and go back by itself unless it is confirmed within 5 minutes
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

- name: Go back although data was removed since
  zerodown.pm2.cutover:
    path: /srv/shop
    state: rolled_back
    past_migrations: true

- name: Go back to the last proven release
  zerodown.pm2.cutover:
    path: /srv/shop
    state: rolled_back
    reason: wrong prices
"""

RETURN = r"""
plan:
  description:
    - What was done, or in check mode would be done.
    - RV(plan[].action) is V(create) where nothing ran, V(cutover), or V(delete) for an app that the release no longer
      declares.
  type: list
  elements: dict
  returned: success, and when a candidate is rejected
  contains:
    action:
      description: The step.
      type: str
      returned: always
    app:
      description: The app's name.
      type: str
      returned: always
    count:
      description: The number of new processes.
      type: int
      returned: with C(create) and C(cutover)
    proof:
      description:
        - V(held), the candidate is the new generation and holds its ports closed.
        - V(own_port), a stand-in is checked on a port of its own, and removed.
        - V(watched), it listens on nothing, or nobody else listens, so it is checked as it runs.
        - V(afterwards), it can only be checked once it has taken the place of the old one.
      type: str
      returned: with C(create) and C(cutover)
    outage:
      description: Whether the old one stops before the new one serves.
      type: bool
      returned: with C(create) and C(cutover)
    options:
      description: The options that change. A variable is C(env.NAME).
      type: list
      elements: str
      returned: when options change
    replaces:
      description: PM2's numbers of the processes that go.
      type: list
      elements: int
      returned: with C(cutover)
    pm_id:
      description: PM2's number of the process.
      type: int
      returned: with C(delete)
    why:
      description: The reason.
      type: str
      returned: with C(delete)
  sample:
    - action: cutover
      app: shop
      count: 2
      proof: held
      outage: false
      options: [cwd]
      replaces: [0, 1]
apps:
  description: What runs now, as M(zerodown.pm2.app) returns it.
  type: list
  elements: dict
  returned: always
  sample:
    - name: shop
      status: online
      instances: 1
      processes:
        - pm_id: 2
          instance: 0
          pid: 4711
          status: online
          restarts: 0
          uptime: 12.1
          memory: 58720256
          cpu: 0.3
          exit_code: null
release:
  description: The release that the apps run from.
  type: str
  returned: success, with O(path)
  sample: 20260131T140509Z-1f3a9c2e
abandoned:
  description: The release that was left, and marked bad.
  type: str
  returned: with O(state=rolled_back)
  sample: 20260202T090000Z-77aa01bc
repaired:
  description: Sentences about interrupted cutovers that were undone or finished first.
  type: list
  elements: str
  returned: success
  sample: []
awaiting:
  description: What M(zerodown.pm2.release_info) returns of the confirmation that the release awaits.
  type: dict
  returned: success, when it does; and when the confirmation of another rollout is awaited
  sample: {release: 20260131T140509Z-1f3a9c2e, rollout: r-20260131-1, by: anna, remaining: 300.0}
timings:
  description: Seconds of each step. C(prove) has O(min_healthy_time) in it, C(bake) O(bake_time).
  type: dict
  returned: when something was replaced
  sample: {prove: 10.9, open: 0.6, commit: 0.01, retire: 0.3, bake: 60.0}
seconds:
  description: How long all of it took on the host.
  type: float
  returned: success
  sample: 11.9
failures:
  description: What the processes did that made the candidate fail, with the last lines that they logged.
  type: list
  elements: dict
  returned: when a candidate is rejected
  sample:
    - app: shop
      pm_id: 2
      reason: ended 0.4 s after it was started
      status: errored
      exit_code: 1
      restarts: 1
      log_file: /home/deploy/.pm2/logs/shop-error-0.log
      log: ["Error: Cannot find module 'express'"]
      cause: "Error: Cannot find module 'express'"
verdict:
  description:
    - V(bad), the app failed. Its release is marked bad, unless it is the live one with other options.
    - V(unknown), a check could not be made, so nothing is said about the app.
  type: str
  returned: when a candidate is rejected
  sample: bad
serves:
  description: What serves after a failure, one sentence.
  type: str
  returned: when a candidate is rejected
  sample: "What served before serves: shop (untouched, the same processes)."
holder:
  description: Who holds the lock (C(pid), C(by), C(reason), C(age) in seconds).
  type: dict
  returned: when another cutover of the app runs
  sample: {pid: 4711, by: anna, reason: null, age: 12.5}
"""

from typing import Any, Callable, Dict, List, Optional, Tuple

from ansible.module_utils.basic import AnsibleModule

# health checks are made by a process that outlives the module and with it the archive that modules are imported from
from ansible_collections.zerodown.pm2.plugins.module_utils import (
    _deploy_log,
    _journal,
    _migrations,
    _record,
    _runner,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._activate import may_go_live
from ansible_collections.zerodown.pm2.plugins.module_utils._app import ONLINE, apps_argument
from ansible_collections.zerodown.pm2.plugins.module_utils._cutover import perform, preview
from ansible_collections.zerodown.pm2.plugins.module_utils._cutover_options import cutover_arguments, header_secrets
from ansible_collections.zerodown.pm2.plugins.module_utils._dead_man import keep_watch
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._health_spec import parse, smoke_arguments
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._module import COMMON_ARGUMENTS, narrow_no_log, run
from ansible_collections.zerodown.pm2.plugins.module_utils._options import process_arguments
from ansible_collections.zerodown.pm2.plugins.module_utils._order import Order
from ansible_collections.zerodown.pm2.plugins.module_utils._release import Layout
from ansible_collections.zerodown.pm2.plugins.module_utils._secrets import secret_values
from ansible_collections.zerodown.pm2.plugins.module_utils._settings import Settings, declared_apps
from ansible_collections.zerodown.pm2.plugins.module_utils._stage import read

LIVE = "live"
ROLLED_BACK = "rolled_back"
DAY = 86400


def work(module: AnsibleModule) -> Dict[str, Any]:
    parameters = module.params
    layout = Layout.at(parameters["path"]) if parameters["path"] else None
    release, abandoned = _target(parameters, layout, module.check_mode, module.warn)
    entries = _entries(parameters, layout, release)
    module.no_log_values |= _secrets(parameters, entries)

    def receive(aside: _runner.Aside) -> None:
        module.no_log_values |= set(aside.secrets)
        for sentence in aside.warnings:
            module.warn(sentence)

    def perform_it(aside: _runner.Aside) -> Dict[str, Any]:
        settings = _settings(module, aside)
        order = _order(parameters, entries, layout, release, settings)
        return perform(order, settings)

    aside = _runner.Aside()
    settings = _settings(module, aside)
    # bad input is refused here, before another process is started for it
    order = _order(parameters, entries, layout, release, settings)
    if module.check_mode:
        result = preview(order, settings)
        receive(aside)
        return {**result, "release": release}
    what = "the cutover of {0}".format(", ".join(order.names))
    result = _runner.run(perform_it, what, receive, lambda: keep_watch(order.names, layout, settings))
    return {**result, **({"abandoned": abandoned} if abandoned else {})}


def _target(
    parameters: Dict[str, Any], layout: Optional[Layout], check_mode: bool, warn: Callable[[str], None]
) -> Tuple[Optional[str], Optional[str]]:
    """The release to run, and with a rollback the one that is left."""
    release: Optional[str] = parameters["release"]
    rollback = parameters["state"] == ROLLED_BACK
    if layout is None:
        if release or rollback:
            raise Pm2Error("{0} needs path, the root of the app.".format("release" if release else "state rolled_back"))
        return None, None
    overview = read(layout)
    if release and check_mode and not rollback and overview.find(release) is None:
        warn("Release {0} is not there yet; it is taken for one that an earlier task has staged.".format(release))
        return release, None
    if not release and not rollback:
        raise Pm2Error("release is required with path, unless state is rolled_back.")
    if not rollback:
        return may_go_live(overview, release, False).id, None
    unfinished = _unfinished_rollback(Home.of(parameters["pm2_home"]), layout)
    if unfinished and not release:
        return unfinished.release, unfinished.previous
    target = overview.rollback_target(release)
    if target is None:
        raise Pm2Error(
            "There is no proven release before {0} to roll back to; nothing was changed.".format(
                overview.live or "any other"
            )
        )
    _migrations.may_go_back(overview.events, target, parameters["past_migrations"], warn)
    return target, overview.live


def _unfinished_rollback(home: Home, layout: Layout) -> Optional[_journal.Journal]:
    """One that was killed: it is gone on with, instead of going back one more."""
    found = [journal for journal in _journal.read_all(home) if journal.rollback and journal.root == layout.root]
    return found[0] if found else None


def _entries(parameters: Dict[str, Any], layout: Optional[Layout], release: Optional[str]) -> List[Dict[str, Any]]:
    """The declared apps; with a rollback as they were when the release was live."""
    if layout and release and parameters["state"] == ROLLED_BACK:
        record = _record.read(layout, release)
        if record:
            return record.apps
    entries: Optional[List[Dict[str, Any]]] = parameters["apps"]
    if entries is None:
        names = {*process_arguments(), *cutover_arguments()}
        entries = [{name: parameters[name] for name in names}]
    if not any(entry.get("script") for entry in entries):
        if parameters["state"] == ROLLED_BACK:
            raise Pm2Error(
                "Release {0} does not tell what ran from it (it never was live by a cutover); declare its apps.".format(
                    release
                )
            )
        raise Pm2Error("Declare what runs: apps, or name and script.")
    return [{key: value for key, value in entry.items() if value is not None} for entry in entries]


def _secrets(parameters: Dict[str, Any], entries: List[Dict[str, Any]]) -> "set[str]":
    smoke = [{"health": parameters["smoke"]}]
    return secret_values([entry.get("env", {}) for entry in entries]) | header_secrets([*entries, *smoke])


def _settings(module: AnsibleModule, aside: _runner.Aside) -> Settings:
    parameters = module.params
    return Settings(
        home=Home.of(parameters["pm2_home"]),
        pm2_executable=parameters["pm2_executable"],
        node_executable=parameters["node_executable"],
        check_mode=module.check_mode,
        start_timeout=parameters["start_timeout"],
        log_lines=parameters["log_lines"],
        warn=aside.warnings.append,
        hide=lambda environments: aside.secrets.extend(secret_values(environments)),
    )


def _order(
    parameters: Dict[str, Any],
    entries: List[Dict[str, Any]],
    layout: Optional[Layout],
    release: Optional[str],
    settings: Settings,
) -> Order:
    settings.home.check_owner()
    for name in ("min_healthy_time", "bake_time", "lock_timeout", "confirm_timeout"):
        # not (… >= 0): NaN is no time either
        if not 0 <= parameters[name] <= DAY:
            raise Pm2Error("{0} must be from 0 to {1} seconds.".format(name, DAY))
    if parameters["gate"] == "full" and not (parameters["min_healthy_time"] < parameters["healthy_deadline"] <= DAY):
        raise Pm2Error("healthy_deadline must be longer than min_healthy_time and at most {0} seconds.".format(DAY))
    if parameters["confirm_timeout"] and not (parameters["rollout"] and layout and parameters["state"] == LIVE):
        raise Pm2Error("confirm_timeout needs path and rollout, and state live.")
    return Order(
        apps=declared_apps([{**entry, "state": None} for entry in entries], ONLINE, settings),
        entries=entries,
        layout=layout,
        release=release,
        rollback=parameters["state"] == ROLLED_BACK,
        gate=parameters["gate"] == "full",
        min_healthy_time=parameters["min_healthy_time"],
        healthy_deadline=parameters["healthy_deadline"],
        smoke=parse(parameters["smoke"] or []),
        bake_time=parameters["bake_time"],
        memory_growth_max=parameters["memory_growth_max"],
        auto_revert=parameters["auto_revert"],
        by=parameters["by"] or _deploy_log.who(),
        reason=parameters["reason"],
        keep=parameters["keep"],
        lock_timeout=parameters["lock_timeout"],
        force=parameters["force"],
        confirm_timeout=parameters["confirm_timeout"],
        rollout=parameters["rollout"],
    )


def main() -> None:
    app = {**process_arguments(), **cutover_arguments()}
    module = AnsibleModule(
        argument_spec={
            "apps": apps_argument(),
            **app,
            "state": {"type": "str", "choices": [LIVE, ROLLED_BACK], "default": LIVE},
            "path": {"type": "path"},
            "release": {"type": "str"},
            "gate": {"type": "str", "choices": ["full", "none"], "default": "full"},
            "min_healthy_time": {"type": "float", "default": 10.0},
            "healthy_deadline": {"type": "float", "default": 300.0},
            "smoke": smoke_arguments(),
            "bake_time": {"type": "float", "default": 0.0},
            "memory_growth_max": {"type": "float"},
            "auto_revert": {"type": "bool", "default": True},
            "past_migrations": {"type": "bool", "default": False},
            "keep": {"type": "int", "default": 5},
            "by": {"type": "str"},
            "reason": {"type": "str"},
            "lock_timeout": {"type": "float", "default": 60.0},
            "force": {"type": "bool", "default": False},
            "confirm_timeout": {"type": "float", "default": 0.0},
            "rollout": {"type": "str"},
            "start_timeout": {"type": "float", "default": 30.0},
            "log_lines": {"type": "int", "default": 20},
            **COMMON_ARGUMENTS,
        },
        mutually_exclusive=[("apps", name) for name in app],
        supports_check_mode=True,
    )
    narrow_no_log(module, [entry["env"] or {} for entry in module.params["apps"] or [module.params]])
    run(module, work, hidden=("env", "headers"))


if __name__ == "__main__":
    main()
