# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: daemon
short_description: The PM2 daemon of a user, running, stopped or updated
version_added: 0.1.0
description:
  - Starts the daemon, at most one, whoever else tries at the same moment; four C(pm2) commands at once start four.
    It gets a small documented environment instead of that of the ssh session, which cluster workers would inherit.
  - If a unit of M(zerodown.pm2.startup) manages O(pm2_home), the daemon is started, stopped and replaced by systemd.
  - Runs as the user whose daemon it is, or as root with O(pm2_home) set; as root everything but C(systemctl) is done
    with that user's rights.
extends_documentation_fragment:
  - zerodown.pm2.attributes
  - zerodown.pm2.pm2
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - V(running) makes sure that a daemon answers. It has the saved apps if its unit started it; else see
        M(zerodown.pm2.dump). There is a warning if it runs another PM2 or Node than the installed one.
      - V(updated) makes sure that the daemon runs the PM2 and the Node that are installed. If it does not, the live
        list is saved, and daemon and apps are restarted, B(which is an outage of every app); then it is looked that
        each is back and stays up.
      - V(stopped) saves the live list and ends every app, each with its C(kill_timeout), and the daemon. A unit is
        not disabled by this and starts all again at boot. To stop a unit in system scope takes root.
    type: str
    choices: [running, updated, stopped]
    default: running
  pm2_home:
    description:
      - The directory in which the PM2 daemon keeps its sockets, its saved process list and its logs.
      - The default is C(~/.pm2) of the user who runs the task. The environment variable E(PM2_HOME) is not looked at.
      - Must belong to the user who runs the task, unless that is root.
  timeout:
    description: Seconds for the daemon to start; for the apps to end; and for the apps to come back.
    type: float
    default: 60
author:
  - The zerodown.pm2 contributors (@zerodown)
seealso:
  - module: zerodown.pm2.startup
  - module: zerodown.pm2.dump
"""

EXAMPLES = r"""
- name: A daemon runs
  zerodown.pm2.daemon:
  become: true
  become_user: app

- name: After PM2 or Node was upgraded, the daemon and the apps run on the new one
  zerodown.pm2.daemon:
    state: updated
    pm2_home: /home/app/.pm2
  become: true
"""

RETURN = r"""
running:
  description: Whether a daemon runs now.
  returned: success
  type: bool
version:
  description: The version of PM2 that the daemon runs; empty if none runs.
  returned: success
  type: str
  sample: 7.0.4
node_version:
  description: The version of Node that the daemon runs on; empty if none runs.
  returned: success
  type: str
  sample: 24.8.0
pid:
  description: Of the daemon; 0 if none runs.
  returned: success
  type: int
unit:
  description: The systemd unit that the daemon is the main process of; empty if there is none.
  returned: success
  type: str
  sample: pm2-app.service
installed_version:
  description: The version of PM2 on disk.
  returned: O(state=running) or O(state=updated), and PM2 is installed
  type: str
outage:
  description: Seconds between the order to stop and the moment when the last app's process had been started again.
    What an app needs to be ready comes on top.
  returned: O(state=updated) and the daemon was replaced
  type: float
  sample: 0.912
daemon_log:
  description: The end of the daemon's log.
  returned: failure to start
  type: list
  elements: str
"""

from typing import Any, Dict, Optional

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.zerodown.pm2.plugins.module_utils import _upkeep
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import Pm2Install, find_pm2
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._module import COMMON_ARGUMENTS, run
from ansible_collections.zerodown.pm2.plugins.module_utils._upkeep import Running


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **COMMON_ARGUMENTS,
            "state": {"type": "str", "choices": ["running", "updated", "stopped"], "default": "running"},
            "timeout": {"type": "float", "default": 60.0},
        },
        supports_check_mode=True,
    )
    run(module, work)


def work(module: AnsibleModule) -> Dict[str, Any]:
    home = Home.of(module.params["pm2_home"])
    owner = _upkeep.owner_of(home)
    before = _upkeep.look(home, owner)
    if module.params["state"] == "stopped":
        return stopped(module, home, owner, before)
    install = install_of(module)
    if install is None:
        return {**result(before, before or Running("", "", 0, None)), "changed": before is None}
    if before is None:
        return started(module, home, owner, install)
    if not differs(before, install):
        return {**result(before, before), "installed_version": install.version, "changed": False}
    if module.params["state"] == "running":
        module.warn(
            "The daemon runs PM2 {0} on Node {1}, but PM2 {2} on Node {3} is installed; use state: updated.".format(
                before.version, before.node_version, install.version, _upkeep.installed_node_version(install)
            )
        )
        return {**result(before, before), "installed_version": install.version, "changed": False}
    return updated(module, home, owner, before, install)


def install_of(module: AnsibleModule) -> Optional[Pm2Install]:
    """``None`` in check mode on a host that has no PM2 yet; an earlier task would have installed it."""
    try:
        return find_pm2(module.params["pm2_executable"], module.params["node_executable"])
    except Pm2Error as error:
        if not module.check_mode:
            raise
        module.warn(error.message)
        return None


def differs(running: Running, install: Pm2Install) -> bool:
    return (running.version, running.node_version) != (install.version, _upkeep.installed_node_version(install))


def started(module: AnsibleModule, home: Home, owner: str, install: Pm2Install) -> Dict[str, Any]:
    after = Running(install.version, _upkeep.installed_node_version(install), 0, None)
    if not module.check_mode:
        _upkeep.start(home, owner, install, module.params["timeout"])
        after = _upkeep.look(home, owner) or after
    return {**result(None, after), "installed_version": install.version, "changed": True}


def updated(module: AnsibleModule, home: Home, owner: str, before: Running, install: Pm2Install) -> Dict[str, Any]:
    if module.check_mode:
        after: Optional[Running] = Running(
            install.version, _upkeep.installed_node_version(install), before.pid, before.unit
        )
        return {**result(before, after), "installed_version": install.version, "changed": True}
    outage = _upkeep.update(home, owner, before, install, module.params["timeout"])
    return {
        **result(before, _upkeep.look(home, owner)),
        "installed_version": install.version,
        "outage": outage,
        "changed": True,
    }


def stopped(module: AnsibleModule, home: Home, owner: str, before: Optional[Running]) -> Dict[str, Any]:
    if before is not None and not module.check_mode:
        for sentence in _upkeep.stop(home, owner, before, module.params["timeout"]):
            module.warn(sentence)
    return {**result(before, None), "changed": before is not None}


def result(before: Optional[Running], after: Optional[Running]) -> Dict[str, Any]:
    return {
        "running": after is not None,
        "version": after.version if after else "",
        "node_version": after.node_version if after else "",
        "pid": after.pid if after else 0,
        "unit": after.unit.name if after and after.unit else "",
        "diff": {"before": shown(before), "after": shown(after)},
    }


def shown(running: Optional[Running]) -> Dict[str, Any]:
    if running is None:
        return {"state": "stopped"}
    return {"state": "running", "version": running.version, "node_version": running.node_version}


if __name__ == "__main__":
    main()
