# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Package managers: which one a package is for, and the commands that install, run a script, and prune."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils import _tree
from ansible_collections.zerodown.pm2.plugins.module_utils._command import run
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import search_path, which
from ansible_collections.zerodown.pm2.plugins.module_utils._release import identity

LOCKFILES = {
    # npm prefers the first where both are (npm-shrinkwrap.json(5))
    "npm": ["npm-shrinkwrap.json", "package-lock.json"],
    "pnpm": ["pnpm-lock.yaml"],
    "yarn": ["yarn.lock"],
}
# read by an install, beside lockfile and package.json
_SETTINGS = [".npmrc", ".yarnrc", ".yarnrc.yml", ".pnpmfile.cjs", "pnpm-workspace.yaml", ".yarn/patches", "patches"]
_SETTING_VARIABLE = re.compile(r"(npm_config|yarn|pnpm)_", re.IGNORECASE)
# those of the package itself that an install runs, in this order (npm: scripts(7), "npm ci"; pnpm and Yarn 1 run
# these too)
LIFECYCLE = ["preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare"]


@dataclass(frozen=True)
class Choice:
    """:ivar name: npm, pnpm or yarn.
    :ivar lockfile: its file name; None when there is none.
    """

    name: str
    lockfile: Optional[str]


@dataclass(frozen=True)
class PackageManager:
    """:ivar argv: how it is called, before its own arguments.
    :ivar version: of the program.
    :ivar package: the content of package.json.
    """

    choice: Choice
    argv: List[str]
    version: str
    package: Dict[str, Any]

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

    def install(self, extra: List[str]) -> List[str]:
        """A clean install with development dependencies, whatever NODE_ENV and the user's settings say."""
        locked = self.choice.lockfile is not None
        if self.choice.name == "npm":
            arguments = ["ci" if locked else "install", "--include=dev", "--no-audit", "--no-fund"]
        elif self.choice.name == "pnpm":
            arguments = ["install", "--frozen-lockfile" if locked else "--no-frozen-lockfile", "--prod=false"]
        elif self.major == 1:
            arguments = ["install", "--non-interactive", "--production=false"] + ["--frozen-lockfile"] * locked
        else:
            arguments = ["install", "--immutable" if locked else "--no-immutable"]
        return self.argv + arguments + extra

    def script(self, name: str) -> List[str]:
        return self.argv + ["run", name]

    def prune(self) -> List[str]:
        """Remove development dependencies from what is installed."""
        if self.choice.name == "npm":
            return self.argv + ["prune", "--omit=dev", "--no-audit", "--no-fund"]
        if self.choice.name == "pnpm":
            return self.argv + ["prune", "--prod", "--ignore-scripts"]
        if self.major == 1:
            return self.argv + ["install", "--production", "--frozen-lockfile", "--ignore-scripts", "--prefer-offline"]
        return self.argv + ["workspaces", "focus", "--production"]

    def lifecycle(self) -> Dict[str, List[str]]:
        """The package's own scripts that an install would run, name to command, for when there was no install."""
        scripts = self.package.get("scripts") or {}
        quiet = {"npm": ["--ignore-scripts"], "pnpm": ["--config.enable-pre-post-scripts=false"]}.get(
            self.choice.name, []
        )
        names = LIFECYCLE if self.choice.name != "yarn" else _yarn_lifecycle(self.major)
        return {name: self.argv + ["run"] + quiet + [name] for name in names if name in scripts}


def _yarn_lifecycle(major: int) -> List[str]:
    return LIFECYCLE[:4] + ["prepare"] if major == 1 else LIFECYCLE[:3]


def read_package(directory: str) -> Optional[Dict[str, Any]]:
    """package.json; None when there is none.

    :raises Pm2Error: it is not JSON.
    """
    path = os.path.join(directory, "package.json")
    try:
        with open(path, encoding="utf-8") as stream:
            content = json.load(stream)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise Pm2Error("{0} cannot be read: {1}.".format(path, error)) from error
    if not isinstance(content, dict):
        raise Pm2Error("{0} must hold an object.".format(path))
    return content


def choose(present: List[str], package: Dict[str, Any], declared: str, lockfile_required: bool) -> Choice:
    """Which package manager, by what lies beside package.json.

    :param present: names of the files there.
    :param declared: npm, pnpm, yarn, or auto.
    :raises Pm2Error: it cannot be told, or the lockfile is missing.
    """
    lockfiles = {name: next((item for item in items if item in present), None) for name, items in LOCKFILES.items()}
    named = str(package.get("packageManager") or "").split("@", maxsplit=1)[0]
    if declared == "auto":
        candidates = [name for name in LOCKFILES if lockfiles[name]] or ([named] if named in LOCKFILES else ["npm"])
        if len(candidates) > 1:
            if named not in candidates:
                raise Pm2Error(
                    "There are several lockfiles ({0}); remove all but one, or set package_manager.".format(
                        ", ".join(str(lockfiles[name]) for name in candidates)
                    )
                )
            candidates = [named]
        declared = candidates[0]
    if lockfiles[declared] is None and lockfile_required:
        raise Pm2Error(
            "There is no lockfile for {0} ({1}); commit it, or set lockfile_required to false.".format(
                declared, " or ".join(LOCKFILES[declared])
            )
        )
    return Choice(declared, lockfiles[declared])


def find(choice: Choice, directory: str, package: Dict[str, Any], node: str, env: Dict[str, str]) -> PackageManager:
    """The program, and its version.

    :param node: the Node binary; a package manager beside it comes first.
    :raises Pm2Error: not there, or too old for the lockfile.
    """
    argv = _bundled_yarn(directory, node) if choice.name == "yarn" else None
    if argv is None:
        found = which(choice.name, [os.path.dirname(node)] + search_path())
        if not found:
            raise Pm2Error(
                "{0} was not found beside {1} or on PATH; install it, or set package_manager.".format(choice.name, node)
            )
        argv = [found]
    version = run(argv + ["--version"], env, cwd=directory).stdout.strip().splitlines()[-1:]
    if not version or not re.match(r"\d+\.\d+", version[0]):
        raise Pm2Error("{0} --version does not print a version.".format(" ".join(argv)))
    manager = PackageManager(choice, argv, version[0], package)
    _check_version(manager, directory)
    return manager


def _check_version(manager: PackageManager, directory: str) -> None:
    lowest = {"npm": 7, "pnpm": 8, "yarn": 1}[manager.choice.name]
    if manager.major < lowest:
        raise Pm2Error(
            "{0} is version {1}, and {2} or newer is needed; update it.".format(
                " ".join(manager.argv), manager.version, lowest
            )
        )
    if manager.choice.name == "yarn" and manager.choice.lockfile:
        with open(os.path.join(directory, manager.choice.lockfile), encoding="utf-8", errors="replace") as stream:
            modern = "\n__metadata:" in stream.read(4096)
        if modern != (manager.major > 1):
            raise Pm2Error(
                "yarn.lock is of Yarn {0}, and {1} is version {2}; install the other one, or commit it to the "
                "repository (yarnPath in .yarnrc.yml).".format(
                    "2 or newer" if modern else "1", " ".join(manager.argv), manager.version
                )
            )


def _bundled_yarn(directory: str, node: str) -> Optional[List[str]]:
    """The Yarn that the repository brings along (``yarnPath``, Yarn's documentation of .yarnrc.yml)."""
    try:
        with open(os.path.join(directory, ".yarnrc.yml"), encoding="utf-8") as stream:
            found = re.search(r"""^yarnPath:\s*["']?([^"'\s]+)""", stream.read(), re.MULTILINE)
    except OSError:
        return None
    return [node, os.path.join(directory, found.group(1))] if found else None


def cache_key(
    manager: PackageManager,
    directory: str,
    node: Dict[str, str],
    extra: List[str],
    inputs: List[str],
    env: Dict[str, str],
) -> str:
    """A digest of all that an install depends on.

    :param node: version, platform, arch and libc of Node.
    :param extra: more arguments of the install.
    :param inputs: more files or directories, relative to ``directory``.
    :param env: declared variables; only settings of package managers count.
    """
    names = [str(manager.choice.lockfile), *_SETTINGS, *inputs, *_package_files(directory)]
    return identity(
        {
            "manager": [manager.choice.name, manager.version],
            "node": node,
            "arguments": extra,
            "files": {name: _tree.content_digest(os.path.join(directory, name)) for name in names},
            "settings": {name: value for name, value in env.items() if _SETTING_VARIABLE.match(name)},
        }
    )[:40]


def _package_files(directory: str) -> List[str]:
    """Each package.json: with workspaces there are several."""
    return [
        os.path.relpath(entry.path, directory)
        for entry in _tree.walk(directory, ["node_modules", ".git"])
        if entry.name == "package.json" and entry.is_file(follow_symlinks=False)
    ]
