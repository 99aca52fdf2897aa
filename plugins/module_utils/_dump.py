# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The saved process list: made from the live one, compared, read safely, written.

PM2 runs a dump as JavaScript (PM2 lib/Common.js parseConfig), keeps every environment twice in it, saves what is
crash-looping as stopped and writes it in place. Here it is plain JSON, private, replaced whole, and its ``.bak`` is the
last good one before it. The form stays PM2's own: an array of ``pm2_env``, so that ``pm2 resurrect`` reads it too.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import stat
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import write_atomic
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home, user_name
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import check_definition
from ansible_collections.zerodown.pm2.plugins.module_utils._state import ONLINE, STOPPED, Process

Entry = Dict[str, Any]

# far above any dump seen (100 apps with the environment twice: 1 MB)
MAX_BYTES = 64 * 1024 * 1024
MODE = 0o600

# what differs from one run of a process to the next (PM2 lib/God.js executeApp, handleExit, finalizeProcedure)
_VOLATILE = {
    "_km_monitored",
    "_pm2_version",
    "_tree_pids",
    "created_at",
    "exit_code",
    "instances",
    "km_link",
    "node_version",
    "pm_id",
    "pm_uptime",
    "prev_restart_delay",
    "restart_task",
    "restart_time",
    "status",
    "unique_id",
    "unstable_restarts",
    "version",
    "versioning",
    "vizion_running",
}
_VOLATILE_ENV = {"unique_id", "vizion_running"}

# fields that PM2 reads from the top level. An environment variable of the same name overrides the field (executeApp
# spreads env over it), so these stay where any other variable's copy is left out
_FIELDS = {
    "args", "autorestart", "autostart", "automation", "cron_restart", "cwd", "disable_logs",
    "disable_source_map_support", "env", "exec_interpreter", "exec_mode", "exp_backoff_restart_delay", "filter_env",
    "gid", "ignore_watch", "increment_var", "instance_var", "kill_retry_time", "kill_timeout", "listen_timeout",
    "log_date_format", "log_type", "max_memory_restart", "max_restarts", "merge_logs", "min_uptime", "name",
    "namespace", "node_args", "pm_cwd", "pm_err_log_path", "pm_exec_path", "pm_log_path", "pm_out_log_path",
    "pm_pid_path", "pmx", "pmx_module", "restart_delay", "script", "shutdown_with_message", "source_map_support",
    "stop_exit_codes", "time", "treekill", "uid", "username", "vizion", "wait_ready", "watch", "watch_delay",
    "watch_options", "windowsHide",
}  # fmt: skip

# what PM2 gives a process when it runs; one that is registered as stopped must bring it along (`pm2 ls` reads it, and a
# restart counter that is missing would become NaN)
AT_REST = {
    "restart_time": 0,
    "unstable_restarts": 0,
    "axm_actions": [],
    "axm_monitor": {},
    "axm_options": {},
    "axm_dynamic": {},
}

_LIKE_A_VARIABLE = re.compile(r"^[A-Z][A-Z0-9_]*$")
_LOG_NUMBER = re.compile(r"-[0-9]+\.log$|\.log$")
_PID_NUMBER = re.compile(r"-[0-9]+\.pid$|\.pid$")


def entry_of(process: Process, stopped: bool) -> Entry:
    """What is saved of one process: how it was declared, and whether it shall run.

    NODE_APP_INSTANCE (or ``instance_var``) stays, because PM2 numbers only what has ``instances``, which no dump has.
    """
    source = process.env
    environment = {key: value for key, value in (source.get("env") or {}).items() if key not in _VOLATILE_ENV}
    numbered = {str(source.get("instance_var") or "NODE_APP_INSTANCE"), str(source.get("increment_var") or "")}
    entry = {
        key: value
        for key, value in source.items()
        if value is not None
        and key not in _VOLATILE
        and not key.startswith("axm_")
        and (key in _FIELDS or key in numbered or (key not in environment and not _LIKE_A_VARIABLE.match(key)))
    }
    entry["env"] = environment
    # RPC calls need both, PM2 may have neither
    entry["args"] = _texts(entry.get("args"))
    entry["node_args"] = _texts(entry.get("node_args"))
    entry["status"] = STOPPED if stopped else ONLINE
    if stopped:
        entry.update(AT_REST)
    return entry


def _texts(value: Any) -> List[str]:
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def is_stopped_on_purpose(samples: List[Process]) -> bool:
    """Whether this process is to stay stopped after a boot.

    Between two runs of a crash-looping app PM2 says *stopped* for a moment (PM2 lib/God.js handleExit), and *errored*
    or *waiting restart* is nobody's wish. Stopped on purpose is: *stopped* without a pid in every sample, and the
    restart counter stands still.

    :param samples: the same process at several moments.
    """
    return all(sample.status == STOPPED and not sample.pid for sample in samples) and (
        len({sample.restarts for sample in samples}) == 1
    )


@dataclass(frozen=True)
class Snapshot:
    """The list that is to be saved.

    :ivar entries: in the order of the pm_ids, PM2's own modules left out as PM2 does.
    :ivar accidents: a sentence for each app that is not up and yet is saved as one that shall run.
    """

    entries: List[Entry]
    accidents: List[str] = field(default_factory=list)


def needs_another_look(processes: Iterable[Process]) -> bool:
    """Whether one sample cannot tell: something is neither up nor plainly waiting for its next start."""
    return any(not process.is_running() for process in processes)


def snapshot(samples: List[List[Process]]) -> Snapshot:
    """:param samples: PM2's list at one or more moments; what is saved is the last."""
    entries, accidents = [], []
    for process in samples[-1]:
        if process.is_module:
            continue
        same = [earlier for sample in samples for earlier in sample if earlier.pm_id == process.pm_id]
        stopped = is_stopped_on_purpose(same)
        entries.append(entry_of(process, stopped))
        if not stopped and not process.is_running():
            accidents.append(
                "{0} (id {1}) is {2} now; it is saved as an app that shall run.".format(
                    process.name,
                    process.pm_id,
                    "without a process" if process.status == ONLINE else process.status or "in no known state",
                )
            )
    return Snapshot(entries, accidents)


# comparing -------------------------------------------------------------------------------------------------


def comparable(entries: Iterable[Entry]) -> List[str]:
    """Entries in a form that is the same for the same list: the numbers that PM2 writes into log and pid file names
    are the pm_ids, which close up at each boot, and two entries may have changed places."""
    return sorted(json.dumps(_without_numbers(entry), sort_keys=True) for entry in entries)


def _without_numbers(entry: Entry) -> Entry:
    result = dict(entry)
    result["pm_pid_path"] = _PID_NUMBER.sub(".pid", str(entry.get("pm_pid_path", "")))
    if not entry.get("merge_logs"):
        for key in ("pm_log_path", "pm_out_log_path", "pm_err_log_path"):
            if isinstance(entry.get(key), str):
                result[key] = _LOG_NUMBER.sub(".log", entry[key])
    return result


def instance_of(entry: Entry) -> Tuple[str, str, Any]:
    """Namespace, name and instance number: what tells one process of a list from the others."""
    number = entry.get(str(entry.get("instance_var") or "NODE_APP_INSTANCE"))
    return str(entry.get("namespace") or "default"), str(entry.get("name")), number


def missing(entries: List[Entry], present: Iterable[Entry]) -> List[Entry]:
    """The entries that have no counterpart in ``present``."""
    counts: Dict[Tuple[str, str, Any], int] = {}
    for item in present:
        counts[instance_of(item)] = counts.get(instance_of(item), 0) + 1
    result = []
    for entry in entries:
        key = instance_of(entry)
        if counts.get(key):
            counts[key] -= 1
        else:
            result.append(entry)
    return result


def summary(entries: Iterable[Entry]) -> Dict[str, Dict[str, Any]]:
    """By name (``namespace:name`` outside the default one): how many instances, and how many of them stopped."""
    result: Dict[str, Dict[str, Any]] = {}
    for entry in entries:
        counts = result.setdefault(_label(entry), {"instances": 0, "stopped": 0})
        counts["instances"] += 1
        counts["stopped"] += 1 if entry.get("status") == STOPPED else 0
    return dict(sorted(result.items()))


def differing_keys(before: Iterable[Entry], after: Iterable[Entry]) -> Dict[str, List[str]]:
    """By name, for names on both sides: which keys differ; names of keys only, values may be secrets."""
    sides = [_by_label(before), _by_label(after)]
    result = {}
    for label in sorted(set(sides[0]) & set(sides[1])):
        old, new = ([_flat(_without_numbers(entry)) for entry in side[label]] for side in sides)
        keys = sorted({key for item in old + new for key in item if _values(old, key) != _values(new, key)})
        if keys:
            result[label] = keys
    return result


def _label(entry: Entry) -> str:
    namespace, name, _number = instance_of(entry)
    return name if namespace == "default" else "{0}:{1}".format(namespace, name)


def _by_label(entries: Iterable[Entry]) -> Dict[str, List[Entry]]:
    result: Dict[str, List[Entry]] = {}
    for entry in entries:
        result.setdefault(_label(entry), []).append(entry)
    return result


def _flat(entry: Entry) -> Entry:
    environment = entry.get("env")
    flat = {key: value for key, value in entry.items() if key != "env"}
    if isinstance(environment, dict):
        flat.update({"env.{0}".format(key): value for key, value in environment.items()})
    return flat


def _values(entries: List[Entry], key: str) -> List[str]:
    return sorted(json.dumps(entry.get(key), sort_keys=True) for entry in entries)


# reading ---------------------------------------------------------------------------------------------------


def read(path: str, owner: int) -> Optional[List[Entry]]:
    """The entries of a dump file, never run as code; ``None`` when there is no file.

    :param owner: the uid that it must belong to.
    :raises Pm2Error: refused (owner, mode, not a regular file) or damaged; the message is a sentence that says why.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Pm2Error("The saved list {0} cannot be read: {1}.".format(path, error.strerror)) from error
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise Pm2Error("The saved list {0} is not a regular file; remove it.".format(path))
        if status.st_uid != owner:
            raise Pm2Error(
                "The saved list {0} belongs to {1} instead of {2}; look at what is in it and remove it.".format(
                    path, user_name(status.st_uid), user_name(owner)
                )
            )
        if stat.S_IMODE(status.st_mode) & 0o022:
            raise Pm2Error(
                "The saved list {0} can be written by others (mode {1:04o}); look at what is in it, then chmod 600 it "
                "or remove it.".format(path, stat.S_IMODE(status.st_mode))
            )
        data = stream.read(MAX_BYTES + 1)
    return _parse(data, path)


def _parse(data: bytes, path: str) -> List[Entry]:
    if not data.strip(b"\0 \n"):
        raise Pm2Error("The saved list {0} is empty, as after a full disk or a power cut.".format(path))
    if len(data) > MAX_BYTES:
        raise Pm2Error("The saved list {0} is larger than {1} bytes.".format(path, MAX_BYTES))
    try:
        content = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Pm2Error("The saved list {0} is damaged or not plain JSON ({1}).".format(path, error)) from error
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise Pm2Error("The saved list {0} is not a list of processes.".format(path))
    for entry in content:
        try:
            check_definition({**entry, "args": _texts(entry.get("args")), "node_args": _texts(entry.get("node_args"))})
        except ValueError as error:
            raise Pm2Error(
                "The saved list {0} has an entry that PM2 cannot start ({1}).".format(path, error)
            ) from error
    return content


@dataclass(frozen=True)
class Saved:
    """What a boot would start from.

    :ivar entries: empty when nothing is saved.
    :ivar path: the file they are from; ``None`` when nothing is saved.
    :ivar problems: a sentence for each file that could not be used.
    """

    entries: List[Entry]
    path: Optional[str]
    problems: List[str] = field(default_factory=list)


def load(home: Home) -> Saved:
    """The saved list, from the backup when the dump itself is damaged, refused or gone.

    :raises Pm2Error: there are files, and none of them can be used.
    """
    owner = os.stat(home.path).st_uid if home.exists() else os.geteuid()
    problems = []
    for path in (home.dump, home.dump_backup):
        try:
            entries = read(path, owner)
        except Pm2Error as error:
            problems.append(error.message)
        else:
            if entries is not None:
                return Saved(entries, path, problems)
    if problems:
        raise Pm2Error(
            "No saved process list can be used: {0} Start the apps again and save them (module dump).".format(
                " ".join(problems)
            )
        )
    return Saved([], None)


def is_saved(home: Home, entries: List[Entry]) -> bool:
    """Whether the dump is exactly this list, and private."""
    try:
        saved = read(home.dump, os.geteuid())
        return (
            saved is not None
            and stat.S_IMODE(os.stat(home.dump).st_mode) == MODE
            and comparable(saved) == comparable(entries)
        )
    except (Pm2Error, OSError):
        return False


# writing ---------------------------------------------------------------------------------------------------


def write(home: Home, entries: List[Entry]) -> None:
    """Save this list; the one before becomes the backup, unless it is damaged.

    :raises Pm2Error: it could not be written, or reads back differently; what was saved before is untouched or in
        the backup.
    """
    try:
        previous = read(home.dump, os.geteuid())
    except Pm2Error:
        previous = None
    if previous is not None:
        write_atomic(home.dump_backup, _serialize(previous), MODE)
    write_atomic(home.dump, _serialize(entries), MODE)
    if read(home.dump, os.geteuid()) != entries:
        raise Pm2Error(
            "The saved list {0} reads back differently from what was written; check the disk.".format(home.dump)
        )


def _serialize(entries: List[Entry]) -> bytes:
    # ASCII: what is JSON and what is JavaScript differ only in U+2028 and U+2029
    return json.dumps(entries, indent=2, sort_keys=True, ensure_ascii=True).encode("ascii") + b"\n"


def sweep(home: Home) -> None:
    """Remove what a run that was killed in :func:`write` left; the caller holds the lock."""
    for path in (home.dump, home.dump_backup):
        for left in glob.glob(os.path.join(glob.escape(home.path), "." + os.path.basename(path) + ".????????")):
            os.unlink(left)


def remove(home: Home) -> None:
    """Forget the saved list and its backup."""
    for path in (home.dump, home.dump_backup):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


# starting --------------------------------------------------------------------------------------------------


def obstacle(entry: Entry, find: Callable[[str, List[str]], Optional[str]]) -> Optional[str]:
    """Why this entry cannot run, as a sentence; ``None`` when nothing speaks against it.

    PM2 would try for ever (script missing) or say *online* and show no process (cwd or interpreter missing).

    :param find: looks up a program on a search path.
    """
    name, script, directory = entry["name"], entry["pm_exec_path"], entry["pm_cwd"]
    if not os.path.isdir(directory):
        return "{0}: its directory {1} is missing.".format(name, directory)
    if not os.path.isfile(script):
        return "{0}: its script {1} is missing.".format(name, script)
    interpreter = entry.get("exec_interpreter")
    if entry["exec_mode"] == "cluster_mode" or not interpreter:
        return None
    if interpreter == "none":
        return None if os.access(script, os.X_OK) else "{0}: its program {1} is not executable.".format(name, script)
    path = str(entry["env"].get("PATH") or os.defpath).split(os.pathsep)
    if find(str(interpreter), path) is None:
        return "{0}: its interpreter {1} is missing.".format(name, interpreter)
    return None


def definition_of(entry: Entry) -> Entry:
    """The entry as ``prepare`` takes it; for a dump that PM2 wrote, without what belongs to the former run."""
    definition = {key: value for key, value in entry.items() if key == "status" or key not in _VOLATILE}
    definition["args"] = _texts(entry.get("args"))
    definition["node_args"] = _texts(entry.get("node_args"))
    if entry.get("status") == STOPPED:
        definition.update(AT_REST)
    return definition
