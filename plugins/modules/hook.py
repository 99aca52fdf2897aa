# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hook
short_description: Run a command of a deploy hook
version_added: 0.1.0
description:
  - Runs a program with the event of a deploy in its environment, and within a time limit that ends all its processes.
  - No shell sees it, and its variables are in no process list and no log.
  - The role P(zerodown.pm2.app#role) runs hooks with C(argv) by it.
extends_documentation_fragment:
  - zerodown.pm2.attributes
attributes:
  check_mode:
    support: full
    details: The program is not run.
  diff_mode:
    support: none
  idempotent:
    support: none
options:
  argv:
    description: The program and its arguments. They are shown; what is secret belongs into O(env).
    type: list
    elements: str
    required: true
  chdir:
    description: The working directory. By default the home directory of the user, which a relative one is relative to.
    type: str
  env:
    description: Variables for it.
    type: dict
    default: {}
  event:
    description:
      - What happened, for example C(release). Each becomes a variable, C(ZERODOWN_RELEASE).
    type: dict
    default: {}
  inherit:
    description:
      - Whether the program also gets the environment of the session.
      - By default it has E(PATH), E(HOME), E(USER), E(LOGNAME), E(SHELL) and E(LANG), and what is declared.
    type: bool
    default: false
  node_executable:
    description: A Node, whose directory comes first on the E(PATH).
    type: path
  timeout:
    description: Seconds that it may take. Then it and all that it started are killed.
    type: float
    default: 300
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: Warm the cache
  zerodown.pm2.hook:
    argv: [npm, run, warm]
    chdir: /srv/shop/current
    event:
      app: shop
      phase: before_cutover
    timeout: 60
"""

RETURN = r"""
rc:
  description: Its return code.
  returned: when it ended by itself
  type: int
stdout_tail:
  description: The last lines of its output.
  returned: always, unless it could not be run
  type: list
  elements: str
stderr_tail:
  description: The last lines of its error output.
  returned: always, unless it could not be run
  type: list
  elements: str
"""

import os
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.zerodown.pm2.plugins.module_utils._command import TAIL_LINES
from ansible_collections.zerodown.pm2.plugins.module_utils._command import run as run_command
from ansible_collections.zerodown.pm2.plugins.module_utils._environment import base_environment, declared
from ansible_collections.zerodown.pm2.plugins.module_utils._module import narrow_no_log, run


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "argv": {"type": "list", "elements": "str", "required": True},
            "chdir": {"type": "str"},
            "env": {"type": "dict", "default": {}, "no_log": True},
            "event": {"type": "dict", "default": {}},
            "inherit": {"type": "bool", "default": False},
            "node_executable": {"type": "path"},
            "timeout": {"type": "float", "default": 300.0},
        },
        supports_check_mode=True,
    )
    narrow_no_log(module, [module.params["env"]])
    run(module, work, hidden=["env"])


def work(module: AnsibleModule) -> Dict[str, Any]:
    parameters = module.params
    node = parameters["node_executable"]
    environment = base_environment([os.path.dirname(node)] if node else [])
    if parameters["inherit"]:
        environment.update(os.environ)
    environment.update(declared(event_variables(parameters["event"]), "event"))
    environment.update(declared(parameters["env"], "env"))
    if module.check_mode:
        return {"changed": True}
    done = run_command(
        parameters["argv"],
        environment,
        cwd=os.path.join(environment["HOME"], parameters["chdir"] or ""),
        timeout=parameters["timeout"],
    )
    return {
        "changed": True,
        "rc": done.rc,
        "stdout_tail": done.stdout.splitlines()[-TAIL_LINES:],
        "stderr_tail": done.stderr.splitlines()[-TAIL_LINES:],
    }


def event_variables(event: Dict[str, Any]) -> Dict[str, Any]:
    """Nothing that is not known is left out, so that a program need not look whether a variable is there."""
    return {"ZERODOWN_" + name.upper(): "" if value is None else value for name, value in event.items()}


if __name__ == "__main__":
    main()
