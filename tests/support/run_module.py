# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run one module of the collection in a process of its own, as a host would, and give back its result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = ROOT / ".dev" / "collections"

# what AnsiballZ does on a host, less the zip file: hand over the arguments, run the module as __main__
_STUB = """
import json, runpy, sys
from ansible.module_utils import basic
basic._ANSIBLE_ARGS = sys.stdin.buffer.read()
basic._ANSIBLE_PROFILE = "legacy"
runpy.run_module("ansible_collections.zerodown.pm2.plugins.modules." + sys.argv[1], run_name="__main__")
"""


class ModuleFailed(AssertionError):
    """The module failed where the test expected success."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(f"{result.get('msg', 'it did not fail')}\n{json.dumps(result, indent=2)}")
        self.result = result


def run_module(
    name: str,
    /,
    check: bool = False,
    diff: bool = True,
    fails: bool = False,
    env: dict[str, str] | None = None,
    timeout: float = 300.0,
    prefix: Sequence[str] = (),
    prelude: str = "",
    options: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> dict[str, Any]:
    """The result of ``zerodown.pm2.<name>`` with these arguments.

    :param fails: whether the module is expected to fail; anything else is an AssertionError with the whole result.
    :param env: the environment of the "ssh session"; by default this process' own.
    :param prefix: a command that runs the module with other rights, such as setpriv(1).
    :param prelude: Python that is run before the module, in its process.
    :param options: more arguments of the module, for those whose names are taken here (``env``, ``timeout``).
    """
    payload = {
        "ANSIBLE_MODULE_ARGS": {**arguments, **(options or {}), "_ansible_check_mode": check, "_ansible_diff": diff}
    }
    process = subprocess.run(
        [*prefix, sys.executable, "-c", prelude + _STUB, name],
        input=json.dumps(payload).encode(),
        capture_output=True,
        check=False,
        timeout=timeout,
        env={**(os.environ if env is None else env), "PYTHONPATH": str(COLLECTIONS)},
    )
    try:
        result: dict[str, Any] = json.loads(process.stdout.decode().strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise AssertionError(
            f"module {name} printed no result (rc {process.returncode}):\n{process.stdout.decode()}\n"
            f"{process.stderr.decode()}"
        ) from None
    if bool(result.get("failed")) != fails:
        raise ModuleFailed(result)
    return result
