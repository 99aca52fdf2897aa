# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which versions a lockfile holds, and what differs between two of them."""

from __future__ import annotations

import json
import re
from typing import Any, Callable, Dict, Iterator, List, Tuple

Versions = Dict[str, List[str]]

# the first one of a language that is there counts, as for the build
NODE = ("package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "yarn.lock")
PYTHON = ("uv.lock", "requirements.txt", "poetry.lock", "Pipfile.lock")


def versions(name: str, text: str) -> Versions:
    """
    :param name: of the lockfile.
    :returns: by package the versions that are installed, sorted; one that cannot be read holds none.
    """
    found: Dict[str, List[str]] = {}
    try:
        for package, version in _READERS[name](text):
            found.setdefault(package, []).append(version)
    except (ValueError, AttributeError, TypeError):
        return {}
    return {package: sorted(set(items)) for package, items in found.items()}


def difference(before: Versions, after: Versions) -> List[Dict[str, Any]]:
    """Package by package ``name``, ``before`` and ``after``, in order of the names."""
    return [
        {"name": name, "before": before.get(name, []), "after": after.get(name, [])}
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def _of_npm(text: str) -> Iterator[Tuple[str, str]]:
    content = json.loads(text)
    for path, entry in (content.get("packages") or {}).items():
        # the project itself, and links to its workspaces, have no version of their own here
        if "node_modules/" in path and entry.get("version"):
            yield path.rpartition("node_modules/")[2], str(entry["version"])
    if "packages" not in content:
        yield from _of_npm_1(content.get("dependencies") or {})


def _of_npm_1(dependencies: Dict[str, Any]) -> Iterator[Tuple[str, str]]:
    for name, entry in dependencies.items():
        yield name, str(entry.get("version"))
        yield from _of_npm_1(entry.get("dependencies") or {})


def _of_pnpm(text: str) -> Iterator[Tuple[str, str]]:
    section = re.search(r"^packages:\n(.*?)(?=^\S|\Z)", text, re.M | re.S)
    for name, version in re.findall(r"^  '?/?(@?[^@\s']+)@([^\s:'(]+)", section.group(1) if section else "", re.M):
        yield name, version


def _of_yarn(text: str) -> Iterator[Tuple[str, str]]:
    for name, version in re.findall(r'^"?(@?[^@"\s,]+)@[^\n]*:\n\s+version:? "?([^"\n]+)"?', text, re.M):
        # of Yarn 2 or newer; the project itself is among them
        if version != "0.0.0-use.local":
            yield name, version


def _of_toml(text: str) -> Iterator[Tuple[str, str]]:
    """uv's and Poetry's are lists of tables of the same form. Python 3.8 reads no TOML."""
    for block in text.split("[[package]]")[1:]:
        name = re.search(r'^name = "([^"]+)"', block, re.M)
        version = re.search(r'^version = "([^"]+)"', block, re.M)
        if name and version and not re.search(r"^source = \{ (virtual|editable) =", block, re.M):
            yield name.group(1), version.group(1)


def _of_requirements(text: str) -> Iterator[Tuple[str, str]]:
    for name, version in re.findall(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?\s*==\s*([^\s;\\#]+)", text, re.M):
        yield re.sub(r"[-_.]+", "-", name).lower(), version


def _of_pipenv(text: str) -> Iterator[Tuple[str, str]]:
    for name, entry in (json.loads(text).get("default") or {}).items():
        if entry.get("version"):
            yield name, str(entry["version"]).lstrip("=")


_READERS: Dict[str, Callable[[str], Iterator[Tuple[str, str]]]] = {
    "package-lock.json": _of_npm,
    "npm-shrinkwrap.json": _of_npm,
    "pnpm-lock.yaml": _of_pnpm,
    "yarn.lock": _of_yarn,
    "uv.lock": _of_toml,
    "poetry.lock": _of_toml,
    "requirements.txt": _of_requirements,
    "Pipfile.lock": _of_pipenv,
}
