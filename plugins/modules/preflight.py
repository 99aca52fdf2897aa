# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Whether a release could go live on this host, everything that is wrong told at once
version_added: 0.1.0
description:
  - Looks at the host before anything is staged or replaced there. It fails when something is wrong, with a sentence for
    each fault, so that none has to be found by the next attempt.
  - Changes nothing and starts no daemon. The only programs it runs are C(node --version) and C(python --version), and
    these only with O(runtime).
  - Works on a host that has nothing yet, also where O(path) does not exist.
extends_documentation_fragment:
  - zerodown.pm2.attributes
  - zerodown.pm2.pm2
attributes:
  check_mode:
    support: full
    details:
      - What an earlier task may be about to bring is a warning in check mode instead of a fault. That is PM2, Node and
        Python, linked files, and a directory to put O(path) in.
  diff_mode:
    support: N/A
    details: This module changes nothing.
  idempotent:
    support: full
    details: This module changes nothing.
options:
  path:
    description: The app's root, which must be writable, or the directory in which it will be made.
    type: path
    required: true
  disk:
    description: MiB that must be free on the file system of O(path).
    type: int
    default: 500
  inodes:
    description: How many more files it must be possible to make there. A C(node_modules) has many.
    type: int
    default: 10000
  memory:
    description: MiB of memory that must be available (C(MemAvailable) in C(/proc/meminfo)). With V(0) any will do.
    type: int
    default: 0
  ports:
    description:
      - TCP ports that the app will listen on. Each must be free, or be held by PM2's processes O(names) or their
        children. Of a cluster PM2's daemon holds it.
      - Looked at are the addresses that an app of this host is likely to want, any and loopback.
    type: list
    elements: int
    default: []
  names:
    description: The names of the app's processes in PM2's list.
    type: list
    elements: str
    default: []
  runtime:
    description:
      - Which versions will do. A version such as V(20) or V(3.12), of which as many numbers are looked at as are given.
        Or comparisons with C(>=), C(>), C(<=), C(<) or C(^) (the same first number, and not lower), and commas between
        them, all of which must hold, such as V(>=3.11,<3.13).
      - In YAML write them in quotes. V(20.10) without is the number 20.1.
    type: dict
    default: {}
    suboptions:
      node:
        description: Of O(node_executable), or the first C(node) on E(PATH).
        type: str
      python:
        description: Of O(python_executable).
        type: str
  python_executable:
    description: The Python of O(runtime.python), a path or a name that is looked for on E(PATH).
    type: str
    default: python3
  pm2:
    description: Whether PM2 must be there, in the version that its daemon runs, if one does.
    type: bool
    default: true
  linked_files:
    description: Files that must be in C(shared) of the app, relative to that.
    type: list
    elements: str
    default: []
  env_required:
    description: Names of variables that must be in O(env), and not be empty.
    type: list
    elements: str
    default: []
  env:
    description: The variables that are declared for the app, with those for its C(.env).
    type: dict
    default: {}
  clock:
    description:
      - The controller's time, seconds since 1970. In a template that is C(now().timestamp()). By default clocks are not
        compared.
      - What the connection takes makes the clock of the host look later than it is, never earlier.
    type: float
  clock_skew:
    description: Seconds by which the clocks may differ.
    type: float
    default: 30
  reach:
    description:
      - What must take a TCP connection from here, C(host:port), C([IPv6]:port) or a URL. All are tried at once.
      - A URL needs no port with http, https, postgres, postgresql, mysql, mongodb, redis, rediss, amqp or amqps. User
        and password in it are not used and not shown.
    type: list
    elements: str
    default: []
  reach_timeout:
    description: Seconds that each connection may take, the look-up of the name included.
    type: float
    default: 3
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: See whether the shop could go live here
  zerodown.pm2.preflight:
    path: /srv/shop
    disk: 2000
    memory: 300
    ports: [3000]
    names: [shop]
    runtime:
      node: '>=20'
    env_required: [DATABASE_URL]
    env:
      DATABASE_URL: "{{ database_url }}"
    clock: "{{ now().timestamp() }}"
    reach: ['db.internal:5432', 'https://api.example.com']
"""

RETURN = r"""
faults:
  description: All that is wrong, a sentence each.
  returned: always
  type: list
  elements: str
  sample: []
disk_free:
  description: MiB free on the file system of O(path).
  returned: always
  type: int
  sample: 18211
inodes_free:
  description: How many more files can be made there; null where the file system has no limit.
  returned: always
  type: int
  sample: 1203441
memory_available:
  description: MiB of memory that are available, or null.
  returned: always
  type: int
  sample: 1413
pm2:
  description: The version of PM2 on the host, or null.
  returned: always
  type: str
  sample: 7.0.4
pm2_daemon:
  description: The version of the daemon that runs, or null.
  returned: always
  type: str
  sample: 7.0.4
node:
  description: The version of Node. Null when it is not asked for or not there.
  returned: always
  type: str
  sample: 20.20.2
python:
  description: The version of Python. Null when it is not asked for or not there.
  returned: always
  type: str
  sample: 3.12.11
ports:
  description: V(free), V(own) or V(taken) of each port.
  returned: always
  type: list
  elements: dict
  sample:
    - {port: 3000, state: own}
clock_difference:
  description: Seconds by which the clock of the host looks later than the controller's, or null.
  returned: always
  type: float
  sample: 0.4
reach:
  description: How long each connection took. Null when there was none.
  returned: always
  type: list
  elements: dict
  sample:
    - {address: 'db.internal:5432', milliseconds: 1.9}
"""

import time
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.zerodown.pm2.plugins.module_utils import _reach, _version_range
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._module import COMMON_ARGUMENTS, narrow_no_log, run
from ansible_collections.zerodown.pm2.plugins.module_utils._preflight import RUNTIMES, Place, Preflight, Wanted
from ansible_collections.zerodown.pm2.plugins.module_utils._release import Layout


def main() -> None:
    begun = time.time()
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "disk": {"type": "int", "default": 500},
            "inodes": {"type": "int", "default": 10000},
            "memory": {"type": "int", "default": 0},
            "ports": {"type": "list", "elements": "int", "default": []},
            "names": {"type": "list", "elements": "str", "default": []},
            "runtime": {
                "type": "dict",
                "default": {},
                "options": {name: {"type": "str"} for name in RUNTIMES},
            },
            "python_executable": {"type": "str", "default": "python3"},
            "pm2": {"type": "bool", "default": True},
            "linked_files": {"type": "list", "elements": "str", "default": []},
            "env_required": {"type": "list", "elements": "str", "default": []},
            "env": {"type": "dict", "default": {}, "no_log": True},
            "clock": {"type": "float"},
            "clock_skew": {"type": "float", "default": 30.0},
            "reach": {"type": "list", "elements": "str", "default": []},
            "reach_timeout": {"type": "float", "default": 3.0},
            **COMMON_ARGUMENTS,
        },
        supports_check_mode=True,
    )
    addresses = {str(number): address for number, address in enumerate(module.params["reach"])}
    narrow_no_log(module, [module.params["env"], addresses])
    run(module, lambda _module: work(module, begun), hidden=["env"])


def work(module: AnsibleModule, begun: float) -> Dict[str, Any]:
    parameters = module.params
    place = Place(
        Home.of(parameters["pm2_home"]),
        parameters["pm2_executable"],
        parameters["node_executable"],
        parameters["python_executable"],
    )
    preflight = Preflight(_wanted(parameters), place, begun, module.warn)
    preflight.look()
    faults = preflight.faults
    if module.check_mode:
        for sentence in preflight.missing:
            module.warn(sentence)
    else:
        faults = preflight.missing + faults
    if faults:
        raise Pm2Error(" ".join(faults), faults=faults, **preflight.facts)
    return {"changed": False, "faults": [], **preflight.facts}


def _wanted(parameters: Dict[str, Any]) -> Wanted:
    """:raises Pm2Error: a value that makes no sense."""
    for name in ("disk", "inodes", "memory", "clock_skew"):
        if not parameters[name] >= 0:
            raise Pm2Error("{0} must be 0 or more.".format(name))
    if not 0 < parameters["reach_timeout"] <= 60:
        raise Pm2Error("reach_timeout must be above 0 and at most 60 seconds.")
    for port in parameters["ports"]:
        if not 0 < port < 65536:
            raise Pm2Error("ports must be from 1 to 65535, not {0}.".format(port))
    runtime = {name: text for name, text in parameters["runtime"].items() if text is not None}
    return Wanted(
        layout=Layout.at(parameters["path"]),
        disk=parameters["disk"],
        inodes=parameters["inodes"],
        memory=parameters["memory"],
        ports=list(dict.fromkeys(parameters["ports"])),
        names=parameters["names"],
        runtime={name: _version_range.parse(text, "runtime." + name) for name, text in runtime.items()},
        pm2=parameters["pm2"],
        linked_files=parameters["linked_files"],
        env_required=parameters["env_required"],
        env=parameters["env"],
        clock=parameters["clock"],
        clock_skew=parameters["clock_skew"],
        reach=[_reach.parse(text) for text in parameters["reach"]],
        reach_timeout=parameters["reach_timeout"],
    )


if __name__ == "__main__":
    main()
