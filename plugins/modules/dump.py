# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dump
short_description: The process list that PM2 brings back at boot
version_added: 0.1.0
description:
  - Saves PM2's live process list, so that it comes back after a reboot or when the daemon was killed; or brings the
    saved list back; or forgets it.
  - "C(pm2 save) writes the whole environment of whoever runs it, twice, into a file that everybody may read, and in
    place: a full disk leaves it empty. PM2 then runs that file as JavaScript. This module writes plain JSON with mode
    0600, in one step (a power cut leaves the old list or the new one), and reads it back. It holds what was declared
    for each app, and its environment only once. The list before it is kept beside it (C(dump.pm2.bak)) and takes its
    place when it is damaged."
  - The file stays in PM2's own form, so that C(pm2 resurrect) reads it too.
  - PM2's own modules (see M(zerodown.pm2.plugin)) are no part of it; they come back by themselves.
extends_documentation_fragment:
  - zerodown.pm2.attributes
  - zerodown.pm2.pm2
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows names, numbers of instances and names of what differs, never a value.
  idempotent:
    support: full
options:
  state:
    description:
      - V(saved) makes the saved list equal to the live one. What is volatile (times, counters, ids) is not compared.
        An app that was stopped on purpose is saved as stopped and stays so after a boot. One that is down by
        accident (errored, waiting for a restart, without a process) is saved as one that shall run, with a warning.
        An empty list is saved as empty. Needs a running daemon.
      - V(resurrected) starts every saved process that PM2 does not have, and waits until all of them stay up. Starts
        the daemon if none runs. An entry whose script, directory or interpreter is missing is left out and reported.
      - V(absent) removes the saved list and its backup. What runs goes on running.
    type: str
    choices: [saved, resurrected, absent]
    default: saved
  timeout:
    description: Seconds that starting the daemon, and then bringing the list back, may take with
      O(state=resurrected).
    type: float
    default: 60
author:
  - The zerodown.pm2 contributors (@zerodown)
seealso:
  - module: zerodown.pm2.startup
"""

EXAMPLES = r"""
- name: What runs now comes back after a reboot
  zerodown.pm2.dump:
    state: saved
  become: true
  become_user: app

- name: Bring back what was saved
  zerodown.pm2.dump:
    state: resurrected
"""

RETURN = r"""
dump_file:
  description: The file with the saved list.
  returned: success
  type: str
  sample: /home/app/.pm2/dump.pm2
processes:
  description: The list by name, with the number of instances and how many of them are saved as stopped.
  returned: success
  type: dict
  sample: {"web": {"instances": 2, "stopped": 0}}
started:
  description: Names of what was started, one for each process.
  returned: O(state=resurrected)
  type: list
  elements: str
skipped:
  description: A sentence for each saved process that was left out because something it needs is missing.
  returned: O(state=resurrected)
  type: list
  elements: str
recovered_from:
  description: The backup, when the dump itself could not be used.
  returned: O(state=resurrected) and the dump was damaged or refused
  type: str
"""

import os
from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.zerodown.pm2.plugins.module_utils import _dump
from ansible_collections.zerodown.pm2.plugins.module_utils._client import Client, connect
from ansible_collections.zerodown.pm2.plugins.module_utils._daemon import ensure_running
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import DaemonNotRunning, Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import find_pm2
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._module import COMMON_ARGUMENTS, run
from ansible_collections.zerodown.pm2.plugins.module_utils._resurrect import resurrect, wait_until_back
from ansible_collections.zerodown.pm2.plugins.module_utils._save import look, save


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **COMMON_ARGUMENTS,
            "state": {"type": "str", "choices": ["saved", "resurrected", "absent"], "default": "saved"},
            "timeout": {"type": "float", "default": 60.0},
        },
        supports_check_mode=True,
    )
    run(module, work)


def work(module: AnsibleModule) -> Dict[str, Any]:
    home = Home.of(module.params["pm2_home"])
    home.check_owner()
    states = {"saved": saved, "resurrected": resurrected, "absent": absent}
    return states[module.params["state"]](module, home)


def client_of(module: AnsibleModule, home: Home) -> Client:
    parameters = module.params
    return connect(home, lambda: find_pm2(parameters["pm2_executable"], parameters["node_executable"]), module.warn)


def saved(module: AnsibleModule, home: Home) -> Dict[str, Any]:
    before = readable_entries(module, home)
    client = client_of(module, home)
    try:
        if module.check_mode:
            snapshot = look(client)
            changed = not _dump.is_saved(home, snapshot.entries)
        else:
            snapshot, changed = save(home, client)
    except DaemonNotRunning as error:
        if not module.check_mode:
            raise DaemonNotRunning(
                "{0} Only a live list can be saved; start the daemon (module zerodown.pm2.daemon).".format(
                    error.message
                )
            ) from error
        # on a host that is yet to be provisioned, an earlier task would have started it
        module.warn("{0} What would be saved is known when it runs.".format(error.message))
        return result(home, before, before, not os.path.exists(home.dump))
    for sentence in snapshot.accidents:
        module.warn(sentence)
    return result(home, before, snapshot.entries, changed)


def readable_entries(module: AnsibleModule, home: Home) -> List[_dump.Entry]:
    """What is saved now, for the diff; a dump that is damaged or refused counts as nothing, and is told."""
    try:
        return _dump.read(home.dump, os.geteuid()) or []
    except Pm2Error as error:
        module.warn("{0} It is replaced.".format(error.message))
        return []


def resurrected(module: AnsibleModule, home: Home) -> Dict[str, Any]:
    parameters = module.params
    stored = _dump.load(home)
    for sentence in stored.problems:
        module.warn(sentence)
    client = client_of(module, home)
    install = find_pm2(parameters["pm2_executable"], parameters["node_executable"])
    started_daemon = False
    live: List[_dump.Entry] = []
    if client.is_running():
        live = live_entries(client)
    elif not module.check_mode:
        started_daemon = ensure_running(home, install, parameters["timeout"])
        live = live_entries(client)
    absent_ones = _dump.missing(stored.entries, live)
    extra = {"recovered_from": stored.path} if stored.problems else {}
    if module.check_mode:
        changed = bool(absent_ones) or not client.is_running()
        started = [str(entry["name"]) for entry in absent_ones]
        return result(home, live, live + absent_ones, changed, started=started, skipped=[], **extra)
    report = resurrect(client, stored.entries, parameters["timeout"])
    lost = wait_until_back(client, report.expected, parameters["timeout"])
    if report.failed or lost:
        raise Pm2Error(
            "Not every saved process came back: {0}".format(" ".join(report.failed + lost)),
            started=report.started,
            skipped=report.skipped,
        )
    for sentence in report.skipped:
        module.warn("Left out: {0}".format(sentence))
    changed = started_daemon or bool(report.started)
    return result(home, live, live_entries(client), changed, started=report.started, skipped=report.skipped, **extra)


def live_entries(client: Client) -> List[_dump.Entry]:
    return _dump.snapshot([client.processes()]).entries


def absent(module: AnsibleModule, home: Home) -> Dict[str, Any]:
    before = readable_entries(module, home)
    changed = any(os.path.lexists(path) for path in (home.dump, home.dump_backup))
    if changed and not module.check_mode:
        _dump.remove(home)
    return result(home, before, [], changed)


def result(
    home: Home, before: List[_dump.Entry], after: List[_dump.Entry], changed: bool, **more: Any
) -> Dict[str, Any]:
    differing = _dump.differing_keys(before, after)
    shown = _dump.summary(after)
    return {
        "changed": changed,
        "dump_file": home.dump,
        "processes": shown,
        "diff": {
            "before": _dump.summary(before),
            "after": {
                label: {**counts, "changed": differing[label]} if label in differing else counts
                for label, counts in shown.items()
            },
        },
        **more,
    }


if __name__ == "__main__":
    main()
