# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import textwrap

from ansible_collections.zerodown.pm2.plugins.doc_fragments.cutover import CUTOVER
from ansible_collections.zerodown.pm2.plugins.doc_fragments.health import HEALTH

# the argument specification is _options.process_arguments()
_PROCESS = r"""
name:
  description:
    - The name in PM2's process list.
    - Letters, digits, V(.), V(_) and V(-). The default is the name of the script's file without its extension.
  type: str
script:
  description:
    - What to run. A path, absolute or relative to the working directory, or a command on the E(PATH) of the
      app.
    - A text with blanks that is not a file is a command line, for which PM2 runs C(bash -c).
    - Required, unless the app exists and no other option of it is given. Then its processes are only stopped,
      started or restarted.
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
    - What runs the script. A path or a command on the E(PATH) of the app, say the C(bin/python) of a virtual
      environment. V(none) runs the script by itself.
    - The default comes from the extension (V(.js), V(.py), V(.sh), V(.rb), V(.php), V(.pl), V(.ts) and so on).
      A file without a known one runs by itself when it is binary or begins with C(#!) and another program than
      Node, else with Node.
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
    - Values are texts, numbers or booleans (which become V(true) and V(false)). A list or a mapping becomes
      JSON.
    - The names that PM2 gives a meaning (V(name), V(args), V(watch), V(instances), all that begin with V(pm_)
      and so on) are refused, as PM2 would take the variable for its option.
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
    - The log of the standard output. PM2 puts the number of the process before V(.log), unless
      O(apps[].merge_logs) says otherwise.
    - The default is C(<name>-out.log) below the C(logs) of PM2_HOME. V(/dev/null) turns it off.
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
    - Whether all processes write to the same files. The default is V(true) for an app in fork mode without
      O(apps[].instances), else V(false), as in PM2.
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
    - The default is C(<name>.pid) below the C(pids) of PM2_HOME.
  type: path
  aliases: [pid, pidFile]
autorestart:
  description:
    - Whether a process that ends is started again. The default is V(true).
    - With V(false), a process that ended with exit code 0 has done its work, and O(state=online) does not start
      it again.
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
    - The time after which a process counts as started. Milliseconds, or a number with V(ms), V(s), V(m) or
      V(h). The default is V(1s).
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
    - The memory above which PM2 reloads a process. Bytes, or a number with V(K), V(M) or V(G) such as V(300M).
      PM2 looks every 30 seconds.
  type: str
  aliases: [maxMemoryRestart]
cron_restart:
  description:
    - A cron pattern by which the processes are restarted, five fields, or six with seconds first. V(0) means
      none.
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
    - How long PM2 waits for a new worker before it ends the old one, and for O(apps[].wait_ready).
      Milliseconds, or with a unit. The default is V(3s).
  type: str
  aliases: [listenTimeout]
kill_timeout:
  description:
    - The time between C(SIGINT) and C(SIGKILL). Milliseconds, or with a unit. The default is V(1600).
  type: str
  aliases: [killTimeout]
kill_retry_time:
  description:
    - How often PM2 looks meanwhile whether the process has ended. Milliseconds, or with a unit. The default is
      V(100).
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
    - Restart when files change. V(true) watches the working directory; a path or a list of paths watches those.
      The default is V(false).
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
    - Options of chokidar 3, which does the watching. V(alwaysStat), V(atomic), V(awaitWriteFinish), V(binaryInterval),
      V(cwd), V(depth), V(disableGlobbing), V(followSymlinks), V(ignored), V(ignoreInitial),
      V(ignorePermissionErrors), V(interval), V(persistent), V(usePolling).
  type: dict
  aliases: [watchOptions]
source_map_support:
  description:
    - Show places of the sources in stack traces. The default is V(true) in PM2 7, and in PM2 5 and 6 for a
      script with a V(.map) beside it.
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
    - Trace transactions with PM2's metrics library. The default is V(false). PM2 7 needs OpenTelemetry packages
      in its own directory for it (C(pm2 start --trace) installs them).
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
"""

_APP = _PROCESS + CUTOVER + HEALTH


class ModuleDocFragment:
    # Annotated: ansible-test's yamllint takes every plain assignment here for one of a literal text, and breaks.

    # the options of one app, as options of a module
    DOCUMENTATION: str = "options:\n" + textwrap.indent(_APP, "  ")

    # a list of apps with the same options
    APPS: str = r"""
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
          - What this app shall be. The default is O(state).
        type: str
        choices: [online, stopped, absent, restarted, reloaded]
""" + textwrap.indent(_APP, "      ")
