# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a release gets its node_modules: looks at the release and at the host, changes neither."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils import _dependency_cache, _package_manager
from ansible_collections.zerodown.pm2.plugins.module_utils._build_spec import Spec, Step, Tree
from ansible_collections.zerodown.pm2.plugins.module_utils._command import run
from ansible_collections.zerodown.pm2.plugins.module_utils._environment import base_environment
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import which
from ansible_collections.zerodown.pm2.plugins.module_utils._libc import libc
from ansible_collections.zerodown.pm2.plugins.module_utils._release import Layout, Release

_FACTS = (
    "JSON.stringify({version: process.version, platform: process.platform, arch: process.arch, "
    "abi: process.versions.modules})"
)


@dataclass(frozen=True)
class NodePlan:
    """:ivar tree: its dependencies.
    :ivar path: where Node and the package manager are.
    """

    tree: Tree
    scripts: List[Step]
    prune: List[Step]
    path: List[str]


def plan(
    layout: Layout, release: Release, spec: Spec, directory: str, package: Optional[Dict[str, Any]], path: List[str]
) -> Optional[NodePlan]:
    """
    :param directory: of the build, absolute.
    :param package: the content of package.json; None when nothing is to be installed for Node.
    :param path: directories that come first on PATH.
    :returns: None when nothing is installed for Node.
    :raises Pm2Error: it cannot be built so.
    """
    node = find_node(spec)
    if package is None:
        if spec.package_manager not in ("auto", "none"):
            raise Pm2Error("Release {0} has no package.json in {1!r}.".format(release.id, spec.directory))
        if spec.scripts or spec.prune or spec.install_args:
            raise Pm2Error(
                "scripts, prune and install_args need a package manager and a package.json in {0!r}; use steps, or "
                "python.install_args.".format(spec.directory)
            )
        return None
    if node is None:
        raise Pm2Error("Node was not found on PATH; install it (role zerodown.pm2.nodejs) or set node_executable.")
    missing = [name for name in spec.scripts if name not in (package.get("scripts") or {})]
    if missing:
        raise Pm2Error("package.json has no script {0!r}; add it, or take it out of scripts.".format(missing[0]))
    choice = _package_manager.choose(os.listdir(directory), package, spec.package_manager, spec.lockfile_required)
    first = [*path, os.path.dirname(node)]
    manager = _package_manager.find(choice, directory, package, node, {**base_environment(first), **spec.env})
    first.append(os.path.dirname(manager.argv[0]))
    env = base_environment(first)
    facts = json.loads(run([node, "-p", _FACTS], env).stdout)
    facts["libc"] = libc()
    key = uncached = None
    if spec.cache == "none":
        uncached = "cache is none"
    elif choice.lockfile is None:
        uncached = "there is no lockfile"
    else:
        key = _package_manager.cache_key(manager, directory, facts, spec.install_args, spec.cache_inputs, spec.env)
    # without a terminal pnpm asks nothing only in CI; builds do not get it, for many turn warnings into errors then
    unattended = {"CI": "true", "COREPACK_ENABLE_DOWNLOAD_PROMPT": "0", **spec.env}

    def step(name: str, argv: List[str], variables: Dict[str, str]) -> Step:
        return Step(name, argv, directory, {**env, **variables}, spec.timeout)

    tree = Tree(
        directory=directory,
        about={
            "package_manager": choice.name,
            "version": manager.version,
            "node": facts["version"],
            "lockfile": choice.lockfile,
        },
        venv=None,
        key=key,
        uncached=uncached,
        hit=key is not None and _dependency_cache.exists(layout.dependencies, key),
        install=[step("install", manager.install(spec.install_args), unattended)],
        after_hit=[step("script " + name, argv, unattended) for name, argv in manager.lifecycle().items()],
    )
    return NodePlan(
        tree,
        scripts=[step("script " + name, manager.script(name), spec.env) for name in spec.scripts],
        prune=[step("prune", manager.prune(), unattended)] if spec.prune else [],
        path=first,
    )


def find_node(spec: Spec) -> Optional[str]:
    """:raises Pm2Error: it is not where it is declared to be."""
    node = which(os.path.expanduser(spec.node_executable)) if spec.node_executable else which("node")
    if spec.node_executable and node is None:
        raise Pm2Error("Node was not found at {0}; correct node_executable.".format(spec.node_executable))
    return node and os.path.abspath(node)
