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
  - Each option is compared with what the PM2 daemon really has, also what C(pm2 reload) and C(pm2 restart) ignore (script, working
    directory, interpreter, number of instances, mode, log files, variables that were removed). An option that is not declared is PM2's
    default, so one that was set by hand is put back.
  - A difference is applied the cheapest way that truly applies it. Processes are restarted in place one after another, and one that is not
    concerned keeps running. For a cluster app, PM2 starts the new worker before it ends the old one.
  - PM2 reports success whatever became of an app. So after every change the module waits until each process has kept its pid and its
    restart counter for O(steady_time), and fails with the app's last log lines when it does not. What then runs is in RV(apps).
  - A failed change is not taken back. A new release of an app in one process means a moment without it.
  - The environment of an app is what is declared in O(env), plus E(PATH) (the directory of Node first), E(HOME), E(USER), E(LOGNAME),
    E(SHELL), E(LANG) and E(PM2_HOME). Nothing comes from the SSH session.
  - Processes of one name are one app, also those that were started by hand. PM2's own modules (see M(zerodown.pm2.plugin)) are never
    touched.
extends_documentation_fragment:
  - zerodown.pm2.attributes
  - zerodown.pm2.pm2
attributes:
  check_mode:
    support: full
    details:
      - Starts no daemon and no process. A script, directory or interpreter that does not exist yet is a warning, as an earlier task may
        create it.
  diff_mode:
    support: full
    details: Shows options. Of variables it shows the names only.
  idempotent:
    support: partial
    details: Not with O(state=restarted) and O(state=reloaded), which are deeds.
options:
  apps:
    description:
      - A list of apps, each with the options of one app.
      - PM2's state is read once for all of them.
    type: list
    elements: dict
    suboptions:
      state:
        description:
          - The state of this app. The default is O(state).
        type: str
        choices: [online, stopped, absent, restarted, reloaded]
      <<: &process
        name:
          description:
            - The name in PM2's process list.
            - Letters, digits, V(.), V(_) and V(-). The default is the name of the script's file without its extension.
          type: str
        script:
          description:
            - What to run. A path, absolute or relative to the working directory, or a command on the E(PATH) of the app.
            - A text with blanks that is not a file is a command line, for which PM2 runs C(bash -c).
            - Required, unless the app exists and no other option of it is given. Then its processes are only stopped, started or restarted.
          type: str
          aliases: [exec, cmd, command]
        cwd:
          description:
            - The working directory.
            - The default is the directory of the script, when that is an absolute path.
          type: path
        args:
          description:
            - The arguments of the script. A list, or a text that is split at blanks outside of quotes.
          type: raw
        interpreter:
          description:
            - What runs the script. A path or a command on the E(PATH) of the app, say the C(bin/python) of a virtual environment. V(none)
              runs the script by itself.
            - The default comes from the extension (V(.js), V(.py), V(.sh), V(.rb), V(.php), V(.pl), V(.ts) and so on). A file without a known
              one runs by itself when it is binary or begins with C(#!) and another program than Node, else with Node.
            - In cluster mode the Node of the daemon runs the script. Naming another one is refused.
          type: str
          aliases: [exec_interpreter, execInterpreter]
        node_args:
          description:
            - The arguments of the interpreter. A list, or a text that is split at blanks outside of quotes.
          type: raw
          aliases: [interpreter_args, interpreterArgs, nodeArgs]
        exec_mode:
          description:
            - V(cluster) lets several processes of a Node app share a port. V(fork) starts the processes as they are.
            - The default is V(cluster) for a Node script when O(apps[].instances) is given, else V(fork), as in PM2.
          type: str
          choices: [fork, cluster, fork_mode, cluster_mode]
          aliases: [execMode]
        execute_command:
          description:
            - V(true) means O(apps[].exec_mode=fork).
          type: bool
          aliases: [executeCommand]
        instances:
          description:
            - The number of processes. V(max) and V(0) mean one for each CPU, V(-1) one less, and so on.
            - The default is V(1). More are added, or the highest numbers removed, while the others keep running.
          type: str
        namespace:
          description:
            - The group in PM2's process list. The default is V(default).
          type: str
        env:
          description:
            - The environment of the app, beside the small base named above.
            - Values are texts, numbers or booleans (which become V(true) and V(false)). A list or a mapping becomes JSON.
            - The names that PM2 gives a meaning (V(name), V(args), V(watch), V(instances), all that begin with V(pm_) and so on) are refused,
              as PM2 would take the variable for its option.
          type: dict
        port:
          description:
            - Sets E(PORT). Before a process is started, the port must be free or belong to this app.
          type: int
        io:
          description:
            - Settings of PM2's own metrics library, see PM2's documentation.
          type: dict
        instance_var:
          description:
            - The name of the variable with the number of the instance. The default is V(NODE_APP_INSTANCE).
          type: str
          aliases: [instanceVar]
        increment_var:
          description:
            - The name of a variable of O(apps[].env) that is one higher in each further process.
          type: str
          aliases: [incrementVar]
        uid:
          description:
            - The user that the processes run as. Only a daemon of root can change it.
            - E(HOME), E(USER), E(LOGNAME) and E(SHELL) are that user's.
          type: str
          aliases: [user]
        gid:
          description:
            - The group that the processes run as. The default is the main group of O(apps[].uid).
          type: str
        out_file:
          description:
            - The log of the standard output. PM2 puts the number of the process before V(.log), unless O(apps[].merge_logs) says otherwise.
            - The default is C(<name>-out.log) below the C(logs) of O(pm2_home). V(/dev/null) turns it off.
          type: path
          aliases: [out, output, out_log, outFile]
        error_file:
          description:
            - The log of the standard error, likewise. The default is C(<name>-error.log).
          type: path
          aliases: [error, err, err_file, err_log, errorFile]
        log_file:
          description:
            - A log of both. A path, or V(true) for C(<name>.log) at PM2's place. The default is none.
          type: raw
          aliases: [log, logFile]
        merge_logs:
          description:
            - Whether all processes write to the same files. The default is V(true) for an app in fork mode without O(apps[].instances), else
              V(false), as in PM2.
          type: bool
          aliases: [combine_logs, mergeLogs]
        disable_logs:
          description:
            - Write no logs. The default is V(false).
          type: bool
          aliases: [disableLogs]
        log_type:
          description:
            - The form of the log's lines. The default is V(raw).
          type: str
          choices: [raw, json]
          aliases: [logType]
        log_date_format:
          description:
            - Puts the time before each line, in the format of dayjs, say V(YYYY-MM-DD HH:mm:ss Z).
          type: str
          aliases: [logDateFormat]
        time:
          description:
            - V(true) means O(apps[].log_date_format=YYYY-MM-DDTHH:mm:ss).
          type: bool
        pid_file:
          description:
            - Where PM2 writes the pid. The number of the process is put before V(.pid).
            - The default is C(<name>.pid) below the C(pids) of O(pm2_home).
          type: path
          aliases: [pid, pidFile]
        autorestart:
          description:
            - Whether a process that ends is started again. The default is V(true).
            - With V(false), a process that ended with exit code 0 has done its work, and O(state=online) does not start it again.
          type: bool
        autostart:
          description:
            - With V(false), PM2 never starts the processes. Only with O(state=stopped). The default is V(true).
          type: bool
        max_restarts:
          description:
            - How many times a process may end before O(apps[].min_uptime) until PM2 gives it up. The default is V(16).
          type: int
          aliases: [maxRestarts]
        min_uptime:
          description:
            - The time after which a process counts as started. Milliseconds, or a number with V(ms), V(s), V(m) or V(h). The default is V(1s).
          type: str
          aliases: [minUptime]
        restart_delay:
          description:
            - The time before a process that ended is started again. Milliseconds, or with a unit. The default is V(0).
          type: str
          aliases: [restartDelay]
        exp_backoff_restart_delay:
          description:
            - The same, growing by half each time up to 15 seconds. The default is V(0).
          type: str
          aliases: [expBackoffRestartDelay]
        stop_exit_codes:
          description:
            - Exit codes after which a process is not started again.
          type: list
          elements: int
          aliases: [stopExitCodes]
        max_memory_restart:
          description:
            - The memory above which PM2 reloads a process. Bytes, or a number with V(K), V(M) or V(G) such as V(300M). PM2 looks every 30 seconds.
          type: str
          aliases: [maxMemoryRestart]
        cron_restart:
          description:
            - A cron pattern by which the processes are restarted, five fields, or six with seconds first. V(0) means none.
          type: str
          aliases: [cron, cronRestart]
        wait_ready:
          description:
            - Count a process as started when it calls C(process.send('ready')). The default is V(false).
            - PM2 goes on after O(apps[].listen_timeout) as if it had. This module fails then.
          type: bool
          aliases: [waitReady]
        listen_timeout:
          description:
            - How long PM2 waits for a new worker before it ends the old one, and for O(apps[].wait_ready). Milliseconds, or with a unit. The
              default is V(3s).
          type: str
          aliases: [listenTimeout]
        kill_timeout:
          description:
            - The time between C(SIGINT) and C(SIGKILL). Milliseconds, or with a unit. The default is V(1600).
          type: str
          aliases: [killTimeout]
        kill_retry_time:
          description:
            - How often PM2 looks meanwhile whether the process has ended. Milliseconds, or with a unit. The default is V(100).
          type: str
          aliases: [killRetryTime]
        shutdown_with_message:
          description:
            - Send the message C(shutdown) instead of C(SIGINT). The default is V(false).
          type: bool
          aliases: [shutdownWithMessage]
        treekill:
          description:
            - Stop the children of a process with it. The default is V(true).
          type: bool
        watch:
          description:
            - Restart when files change. V(true) watches the working directory; a path or a list of paths watches those. The default is V(false).
          type: raw
        watch_delay:
          description:
            - The time between a change and the restart. Milliseconds, or with a unit. The default is V(0).
          type: str
          aliases: [watchDelay]
        ignore_watch:
          description:
            - Paths not to watch. A list, or a text that is split at blanks.
          type: raw
          aliases: [ignoreWatch]
        watch_options:
          description:
            - Options of chokidar, which does the watching.
          type: dict
          aliases: [watchOptions]
        source_map_support:
          description:
            - Show places of the sources in stack traces. The default is V(true) in PM2 7, and in PM2 5 and 6 for a script with a V(.map) beside it.
          type: bool
          aliases: [sourceMapSupport]
        disable_source_map_support:
          description:
            - The opposite of O(apps[].source_map_support).
          type: bool
          aliases: [disableSourceMapSupport]
        pmx:
          description:
            - Load PM2's metrics library into a Node process. The default is V(true).
          type: bool
        automation:
          description:
            - V(false) means O(apps[].pmx=false).
          type: bool
        trace:
          description:
            - Trace transactions with PM2's metrics library. The default is V(false). PM2 7 needs OpenTelemetry packages in its own directory for
              it (C(pm2 start --trace) installs them).
          type: bool
        disable_trace:
          description:
            - The opposite of O(apps[].trace).
          type: bool
          aliases: [disableTrace]
        vizion:
          description:
            - Whether PM2 looks for the revision of the working directory. The default is V(true).
          type: bool
        post_update:
          description:
            - Commands that C(pm2 pull) runs.
          type: list
          elements: str
          aliases: [postUpdate]
  state:
    description:
      - V(online), the processes run as declared. One that is not declared so is changed, one that does not run is started.
      - V(stopped), they are known to PM2 and do not run. An app with a cron pattern loses it meanwhile, because it would start the app.
      - V(absent), PM2 does not know them.
      - V(restarted), as V(online), and each process is restarted.
      - V(reloaded), as V(online), and each process is reloaded. In cluster mode PM2 starts the new worker before it ends the old one; in
        fork mode it is a restart.
    type: str
    choices: [online, stopped, absent, restarted, reloaded]
    default: online
  steady_time:
    description:
      - How many seconds each process must keep its pid and its restart counter after a change.
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
  <<: *process
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
    - RV(plan[].action) is V(start_daemon), V(create), V(register) (enter into PM2's list without starting), V(update), V(replace), V(restart),
      V(reload), V(start), V(stop), V(delete) or V(watch).
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

from ansible_collections.zerodown.pm2.plugins.module_utils._app import ONLINE, STATES
from ansible_collections.zerodown.pm2.plugins.module_utils._converge import Settings, converge
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._module import (
    COMMON_ARGUMENTS,
    narrow_no_log,
    run,
    secret_values,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._options import process_arguments


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
    process = process_arguments()
    module = AnsibleModule(
        argument_spec={
            "apps": {
                "type": "list",
                "elements": "dict",
                "options": {"state": {"type": "str", "choices": list(STATES)}, **process},
            },
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
    run(module, work, hidden=("env",))


if __name__ == "__main__":
    main()
