# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a rollout takes by the number of hosts and of batches: hosts that share this machine, without ssh. Run in
tests/ as ``python -m bench.fleet [HOSTS...]``; one line for each rollout, with the ratio to the first."""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path

from support.fleet import Fleet, fleet_of

SIZES = ([1], [1, "100%"], [1, "25%", "100%"], [1, "25%", "25%", "100%"])


def rollout(fleet: Fleet, version: str) -> tuple[float, int]:
    """Seconds, and the number of tasks that Ansible told."""
    fleet.commit(version)
    start = time.monotonic()
    output = fleet.succeeds("deploy")
    return time.monotonic() - start, len(re.findall(r"^TASK \[", output, re.M))


def main(arguments: list[str]) -> None:
    first = 0.0
    number = 0
    print("hosts  batches  seconds  ratio  tasks")
    for count in [int(argument) for argument in arguments] or [1, 5, 20]:
        with tempfile.TemporaryDirectory() as directory, fleet_of(count, Path(directory)) as fleet:
            rollout(fleet, "first")
            for sizes in SIZES if count > 1 else SIZES[:1]:
                # the first one alone would be a batch for each host
                fleet.variables["deploy_batches"] = sizes if len(sizes) > 1 else ["100%"]
                number += 1
                seconds, tasks = rollout(fleet, f"v{number}")
                first = first or seconds
                batches = 1 if count == 1 else len(sizes)
                print(f"{count:5}  {batches:7}  {seconds:7.1f}  {seconds / first:5.2f}  {tasks:5}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
