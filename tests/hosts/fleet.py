# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A set of hosts, whichever backend runs them: create, start until one can log in, describe to Ansible."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time

import recipes
from settings import USER, Backend, HostsError, Settings, ssh_options

# seconds from start until one can log in; 1 to 4 on an idle machine
LOGIN_TIMEOUT = 180


def create(settings: Settings, backend: Backend, wanted: list[str]) -> None:
    """:param wanted: ``NAME=BASE``, where a base is a suite or ``SUITE+RECIPE``."""
    pairs = []
    for text in wanted:
        name, _separator, base = text.partition("=")
        if not re.fullmatch(r"[a-z][a-z0-9-]*", name) or not re.fullmatch(r"[a-z]+(\+[a-z0-9]+)?", base):
            raise HostsError(f"{text!r}: say NAME=SUITE or NAME=SUITE+RECIPE, in lower case.")
        pairs.append((name, base))
    for base in sorted({base for _name, base in pairs}):
        ensure_base(settings, backend, base)
    for name, base in pairs:
        backend.create(name, recipes.base_name(base))
    start(settings, backend, [name for name, _base in pairs])


def ensure_base(settings: Settings, backend: Backend, base: str) -> None:
    """Build a suite's base, or bake one by its recipe: a playbook, run once on a host whose disk is then kept."""
    suite, _separator, recipe = base.partition("+")
    backend.build(suite)
    if not recipe:
        return
    with settings.lock(f"base-{base}"):
        if not backend.has_base(recipes.base_name(base)):
            name = f"bake-{suite}"
            backend.create(name, suite)
            start(settings, backend, [name])
            recipes.run_playbook(recipe, name)
            backend.bake(name, recipes.base_name(base))


def start(settings: Settings, backend: Backend, names: list[str]) -> None:
    for name in names:
        backend.start(name)
    _write_known_hosts(settings, backend)
    wait_for_login(settings, backend, names)


def wait_for_login(settings: Settings, backend: Backend, names: list[str]) -> None:
    for name in names:
        end = time.monotonic() + LOGIN_TIMEOUT
        login = [*ssh(settings, backend, name, "-q", "-o", "ConnectTimeout=20", "-o", "BatchMode=yes"), "true"]
        while not (_listens(*backend.address(name)) and subprocess.run(login, check=False).returncode == 0):
            if time.monotonic() > end or not backend.running(name):
                last = "\n".join(backend.console(name).splitlines()[-5:])
                raise HostsError(f"No login on {name} within {LOGIN_TIMEOUT} s. Its console:\n{last}")
            time.sleep(0.05)


def _listens(address: str, port: int) -> bool:
    """Asked before ssh, which would wait as long for a host that is not up yet as for a slow one."""
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def ssh(settings: Settings, backend: Backend, name: str, *options: str) -> list[str]:
    address, port = backend.address(name)
    return ["ssh", *ssh_options(settings), *options, "-i", str(settings.key), "-p", str(port), f"{USER}@{address}"]


def inventory(settings: Settings, backend: Backend) -> dict[str, object]:
    """What an inventory script prints."""
    names = list(backend.names())
    common = {
        "ansible_user": USER,
        "ansible_ssh_private_key_file": str(settings.key),
        "ansible_ssh_common_args": " ".join(ssh_options(settings)),
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    variables = {}
    for name in names:
        address, port = backend.address(name)
        variables[name] = {"ansible_host": address, "ansible_port": port}
    return {"testhosts": {"hosts": names, "vars": common}, "_meta": {"hostvars": variables}}


def _write_known_hosts(settings: Settings, backend: Backend) -> None:
    lines = []
    for name in backend.names():
        address, port = backend.address(name)
        kind, key = backend.host_key(name).split()[:2]
        lines.append(f"[{address}]:{port} {kind} {key}\n" if port != 22 else f"{address} {kind} {key}\n")
    # hosts of one set may be started at the same time
    unfinished = settings.known_hosts.with_suffix(f".{os.getpid()}")
    unfinished.write_text("".join(lines))
    unfinished.rename(settings.known_hosts)
