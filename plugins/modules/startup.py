# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: startup
short_description: Registers PM2 with systemd, and proves that the apps come back
version_added: 0.1.0
description:
  - Installs a systemd unit that runs the PM2 daemon of one user in the foreground and brings the saved process list
    (see M(zerodown.pm2.dump)) back whenever the daemon starts, at boot, after C(kill -9), after an error of its own
    and after C(pm2 kill).
  - "C(pm2 startup) installs a unit that goes down for good with the first error inside the daemon, that loses its
    daemon with C(pm2 update), and that is never tried. One that it left for the same O(pm2_home) is replaced."
  - A stop of the unit, and so a shutdown of the host, ends all apps at once, each with the C(kill_timeout) it was
    promised, and is over within O(stop_timeout). It does not change the saved list.
  - The unit calls a small Python program of this collection, which is installed beside it
    (C(/usr/local/lib/zerodown-pm2) or C(~/.local/lib/zerodown-pm2)). It reads the saved list and never runs it; an
    entry whose script, directory or interpreter is missing is left out and named in the journal, and the rest comes
    up.
  - The daemon writes to the journal (C(journalctl -u pm2-app)) instead of C(pm2.log).
  - For settings that are no option here use a drop-in (C(systemctl edit)); this module leaves it alone.
extends_documentation_fragment:
  - zerodown.pm2.attributes
  - zerodown.pm2.pm2
attributes:
  check_mode:
    support: full
    details: On a host that has no such user, no PM2 or no Node yet the text of the unit is not known; the change is
      reported without it.
  diff_mode:
    support: full
    details: Shows the unit file.
  idempotent:
    support: full
requirements:
  - systemd 247 or newer (Debian 11)
options:
  state:
    description:
      - V(present) installs the unit. What runs is touched with O(proven=true) only.
      - V(absent) stops the unit B(and with it the daemon and its apps), and removes the unit, the program that it
        calls unless another unit does, and lingering if it was turned on for it. O(pm2_home) with the saved list and
        the logs stays. A daemon that runs outside of the unit goes on running.
    type: str
    choices: [present, absent]
    default: present
  scope:
    description:
      - V(system) installs a unit of the system that runs as O(user). Needs root.
      - V(user) installs a unit of the user's own manager, and turns lingering on, so that it runs without a session.
        Works without root, if lingering is on already or polkit lets the user turn it on. Such a unit cannot wait
        for the network, and the options of the sandbox are not available.
    type: str
    choices: [system, user]
    default: system
  user:
    description:
      - Whose daemon. Must be given with O(scope=system), so that nothing runs as root by accident.
      - The default with O(scope=user) is the user who runs the task.
    type: str
  pm2_home:
    description:
      - Must be absolute and belong to O(user). Made if it is missing. The default is C(.pm2) in the home directory
        of O(user).
  name:
    description: Name of the unit, with or without C(.service). The default is V(pm2-<user>), the name that PM2 uses.
    type: str
  enabled:
    description: Whether the unit starts at boot.
    type: bool
    default: true
  proven:
    description:
      - Whether to look that the unit does what it is for. Fails if the unit cannot be started, or if a saved process
        does not come back and stay up.
      - If the daemon runs under the unit, as the unit is written now, nothing is restarted, and it is only looked
        whether every saved process is up; if one is not, there is a warning and RV(proven) is V(false).
      - Otherwise (first installation, a changed unit, a daemon that somebody's command line started, no daemon) the
        live list is saved and the unit is (re)started, B(which is an outage of the apps) of about the time they need
        to start.
    type: bool
    default: false
  start_timeout:
    description: Seconds within which the saved list must have been started.
    type: int
    default: 120
  stop_timeout:
    description:
      - Seconds within which all apps must have ended when the unit is stopped; what is left then is killed.
      - Must exceed the longest C(kill_timeout) of the apps.
    type: int
    default: 30
  environment:
    description:
      - Further variables for the daemon. B(Not for secrets), because every user of the host can read a unit; the
        variables of an app belong to M(zerodown.pm2.app). Workers in cluster mode inherit them.
      - The daemon gets E(PATH), E(HOME), E(USER), E(LOGNAME), E(SHELL), E(LANG) and E(PM2_HOME) in any case.
    type: dict
    default: {}
  umask:
    description: For the daemon and, unless they set their own, the apps. Octal.
    type: str
    default: "0077"
  limit_nofile:
    description: How many files a process may have open.
    type: int
    default: 65536
  tasks_max:
    description: How many tasks (threads) the daemon and all apps may have together, such as V(4096) or V(50%).
    type: str
  memory_high:
    description: Memory of the daemon and all apps together above which they are slowed down, such as V(1500M) or
      V(80%).
    type: str
  memory_max:
    description: Memory of the daemon and all apps together that is never exceeded, such as V(2G) or V(90%). The
      kernel kills an app then; the others and the daemon go on.
    type: str
  cpu_quota:
    description: CPU time of the daemon and all apps together, V(100%) being one CPU.
    type: str
  no_new_privileges:
    description: Whether the apps are kept from gaining rights by set-user-ID programs; then C(sudo) does not work in
      them.
    type: bool
    default: true
  protect_system:
    description:
      - What of the system the apps cannot write to. V(usr) is C(/usr) and C(/boot), V(full) also C(/etc), V(strict)
        everything but O(read_write_paths), O(pm2_home), C(/dev), C(/proc) and C(/sys).
      - The default with O(scope=system) is V(full).
    type: str
    choices: ["off", usr, full, strict]
  protect_home:
    description:
      - Whether C(/home), C(/root) and C(/run/user) are V(writable), V(read-only) or V(hidden) for the apps. The
        default with O(scope=system) is V(writable). What is below O(read_write_paths) and O(pm2_home) can be written
        to unless it is hidden.
    type: str
    choices: [writable, read-only, hidden]
  protect_kernel:
    description: Whether kernel settings, modules and control groups are out of reach. The default with
      O(scope=system) is V(true).
    type: bool
  private_tmp:
    description: Whether the apps have a C(/tmp) of their own. The default with O(scope=system) is V(false), because
      programs meet at sockets there.
    type: bool
  read_write_paths:
    description: Absolute paths that can be written to with O(protect_system=strict) or O(protect_home=read-only).
      One that does not exist when the daemon starts is ignored.
    type: list
    elements: str
    default: []
author:
  - The zerodown.pm2 contributors (@zerodown)
seealso:
  - module: zerodown.pm2.dump
  - module: zerodown.pm2.daemon
"""

EXAMPLES = r"""
- name: The apps of user app survive crashes and reboots
  zerodown.pm2.startup:
    user: app
    proven: true
    memory_max: 80%
  become: true

- name: Without root, where lingering is on already
  zerodown.pm2.startup:
    scope: user

- name: A strict sandbox
  zerodown.pm2.startup:
    user: app
    protect_system: strict
    private_tmp: true
    read_write_paths:
      - /srv/shop
  become: true

- name: No more
  zerodown.pm2.startup:
    user: app
    state: absent
  become: true
"""

RETURN = r"""
unit:
  description: Name of the unit.
  returned: success
  type: str
  sample: pm2-app.service
unit_file:
  description: The unit file.
  returned: success, and the user exists
  type: str
  sample: /etc/systemd/system/pm2-app.service
replaced:
  description: Units that C(pm2 startup) had written for the same O(pm2_home), and that are gone now.
  returned: success, and the user exists
  type: list
  elements: str
restarted:
  description: Why the unit was started or restarted; empty if it was not.
  returned: O(state=present)
  type: str
restart_required:
  description: Why the unit must be started or restarted before its apps are as the unit says; empty if nothing is to
    be done.
  returned: O(state=present), and not with a restart
  type: str
proven:
  description: Whether every saved process was seen running under the unit.
  returned: O(state=present) and O(proven=true), outside of check mode
  type: bool
journal:
  description: The end of the unit's journal.
  returned: failure to start
  type: list
  elements: str
"""

import os
import pwd
import re
from typing import Any, Dict, List, Optional, Tuple

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.zerodown.pm2.plugins.module_utils import _startup
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import Pm2Install, find_pm2
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home, user_name
from ansible_collections.zerodown.pm2.plugins.module_utils._module import COMMON_ARGUMENTS, run
from ansible_collections.zerodown.pm2.plugins.module_utils._systemd import (
    SYSTEM,
    USER,
    read_text,
    unit_directory,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._unit import UnitSpec, check_text, mark_of

_NAME = re.compile(r"^[A-Za-z0-9:_.-]+$")
_SIZE = re.compile(r"^([0-9]+[KMGT]?|[0-9]+%|infinity)$")
_COUNT = re.compile(r"^([0-9]+%?|infinity)$")
_QUOTA = re.compile(r"^[0-9]+%$")
_UMASK = re.compile(r"^[0-7]{3,4}$")

_PROTECT_SYSTEM = {"off": "false", "usr": "true", "full": "full", "strict": "strict"}
_PROTECT_HOME = {"writable": "false", "read-only": "read-only", "hidden": "true"}
# only the system's manager can make a mount namespace for a service
_SYSTEM_ONLY: Dict[str, Any] = {
    "protect_system": "full",
    "protect_home": "writable",
    "protect_kernel": True,
    "private_tmp": False,
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **COMMON_ARGUMENTS,
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "scope": {"type": "str", "choices": [SYSTEM, USER], "default": SYSTEM},
            "user": {"type": "str"},
            "name": {"type": "str"},
            "enabled": {"type": "bool", "default": True},
            "proven": {"type": "bool", "default": False},
            "start_timeout": {"type": "int", "default": 120},
            "stop_timeout": {"type": "int", "default": 30},
            "environment": {"type": "dict", "default": {}},
            "umask": {"type": "str", "default": "0077"},
            "limit_nofile": {"type": "int", "default": 65536},
            "tasks_max": {"type": "str"},
            "memory_high": {"type": "str"},
            "memory_max": {"type": "str"},
            "cpu_quota": {"type": "str"},
            "no_new_privileges": {"type": "bool", "default": True},
            "protect_system": {"type": "str", "choices": list(_PROTECT_SYSTEM)},
            "protect_home": {"type": "str", "choices": list(_PROTECT_HOME)},
            "protect_kernel": {"type": "bool"},
            "private_tmp": {"type": "bool"},
            "read_write_paths": {"type": "list", "elements": "str", "default": []},
        },
        required_if=[("scope", SYSTEM, ["user"])],
        supports_check_mode=True,
    )
    run(module, work)


def work(module: AnsibleModule) -> Dict[str, Any]:
    parameters = module.params
    user = parameters["user"] or user_name(os.geteuid())
    unit = unit_name(parameters["name"], user)
    settings = settings_of(parameters)
    _startup.check_host(parameters["scope"], user)
    registration = registration_of(parameters, user, unit)
    if parameters["state"] == "absent":
        return absent(module, registration, unit)
    return present(module, registration, unit, settings)


def unit_name(name: Optional[str], user: str) -> str:
    plain = name or "pm2-{0}".format(user)
    full = plain if plain.endswith(".service") else plain + ".service"
    if not _NAME.match(full):
        raise Pm2Error("The name of a unit must be letters, digits, and :_.- only, not {0!r}.".format(plain))
    return full


def registration_of(parameters: Dict[str, Any], user: str, unit: str) -> Optional[_startup.Registration]:
    """``None`` when there is no such user, and no unit that outlived one either."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        left = mark_of(read_text(os.path.join(unit_directory(SYSTEM), unit)) or "")
        if left is None or (parameters["state"], parameters["scope"]) != ("absent", SYSTEM):
            return None
        return _startup.Registration(SYSTEM, user, Home(left.home), unit)
    home = Home.of(parameters["pm2_home"] or os.path.join(entry.pw_dir, ".pm2"))
    check_text(home.path, "pm2_home")
    return _startup.Registration(parameters["scope"], user, home, unit)


def settings_of(parameters: Dict[str, Any]) -> UnitSpec:
    """:raises Pm2Error: a value that systemd would not take, or that the scope does not have."""
    for name, pattern, sample in (
        ("umask", _UMASK, "0077"),
        ("tasks_max", _COUNT, "4096 or 50%"),
        ("memory_high", _SIZE, "1500M or 80%"),
        ("memory_max", _SIZE, "2G or 90%"),
        ("cpu_quota", _QUOTA, "150%"),
    ):
        if parameters[name] is not None and not pattern.match(parameters[name]):
            raise Pm2Error("{0} must be a value such as {1}, not {2!r}.".format(name, sample, parameters[name]))
    for name in ("start_timeout", "stop_timeout", "limit_nofile"):
        if parameters[name] < 1:
            raise Pm2Error("{0} must be at least 1, not {1}.".format(name, parameters[name]))
    return UnitSpec(
        home="",
        user=None,
        group=None,
        node="",
        daemon_script="",
        pm2="",
        program=[],
        environment={str(key): environment_value(str(key), value) for key, value in parameters["environment"].items()},
        start_timeout=parameters["start_timeout"],
        stop_timeout=parameters["stop_timeout"],
        umask=parameters["umask"],
        nofile=parameters["limit_nofile"],
        directives=directives_of(parameters),
    )


def environment_value(name: str, value: Any) -> str:
    if isinstance(value, (dict, list)) or value is None:
        raise Pm2Error("The value of {0} in environment must be a text or a number.".format(name))
    return check_text(str(value).lower() if isinstance(value, bool) else str(value), "value of {0}".format(name))


def directives_of(parameters: Dict[str, Any]) -> List[Tuple[str, str]]:
    """Lines of the unit's section Service for limits and the sandbox."""
    lines = [
        (directive, parameters[name])
        for name, directive in (
            ("tasks_max", "TasksMax"),
            ("memory_high", "MemoryHigh"),
            ("memory_max", "MemoryMax"),
            ("cpu_quota", "CPUQuota"),
        )
        if parameters[name] is not None
    ]
    lines.append(("NoNewPrivileges", yes_no(parameters["no_new_privileges"])))
    if parameters["scope"] == USER:
        asked = [name for name in [*_SYSTEM_ONLY, "read_write_paths"] if parameters[name] not in (None, [])]
        if asked:
            raise Pm2Error("{0} is only available with scope: system.".format(asked[0]))
        return lines
    chosen = {name: default if parameters[name] is None else parameters[name] for name, default in _SYSTEM_ONLY.items()}
    lines += [
        ("ProtectSystem", _PROTECT_SYSTEM[chosen["protect_system"]]),
        ("ProtectHome", _PROTECT_HOME[chosen["protect_home"]]),
        ("PrivateTmp", yes_no(chosen["private_tmp"])),
    ]
    if chosen["protect_kernel"]:
        lines += [(name, "yes") for name in ("ProtectKernelTunables", "ProtectKernelModules", "ProtectControlGroups")]
    for path in parameters["read_write_paths"]:
        if not os.path.isabs(path):
            raise Pm2Error("A path in read_write_paths must be absolute, not {0!r}.".format(path))
    return lines


def yes_no(value: bool) -> str:
    return "yes" if value else "no"


def present(
    module: AnsibleModule, registration: Optional[_startup.Registration], unit: str, settings: UnitSpec
) -> Dict[str, Any]:
    parameters = module.params
    install = install_of(module)
    if registration is None or install is None:
        if registration is None and not module.check_mode:
            raise Pm2Error("There is no user {0}; create it first.".format(parameters["user"]))
        return not_known_yet(unit, parameters["user"] if registration is None else "PM2")
    _startup.check_access(registration, install)
    found = _startup.look(registration)
    linger_by_us = found.linger_by_us or (registration.scope == USER and not found.lingers)
    text = _startup.unit_text(registration, install, settings, linger_by_us, parameters["read_write_paths"])
    todo = _startup.plan(registration, found, text, parameters["enabled"])
    if not module.check_mode:
        _startup.apply(registration, todo, text)
    reason = _startup.needs_start(registration, todo.unit)
    restart = parameters["proven"] and reason is not None
    outcome: Dict[str, Any] = {
        "changed": todo.changes() or restart,
        "unit": unit,
        "unit_file": registration.path,
        "replaced": found.replaces,
        "restarted": reason or "" if restart else "",
        "diff": diff(registration, found, todo, text),
    }
    if not restart:
        outcome["restart_required"] = reason or ""
    if not parameters["proven"] or module.check_mode:
        return outcome
    if restart:
        _startup.start_and_prove(registration, install, _startup.patience(settings))
        return {**outcome, "proven": True}
    lost = _startup.not_back(registration, install, 5.0)
    if lost:
        module.warn(
            "Not every saved process runs, and nothing was restarted to bring it back: {0} Save the list as it is "
            "now (module zerodown.pm2.dump) if that is how it is meant.".format(" ".join(lost))
        )
    return {**outcome, "proven": not lost}


def diff(
    registration: _startup.Registration, found: _startup.Found, todo: _startup.Plan, text: str
) -> List[Dict[str, Any]]:
    """The unit file, and beside it what else is changed."""
    flags = {
        "pm2_home exists": (found.has_home, todo.home),
        "user lingers": (found.lingers, todo.linger),
        "boot program is this collection's": (not todo.program, todo.program),
        "enabled": (found.state.enabled.startswith("enabled"), todo.enable or todo.disable),
    }
    shown = {name: value for name, value in flags.items() if value[1]}
    return [
        {
            "before_header": registration.path,
            "after_header": registration.path,
            "before": found.text,
            "after": text,
        },
        {
            "before_header": registration.unit,
            "after_header": registration.unit,
            "before": {**{name: value[0] for name, value in shown.items()}, "units of pm2 startup": found.replaces},
            "after": {**{name: not value[0] for name, value in shown.items()}, "units of pm2 startup": []},
        },
    ]


def install_of(module: AnsibleModule) -> Optional[Pm2Install]:
    """``None`` in check mode on a host that has no PM2 yet; an earlier task would have installed it."""
    try:
        return find_pm2(module.params["pm2_executable"], module.params["node_executable"])
    except Pm2Error as error:
        if not module.check_mode:
            raise
        module.warn("{0} The unit's text is known when it is there.".format(error.message))
        return None


def not_known_yet(unit: str, what: str) -> Dict[str, Any]:
    return {
        "changed": True,
        "unit": unit,
        "restarted": "",
        "diff": {
            "before_header": unit,
            "after_header": unit,
            "before": "",
            "after": "# a unit, whose text is known when {0} is there\n".format(what),
        },
    }


def absent(module: AnsibleModule, registration: Optional[_startup.Registration], unit: str) -> Dict[str, Any]:
    if registration is None:
        return {"changed": False, "unit": unit}
    found = _startup.look(registration)
    changed = bool(found.text or found.replaces)
    if changed and not module.check_mode:
        _startup.remove(registration, found, _startup.patience(settings_of(module.params)))
    return {
        "changed": changed,
        "unit": unit,
        "unit_file": registration.path,
        "replaced": found.replaces,
        "diff": {
            "before_header": registration.path,
            "after_header": registration.path,
            "before": found.text,
            "after": "",
        },
    }


if __name__ == "__main__":
    main()
