# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recipes of baked bases: playbooks, each with the files that its result depends on."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from settings import HERE, ROOT, HostsError, run

INPUTS = {
    "pm2": [
        *("roles/nodejs/defaults", "roles/nodejs/tasks", "roles/nodejs/vars"),
        *("roles/pm2/defaults", "roles/pm2/vars", "roles/pm2/tasks/install.yml", "roles/pm2/tasks/packages.yml"),
    ],
}


def base_name(base: str) -> str:
    """:param base: ``SUITE``, which is its own name, or ``SUITE+RECIPE``."""
    recipe = base.partition("+")[2]
    return f"{base}-{_key(recipe)}" if recipe else base


def run_playbook(recipe: str, host: str) -> None:
    os.environ.setdefault("ANSIBLE_COLLECTIONS_PATH", str(ROOT / ".dev" / "collections"))
    run("ansible-playbook", "--inventory", HERE / "inventory.sh", "--limit", host, HERE / "recipes" / f"{recipe}.yml")


def _key(recipe: str) -> str:
    if recipe not in INPUTS:
        raise HostsError(f"There is no recipe {recipe!r}, only {', '.join(INPUTS)}.")
    digest = hashlib.sha256()
    for path in [HERE / "customize.sh", HERE / "settings.py", HERE / "recipes" / f"{recipe}.yml", *_files(recipe)]:
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _files(recipe: str) -> list[Path]:
    files: list[Path] = []
    for name in INPUTS[recipe]:
        path = ROOT / name
        files += sorted(child for child in path.rglob("*") if child.is_file()) if path.is_dir() else [path]
    return files
