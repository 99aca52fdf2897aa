# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Health checks as they are declared: the option ``health``, and the checks that its entries become.

Documented in doc_fragments/health.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Callable, ClassVar, Dict, Iterable, List, Mapping, Optional, Tuple, Type, Union

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._options import scalar_text

HTTP = "http"
TCP = "tcp"
COMMAND = "command"
TYPES = (HTTP, TCP, COMMAND)
HTTPS = "https"

# where an app is asked: the path of a unix socket, or an IP address and a port
Endpoint = Union[str, Tuple[str, int]]


@dataclass(frozen=True)
class StatusRange:
    """Both ends belong to it."""

    low: int
    high: int

    def __contains__(self, status: int) -> bool:
        return self.low <= status <= self.high

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else "{0}-{1}".format(self.low, self.high)


@dataclass(frozen=True)
class Check:
    """What all types have.

    :ivar name: the label that it was given.
    :ivar timeout: seconds for all of one attempt.
    :ivar interval: seconds from the end of one attempt to the next.
    :ivar successes: so many in a row make it healthy.
    :ivar failures: so many in a row are final; ``None``, none are before the gate's own deadline.
    :ivar port: of the app, ``None`` for the one that it declares, and for a command.
    """

    type: ClassVar[str]

    name: Optional[str]
    timeout: float
    interval: float
    successes: int
    failures: Optional[int]
    port: Optional[int]

    @property
    def title(self) -> str:
        """What a message calls it; no secrets."""
        return "{0} ({1})".format(self.name, self._deed()) if self.name else self._deed()

    def _deed(self) -> str:
        raise NotImplementedError

    def _at_port(self, text: str) -> str:
        return text if self.port is None else "{0} at port {1}".format(text, self.port)


@dataclass(frozen=True)
class HttpCheck(Check):
    """:ivar headers: their values may be secrets.
    :ivar json: dotted path -> value.
    """

    type: ClassVar[str] = HTTP

    scheme: str
    host: str
    method: str
    path: str
    headers: Dict[str, str] = field(repr=False)
    status: Tuple[StatusRange, ...]
    body: Optional["re.Pattern[str]"]
    json: Dict[str, Any]

    def _deed(self) -> str:
        return self._at_port("{0} {1}".format(self.method, self.path))


@dataclass(frozen=True)
class TcpCheck(Check):
    """Whether it takes a connection."""

    type: ClassVar[str] = TCP

    def _deed(self) -> str:
        return self._at_port("TCP connection")


@dataclass(frozen=True)
class CommandCheck(Check):
    """:ivar command: argument list."""

    type: ClassVar[str] = COMMAND

    command: List[str]

    def _deed(self) -> str:
        # what follows the script's name may be anything
        return "command " + " ".join(self.command[:2])


# values ------------------------------------------------------------------------------------------------------------
# Each function raises ValueError with a text that completes "<option> must be ...".

_PATH = re.compile(r"/[\x21-\x7e]*")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(r"(?:{0}(?:\.{0})*|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?".format(_LABEL))
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")
_STATUS = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")
# made by the check itself
_OWN_HEADERS = ("host", "connection", "content-length", "transfer-encoding")
_NAME_MAX = 80
_JSON_PATH_MAX = 255
# a longer one fits no timer of the operating system on every machine
_SECONDS_MAX = 3600


def _choice(*choices: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in choices:
            raise ValueError("one of {0}".format(", ".join(choices)))
        return str(value)

    return parse


def _parse_name(value: Any) -> str:
    if not value or not str(value).isprintable() or len(str(value)) > _NAME_MAX:
        raise ValueError("a text of one line and at most {0} characters".format(_NAME_MAX))
    return str(value)


def _parse_seconds(value: Any) -> float:
    # written so that NaN is refused too
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= _SECONDS_MAX:
        raise ValueError("seconds, more than 0 and at most {0}".format(_SECONDS_MAX))
    return float(value)


def _parse_count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("a whole number from 1")
    return value


def _parse_port(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
        raise ValueError("a port from 1 to 65535")
    return value


def _parse_host(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 253 or not _HOST.fullmatch(value):
        raise ValueError("a host name or an IP address (IPv6 in brackets), with :port if the app wants it")
    return value


def _parse_path(value: Any) -> str:
    if not isinstance(value, str) or not _PATH.fullmatch(value):
        raise ValueError("a path that begins with '/', without blanks and with other than ASCII letters as %XX")
    return value


def _parse_headers(value: Any) -> Dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError("a mapping")
    headers = {}
    for name, content in value.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ValueError("a mapping of header names, which {0!r} is not".format(name))
        if name.lower() in _OWN_HEADERS:
            raise ValueError("without {0}, which the check makes itself{1}".format(name, _host_hint(name)))
        try:
            headers[name] = scalar_text(content)
        except ValueError as error:
            raise ValueError("a mapping to texts, and {0} is none".format(name)) from error
        if not _HEADER_VALUE.fullmatch(headers[name]):
            raise ValueError("without line ends and other control characters, and {0} has some".format(name))
    return headers


def _host_hint(name: str) -> str:
    return " from the option host" if name.lower() == "host" else ""


def _parse_status(value: Any) -> Tuple[StatusRange, ...]:
    items = value if isinstance(value, list) else [value]
    ranges = []
    for item in items:
        match = _STATUS.fullmatch(str(item).strip())
        low, high = (int(match.group(1)), int(match.group(2) or match.group(1))) if match else (1, 0)
        if low > high:
            raise ValueError("a list of numbers from 100 to 599 or ranges such as 200-299, not {0!r}".format(item))
        ranges.append(StatusRange(low, high))
    if not ranges:
        raise ValueError("a list of at least one number or range")
    return tuple(ranges)


def _parse_pattern(value: Any) -> "re.Pattern[str]":
    try:
        return re.compile(value)
    except (re.error, OverflowError, RecursionError, TypeError) as error:
        raise ValueError("a regular expression of Python ({0})".format(error)) from error


def _parse_json(value: Any) -> Dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("a mapping from dotted paths to values")
    for path in map(str, value):
        if not path or len(path) > _JSON_PATH_MAX:
            raise ValueError("a mapping from dotted paths of 1 to {0} characters to values".format(_JSON_PATH_MAX))
    return {str(path): expected for path, expected in value.items()}


def _parse_command(value: Any) -> List[str]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise ValueError("a list with the program and its arguments")
    if not value[0] or any("\0" in item for item in value):
        raise ValueError("a list with the program, which is not empty, and its arguments, without NUL")
    return value


# the table ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Option:
    """One suboption; it becomes the field of the same name.

    :ivar argument: Ansible's, without a default: an option of another type of check could not be told from it.
    :ivar types: the types of check that have it.
    :ivar default: in the parsed form.
    """

    argument: Dict[str, Any]
    parse: Callable[[Any], Any]
    types: Tuple[str, ...] = TYPES
    default: Any = None


_METHODS = ("GET", "HEAD", "OPTIONS", "POST")
_SCHEMES = (HTTP, HTTPS)

OPTIONS: Dict[str, Option] = {
    "name": Option({"type": "str"}, _parse_name),
    "type": Option({"type": "str", "choices": list(TYPES)}, _choice(*TYPES), default=HTTP),
    "port": Option({"type": "int"}, _parse_port, (HTTP, TCP)),
    "scheme": Option({"type": "str", "choices": list(_SCHEMES)}, _choice(*_SCHEMES), (HTTP,), HTTP),
    "host": Option({"type": "str"}, _parse_host, (HTTP,), "localhost"),
    "method": Option({"type": "str", "choices": list(_METHODS)}, _choice(*_METHODS), (HTTP,), "GET"),
    "path": Option({"type": "str"}, _parse_path, (HTTP,), "/"),
    "headers": Option({"type": "dict", "no_log": True}, _parse_headers, (HTTP,), {}),
    "status": Option({"type": "list", "elements": "str"}, _parse_status, (HTTP,), (StatusRange(200, 299),)),
    "body": Option({"type": "str"}, _parse_pattern, (HTTP,)),
    "json": Option({"type": "dict"}, _parse_json, (HTTP,), {}),
    "command": Option({"type": "list", "elements": "str"}, _parse_command, (COMMAND,)),
    "timeout": Option({"type": "float"}, _parse_seconds, default=5.0),
    "interval": Option({"type": "float"}, _parse_seconds, default=1.0),
    "successes": Option({"type": "int"}, _parse_count, default=1),
    "failures": Option({"type": "int"}, _parse_count),
}
_CLASSES: Dict[str, Type[Check]] = {class_.type: class_ for class_ in (HttpCheck, TcpCheck, CommandCheck)}


# of one that is made again and again
REPEATED = ("interval", "successes", "failures")


def health_arguments() -> Dict[str, Any]:
    """The argument specification of the option ``health``."""
    return _arguments(list(OPTIONS))


def smoke_arguments() -> Dict[str, Any]:
    """The argument specification of the option ``smoke``: checks that are made once."""
    return _arguments([name for name in OPTIONS if name not in REPEATED])


def _arguments(names: List[str]) -> Dict[str, Any]:
    return {"type": "list", "elements": "dict", "options": {name: dict(OPTIONS[name].argument) for name in names}}


def parse(entries: Optional[Iterable[Mapping[str, Any]]]) -> List[Check]:
    """The checks of an option ``health``, in its order.

    :param entries: as Ansible gives them: an option that was not given is missing or ``None``.
    :raises Pm2Error: naming the check, counted from 1, and the option.
    """
    return [_parse_entry(number, entry) for number, entry in enumerate(entries or [], 1)]


def _parse_entry(number: int, entry: Mapping[str, Any]) -> Check:
    given = {name: value for name, value in entry.items() if value is not None}
    where = "Health check {0}".format(number)
    if "name" in given:
        where += " ({0})".format(_value(where, "name", given["name"]))
    type_ = _value(where, "type", given.pop("type", OPTIONS["type"].default))
    for name in given:
        if name not in OPTIONS or type_ not in OPTIONS[name].types:
            raise Pm2Error("{0}: {1} is no option of a check of type {2}; leave it out.".format(where, name, type_))
    if type_ == COMMAND and "command" not in given:
        raise Pm2Error("{0}: a check of type command needs command, a list with the program.".format(where))
    values: Dict[str, Any] = {"port": None}
    for name, option in OPTIONS.items():
        if name != "type" and type_ in option.types:
            values[name] = _value(where, name, given[name]) if name in given else option.default
    if values.get("method") == "HEAD" and (values["body"] or values["json"]):
        raise Pm2Error("{0}: the answer to HEAD has no body; use method GET with body and json.".format(where))
    return _CLASSES[type_](**values)


def _value(where: str, name: str, value: Any) -> Any:
    try:
        return OPTIONS[name].parse(value)
    except ValueError as error:
        raise Pm2Error("{0}: {1} must be {2}.".format(where, name, error)) from error
