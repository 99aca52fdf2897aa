# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every option of PM2's ecosystem format: its type, aliases and unit, the field of ``pm2_env`` it becomes, and how a
change of it is applied.

The argument specification, the process definition, the search for differences and the way they are removed all come
from :data:`OPTIONS`. Where an option comes from: PM2 lib/API/schema.json (the same in 5, 6 and 7), and for ``cmd``,
``command`` and ``interpreter`` lib/Common.js verifyConfs. What a change needs was measured on PM2 5, 6 and 7.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Set, Tuple, Union

from ansible_collections.zerodown.pm2.plugins.module_utils._state import OWN_PREFIX

# How a change is applied, from the cheapest to the dearest.
# The worker is restarted with the new field; one of a cluster by PM2's reload, which starts the new one first.
RELOAD = "reload"
# The process is stopped and started with the new field: a reload would not apply it, or would hang on PM2 5 and 6.
RESTART = "restart"
# All processes of the app are stopped before the first is started: two modes cannot share a port.
STOP_ALL = "stop_all"
# On or off without a restart; another list of paths only by a new process (PM2 lib/Watcher.js, God.executeApp).
WATCH = "watch"
# Processes are added or removed; the others keep running.
SCALE = "scale"

FORK = "fork_mode"
CLUSTER = "cluster_mode"
MAX_INSTANCES = 0

# Keys of PM2's schema that are no options here, and why.
LEFT_OUT: Dict[str, str] = {
    "name_prefix": "read from the command line only (PM2 lib/API.js); write the whole name",
    "append_env_to_name": "belongs to the command line's --env; write the whole name",
    "^env_\\S*$": "chosen by the command line's --env; choose the variables with Ansible and declare them as env",
    "filter_env": "filters the shell's environment, which an app never gets here",
    "force": "makes the command line start a second process of the same script; declare instances or a second app",
    "write": "makes the command line write its options to a file",
    "install_url": "for PM2's own modules",
    "username": "filled in by PM2",
    "windowsHide": "for Windows",
    "deep_monitoring": "only makes the command line install packages; declare trace",
    "v8": "read by nothing in PM2 5, 6 and 7",
    "event_loop_inspector": "read by nothing in PM2 5, 6 and 7",
}

# for fullmatch: "$" would let a line end through, "\\d" the digits of other scripts
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_SIZE = re.compile(r"([0-9]+)([KMG]?)")
_DURATION = re.compile(r"([0-9]+)(ms|s|m|h)?")
_WHOLE = re.compile(r"[0-9]+")
_INTEGER = re.compile(r"-?[0-9]+")
_WORD = re.compile(r"""[^\s"'=]+="[^"]*"|[^\s"'=]+='[^']*'|"([^"]*)"|'([^']*)'|\S+""")
_BYTES = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
_MILLISECONDS = {None: 1, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_TIMER_MAX = 2**31 - 1
_TRUE = ("true", "yes", "on")
_FALSE = ("false", "no", "off")


# values, as a person writes them -> as PM2 keeps them ------------------------------------------------------------
# Each raises ValueError with a text that completes "<option> must be ...".


def parse_text(value: Any) -> str:
    text = str(value)
    if not text or "\0" in text:
        raise ValueError("a text that is not empty")
    # over PM2's socket this very text removes a field (PM2 lib/Utility.js extendMix)
    if text == "null":
        raise ValueError("something else than the text 'null', which PM2 takes for 'none'")
    return text


def parse_name(value: Any) -> str:
    text = str(value)
    if not _NAME.fullmatch(text) or text in ("all", "null") or text.isdigit():
        raise ValueError(
            "made of letters, digits, '.', '_' and '-', and not 'all' or a number, which PM2 takes for others"
        )
    return text


def parse_flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in _TRUE + _FALSE:
        return str(value).lower() in _TRUE
    raise ValueError("true or false")


def parse_whole(value: Any) -> int:
    text = _without_fraction(value)
    if isinstance(value, bool) or not _WHOLE.fullmatch(text):
        raise ValueError("a whole number from 0")
    return int(text)


def _without_fraction(value: Any) -> str:
    """A number from a template may come as 3.0."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def parse_milliseconds(value: Any) -> int:
    """``8000``, ``8000ms``, ``8s``, ``5m``, ``1h``; PM2 itself knows units for min_uptime only."""
    match = _DURATION.fullmatch(_without_fraction(value))
    if isinstance(value, bool) or not match:
        raise ValueError("a time: milliseconds, or a number with ms, s, m or h such as 8s")
    milliseconds = int(match.group(1)) * _MILLISECONDS[match.group(2)]
    # a timer of Node that is longer than this fires at once
    if milliseconds > _TIMER_MAX:
        raise ValueError("at most 24 days")
    return milliseconds


def parse_bytes(value: Any) -> int:
    match = _SIZE.fullmatch(_without_fraction(value))
    if isinstance(value, bool) or not match:
        raise ValueError("a size: bytes, or a number with K, M or G such as 300M")
    return int(match.group(1)) * _BYTES[match.group(2)]


def parse_words(value: Any) -> List[str]:
    """A list, or a text that is split at blanks outside of quotes as PM2 does (lib/tools/Config.js)."""
    if isinstance(value, str):
        words = [_unquote(match.group(0)) for match in _WORD.finditer(value)]
        items: List[Any] = [word for word in words if word.strip()]
    elif isinstance(value, list):
        items = value
    else:
        items = [value]
    texts = [scalar_text(item) for item in items]
    if any("\0" in text for text in texts) or texts == ["null"]:
        raise ValueError("a list of texts without NUL, and not the single text 'null'")
    return texts


def _unquote(word: str) -> str:
    return word[1:-1] if len(word) > 1 and word[0] == word[-1] and word[0] in "\"'" else word


def scalar_text(value: Any) -> str:
    """A number or a boolean as JavaScript and YAML write it, not as Python does."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise ValueError("a list of texts")


def parse_instances(value: Any) -> int:
    """``max`` and 0 mean one for each CPU, -1 one less, and so on."""
    text = _without_fraction(value)
    if text == "max":
        return MAX_INSTANCES
    if isinstance(value, bool) or not _INTEGER.fullmatch(text):
        raise ValueError("a whole number or 'max'")
    return int(text)


def parse_exec_mode(value: Any) -> str:
    text = re.sub(r"_mode$", "", str(value))
    if text not in ("fork", "cluster"):
        raise ValueError("fork or cluster")
    return text + "_mode"


def parse_exit_codes(value: Any) -> List[int]:
    return [parse_whole(item) for item in (value if isinstance(value, list) else [value])]


def parse_log_file(value: Any) -> Union[bool, str]:
    """``True`` for PM2's own place."""
    try:
        return parse_flag(value)
    except ValueError:
        return parse_text(value)


def parse_log_type(value: Any) -> Optional[str]:
    return None if value == "raw" else parse_text(value)


def parse_watch(value: Any) -> Union[bool, List[str]]:
    """``True`` watches the working directory; a path or several watch those."""
    if not isinstance(value, list):
        try:
            return parse_flag(value)
        except ValueError:
            return parse_patterns([value])
    return parse_patterns(value) if value else True


def parse_patterns(value: Any) -> List[str]:
    """Globs for chokidar 3, the one in PM2 5 to 7: it throws for an empty one, inside PM2's daemon, and ends that."""
    patterns = parse_words(value)
    if not all(0 < len(pattern.lstrip("!")) < _PATTERN_MAX for pattern in patterns):
        raise ValueError("a list of paths or patterns that are not empty")
    return patterns


def parse_watch_options(value: Any) -> Dict[str, Any]:
    """Only what chokidar 3 knows, in the types that it takes: it is trusted with PM2's daemon."""
    if not isinstance(value, dict) or not set(value) <= set(_WATCH_OPTIONS):
        raise ValueError("a mapping of chokidar's options ({0})".format(", ".join(sorted(_WATCH_OPTIONS))))
    parsed = {}
    for name, item in value.items():
        try:
            parsed[name] = _WATCH_OPTIONS[name](item)
        except ValueError as error:
            raise ValueError("right in {0}, which must be {1}".format(name, error)) from error
    return parsed


def _parse_flag_or_whole(value: Any) -> Union[bool, int]:
    try:
        return parse_flag(value)
    except ValueError:
        return parse_whole(value)


def _parse_write_finish(value: Any) -> Union[bool, Dict[str, int]]:
    if not isinstance(value, dict):
        return parse_flag(value)
    if not set(value) <= {"stabilityThreshold", "pollInterval"}:
        raise ValueError("true, false, or stabilityThreshold and pollInterval")
    return {name: parse_whole(item) for name, item in value.items()}


_PATTERN_MAX = 4096
_WATCH_OPTIONS: Dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(
        (
            *("persistent", "ignoreInitial", "followSymlinks", "disableGlobbing", "usePolling", "alwaysStat"),
            "ignorePermissionErrors",
        ),
        parse_flag,
    ),
    **dict.fromkeys(("interval", "binaryInterval", "depth"), parse_whole),
    "ignored": parse_patterns,
    "cwd": parse_text,
    "atomic": _parse_flag_or_whole,
    "awaitWriteFinish": _parse_write_finish,
}


def parse_mapping(value: Any) -> Dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("a mapping")
    return value


_CRON_STEP = re.compile(r"(?:(\*|[0-9]+)|([0-9]+)-([0-9]+))/([0-9]+)")
_CRON_RANGE = re.compile(r"()([0-9]+)-([0-9]+)()")
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_CRON_FIELDS = [
    # name, lowest, highest, names
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    ("day of the week", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
]


def parse_cron(value: Any) -> Optional[str]:
    """A pattern of five or six fields; ``0`` turns it off.

    A pattern that croner cannot read throws inside PM2's daemon and ends it with every app (PM2 lib/Worker.js
    registerCron), and so does one that matches no date, by endless recursion. So only what croner 4, the one in PM2 5
    to 7, surely takes is let through.
    """
    text = " ".join(str(value).split())
    if text == "0":
        return None
    fields = text.split(" ")
    if len(fields) not in (5, 6):
        raise ValueError("a cron pattern of five fields, or six with seconds first")
    numbers: Dict[str, Set[int]] = {}
    for (name, lowest, highest, names), content in zip(_CRON_FIELDS[-len(fields) :], fields):
        numbers[name] = _cron_numbers(content.lower(), lowest, highest, names, name == "day of the month")
        if not numbers[name]:
            raise ValueError("a cron pattern; {0!r} is no {1}".format(content, name))
    if all(_DAYS[month - 1] < min(numbers["day of the month"]) for month in numbers["month"]):
        raise ValueError("a cron pattern that matches a date; these months have no such day")
    return text


def _cron_numbers(content: str, lowest: int, highest: int, names: Tuple[str, ...], last: bool) -> Set[int]:
    """The numbers that a field stands for; none when it is wrong."""
    if content == "*":
        return set(range(lowest, highest + 1))
    if last and content == "l":
        return {28}
    for position, name in enumerate(names):
        content = content.replace(name, str(lowest + position))
    # croner 4 takes a list of numbers only, or a single range or step
    match = _CRON_STEP.fullmatch(content) or _CRON_RANGE.fullmatch(content)
    if match:
        start, low, high, step = match.groups()
        first = int(low or (start if start not in ("", "*", None) else lowest))
        end, stride = int(high or highest), int(step or 1)
        if not lowest <= first <= end <= highest or not 1 <= stride <= highest - lowest + 1:
            return set()
        return set(range(first, end + 1, stride))
    items = content.split(",")
    if not all(_WHOLE.fullmatch(item) and lowest <= int(item) <= highest for item in items):
        return set()
    return {int(item) for item in items}


# the table ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Option:
    """One option.

    :ivar name: as users write it.
    :ivar type: Ansible's type of the argument; ``raw`` where PM2 takes more than one type.
    :ivar parse: from what a user or PM2's daemon says to the one form that is compared.
    :ivar field: the field of ``pm2_env`` that tells a difference; ``None`` where another option's field does.
    :ivar default: what PM2 does without the field, in the parsed form.
    :ivar sent: whether PM2's command line writes the default into the definition.
    :ivar derived: whether _app.py works the field out from several options.
    :ivar change: how a change is applied.
    """

    name: str
    type: str
    parse: Callable[[Any], Any]
    aliases: Tuple[str, ...] = ()
    field: Optional[str] = None
    default: Any = None
    sent: bool = False
    derived: bool = False
    change: str = RELOAD
    choices: Tuple[str, ...] = ()
    elements: Optional[str] = None
    no_log: Optional[bool] = None

    @property
    def all_aliases(self) -> List[str]:
        """With the camelCase form that PM2 takes for every option (lib/tools/Config.js)."""
        words = self.name.split("_")
        camel = words[0] + "".join(word.title() for word in words[1:])
        return list(self.aliases) + ([camel] if camel != self.name and camel not in self.aliases else [])

    def argument(self) -> Dict[str, Any]:
        """The entry of Ansible's argument specification; without a default: a default is PM2's affair."""
        argument: Dict[str, Any] = {"type": self.type}
        if self.all_aliases:
            argument["aliases"] = self.all_aliases
        if self.choices:
            argument["choices"] = list(self.choices)
        if self.elements:
            argument["elements"] = self.elements
        if self.no_log is not None:
            argument["no_log"] = self.no_log
        return argument


def _plain(name: str, type_: str, parse: Callable[[Any], Any], **more: Any) -> Option:
    """An option that is kept in the field of its own name, as it is."""
    return Option(name, type_, parse, field=name, **more)


OPTIONS: List[Option] = [
    # what is run
    Option("name", "str", parse_name),
    Option("script", "str", parse_text, aliases=("exec", "cmd", "command"), field="pm_exec_path", derived=True),
    Option("cwd", "path", parse_text, field="pm_cwd", derived=True),
    Option("args", "raw", parse_words, field="args", default=[], derived=True),
    Option(
        "interpreter",
        "str",
        parse_text,
        aliases=("exec_interpreter", "execInterpreter"),
        field="exec_interpreter",
        derived=True,
        change=RESTART,
    ),
    # a worker that dies of a wrong flag before it is online hangs a reload on PM2 5 and 6
    _plain(
        "node_args", "raw", parse_words, aliases=("interpreter_args", "interpreterArgs"), default=[], change=RESTART
    ),
    Option(
        "exec_mode",
        "str",
        parse_exec_mode,
        field="exec_mode",
        derived=True,
        change=STOP_ALL,
        choices=("fork", "cluster", "fork_mode", "cluster_mode"),
    ),
    Option("execute_command", "bool", parse_flag),
    Option("instances", "str", parse_instances, change=SCALE),
    _plain("namespace", "str", parse_text, default="default", sent=True),
    # its environment and user
    Option("env", "dict", parse_mapping, field="env", derived=True, no_log=True),
    Option("port", "int", parse_whole, field="port"),
    Option("io", "dict", parse_mapping),
    Option("instance_var", "str", parse_text, field="instance_var", default="NODE_APP_INSTANCE", sent=True),
    _plain("increment_var", "str", parse_text),
    Option("uid", "str", parse_text, aliases=("user",), field="uid", derived=True, change=RESTART),
    Option("gid", "str", parse_text, field="gid", derived=True, change=RESTART),
    # its logs
    Option("out_file", "path", parse_text, aliases=("out", "output", "out_log"), field="pm_out_log_path", derived=True),
    Option(
        "error_file",
        "path",
        parse_text,
        aliases=("error", "err", "err_file", "err_log"),
        field="pm_err_log_path",
        derived=True,
    ),
    Option("log_file", "raw", parse_log_file, aliases=("log",), field="pm_log_path", derived=True),
    # PM2 sets the field merge_logs in a restart by name; the paths tell what is so
    Option("merge_logs", "bool", parse_flag, aliases=("combine_logs",)),
    _plain("disable_logs", "bool", parse_flag, default=False),
    _plain("log_type", "str", parse_log_type, choices=("raw", "json")),
    Option("log_date_format", "str", parse_text, field="log_date_format", derived=True),
    Option("time", "bool", parse_flag),
    Option("pid_file", "path", parse_text, aliases=("pid",), field="pm_pid_path", derived=True),
    # when it is restarted
    _plain("autorestart", "bool", parse_flag, default=True, sent=True),
    _plain("autostart", "bool", parse_flag, default=True, sent=True),
    _plain("max_restarts", "int", parse_whole, default=16),
    _plain("min_uptime", "str", parse_milliseconds, default=1000),
    _plain("restart_delay", "str", parse_milliseconds, default=0),
    _plain("exp_backoff_restart_delay", "str", parse_milliseconds, default=0),
    _plain("stop_exit_codes", "list", parse_exit_codes, default=[], elements="int"),
    _plain("max_memory_restart", "str", parse_bytes),
    # a reload keeps the job of the old pattern (PM2 lib/Worker.js registerCron)
    _plain("cron_restart", "str", parse_cron, aliases=("cron",), change=RESTART),
    # how it is started and stopped
    _plain("wait_ready", "bool", parse_flag, default=False),
    _plain("listen_timeout", "str", parse_milliseconds, default=3000),
    _plain("kill_timeout", "str", parse_milliseconds, default=1600),
    _plain("kill_retry_time", "str", parse_milliseconds, default=100, sent=True),
    _plain("shutdown_with_message", "bool", parse_flag, default=False),
    _plain("treekill", "bool", parse_flag, default=True, sent=True),
    # watching files
    _plain("watch", "raw", parse_watch, default=False, sent=True, change=WATCH),
    _plain("watch_delay", "str", parse_milliseconds, default=0, change=WATCH),
    _plain("ignore_watch", "raw", parse_patterns, default=[], change=WATCH),
    _plain("watch_options", "dict", parse_watch_options, default={}, change=WATCH),
    # what PM2 puts into a Node process
    Option("source_map_support", "bool", parse_flag, field="source_map_support", derived=True),
    Option("disable_source_map_support", "bool", parse_flag, field="disable_source_map_support", derived=True),
    Option("pmx", "bool", parse_flag, field="pmx", default=True, derived=True),
    _plain("automation", "bool", parse_flag, default=True, sent=True),
    Option("trace", "bool", parse_flag, field="trace", default=False, derived=True),
    Option("disable_trace", "bool", parse_flag),
    _plain("vizion", "bool", parse_flag, default=True, sent=True),
    _plain("post_update", "list", parse_words, default=[], elements="str"),
]

BY_NAME: Dict[str, Option] = {option.name: option for option in OPTIONS}
BY_FIELD: Dict[str, Option] = {option.field: option for option in OPTIONS if option.field}

# Fields that PM2 gives a meaning, so that no variable of an app's environment may have their names: executeApp spreads
# the environment over pm2_env (PM2 lib/God.js). Beside these: everything that begins with pm_ or axm_.
_INTERNAL_FIELDS = [
    *("name", "instances", "env", "merge_logs", "status", "created_at", "restart_time", "unstable_restarts"),
    *("exit_code", "unique_id", "username", "km_link", "pmx_module", "vizion_running", "versioning", "restart_task"),
    *("prev_restart_delay", "_tree_pids", "_pm2_version", "node_version", "windowsHide", "filter_env", "current_conf"),
]
FIELDS = frozenset(BY_FIELD) | frozenset(_INTERNAL_FIELDS)


def is_field(name: str) -> bool:
    """Whether PM2 gives this name of a ``pm2_env`` field a meaning of its own, or we do."""
    return name in FIELDS or name.startswith(("pm_", "axm_", OWN_PREFIX))


def process_arguments() -> Dict[str, Dict[str, Any]]:
    """The argument specification of one app."""
    return {option.name: option.argument() for option in OPTIONS}
