# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: app
short_description: Declare what runs under PM2
version_added: 0.1.0
description:
  - Declares the processes of one app, or of a list of apps in O(apps), with every option of a PM2 ecosystem file.
  - Each option is compared with what the PM2 daemon really has, also what C(pm2 reload) and C(pm2 restart) ignore
    (script, working directory, interpreter, number of instances, mode, log files, variables that were removed). An
    option that is not declared is PM2's default, so one that was set by hand is put back.
  - A difference is applied the cheapest way that truly applies it. In fork mode processes are restarted in place one
    after another, and one that is not concerned keeps running. An app in cluster mode gets a new generation beside the
    one that serves, which takes over when all of its processes have been healthy for O(steady_time), as with
    M(zerodown.pm2.cutover). No request is lost, and one that fails never touches what serves.
  - PM2 reports success whatever became of an app. So after every change the module waits until each process has kept
    its pid and its restart counter for O(steady_time), and fails with the app's last log lines when it does not. What
    then runs is in RV(apps).
  - In fork mode a failed change is not taken back, and a change means a moment without the process.
  - The environment of an app is what is declared in O(env), plus E(PATH) (the directory of Node first), E(HOME),
    E(USER), E(LOGNAME), E(SHELL), E(LANG) and E(PM2_HOME). Nothing comes from the SSH session.
  - Processes of one name are one app, also those that were started by hand. PM2's own modules (see
    M(zerodown.pm2.plugin)) are never touched.
extends_documentation_fragment:
  - zerodown.pm2.attributes
  - zerodown.pm2.pm2
  - zerodown.pm2.process
  - zerodown.pm2.process.apps
attributes:
  check_mode:
    support: full
    details:
      - Starts no daemon and no process. A script, directory or interpreter that does not exist yet is a warning, as an
        earlier task may create it.
  diff_mode:
    support: full
    details: Shows options. Of variables it shows the names only.
  idempotent:
    support: partial
    details: Not with O(state=restarted) and O(state=reloaded), which are deeds.
options:
  state:
    description:
      - V(online), the processes run as declared. One that is not declared so is changed, one that does not run is
        started.
      - V(stopped), they are known to PM2 and do not run. An app with a cron pattern loses it meanwhile, because it
        would start the app.
      - V(absent), PM2 does not know them.
      - V(restarted), as V(online), and each process is restarted.
      - V(reloaded), as V(online), and each process is replaced by a new one. In cluster mode no request is lost; in
        fork mode it is a restart.
    type: str
    choices: [online, stopped, absent, restarted, reloaded]
    default: online
  steady_time:
    description:
      - How many seconds each process must keep its pid and its restart counter after a change. In cluster mode, how
        long a new generation must be healthy before it takes over.
    type: float
    default: 2
  start_timeout:
    description:
      - How many seconds the processes have to become steady after a change, and the daemon to start.
    type: float
    default: 30
  log_lines:
    description:
      - How many log lines of an app that failed are returned.
    type: int
    default: 20
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: Run an app in two processes that share a port
  zerodown.pm2.app:
    name: web
    script: server.js
    cwd: /srv/web/releases/20260131T140509Z-1f3a9c2e
    instances: 2
    max_memory_restart: 300M
    env:
      NODE_ENV: production
      PORT: 3000
      DATABASE_URL: "{{ database_url }}"

- name: Run a web app and its worker, one call
  zerodown.pm2.app:
    apps:
      - name: api
        script: .venv/bin/uvicorn
        args: main:app --host 127.0.0.1 --port 8000
        interpreter: none
        cwd: /srv/api
        kill_timeout: 8s
      - name: mailer
        script: mailer.py
        interpreter: .venv/bin/python
        cwd: /srv/api

- name: Keep an app that is declared elsewhere from running
  zerodown.pm2.app:
    name: mailer
    state: stopped

- name: Restart it, say from a handler
  zerodown.pm2.app:
    name: web
    state: restarted

- name: Remove it
  zerodown.pm2.app:
    name: web
    state: absent
"""

RETURN = r"""
plan:
  description:
    - What was done, or in check mode would be done, in this order.
    - RV(plan[].action) is V(start_daemon), V(create), V(register) (enter into PM2's list without starting),
      V(cutover), V(update), V(replace), V(restart), V(reload), V(start), V(stop), V(delete) or V(watch).
  type: list
  elements: dict
  returned: success, and when an app does not hold
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
      returned: with C(create) and C(cutover)
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
    - action: cutover
      app: web
      count: 2
      options: [cwd, env.NODE_ENV]
apps:
  description: What runs now.
  type: list
  elements: dict
  returned: success, and when an app does not hold
  contains:
    name:
      description: The app's name.
      type: str
      returned: always
    status:
      description:
        - V(online), V(stopped), V(errored), V(absent), or V(partly) when its processes differ.
        - V(failed) when the app does not hold. What a process in a crash loop is at the moment says nothing.
      type: str
      returned: always
    instances:
      description: The number of processes.
      type: int
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
  sample:
    - name: web
      status: online
      instances: 1
      processes:
        - pm_id: 0
          instance: 0
          pid: 4711
          status: online
          restarts: 0
          uptime: 2.1
          memory: 58720256
          cpu: 0.3
          exit_code: null
failures:
  description: The processes that do not hold, with the last lines that they logged since the change.
  type: list
  elements: dict
  returned: when an app does not hold
  sample:
    - app: web
      pm_id: 0
      reason: was given up by PM2 after too many restarts
      status: errored
      exit_code: 1
      restarts: 16
      log_file: /home/deploy/.pm2/logs/web-error-0.log
      log: ["Error: Cannot find module 'express'"]
      cause: "Error: Cannot find module 'express'"
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.zerodown.pm2.plugins.module_utils._app import ONLINE, STATES, apps_argument
from ansible_collections.zerodown.pm2.plugins.module_utils._converge import converge
from ansible_collections.zerodown.pm2.plugins.module_utils._cutover_options import cutover_arguments, header_secrets
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._module import COMMON_ARGUMENTS, narrow_no_log, run
from ansible_collections.zerodown.pm2.plugins.module_utils._options import process_arguments
from ansible_collections.zerodown.pm2.plugins.module_utils._secrets import secret_values
from ansible_collections.zerodown.pm2.plugins.module_utils._settings import Settings


def work(module: AnsibleModule) -> Dict[str, Any]:
    parameters = module.params

    def hide(environments: Any) -> None:
        module.no_log_values |= secret_values(environments)

    settings = Settings(
        home=Home.of(parameters["pm2_home"]),
        pm2_executable=parameters["pm2_executable"],
        node_executable=parameters["node_executable"],
        check_mode=module.check_mode,
        steady_time=parameters["steady_time"],
        start_timeout=parameters["start_timeout"],
        log_lines=parameters["log_lines"],
        warn=module.warn,
        hide=hide,
    )
    entries = parameters["apps"]
    if entries is None:
        entries = [{**parameters, "state": None}]
    return converge(entries, parameters["state"], settings)


def main() -> None:
    process = {**process_arguments(), **cutover_arguments()}
    module = AnsibleModule(
        argument_spec={
            "apps": apps_argument(),
            **process,
            "state": {"type": "str", "choices": list(STATES), "default": ONLINE},
            "steady_time": {"type": "float", "default": 2.0},
            "start_timeout": {"type": "float", "default": 30.0},
            "log_lines": {"type": "int", "default": 20},
            **COMMON_ARGUMENTS,
        },
        mutually_exclusive=[("apps", name) for name in process],
        required_one_of=[("apps", "name", "script")],
        supports_check_mode=True,
    )
    entries = module.params["apps"] or [module.params]
    narrow_no_log(module, [entry["env"] or {} for entry in entries])
    module.no_log_values |= header_secrets(entries)
    run(module, work, hidden=("env", "headers"))


if __name__ == "__main__":
    main()
