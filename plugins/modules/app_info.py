# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: app_info
short_description: What runs under PM2
version_added: 0.1.0
description:
  - Returns the apps of a PM2 daemon and their processes, and, for apps that are declared in O(apps), what differs.
  - Starts no daemon and no process. Without a daemon, or without PM2, it returns that nothing runs.
  - Of environments it returns the names only.
extends_documentation_fragment:
  - zerodown.pm2.attributes.info
  - zerodown.pm2.pm2
  - zerodown.pm2.process.apps
options:
  names:
    description:
      - The apps to return. The default is all of them.
      - One that PM2 does not know is returned with the status V(absent).
    type: list
    elements: str
  apps:
    description:
      - Declared apps, as in M(zerodown.pm2.app). What that module would do to them is returned as RV(plan).
  state:
    description:
      - The state of the apps in O(apps) that name none.
    type: str
    choices: [online, stopped, absent, restarted, reloaded]
    default: online
seealso:
  - module: zerodown.pm2.app
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: See what runs
  zerodown.pm2.app_info:
  register: pm2

- name: Fail when an app is not up
  ansible.builtin.assert:
    that: pm2.apps | rejectattr('status', 'eq', 'online') | length == 0

- name: See whether somebody changed an app by hand
  zerodown.pm2.app_info:
    apps: "{{ my_processes }}"
  register: compared

- name: Say what
  ansible.builtin.debug:
    var: compared.plan
"""

RETURN = r"""
daemon:
  description: The daemon of O(pm2_home).
  type: dict
  returned: always
  contains:
    running:
      description: Whether one answers.
      type: bool
      returned: always
    version:
      description: The version of PM2 that it runs. None while it does not run.
      type: str
      returned: always
    pid:
      description: Its process id. None while it does not run.
      type: int
      returned: always
  sample:
    running: true
    version: 7.0.4
    pid: 4242
apps:
  description: The apps, PM2's own modules left out, in the order of their names.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: The app's name.
      type: str
      returned: always
    status:
      description: V(online), V(stopped), V(errored), V(absent), or V(partly) when its processes differ.
      type: str
      returned: always
    instances:
      description: The number of processes.
      type: int
      returned: always
    saved:
      description:
        - Whether all its processes are in the saved process list, so that a boot brings them back as they are.
        - None when that list cannot be read.
      type: bool
      returned: always
    standby:
      description:
        - What served before it behind a proxy and is kept warm, so that a rollback only turns the traffic.
        - It is no part of RV(apps[].processes).
        - None when there is none.
      type: dict
      returned: always
      contains:
        release:
          description: The id of its release. None for an app without releases.
          type: str
          returned: always
        colour:
          description: Where it listens, V(blue) or V(green).
          type: str
          returned: always
        remaining:
          description: Seconds until it is ended.
          type: float
          returned: always
        instances:
          description: The number of its processes that run.
          type: int
          returned: always
        memory:
          description: Bytes of their main processes.
          type: int
          returned: always
    awaiting:
      description:
        - What M(zerodown.pm2.release_info) returns of the confirmation that its release awaits.
        - None when it awaits none.
      type: dict
      returned: always
    processes:
      description: Its processes.
      type: list
      elements: dict
      returned: always
      contains:
        pm_id:
          description: PM2's number of it.
          type: int
          returned: always
        instance:
          description: Its number within the app.
          type: int
          returned: always
        pid:
          description: Its process id. None while it does not run.
          type: int
          returned: always
        status:
          description: PM2's word for its state.
          type: str
          returned: always
        restarts:
          description: PM2's restart counter.
          type: int
          returned: always
        unstable_restarts:
          description: How often it ended too early of late.
          type: int
          returned: always
        uptime:
          description: Seconds since it was started. None while it does not run.
          type: float
          returned: always
        memory:
          description: Bytes of the main process.
          type: int
          returned: always
        cpu:
          description: Percent of one core.
          type: float
          returned: always
        exit_code:
          description: How it ended the last time. None when it has not ended yet.
          type: int
          returned: always
        namespace:
          description: Its group.
          type: str
          returned: always
        exec_mode:
          description: V(fork) or V(cluster).
          type: str
          returned: always
        script:
          description: What is run.
          type: str
          returned: always
        cwd:
          description: The working directory, say of its release.
          type: str
          returned: always
        interpreter:
          description: What runs the script.
          type: str
          returned: always
        node_version:
          description: The version of its Node. None for another program.
          type: str
          returned: always
        out_file:
          description: The log of its standard output.
          type: str
          returned: always
        error_file:
          description: The log of its standard error.
          type: str
          returned: always
        log_file:
          description: The log of both. None when there is none.
          type: str
          returned: always
        env:
          description: The names of its variables.
          type: list
          elements: str
          returned: always
  sample:
    - name: web
      status: online
      instances: 1
      saved: true
      standby: null
      awaiting: null
      processes:
        - pm_id: 0
          instance: 0
          pid: 4711
          status: online
          restarts: 0
          unstable_restarts: 0
          uptime: 86400.5
          memory: 58720256
          cpu: 0.3
          exit_code: null
          namespace: default
          exec_mode: cluster
          script: /srv/web/releases/20260131T140509Z-1f3a9c2e/server.js
          cwd: /srv/web/releases/20260131T140509Z-1f3a9c2e
          interpreter: node
          node_version: 20.20.2
          out_file: /home/deploy/.pm2/logs/web-out-0.log
          error_file: /home/deploy/.pm2/logs/web-error-0.log
          log_file: null
          env: [HOME, LANG, LOGNAME, NODE_ENV, PATH, PM2_HOME, PORT, SHELL, USER]
plan:
  description:
    - What M(zerodown.pm2.app) would do to the apps in O(apps), in this order.
    - RV(plan[].action) is V(start_daemon), V(create), V(register) (enter into PM2's list without starting), V(update),
      V(replace), V(restart), V(reload), V(start), V(stop), V(delete) or V(watch).
  type: list
  elements: dict
  returned: when O(apps) is given
  contains:
    action:
      description: The step.
      type: str
      returned: always
    app:
      description: The app's name.
      type: str
      returned: with all but C(start_daemon)
    pm_id:
      description: PM2's number of the process.
      type: int
      returned: for a process that is there
    count:
      description: How many processes are created.
      type: int
      returned: with C(create)
    options:
      description: The options that change. A variable is C(env.NAME).
      type: list
      elements: str
      returned: when options change
    by:
      description: How PM2 applies the change, V(restart) or V(reload).
      type: str
      returned: with C(update)
    why:
      description: The reason, when it is not a changed option.
      type: str
      returned: when there is one
  sample:
    - action: update
      app: web
      pm_id: 0
      options: [cwd, env.NODE_ENV]
      by: reload
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.zerodown.pm2.plugins.module_utils._app import ONLINE, STATES, apps_argument
from ansible_collections.zerodown.pm2.plugins.module_utils._cutover_options import header_secrets
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._inform import inform
from ansible_collections.zerodown.pm2.plugins.module_utils._module import COMMON_ARGUMENTS, narrow_no_log, run
from ansible_collections.zerodown.pm2.plugins.module_utils._settings import Settings


def work(module: AnsibleModule) -> Dict[str, Any]:
    parameters = module.params
    settings = Settings(
        home=Home.of(parameters["pm2_home"]),
        pm2_executable=parameters["pm2_executable"],
        node_executable=parameters["node_executable"],
        check_mode=True,
        warn=module.warn,
    )
    return inform(parameters["names"], parameters["apps"], parameters["state"], settings)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str"},
            "apps": apps_argument(),
            "state": {"type": "str", "choices": list(STATES), "default": ONLINE},
            **COMMON_ARGUMENTS,
        },
        supports_check_mode=True,
    )
    narrow_no_log(module, [entry["env"] or {} for entry in module.params["apps"] or []])
    module.no_log_values |= header_secrets(module.params["apps"] or [])
    run(module, work, hidden=("env", "headers"))


if __name__ == "__main__":
    main()
