# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What should be: a declared app becomes a process definition, complete as PM2's command line would make it.

What PM2's command line does: lib/Common.js verifyConfs, prepareAppConf, resolveInterpreter and determineExecMode. Not
taken over: the shell's environment, and running a program that says ``#!`` with Node.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, FrozenSet, List, Optional, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils._cutover_options import (
    CutoverOptions,
    cutover_arguments,
    parse_cutover_options,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._environment import base_environment
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import which
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._options import (
    BY_NAME,
    CLUSTER,
    FORK,
    OPTIONS,
    is_field,
    process_arguments,
    scalar_text,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._runtime import (
    PYTHON,
    is_node,
    is_shell,
    port_of,
    runtime_of,
)

ONLINE = "online"
STOPPED = "stopped"
ABSENT = "absent"
RESTARTED = "restarted"
RELOADED = "reloaded"
STATES = (ONLINE, STOPPED, ABSENT, RESTARTED, RELOADED)

# PM2 lib/API/interpreter.json; python is looked for as python3 too, and for .ts see _interpreter
_BY_EXTENSION = {
    ".js": ("node",),
    ".cjs": ("node",),
    ".mjs": ("node",),
    ".py": ("python", "python3"),
    ".sh": ("bash",),
    ".rb": ("ruby",),
    ".php": ("php",),
    ".pl": ("perl",),
    ".coffee": ("coffee",),
    ".ls": ("lsc",),
    ".ts": ("bun",),
    ".tsx": ("bun",),
}
_TIME_FORMAT = "YYYY-MM-DDTHH:mm:ss"
_NO_FILE = "/dev/null"


def apps_argument() -> Dict[str, Any]:
    """The argument specification of a list of apps."""
    return {
        "type": "list",
        "elements": "dict",
        "options": {
            "state": {"type": "str", "choices": list(STATES)},
            **process_arguments(),
            **cutover_arguments(),
        },
    }


@dataclass(frozen=True)
class Host:
    """What a definition depends on beside its declaration.

    :ivar node: the Node that runs PM2; ``None`` when there is none yet (check mode on a bare host).
    :ivar refuse: takes a sentence about something that is not right on the host: raises it, or in check mode, where an
        earlier task may have mended it, warns.
    """

    home: Home
    node: Optional[str]
    refuse: Callable[[str], None]


@dataclass(frozen=True)
class App:
    """One declared app.

    :ivar definition: a ``pm2_env`` for ``prepare``, with log and pid paths that do not have the number of a process
        yet; empty when only the name was given, and for ``absent``.
    :ivar declared: the names of the options that were given.
    :ivar variables: the names of the declared variables, without the base environment.
    :ivar instances: how many processes.
    :ivar merge_logs: whether the log paths stay without a number.
    :ivar cutover: how it may be replaced.
    :ivar gate: the runtime whose gate its processes get, see _gates.py; ``None`` for none.
    """

    name: str
    state: str
    definition: Dict[str, Any] = field(default_factory=dict, repr=False)
    declared: FrozenSet[str] = frozenset()
    variables: FrozenSet[str] = frozenset()
    instances: int = 1
    merge_logs: bool = True
    cutover: CutoverOptions = CutoverOptions()
    gate: Optional[str] = None

    @property
    def takes_preload(self) -> bool:
        return self.gate is not None

    @property
    def is_cluster(self) -> bool:
        return self.definition.get("exec_mode") == CLUSTER

    @property
    def port(self) -> Optional[int]:
        """The port that it will listen on, as far as the declaration says."""
        if self.gate == PYTHON and self.cutover.proxy is None and "port" not in self.declared:
            port = port_of(self.definition["pm_exec_path"], self.definition["args"])
            if port is not None:
                return port
        name = self.cutover.candidate_variable if self.cutover.proxy else "PORT"
        text = self.definition.get("env", {}).get(name, "")
        return int(text) if re.match(r"^[1-9]\d{0,4}$", text) and int(text) < 65536 else None


def build(options: Dict[str, Any], state: str, host: Host) -> App:
    """
    :param options: of one app, by their names in _options.py; ``None`` means not given.
    :param state: of the app when its options name none.
    :raises Pm2Error: naming the app, the option and what it must be.
    """
    name = _name(options)
    state = options.get("state") or state
    declared = _parsed(name, options)
    if state == ABSENT:
        return App(name, state)
    if "script" not in declared:
        others = sorted(set(declared) - {"name"})
        if others:
            raise Pm2Error(
                "App {0} needs script beside {1}; or give only name and state, to act on its processes as they "
                "are.".format(name, ", ".join(others))
            )
        return App(name, state)
    return _Builder(name, state, declared, parse_cutover_options(name, options), host).build()


def _name(options: Dict[str, Any]) -> str:
    name = options.get("name")
    script = options.get("script")
    if name is None and script:
        # PM2 lib/Common.js renderApplicationName
        base = os.path.basename(str(script))
        name = base[: base.rindex(".")] if base.rfind(".") > 0 else base
    if name is None:
        raise Pm2Error("An app needs a name.")
    try:
        checked: str = BY_NAME["name"].parse(name)
    except ValueError as error:
        raise Pm2Error("The name {0!r} must be {1}; set name.".format(name, error)) from error
    return checked


def _parsed(name: str, options: Dict[str, Any]) -> Dict[str, Any]:
    parsed = {}
    for option in OPTIONS:
        value = options.get(option.name)
        if value is None or option.name == "name":
            continue
        try:
            parsed[option.name] = option.parse(value)
        except ValueError as error:
            shown = "" if option.no_log else ", not {0!r}".format(value)
            raise Pm2Error("App {0}: {1} must be {2}{3}.".format(name, option.name, error, shown)) from error
    return {"name": name, **parsed}


class _Builder:
    """From parsed options to a definition; a method for each group of fields that depend on several options."""

    def __init__(self, name: str, state: str, declared: Dict[str, Any], cutover: CutoverOptions, host: Host) -> None:
        self.name = name
        self.state = state
        self.declared = declared
        self.cutover = cutover
        self.host = host

    def build(self) -> App:
        self._check_pairs()
        user = self._user()
        declared_env = self._environment()
        node_directory = [os.path.dirname(self.host.node)] if self.host.node else []
        env = {**base_environment(node_directory, user.pw_name if user else None), "PM2_HOME": self.host.home.path}
        env.update(declared_env)
        script, cwd, args = self._script(env["PATH"])
        interpreter = self._interpreter(script, cwd, env["PATH"])
        if "python" in interpreter:
            env.setdefault("PYTHONUNBUFFERED", "1")
        exec_mode = self._exec_mode(interpreter)
        merge_logs = self.declared.get("merge_logs", exec_mode == FORK and "instances" not in self.declared)

        definition: Dict[str, Any] = {"name": self.name}
        for option in OPTIONS:
            if not option.field or option.derived:
                continue
            value = self.declared.get(option.name, option.default if option.sent else None)
            if value is not None:
                definition[option.field] = value
        definition.setdefault("node_args", [])
        definition.update(
            pm_exec_path=script,
            pm_cwd=cwd,
            args=args,
            exec_interpreter=interpreter,
            exec_mode=exec_mode,
            merge_logs=merge_logs,
            env=env,
            username=pwd.getpwuid(os.geteuid()).pw_name,
            # written by PM2's command line into every definition (schema.json)
            windowsHide=True,
            **self._log_paths(cwd),
            **self._node_options(script),
        )
        if user:
            definition.update(uid=user.pw_uid, gid=self._group(user))
        if "log_date_format" in self.declared or self.declared.get("time"):
            definition["log_date_format"] = self.declared.get("log_date_format", _TIME_FORMAT)
        return App(
            name=self.name,
            state=self.state,
            definition=definition,
            declared=frozenset(self.declared),
            variables=frozenset(declared_env),
            instances=_count(self.declared.get("instances", 1)),
            merge_logs=merge_logs,
            cutover=self.cutover,
            # another user could not use the directory of the gate
            gate=self._runtime(interpreter, script, args, env) if self.cutover.preload and user is None else None,
        )

    def _fail(self, text: str) -> Pm2Error:
        return Pm2Error("App {0}: {1}".format(self.name, text))

    def _check_pairs(self) -> None:
        """Options that contradict each other."""
        declared = self.declared
        if declared.get("time") and "log_date_format" in declared:
            raise self._fail("time sets log_date_format; give one of the two.")
        for option in ("source_map_support", "trace"):
            opposite = "disable_" + option
            if option in declared and declared.get(opposite) == declared[option]:
                raise self._fail("{0} and {1} contradict each other; give one of the two.".format(option, opposite))
        if declared.get("execute_command") and declared.get("exec_mode") == CLUSTER:
            raise self._fail("execute_command means exec_mode fork; give one of the two.")
        if declared.get("autostart") is False and self.state != STOPPED:
            raise self._fail("with autostart false PM2 never starts it; leave it out, or set state to stopped.")

    # user and environment -------------------------------------------------------------------------------------

    def _user(self) -> Optional["pwd.struct_passwd"]:
        uid = self.declared.get("uid")
        if uid is None:
            if "gid" in self.declared:
                raise self._fail("gid needs uid.")
            return None
        if os.geteuid() != 0:
            raise self._fail("uid can only be set by a daemon of root; run the task as {0} (become_user).".format(uid))
        try:
            return pwd.getpwuid(int(uid)) if uid.isdigit() else pwd.getpwnam(uid)
        except KeyError:
            raise self._fail("there is no user {0}; create it or set uid.".format(uid)) from None

    def _group(self, user: "pwd.struct_passwd") -> int:
        gid = self.declared.get("gid")
        if gid is None:
            return user.pw_gid
        try:
            return (grp.getgrgid(int(gid)) if gid.isdigit() else grp.getgrnam(gid)).gr_gid
        except KeyError:
            raise self._fail("there is no group {0}; create it or set gid.".format(gid)) from None

    def _environment(self) -> Dict[str, str]:
        env = {str(name): self._variable(str(name), value) for name, value in self.declared.get("env", {}).items()}
        port = self.declared.get("port")
        if port is not None:
            if not 0 < port < 65536:
                raise self._fail("port must be from 1 to 65535, not {0}.".format(port))
            if env.setdefault("PORT", str(port)) != str(port):
                raise self._fail("port and env.PORT differ; give one of the two.")
        if "io" in self.declared:
            env["io"] = json.dumps(self.declared["io"])
        return env

    def _variable(self, name: str, value: Any) -> str:
        """The text of a variable; the error never holds the value."""
        if not name or "=" in name or "\0" in name:
            raise self._fail("{0!r} cannot be the name of a variable in env.".format(name))
        if is_field(name):
            raise self._fail(
                "the variable {0} in env has the name of an option of PM2, which would take it for that; "
                "rename it.".format(name)
            )
        if value is None:
            raise self._fail("the variable {0} in env has no value; write '' for an empty one.".format(name))
        text = json.dumps(value) if isinstance(value, (dict, list)) else scalar_text(value)
        if "\0" in text:
            raise self._fail("the variable {0} in env holds a NUL byte, which no process can be given.".format(name))
        return text

    # what is run ----------------------------------------------------------------------------------------------

    def _script(self, path: str) -> Tuple[str, str, List[str]]:
        """pm_exec_path, pm_cwd and args."""
        script = os.path.expanduser(self.declared["script"])
        cwd = self.declared.get("cwd")
        args = self.declared.get("args", [])
        if cwd is None and not os.path.isabs(script):
            raise self._fail("cwd is needed, because the script {0!r} is no absolute path.".format(script))
        if cwd is not None and not os.path.isabs(cwd):
            raise self._fail("cwd must be an absolute path, not {0!r}.".format(cwd))
        if cwd is not None and not os.path.isdir(cwd):
            self.host.refuse("App {0}: the directory cwd {1} does not exist; create it first.".format(self.name, cwd))
        full = os.path.normpath(os.path.join(cwd or "/", script))
        cwd = os.path.normpath(cwd) if cwd else os.path.dirname(full)
        if os.path.isdir(full):
            raise self._fail("the script {0} is a directory; name the file to run.".format(full))
        if os.path.exists(full):
            return full, cwd, args
        if " " in script:
            if args:
                raise self._fail("a script that is a command line takes no args; write them into the line.")
            shell = which("bash", path.split(os.pathsep)) or which("sh", path.split(os.pathsep))
            if shell:
                return shell, cwd, ["-c", script]
        found = which(script, path.split(os.pathsep)) if os.sep not in script else None
        if found:
            return found, cwd, args
        self.host.refuse(
            "App {0}: the script {1} does not exist{2}; deploy it first or set script and cwd.".format(
                self.name, full, "" if os.sep in script else " and is no command on its PATH"
            )
        )
        return full, cwd, args

    def _interpreter(self, script: str, cwd: str, path: str) -> str:
        interpreter = self.declared.get("interpreter")
        if interpreter is None:
            interpreter = self._default_interpreter(script, path)
        elif is_shell(interpreter) and is_shell(script):
            # a command line with --interpreter bash, as it is often taught: PM2 has bash read its own binary
            interpreter = "none"
        elif interpreter.startswith("node@"):
            raise self._fail("interpreter {0} is for nvm in a shell; give the path of that Node.".format(interpreter))
        elif os.sep in interpreter:
            interpreter = os.path.normpath(os.path.join(cwd, os.path.expanduser(interpreter)))
        if interpreter != "none" and not which(interpreter, path.split(os.pathsep)):
            self.host.refuse(
                "App {0}: the interpreter {1} was not found{2}; install it or set interpreter.".format(
                    self.name, interpreter, "" if os.sep in interpreter else " on its PATH ({0})".format(path)
                )
            )
        return interpreter

    def _runtime(self, interpreter: str, script: str, args: List[str], env: Dict[str, str]) -> Optional[str]:
        return runtime_of(interpreter, self.declared.get("node_args", []), script, args, env["PATH"])

    def _default_interpreter(self, script: str, path: str) -> str:
        extension = os.path.splitext(script)[1]
        candidates = _BY_EXTENSION.get(extension)
        if candidates is None:
            return "none" if _runs_by_itself(script) else "node"
        found = [name for name in candidates if which(name, path.split(os.pathsep))]
        if not found and candidates == ("bun",):
            raise self._fail(
                "a {0} script needs bun, or an interpreter: say node (22.18 or newer) or tsx.".format(extension)
            )
        return (found or list(candidates))[0]

    def _exec_mode(self, interpreter: str) -> str:
        declared = FORK if self.declared.get("execute_command") else self.declared.get("exec_mode")
        if declared == CLUSTER and not is_node(interpreter):
            raise self._fail(
                "exec_mode cluster is for Node only, and the script runs with {0}; use fork.".format(interpreter)
            )
        return declared or (CLUSTER if is_node(interpreter) and "instances" in self.declared else FORK)

    # files ----------------------------------------------------------------------------------------------------

    def _log_paths(self, cwd: str) -> Dict[str, str]:
        # PM2 lib/Common.js prepareAppConf
        stem = re.sub(r"[^a-zA-Z0-9\\.\\-]", "-", self.name)
        logs, home = self.host.home.logs, self.host.home
        paths = {
            "pm_out_log_path": self._file("out_file", cwd) or os.path.join(logs, stem + "-out.log"),
            "pm_err_log_path": self._file("error_file", cwd) or os.path.join(logs, stem + "-error.log"),
            "pm_pid_path": self._file("pid_file", cwd) or os.path.join(home.pids, stem + ".pid"),
        }
        both = self.declared.get("log_file", False)
        if both:
            paths["pm_log_path"] = (
                os.path.join(logs, stem + ".log") if both is True else self._file("log_file", cwd) or ""
            )
        return paths

    def _file(self, option: str, cwd: str) -> Optional[str]:
        value = self.declared.get(option)
        if value is None:
            return None
        if value in ("NULL", _NO_FILE):
            return _NO_FILE
        return os.path.normpath(os.path.join(cwd, os.path.expanduser(value)))

    def _node_options(self, script: str) -> Dict[str, bool]:
        declared, fields = self.declared, {}
        source_maps = declared.get("source_map_support")
        if source_maps is None and "disable_source_map_support" in declared:
            source_maps = not declared["disable_source_map_support"]
        # PM2 7 has them on; 5 and 6 turn them on for a script with a map beside it
        if source_maps or (source_maps is None and os.path.exists(script + ".map")):
            fields["source_map_support"] = True
        if source_maps is False:
            fields["disable_source_map_support"] = True
        fields["pmx"] = declared.get("pmx", True) and declared.get("automation", True)
        if declared.get("trace", not declared.get("disable_trace", True)):
            fields["trace"] = True
        return fields


def _count(instances: int) -> int:
    """PM2 lib/God.js prepare."""
    if instances > 0:
        return instances
    return max(1, (os.cpu_count() or 1) + instances)


def _runs_by_itself(script: str) -> bool:
    """Whether a file without a known extension is a binary, or a script of something else than Node."""
    try:
        with open(script, "rb") as stream:
            start = stream.read(512)
    except OSError:
        return False
    if start.startswith(b"#!"):
        program = start.splitlines()[0]
        return re.search(rb"\bnode(js)?\b", program) is None
    return b"\0" in start
