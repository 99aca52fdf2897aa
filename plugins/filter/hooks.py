# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From declared hooks to what the role app runs in each phase; what contradicts itself is refused."""

from __future__ import annotations

import posixpath
from typing import Any, Callable, Dict, List

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: hooks
short_description: The hooks of an app by phase, those for all apps first
version_added: 0.1.0
description:
  - Takes one entry of C(pm2_apps) and the hooks for all apps, and returns for each phase what is to be run, in order
    and with every default filled in. The app's own C(hooks) come last.
  - Refuses a phase or an option that there is not, and a hook that is not exactly one of C(tasks), C(argv) and
    C(notify).
positional: general, directory
options:
  _input:
    description: The declared app.
    type: dict
    required: true
  general:
    description: Lists of hooks by phase, for all apps.
    type: dict
    required: true
  directory:
    description: What the path of a task file is relative to. Without it only absolute ones are taken.
    type: str
    default: ''
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: What runs before a cutover?
  ansible.builtin.debug:
    msg: >-
      {{ (pm2_apps[0] | zerodown.pm2.hooks(deploy_hooks, inventory_dir)).before_cutover | map(attribute='name') }}
"""

RETURN = r"""
_value:
  description: For each phase a list of hooks.
  type: dict
"""

PHASES = ("before_stage", "after_stage", "before_cutover", "after_cutover", "on_failure", "on_rollback")
# what is told of a deploy that has failed already must not take the place of its error
_TOLD_ONLY = ("on_failure", "on_rollback")
_COMMON = {"name", "once", "ignore_errors"}
_OPTIONS = {
    "tasks": {"tasks"},
    "argv": {"argv", "where", "chdir", "env", "timeout"},
    "webhook": {"notify", "url", "headers", "secret", "timeout"},
    "slack": {"notify", "url", "timeout"},
    "mail": {"notify", "host", "port", "encryption", "username", "password", "from", "to", "timeout"},
}
_REQUIRED = {"webhook": ("url",), "slack": ("url",), "mail": ("host", "from", "to")}
_PORTS = {"starttls": 587, "tls": 465, "none": 25}


def hooks(app: Dict[str, Any], general: Dict[str, Any], directory: str = "") -> Dict[str, List[Dict[str, Any]]]:
    """The hooks of an app by phase.

    :raises AnsibleFilterError: naming the hook, what is wrong with it and what to do; never a value of it.
    """
    for declared in (general, app.get("hooks") or {}):
        unknown = sorted(set(declared) - set(PHASES))
        if unknown:
            raise AnsibleFilterError(
                "There is no phase {0} for hooks; the phases are {1}.".format(", ".join(unknown), ", ".join(PHASES))
            )
    return {
        phase: [
            _hook(phase, hook, directory)
            for declared in (general, app.get("hooks") or {})
            for hook in declared.get(phase) or []
        ]
        for phase in PHASES
    }


def _hook(phase: str, hook: Dict[str, Any], directory: str) -> Dict[str, Any]:
    if not hook.get("name"):
        raise AnsibleFilterError("A hook of {0} has no name; give it one.".format(phase))
    where = "The hook {0!r} of {1}".format(str(hook["name"]), phase)
    kind = _kind(where, hook)
    unknown = sorted(set(hook) - _COMMON - _OPTIONS[kind])
    if unknown:
        raise AnsibleFilterError(
            "{0} has {1}, which a hook with {2} does not take; it takes {3}.".format(
                where, ", ".join(unknown), kind, ", ".join(sorted(_COMMON | _OPTIONS[kind]))
            )
        )
    missing = [name for name in _REQUIRED.get(kind, ()) if not hook.get(name)]
    if missing:
        raise AnsibleFilterError("{0} needs {1}.".format(where, ", ".join(missing)))
    notifies = "notify" in hook
    return {
        **hook,
        **_SPECIAL[kind](where, hook, directory),
        "kind": kind,
        "once": hook.get("once", notifies),
        "ignore_errors": phase in _TOLD_ONLY or hook.get("ignore_errors", notifies),
    }


def _kind(where: str, hook: Dict[str, Any]) -> str:
    given = [name for name in ("tasks", "argv", "notify") if hook.get(name)]
    if len(given) != 1:
        raise AnsibleFilterError(
            "{0} has {1}; give it exactly one of tasks, argv and notify.".format(
                where, " and ".join(given) or "nothing to run"
            )
        )
    if given[0] != "notify":
        return given[0]
    if hook["notify"] not in _REQUIRED:
        raise AnsibleFilterError(
            "{0} can notify by {1}, not by {2!r}.".format(where, ", ".join(_REQUIRED), hook["notify"])
        )
    return str(hook["notify"])


def _tasks(where: str, hook: Dict[str, Any], directory: str) -> Dict[str, Any]:
    path = posixpath.join(directory or "", str(hook["tasks"]))
    if not posixpath.isabs(path):
        raise AnsibleFilterError(
            "{0} has the relative path {1}, but the inventory is no file that it could be relative to; give an "
            "absolute one.".format(where, path)
        )
    return {"tasks": path}


def _argv(where: str, hook: Dict[str, Any], directory: str) -> Dict[str, Any]:
    place = hook.get("where", "host")
    if place not in ("host", "controller"):
        raise AnsibleFilterError("{0} runs on the host or on the controller, not on {1!r}.".format(where, place))
    if isinstance(hook["argv"], str):
        raise AnsibleFilterError("{0} has a text for argv; give a list, a program and its arguments.".format(where))
    # empty: the module takes the home directory
    chdir = hook.get("chdir") or (directory if place == "controller" else "")
    if place == "controller" and chdir:
        chdir = posixpath.join(directory or "", chdir)
    return {"where": place, "chdir": chdir, "env": hook.get("env") or {}, "timeout": hook.get("timeout", 300)}


def _http(where: str, hook: Dict[str, Any], _directory: str) -> Dict[str, Any]:
    if not str(hook["url"]).startswith(("https://", "http://")):
        raise AnsibleFilterError("{0} needs a url that begins with https:// or http://.".format(where))
    return {
        "headers": hook.get("headers") or {},
        "secret": hook.get("secret") or "",
        "timeout": hook.get("timeout", 10),
    }


def _mail(where: str, hook: Dict[str, Any], _directory: str) -> Dict[str, Any]:
    encryption = hook.get("encryption", "starttls")
    if encryption not in _PORTS:
        raise AnsibleFilterError("{0} has an encryption that is not one of {1}.".format(where, ", ".join(_PORTS)))
    return {
        "encryption": encryption,
        "port": hook.get("port") or _PORTS[encryption],
        "to": [hook["to"]] if isinstance(hook["to"], str) else hook["to"],
        "timeout": hook.get("timeout", 10),
    }


_SPECIAL: Dict[str, Callable[[str, Dict[str, Any], str], Dict[str, Any]]] = {
    "tasks": _tasks,
    "argv": _argv,
    "webhook": _http,
    "slack": _http,
    "mail": _mail,
}


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Dict[str, Callable[..., Any]]:
        return {"hooks": hooks}
