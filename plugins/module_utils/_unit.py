# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text of the systemd unit, as pure functions. Written for systemd 247 (Debian 11) to 257 (Debian 13)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error

# seconds that systemd grants beyond what our own program keeps to
MARGIN = 10

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SAFE_WORD = re.compile(r"^[A-Za-z0-9_@%+=:,./-]+$")
_VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
# systemd ignores sections that begin with X- (systemd.unit(5)); ours says whose unit it is
_SECTION = re.compile(r"^\[X-Zerodown\]\n((?:\w+=.*\n?)*)", re.MULTILINE)
# what `pm2 startup` writes (PM2 lib/templates/init-scripts/systemd.tpl): a forking service that resurrects
_PM2_OWN = re.compile(r"^Type=forking$.*^ExecStart=.*\bresurrect\b", re.MULTILINE | re.DOTALL)
_PM2_OWN_HOME = re.compile(r'^Environment="?PM2_HOME=([^"\n]+)"?$', re.MULTILINE)


@dataclass(frozen=True)
class UnitSpec:
    """What a unit says.

    :ivar user: ``None`` in user scope.
    :ivar program: how to run our boot program, without its arguments.
    :ivar pm2: PM2's ``bin/pm2``; of use only where its own modules must be started.
    :ivar environment: the daemon's whole environment.
    :ivar directives: further lines of the section ``[Service]``, name and value, as systemd takes them.
    :ivar start_timeout: seconds until the daemon answers and the saved list is brought back.
    :ivar stop_timeout: seconds for every app and the daemon to end.
    :ivar linger: whether lingering was turned on by us and goes with the unit.
    :ivar writable: paths that the sandbox leaves open; one that is missing is ignored.
    """

    home: str
    user: Optional[str]
    group: Optional[str]
    node: str
    daemon_script: str
    pm2: str
    program: List[str]
    environment: Dict[str, str]
    start_timeout: int
    stop_timeout: int
    umask: str = "0077"
    nofile: Optional[int] = None
    directives: List[Tuple[str, str]] = field(default_factory=list)
    linger: bool = False
    writable: List[str] = field(default_factory=list)


@dataclass(frozen=True)
class Mark:
    """What a unit of ours says about itself.

    :ivar linger: see :class:`UnitSpec`.
    """

    home: str
    linger: bool


def render(spec: UnitSpec) -> str:
    """The unit file.

    Why each line is there:

    - The daemon runs in the foreground. PM2's own unit forks, and its daemon ends with code 0 after an error of its
      own: systemd then thinks that all is well and leaves the apps down.
    - ``take-over`` ends a daemon that somebody's command line started; the sockets are one daemon's only.
    - ``-`` before ``resurrect``: an app that is missing must not take down those that came.
    - ``stop`` gives every app the time it was promised and leaves the dump as it is; SIGTERM would not. Whatever is
      left in the control group when the daemon is gone gets SIGKILL (KillMode=mixed), so that no app outlives it and
      keeps its port from the next one.
    - ``Restart=always`` with no limit: a daemon that is down is never what anybody wants.
    - ``OOMPolicy=continue``: one app killed for memory must not stop all others.
    """
    own = [*spec.program]
    common = ["--home", spec.home, "--pm2", spec.pm2, "--node", spec.node]
    wait = max(10, spec.start_timeout // 2)
    system = spec.user is not None
    service: List[Tuple[str, str]] = [
        ("Type", "exec"),
        *([("User", str(spec.user)), ("Group", str(spec.group))] if system else []),
        ("WorkingDirectory", "/"),
        ("UMask", spec.umask),
        *(("Environment", _assignment(key, value)) for key, value in sorted(spec.environment.items())),
        ("ExecStartPre", _command([*own, "take-over", *common, "--timeout", str(spec.stop_timeout)])),
        ("ExecStart", _command([spec.node, spec.daemon_script])),
        ("ExecStartPost", _command([*own, "wait", *common, "--timeout", str(wait)])),
        ("ExecStartPost", "-" + _command([*own, "resurrect", *common, "--timeout", str(spec.start_timeout)])),
        ("ExecStop", _command([*own, "stop", *common, "--timeout", str(spec.stop_timeout)])),
        ("KillMode", "mixed"),
        ("TimeoutStartSec", str(spec.start_timeout + wait + spec.stop_timeout + MARGIN)),
        ("TimeoutStopSec", str(spec.stop_timeout + MARGIN)),
        ("Restart", "always"),
        ("RestartSec", "200ms"),
        ("OOMPolicy", "continue"),
        *([("LimitNOFILE", str(spec.nofile))] if spec.nofile is not None else []),
        *spec.directives,
        *([("ReadWritePaths", " ".join(_word("-" + path) for path in spec.writable))] if spec.writable else []),
    ]
    unit: List[Tuple[str, str]] = [
        ("Description", "PM2 process manager for {0}".format(_literal(spec.user or spec.home))),
        ("Documentation", "https://pm2.keymetrics.io/"),
        # a user's manager has no network-online.target; it starts after the system's own targets
        *([("Wants", "network-online.target"), ("After", "network-online.target remote-fs.target")] if system else []),
        ("StartLimitIntervalSec", "0"),
    ]
    mark = [("Pm2Home", spec.home), ("Linger", "yes" if spec.linger else "no")]
    sections = [
        ("Unit", unit),
        ("Service", service),
        ("Install", [("WantedBy", "multi-user.target" if system else "default.target")]),
        ("X-Zerodown", mark),
    ]
    text = "# Written by the Ansible collection zerodown.pm2 (module startup), which overwrites changes.\n"
    for name, lines in sections:
        text += "\n[{0}]\n{1}\n".format(name, "\n".join("{0}={1}".format(key, value) for key, value in lines))
    return text


def mark_of(text: str) -> Optional[Mark]:
    """What a unit of ours says about itself; ``None`` for anybody else's."""
    match = _SECTION.search(text)
    if not match:
        return None
    values = dict(line.split("=", 1) for line in match.group(1).splitlines())
    return Mark(values.get("Pm2Home", ""), values.get("Linger") == "yes")


def pm2_own_home(text: str) -> Optional[str]:
    """The PM2_HOME of a unit that ``pm2 startup`` wrote; ``None`` for any other unit."""
    match = _PM2_OWN_HOME.search(text)
    return match.group(1) if match and _PM2_OWN.search(text) else None


def check_text(value: str, what: str) -> str:
    """Refuse what cannot stand in a line of a unit file.

    :raises Pm2Error: naming ``what``.
    """
    if _CONTROL.search(value):
        raise Pm2Error("The {0} {1!r} must not contain control characters.".format(what, value))
    return value


def _literal(value: str) -> str:
    """``%`` begins a specifier everywhere (systemd.unit(5))."""
    return check_text(value, "value").replace("%", "%%")


def _command(arguments: List[str]) -> str:
    """A command line that systemd splits into exactly these arguments (systemd.service(5), Command lines)."""
    return " ".join(_word(argument).replace("$", "$$") for argument in arguments)


def _word(value: str) -> str:
    literal = _literal(value)
    if _SAFE_WORD.match(literal):
        return literal
    return '"{0}"'.format(literal.replace("\\", "\\\\").replace('"', '\\"'))


def _assignment(name: str, value: str) -> str:
    """``Environment=`` splits at blanks and knows quotes, but no ``$`` (systemd.exec(5))."""
    if not _VARIABLE.match(name):
        raise Pm2Error("The name of an environment variable must be letters, digits and _, not {0!r}.".format(name))
    return _word("{0}={1}".format(name, value))
