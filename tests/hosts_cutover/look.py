# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs on a host, as the user of the apps: prints what is there, as fleet.py's ``State`` has it.

usage: look.py ROOT (the app's)
"""

import json
import os
import subprocess
import sys
from pathlib import Path

HOME = Path.home() / ".pm2"
ROOT = Path(sys.argv[1])


def processes() -> list:
    """As PM2 shows them to a person."""
    output = subprocess.run(["pm2", "jlist"], cwd="/", capture_output=True, check=True, text=True).stdout
    return list(json.loads(output[output.index("[") :]))


def told(process: dict) -> dict:
    env = process["pm2_env"]
    return {
        "name": process["name"],
        "pid": process["pid"],
        "status": env["status"],
        "restarts": env["restart_time"],
        "mode": env["exec_mode"],
        "instance": env["NODE_APP_INSTANCE"],
        "release": os.path.basename(env["pm_cwd"]),
        "generation": env["zerodown_generation"],
        "greeting": env["GREETING"],
        "log": os.path.basename(env["pm_out_log_path"]),
    }


def owned() -> list:
    """[pid, command] of all that the user runs; not of this process."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if entry.stat().st_uid == os.getuid() and int(entry.name) != os.getpid():
                found.append([int(entry.name), (entry / "cmdline").read_text().replace("\0", " ").strip()])
        except OSError:
            pass
    # a zombie has no command
    return [item for item in found if item[1]]


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


# the command line of PM2 would start a daemon of its own
unit = subprocess.run(
    ["systemctl", "is-active", "pm2-shop"], capture_output=True, check=False, text=True
).stdout.strip()
listed = [told(process) for process in processes()] if unit == "active" else []
print(
    json.dumps(
        {
            "unit": unit,
            "processes": sorted(listed, key=lambda process: process["instance"]),
            "daemon": int(read(HOME / "pm2.pid") or 0),
            "owned": owned(),
            "gate": sorted(os.listdir(HOME / "gate")),
            "lock": read(HOME / "gate" / "web.lock"),
            "dump": [
                [entry["name"], os.path.basename(entry["pm_cwd"]), entry["zerodown_generation"], entry["status"]]
                for entry in json.loads(read(HOME / "dump.pm2"))
            ],
            "current": os.path.basename(os.readlink(ROOT / "current")),
            "deploys": [json.loads(line) for line in read(ROOT / "deploys.jsonl").splitlines()],
        }
    )
)
