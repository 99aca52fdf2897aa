# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build a release: install, scripts, steps, prune; then it is sealed."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from dataclasses import dataclass, field
from typing import IO, Any, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils import (
    _dependency_cache,
    _deploy_log,
    _package_manager,
    _tree,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._command import TAIL_LINES, run
from ansible_collections.zerodown.pm2.plugins.module_utils._environment import base_environment
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import CommandError, Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import which
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import inside, locked, write_atomic
from ansible_collections.zerodown.pm2.plugins.module_utils._package_manager import PackageManager
from ansible_collections.zerodown.pm2.plugins.module_utils._release import PRIVATE, Layout, Release, identity
from ansible_collections.zerodown.pm2.plugins.module_utils._stage import read

# another run that builds the same release does the work for us
LOCK_TIMEOUT = 1800.0
# beside the TAIL_LINES last ones
HEAD_LINES = 10

_NODE_FACTS = (
    "JSON.stringify({version: process.version, platform: process.platform, arch: process.arch, "
    "abi: process.versions.modules})"
)


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
class Spec:
    """A build as it is declared; the fields are the options of the module ``build``."""

    directory: str
    package_manager: str
    lockfile_required: bool
    install_args: List[str]
    scripts: List[str]
    steps: List[Command]
    prune: bool
    env: Dict[str, str]
    node_executable: Optional[str]
    cache: str
    cache_inputs: List[str]
    timeout: float

    def digest(self) -> str:
        """Of what shapes the result."""
        content = dataclasses.asdict(self)
        for name in ("cache", "cache_inputs", "timeout"):
            del content[name]
        for step in content["steps"]:
            del step["timeout"]
        return identity(content)


@dataclass(frozen=True)
class Step:
    """A step as it is run.

    :ivar cwd: absolute.
    :ivar timeout: seconds.
    """

    name: str
    argv: List[str]
    cwd: str
    env: Dict[str, str]
    timeout: float


@dataclass(frozen=True)
class Built:
    """:ivar steps: name, argv and, when they were run, seconds.
    :ivar dependencies: as the module returns it; None without a package manager.
    :ivar notice: what a person should know.
    """

    changed: bool
    steps: List[Dict[str, Any]]
    dependencies: Optional[Dict[str, Any]]
    log: str
    notice: Optional[str] = None


@dataclass(frozen=True)
class _Plan:
    """:ivar manager: None when nothing is installed.
    :ivar node: facts about Node; None when nothing is installed.
    :ivar key: of the dependency cache; None when nothing is cached.
    :ivar uncached: why not, or None.
    :ivar hit: whether the cache has it.
    :ivar install: what installs; None when nothing does.
    :ivar lifecycle: the package's own install scripts, which are still to be run when the cache has the rest.
    :ivar after: the steps after the install.
    """

    directory: str
    manager: Optional[PackageManager] = None
    node: Optional[Dict[str, str]] = None
    key: Optional[str] = None
    uncached: Optional[str] = None
    hit: bool = False
    install: Optional[Step] = None
    lifecycle: List[Step] = field(default_factory=list)
    after: List[Step] = field(default_factory=list)

    def steps(self) -> List[Step]:
        install = self.lifecycle if self.hit or self.install is None else [self.install]
        return install + self.after


def build(layout: Layout, release_id: str, spec: Spec, check: bool) -> Built:
    """Have the release built as declared.

    :param check: only say what would be run.
    :raises Pm2Error: it cannot be built, or a step failed: details ``step``, ``log``, ``output_tail``, and the release
        stays not built.
    """
    if check and read(layout).find(release_id) is None:
        # only check mode has staged it
        steps = [{"name": "script " + name, "argv": []} for name in spec.scripts]
        steps += [{"name": step.name, "argv": step.argv} for step in spec.steps]
        log = os.path.join(layout.release(release_id), PRIVATE, "build.log")
        return Built(
            True, steps, None, log, "Release {0} is not there yet, so its lockfile is unknown.".format(release_id)
        )
    done = _done(layout, release_id, spec)
    if done:
        return done
    release = read(layout).get(release_id)
    plan = _plan(layout, release, spec)
    if check:
        steps = [{"name": step.name, "argv": step.argv} for step in plan.steps()]
        return Built(True, steps, _dependencies(plan, plan.hit, plan.uncached), release.build_log)
    with locked(release.lock, LOCK_TIMEOUT, "building " + release.path):
        # another run may have built it while we waited
        return _done(layout, release_id, spec) or _run(layout, release, spec, plan)


def _done(layout: Layout, release_id: str, spec: Spec) -> Optional[Built]:
    """When it was built already.

    :raises Pm2Error: it was built otherwise, or was live: then it must not change any more.
    """
    now = read(layout)
    release = now.get(release_id)
    if release.build and release.ready:
        if release.build["spec"] == spec.digest():
            return Built(False, release.build["steps"], release.build["dependencies"], release.build_log)
        raise Pm2Error(
            "Release {0} was built with other arguments and is never changed; stage a new one, with the arguments of "
            "the build in variant.".format(release_id)
        )
    if release_id == now.live or release_id in now.history.sequence:
        raise Pm2Error("Release {0} was live already and is never changed; stage a new one.".format(release_id))
    return None


def _plan(layout: Layout, release: Release, spec: Spec) -> _Plan:
    """Everything that can be wrong is found here, before anything is changed."""
    directory = inside(release.path, spec.directory, "directory of the build")
    if not os.path.isdir(directory):
        raise Pm2Error("Release {0} has no directory {1!r} to build in.".format(release.id, spec.directory))
    node = _find_node(spec)
    package = None if spec.package_manager == "none" else _package_manager.read_package(directory)
    if package is None:
        if spec.package_manager not in ("auto", "none"):
            raise Pm2Error("Release {0} has no package.json in {1!r}.".format(release.id, spec.directory))
        if spec.scripts or spec.prune:
            raise Pm2Error(
                "scripts and prune need a package manager and a package.json in {0!r}; use steps.".format(
                    spec.directory
                )
            )
        env = base_environment([os.path.dirname(node)] if node else [])
        return _Plan(directory, after=_declared(release, spec, env, directory))
    if node is None:
        raise Pm2Error("Node was not found on PATH; install it (role zerodown.pm2.nodejs) or set node_executable.")
    missing = [name for name in spec.scripts if name not in (package.get("scripts") or {})]
    if missing:
        raise Pm2Error("package.json has no script {0!r}; add it, or take it out of scripts.".format(missing[0]))
    choice = _package_manager.choose(os.listdir(directory), package, spec.package_manager, spec.lockfile_required)
    path = [os.path.dirname(node)]
    manager = _package_manager.find(choice, directory, package, node, {**base_environment(path), **spec.env})
    env = base_environment(path + [os.path.dirname(manager.argv[0])])
    facts = json.loads(run([node, "-p", _NODE_FACTS], env).stdout)
    facts["libc"] = _libc()
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

    scripts = [step("script " + name, manager.script(name), spec.env) for name in spec.scripts]
    prune = [step("prune", manager.prune(), unattended)] if spec.prune else []
    return _Plan(
        directory,
        manager,
        facts,
        key,
        uncached,
        hit=key is not None and _dependency_cache.exists(layout.dependencies, key),
        install=step("install", manager.install(spec.install_args), unattended),
        lifecycle=[step("script " + name, argv, unattended) for name, argv in manager.lifecycle().items()],
        after=scripts + _declared(release, spec, env, directory) + prune,
    )


def _find_node(spec: Spec) -> Optional[str]:
    node = which(os.path.expanduser(spec.node_executable)) if spec.node_executable else which("node")
    if spec.node_executable and node is None:
        raise Pm2Error("Node was not found at {0}; correct node_executable.".format(spec.node_executable))
    return node and os.path.abspath(node)


def _libc() -> str:
    """Compiled packages are for one of them: glibc with its version, or another one (musl has no such name)."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or "other"
    except (ValueError, OSError):
        return "other"


def _declared(release: Release, spec: Spec, env: Dict[str, str], directory: str) -> List[Step]:
    steps = []
    for command in spec.steps:
        if not command.argv:
            raise Pm2Error("The step {0!r} has an empty argv.".format(command.name))
        cwd = directory
        if command.directory is not None:
            cwd = inside(release.path, command.directory, "directory of the step {0}".format(command.name))
        variables = {**env, **spec.env, **command.env}
        steps.append(Step(command.name, command.argv, cwd, variables, command.timeout or spec.timeout))
    return steps


def _dependencies(
    plan: _Plan, hit: bool, notice: Optional[str], seconds: float = 0.0, files: int = 0
) -> Optional[Dict[str, Any]]:
    if plan.manager is None or plan.node is None:
        return None
    return {
        "package_manager": plan.manager.choice.name,
        "version": plan.manager.version,
        "node": plan.node["version"],
        "lockfile": plan.manager.choice.lockfile,
        "key": plan.key,
        "cache": "none" if plan.key is None else "hit" if hit else "miss",
        "seconds": round(seconds, 2),
        "files": files,
        "notice": notice,
    }


def _run(layout: Layout, release: Release, spec: Spec, plan: _Plan) -> Built:
    started = _deploy_log.now()
    begun = time.monotonic()

    def save(status: str, steps: List[Dict[str, Any]], dependencies: Optional[Dict[str, Any]]) -> None:
        written = dataclasses.replace(
            release,
            build={
                "status": status,
                "spec": spec.digest(),
                "started": started,
                "seconds": round(time.monotonic() - begun, 2),
                "steps": steps,
                "dependencies": dependencies,
            },
        )
        write_atomic(release.manifest, written.to_json(), 0o600)

    save("running", [], None)
    steps: List[Dict[str, Any]] = []
    dependencies: Optional[Dict[str, Any]] = None
    try:
        with open(os.open(release.build_log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb", buffering=0) as log:
            runner = _Runner(release, log, steps, hint=spec.cache == "link")
            dependencies = _install(layout, spec, plan, runner)
            for step in plan.after:
                runner.run(step)
        # sealed only when all of it is on disk
        _tree.flush(release.path)
    except OSError as error:
        save("failed", steps, dependencies)
        raise Pm2Error("Release {0} could not be built: {1}.".format(release.id, error)) from error
    except Pm2Error:
        save("failed", steps, dependencies)
        raise
    save("done", steps, dependencies)
    return Built(True, steps, dependencies, release.build_log, (dependencies or {}).get("notice"))


def _install(layout: Layout, spec: Spec, plan: _Plan, runner: "_Runner") -> Optional[Dict[str, Any]]:
    if plan.install is None:
        return None
    begun = time.monotonic()
    notice = plan.uncached
    link = spec.cache == "link"
    if plan.key and plan.hit:
        try:
            files = _dependency_cache.restore(layout.dependencies, plan.key, plan.directory, link)
        except _dependency_cache.Damaged as error:
            notice = "the cached dependencies were damaged and are made anew: {0}".format(error)
        else:
            seconds = time.monotonic() - begun
            for step in plan.lifecycle:
                runner.run(step)
            return _dependencies(plan, True, None, seconds, files)
    runner.run(plan.install)
    files = 0
    if plan.key:
        files, fault = _dependency_cache.store(layout.dependencies, plan.key, plan.directory, link)
        notice = fault or notice
    return _dependencies(plan, False, notice, time.monotonic() - begun, files)


class _Runner:
    """Runs steps one after the other, their output in the log, their times in ``done``."""

    def __init__(self, release: Release, log: IO[bytes], done: List[Dict[str, Any]], hint: bool) -> None:
        self.release = release
        self.log = log
        self.done = done
        self.hint = hint

    def run(self, step: Step) -> None:
        """:raises Pm2Error: it failed."""
        self.log.write("=== {0}: {1}\n".format(step.name, " ".join(step.argv)).encode("utf-8", "replace"))
        start = os.fstat(self.log.fileno()).st_size
        begun = time.monotonic()
        try:
            rc = run(step.argv, step.env, step.cwd, step.timeout, check=False, output=self.log).rc
            fault = "return code {0}".format(rc) if rc else None
        except CommandError as error:
            fault = error.message.rstrip(".")
        self.done.append({"name": step.name, "argv": step.argv, "seconds": round(time.monotonic() - begun, 2)})
        if fault is None:
            return
        shown = self._tail(start)
        hint = ""
        if self.hint and any("EACCES" in line for line in shown):
            hint = "; cached dependencies are read-only, so set cache to copy if the step must write into node_modules"
        raise Pm2Error(
            "Step {0!r} of release {1} failed with {2}{3}; all of its output is in {4}.".format(
                step.name, self.release.id, fault, hint, self.release.build_log
            ),
            step=step.name,
            steps=self.done,
            log=self.release.build_log,
            output_tail=shown,
        )

    def _tail(self, start: int) -> List[str]:
        """The first and the last lines of a step: npm tells the reason first, and then all about its options."""
        with open(self.release.build_log, "rb") as stream:
            stream.seek(start)
            first = stream.read(8 * 1024).decode("utf-8", "replace").splitlines()[:HEAD_LINES]
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(start, size - 64 * 1024))
            last = stream.read().decode("utf-8", "replace").splitlines()
        whole = size - start <= 64 * 1024 and len(last) <= HEAD_LINES + TAIL_LINES
        return last if whole else first + ["..."] + last[-TAIL_LINES:]
