# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build a release: install, scripts, steps, prune; then it is sealed."""

from __future__ import annotations

import dataclasses
import os
import time
from dataclasses import dataclass
from typing import IO, Any, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils import (
    _build_node,
    _build_python,
    _checks,
    _dependency_cache,
    _deploy_log,
    _package_manager,
    _tree,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._build_spec import Command, PythonSpec, Spec, Step, Tree
from ansible_collections.zerodown.pm2.plugins.module_utils._command import TAIL_LINES, run
from ansible_collections.zerodown.pm2.plugins.module_utils._environment import base_environment
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import CommandError, Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import excerpt, inside, locked, write_atomic
from ansible_collections.zerodown.pm2.plugins.module_utils._release import PRIVATE, Layout, Release
from ansible_collections.zerodown.pm2.plugins.module_utils._stage import read

# another run that builds the same release does the work for us
LOCK_TIMEOUT = 1800.0
# beside the TAIL_LINES last ones
HEAD_LINES = 10


@dataclass(frozen=True)
class Built:
    """:ivar steps: name, argv and, when they were run, seconds.
    :ivar dependencies: as the module returns it; None without a package manager.
    :ivar python: as the module returns it; None without a virtual environment.
    :ivar notices: what a person should know.
    """

    changed: bool
    steps: List[Dict[str, Any]]
    dependencies: Optional[Dict[str, Any]]
    python: Optional[Dict[str, Any]]
    log: str
    notices: List[str] = dataclasses.field(default_factory=list)


@dataclass(frozen=True)
class _Plan:
    """:ivar python: None when nothing is installed for Python.
    :ivar node: None when nothing is installed for Node.
    :ivar after: the steps after the installs.
    """

    python: Optional[Tree]
    node: Optional[Tree]
    after: List[Step]

    def steps(self) -> List[Step]:
        return [step for tree in (self.python, self.node) if tree for step in tree.steps()] + self.after

    def records(self) -> Dict[str, Optional[Dict[str, Any]]]:
        """As they are before anything is run."""
        return {
            "dependencies": _record(self.node, self.node.hit, self.node.uncached) if self.node else None,
            "python": _record(self.python, self.python.hit, self.python.uncached) if self.python else None,
        }

    def warnings(self) -> List[str]:
        return [tree.warning for tree in (self.python, self.node) if tree and tree.warning]


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
        notice = "Release {0} is not there yet, so its lockfile is unknown.".format(release_id)
        return Built(True, steps, None, None, log, [notice])
    done = _done(layout, release_id, spec)
    if done:
        return done
    release = read(layout).get(release_id)
    plan = _plan(layout, release, spec)
    if check:
        steps = [{"name": step.name, "argv": step.argv} for step in plan.steps()]
        return Built(True, steps, log=release.build_log, notices=plan.warnings(), **plan.records())
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
            build = release.build
            return Built(False, build["steps"], build["dependencies"], build.get("python"), release.build_log)
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
    package = None if spec.package_manager == "none" else _package_manager.read_package(directory)
    if spec.checks:
        spec = _with_checks(release, spec, directory, package)
    python = _build_python.plan(layout, release, spec) if _wants_python(spec, package) else None
    path = [os.path.join(python.about["venv"], "bin")] if python else []
    node = _build_node.plan(layout, release, spec, directory, package, path)
    if node:
        path = node.path
    else:
        found = _build_node.find_node(spec)
        path += [os.path.dirname(found)] if found else []
    env = {**base_environment(path), **(_build_python.environment(python) if python else {})}
    after = _declared(release, spec, env, directory)
    if node:
        after = node.scripts + after + node.prune
    return _Plan(python, node.tree if node else None, after)


def _with_checks(release: Release, spec: Spec, directory: str, package: Optional[Dict[str, Any]]) -> Spec:
    """What the project says itself about how it is checked, before what is declared; each only once."""
    scripts = _checks.scripts(package) if package else []
    scripts = [name for name in scripts if name not in spec.scripts] + spec.scripts
    if not _wants_python(spec, package):
        return dataclasses.replace(spec, scripts=scripts)
    declared = spec.python or PythonSpec()
    place = directory
    if declared.directory is not None:
        place = inside(release.path, declared.directory, "directory of python")
    present = os.listdir(place) if os.path.isdir(place) else []
    texts = {}
    for name in {*_checks.SETTINGS, "Pipfile"} & set(present):
        with open(os.path.join(place, name), encoding="utf-8", errors="replace") as stream:
            texts[name] = stream.read()
    pipfile = texts.pop("Pipfile", "")
    python = spec.python
    if not declared.groups and not declared.requirements:
        more = _checks.development(present, texts.get("pyproject.toml", ""), pipfile)
        if more:
            python = dataclasses.replace(
                declared, groups=more.get("groups", []), requirements=more.get("requirements", [])
            )
    steps = [
        Command(check.name, check.argv, {}, declared.directory, None)
        for check in _checks.of_python(present, texts)
        if check.name not in [command.name for command in spec.steps]
    ]
    return dataclasses.replace(spec, scripts=scripts, steps=steps + spec.steps, python=python)


def _wants_python(spec: Spec, package: Optional[Dict[str, Any]]) -> bool:
    """A package.json beside Python's files may well be the whole app, so that the user says when it is not."""
    if spec.python is not None:
        return spec.python.installer != "none"
    return spec.package_manager == "auto" and package is None


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


def _record(tree: Tree, hit: bool, notice: Optional[str], seconds: float = 0.0, files: int = 0) -> Dict[str, Any]:
    """How the dependencies got there, as the module returns it."""
    return {
        **tree.about,
        "key": tree.key,
        "cache": "none" if tree.key is None else "hit" if hit else "miss",
        "seconds": round(seconds, 2),
        "files": files,
        "notice": notice,
    }


def _run(layout: Layout, release: Release, spec: Spec, plan: _Plan) -> Built:
    started = _deploy_log.now()
    begun = time.monotonic()
    steps: List[Dict[str, Any]] = []
    made: Dict[str, Optional[Dict[str, Any]]] = {"dependencies": None, "python": None}

    def save(status: str) -> None:
        written = dataclasses.replace(
            release,
            build={
                "status": status,
                "spec": spec.digest(),
                "started": started,
                "seconds": round(time.monotonic() - begun, 2),
                "steps": steps,
                **made,
            },
        )
        write_atomic(release.manifest, written.to_json(), 0o600)

    save("running")
    try:
        with open(os.open(release.build_log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb", buffering=0) as log:
            runner = _Runner(release, log, steps, hint=spec.cache == "link")
            if plan.python:
                made["python"] = _install(layout, spec, plan.python, runner)
            if plan.node:
                made["dependencies"] = _install(layout, spec, plan.node, runner)
            for step in plan.after:
                runner.run(step)
        # sealed only when all of it is on disk
        _tree.flush(release.path)
    except OSError as error:
        save("failed")
        raise Pm2Error("Release {0} could not be built: {1}.".format(release.id, error)) from error
    except Pm2Error as error:
        save("failed")
        known = {name: record for name, record in made.items() if record}
        error.details.update({**plan.records(), **known})
        raise
    save("done")
    notices = [record["notice"] for record in made.values() if record and record["notice"]]
    return Built(True, steps, log=release.build_log, notices=plan.warnings() + notices, **made)


def _install(layout: Layout, spec: Spec, tree: Tree, runner: "_Runner") -> Dict[str, Any]:
    begun = time.monotonic()
    notice = tree.uncached
    link = spec.cache == "link"
    if tree.key and tree.hit:
        try:
            files = _dependency_cache.restore(layout.dependencies, tree.key, tree.directory, link)
        except _dependency_cache.Damaged as error:
            notice = "the cached dependencies were damaged and are made anew: {0}".format(error)
        else:
            seconds = time.monotonic() - begun
            for step in tree.after_hit + tree.always:
                runner.run(step)
            return _record(tree, True, None, seconds, files)
    if tree.venv:
        # whatever the source brought along under this name was made for another place
        _tree.remove(os.path.join(tree.directory, tree.venv))
    for step in tree.install:
        runner.run(step)
    files = 0
    if tree.key:
        files, fault = _dependency_cache.store(layout.dependencies, tree.key, tree.directory, link, tree.venv)
        notice = fault or notice
    seconds = time.monotonic() - begun
    for step in tree.always:
        runner.run(step)
    return _record(tree, False, notice, seconds, files)


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
            output = None if step.stdout else self.log
            completed = run(step.argv, step.env, step.cwd, step.timeout, check=False, output=output)
            fault = "return code {0}".format(completed.rc) if completed.rc else None
            if step.stdout:
                self.log.write(completed.stderr.encode("utf-8", "replace"))
                write_atomic(step.stdout, completed.stdout.encode("utf-8"), 0o600)
        except CommandError as error:
            fault = error.message.rstrip(".")
        self.done.append({"name": step.name, "argv": step.argv, "seconds": round(time.monotonic() - begun, 2)})
        if fault is None:
            return
        # npm tells the reason first, and then all about its options
        shown = excerpt(self.release.build_log, start, HEAD_LINES, TAIL_LINES)
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
