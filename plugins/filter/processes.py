# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a declared app and a release to what ``zerodown.pm2.app`` takes."""

from __future__ import annotations

import posixpath
from typing import Any, Callable, Dict, List

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: processes
short_description: The processes of a declared app, as they run from one release
version_added: 0.1.0
description:
  - Takes one entry of C(pm2_apps) and the directory of a release, and returns what the option
    O(zerodown.pm2.app#module:apps) takes.
  - A process without C(name) gets the app's; C(cwd) is taken relative to the release; C(env) of the app is the base of
    each process' C(env). C(frontend) is left out, it is for the role P(zerodown.pm2.proxy#role).
positional: release
options:
  _input:
    description: The declared app, with C(name) and C(processes).
    type: dict
    required: true
  release:
    description: The directory of the release on the host.
    type: path
    required: true
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: Run a release by hand
  zerodown.pm2.app:
    apps: "{{ pm2_apps[0] | zerodown.pm2.processes('/srv/shop/releases/20260131T140509Z-1f3a9c2e') }}"
"""

RETURN = r"""
_value:
  description: The processes.
  type: list
  elements: dict
"""


def processes(app: Dict[str, Any], release: str) -> List[Dict[str, Any]]:
    """The processes of a declared app as they run from one release.

    :raises AnsibleFilterError: a working directory leads out of the release, or two processes share a name.
    """
    found = [_process(app, process, release) for process in app["processes"]]
    names = [process["name"] for process in found]
    for name in names:
        if names.count(name) > 1:
            raise AnsibleFilterError(
                "App {0}: two processes are named {1}; give each a name of its own.".format(app["name"], name)
            )
    return found


def _process(app: Dict[str, Any], process: Dict[str, Any], release: str) -> Dict[str, Any]:
    directory = posixpath.normpath(posixpath.join(release, process.get("cwd") or "."))
    if directory != release and not directory.startswith(release.rstrip("/") + "/"):
        raise AnsibleFilterError(
            "App {0}: cwd {1!r} leads out of the release; give a directory relative to it.".format(
                app["name"], process["cwd"]
            )
        )
    return {
        **{name: value for name, value in process.items() if name != "frontend"},
        "name": process.get("name") or app["name"],
        "cwd": directory,
        "env": {**(app.get("env") or {}), **(process.get("env") or {})},
    }


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Dict[str, Callable[..., Any]]:
        return {"processes": processes}
