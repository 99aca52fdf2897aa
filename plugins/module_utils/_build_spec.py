# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A build as it is declared, and as it will be run: plain data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._release import identity


@dataclass(frozen=True)
class Command:
    """A step as it is declared.

    :ivar directory: relative to the release; None for the build's own.
    :ivar timeout: seconds; None for the build's own.
    """

    name: str
    argv: List[str]
    env: Dict[str, str]
    directory: Optional[str]
    timeout: Optional[float]


@dataclass(frozen=True)
class PythonSpec:
    """What is declared about Python; the fields are the suboptions of ``python``.

    :ivar directory: relative to the release; None for the build's own.
    :ivar requirements: files to install from instead of what is found.
    :ivar project: None for what the lockfile says.
    """

    installer: str = "auto"
    directory: Optional[str] = None
    venv: str = ".venv"
    executable: Optional[str] = None
    requirements: List[str] = field(default_factory=list)
    extras: List[str] = field(default_factory=list)
    groups: List[str] = field(default_factory=list)
    project: Optional[bool] = None
    install_args: List[str] = field(default_factory=list)


@dataclass(frozen=True)
class Spec:
    """A build as it is declared; the fields are the options of the module ``build``.

    :ivar python: None when nothing is declared about it.
    :ivar checks: whether what the project says about its checks is run, before the scripts and steps.
    """

    directory: str
    package_manager: str
    lockfile_required: bool
    install_args: List[str]
    scripts: List[str]
    steps: List[Command]
    prune: bool
    env: Dict[str, str]
    node_executable: Optional[str]
    python: Optional[PythonSpec]
    cache: str
    cache_inputs: List[str]
    timeout: float
    checks: bool = False

    def digest(self) -> str:
        """Of what shapes the result."""
        content = dataclasses.asdict(self)
        for name in ("cache", "cache_inputs", "timeout"):
            del content[name]
        for name in ("python", "checks"):
            if not content[name]:
                # what was built before this option was there stays as it is
                del content[name]
        for step in content["steps"]:
            del step["timeout"]
        return identity(content)


@dataclass(frozen=True)
class Step:
    """A step as it is run.

    :ivar cwd: absolute.
    :ivar timeout: seconds.
    :ivar stdout: a file that gets what it prints, instead of the log.
    """

    name: str
    argv: List[str]
    cwd: str
    env: Dict[str, str]
    timeout: float
    stdout: Optional[str] = None


@dataclass(frozen=True)
class Tree:
    """Dependencies of one language: how they get into the release.

    :ivar directory: what the paths of the dependency cache are relative to.
    :ivar about: what the module returns about them, before they are there.
    :ivar venv: the virtual environment, relative to ``directory``; None for node_modules.
    :ivar key: of the dependency cache; None when nothing is cached.
    :ivar uncached: why not, or None.
    :ivar warning: what a person should know even when all goes well.
    :ivar hit: whether the cache has it.
    :ivar install: makes it.
    :ivar after_hit: what is still to be run when the cache had it.
    :ivar always: what belongs to this release alone, run after either.
    """

    directory: str
    about: Dict[str, Any]
    venv: Optional[str]
    key: Optional[str]
    uncached: Optional[str]
    hit: bool
    install: List[Step]
    after_hit: List[Step] = field(default_factory=list)
    always: List[Step] = field(default_factory=list)
    warning: Optional[str] = None

    def steps(self) -> List[Step]:
        return (self.after_hit if self.hit else self.install) + self.always
