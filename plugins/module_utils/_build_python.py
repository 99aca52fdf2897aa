# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a release gets its virtual environment: looks at the release and at the host, changes neither."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils import _dependency_cache, _python_installer, _tree
from ansible_collections.zerodown.pm2.plugins.module_utils._build_spec import PythonSpec, Spec, Step, Tree
from ansible_collections.zerodown.pm2.plugins.module_utils._command import run
from ansible_collections.zerodown.pm2.plugins.module_utils._environment import base_environment
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import CommandError, Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import search_path, which
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import inside
from ansible_collections.zerodown.pm2.plugins.module_utils._libc import libc
from ansible_collections.zerodown.pm2.plugins.module_utils._python_installer import Installer, Source
from ansible_collections.zerodown.pm2.plugins.module_utils._release import PRIVATE, Layout, Release, identity

_FACTS = (
    "import importlib.util, json, platform, sys, sysconfig; "
    "print(json.dumps({'version': platform.python_version(), 'implementation': sys.implementation.name, "
    "'abi': sysconfig.get_config_var('SOABI'), 'platform': sysconfig.get_platform(), "
    "'executable': getattr(sys, '_base_executable', None) or sys.executable, "
    "'ensurepip': importlib.util.find_spec('ensurepip') is not None}))"
)
# settings that tools read beside the lockfile
_SETTINGS = {"uv": ["pyproject.toml", "uv.toml"], "pip": []}


def plan(layout: Layout, release: Release, spec: Spec) -> Optional[Tree]:
    """
    :returns: None when nothing in the release asks for one, and nobody else does.
    :raises Pm2Error: it cannot be made.
    """
    declared = spec.python or PythonSpec()
    directory = inside(release.path, declared.directory or spec.directory, "directory of python")
    if not os.path.isdir(directory):
        raise Pm2Error("Release {0} has no directory {1!r} for Python.".format(release.id, declared.directory))
    present = os.listdir(directory)
    pyproject = _read(directory, "pyproject.toml") if "pyproject.toml" in present else ""
    source = _python_installer.choose(present, pyproject, declared, spec.lockfile_required)
    if source is None:
        if spec.python is None:
            return None
        raise Pm2Error(
            "Release {0} has nothing to install for Python in {1!r}: none of {2}.".format(
                release.id,
                declared.directory or spec.directory,
                ", ".join([*_python_installer.LOCKFILES.values(), "pyproject.toml with [project]"]),
            )
        )
    venv = _venv(directory, declared)
    uv = _find_uv(declared, source)
    env = base_environment()
    python = _facts(_find_python(directory, declared, uv, env), env)
    installer = _installer(uv, python, env)
    _python_installer.check(source, declared, installer)
    return _Planner(layout, release, spec, declared, directory, source, venv, installer, python, pyproject).tree()


def _venv(directory: str, declared: PythonSpec) -> str:
    """Absolute."""
    venv = inside(directory, declared.venv, "python.venv")
    if venv == os.path.realpath(directory):
        raise Pm2Error("python.venv must be a directory of its own, such as .venv.")
    return venv


def _read(directory: str, name: str) -> str:
    """:raises Pm2Error: it is not there."""
    try:
        with open(os.path.join(directory, name), encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError as error:
        raise Pm2Error("{0} cannot be read: {1}.".format(os.path.join(directory, name), error.strerror)) from error


def _find_uv(declared: PythonSpec, source: Source) -> Optional[str]:
    """:raises Pm2Error: it is needed, and not there."""
    if declared.installer == "pip":
        return None
    # where uv's own installer puts it
    uv = which("uv", [*search_path(), os.path.expanduser("~/.local/bin")])
    if uv is None and (declared.installer == "uv" or source.kind == "uv"):
        raise Pm2Error(
            "uv was not found on PATH, and {0} needs it; install it (role zerodown.pm2.python).".format(
                "python.installer" if declared.installer == "uv" else "uv.lock"
            )
        )
    return uv and os.path.abspath(uv)


def _find_python(directory: str, declared: PythonSpec, uv: Optional[str], env: Dict[str, str]) -> str:
    if declared.executable:
        found = which(os.path.expanduser(declared.executable))
        if found is None:
            raise Pm2Error("Python was not found at {0}; correct python.executable.".format(declared.executable))
        return found
    path = os.path.join(directory, ".python-version")
    version = _python_installer.wanted_version(_read(directory, ".python-version")) if os.path.exists(path) else None
    name = "python" + version if version else "python3"
    found = which(name)
    if found is None and uv and version:
        answer = run([uv, "python", "find", "--no-project", "--no-python-downloads", version], env, check=False)
        found = which(answer.stdout.strip()) if answer.rc == 0 else None
    if found is None:
        raise Pm2Error(
            "{0} was not found on PATH{1}; install it (role zerodown.pm2.python) or set python.executable.".format(
                name, ", and .python-version asks for it" if version else ""
            )
        )
    return found


def _facts(executable: str, env: Dict[str, str]) -> Dict[str, Any]:
    """:raises Pm2Error: it is no Python 3."""
    # not what the session has set for it, but its PATH: version managers put a script of theirs there, which asks it
    surroundings = {**env, "PATH": os.pathsep.join(search_path())}
    try:
        facts: Dict[str, Any] = json.loads(run([executable, "-I", "-c", _FACTS], surroundings).stdout)
    except (CommandError, ValueError) as error:
        raise Pm2Error(
            "{0} does not answer as Python 3 does ({1}); set python.executable.".format(executable, error)
        ) from error
    return {**facts, "libc": libc()}


def _installer(uv: Optional[str], python: Dict[str, Any], env: Dict[str, str]) -> Installer:
    if uv:
        return Installer("uv", [uv], _python_installer.parse_uv_version(run([uv, "--version"], env).stdout))
    if not python["ensurepip"]:
        raise Pm2Error(
            "{0} cannot make a virtual environment with pip, because it has no ensurepip; install python3-venv or uv "
            "(role zerodown.pm2.python).".format(python["executable"])
        )
    # the pip that this Python brings along
    return Installer("pip", [python["executable"]], python["version"])


class _Planner:
    """From what was found to the steps."""

    def __init__(
        self,
        layout: Layout,
        release: Release,
        spec: Spec,
        declared: PythonSpec,
        directory: str,
        source: Source,
        venv: str,
        installer: Installer,
        python: Dict[str, Any],
        pyproject: str,
    ) -> None:
        self.layout = layout
        self.release = release
        self.spec = spec
        self.declared = declared
        self.directory = directory
        self.source = source
        self.venv = venv
        self.installer = installer
        self.python = python
        self.pyproject = pyproject
        self.warning: Optional[str] = None
        self.uncached = "cache is none" if spec.cache == "none" else None

    def tree(self) -> Tree:
        files, hashed = self._requirements()
        local = self._local()
        key = None if self.uncached else self._key(files)
        hit = key is not None and _dependency_cache.exists(self.layout.dependencies, key)
        exported = os.path.join(self.release.path, PRIVATE, "requirements.txt")
        export = [self._export(exported, hit)] if self.source.kind in ("poetry", "pipenv") else []
        made = _python_installer.commands(
            self.source,
            self.declared,
            self.installer,
            self.python["executable"],
            self.venv,
            local,
            [exported] if export else self.source.files,
            hashed,
        )
        return Tree(
            directory=self.directory,
            about={
                "installer": self.installer.name,
                "version": self.installer.version if self.installer.name == "uv" else None,
                "python": self.python["version"],
                "executable": self.python["executable"],
                "venv": self.venv,
                "lockfile": self.source.lockfile,
            },
            venv=os.path.relpath(self.venv, os.path.realpath(self.directory)),
            key=key,
            uncached=self.uncached,
            hit=hit,
            install=export + [self._step(name, argv) for name, argv in made.install.items()],
            always=[self._step(name, argv) for name, argv in made.project.items()],
            warning=self.warning,
        )

    def _requirements(self) -> Tuple[List[str], bool]:
        """The requirements files, and whether all that they name must have hashes."""
        if self.source.kind != "requirements":
            return [], False
        found = _python_installer.read_requirements(
            self.source.files, lambda name: _read(self.directory, _inside_release(self.release, self.directory, name))
        )
        if found.local:
            self.uncached = self.uncached or "{0} names {1}, whose content may change".format(
                self.source.files[0], found.local
            )
        if found.unpinned:
            self.warning = (
                "{0} names no exact version of {1}, so that two hosts may get different ones; pin it, as by uv pip "
                "compile.".format(self.source.files[0], ", ".join(found.unpinned[:5]))
            )
        return found.files, found.hashed

    def _local(self) -> List[str]:
        """The packages of the release itself."""
        if self.source.kind == "uv":
            return _python_installer.local_packages(_read(self.directory, "uv.lock"))
        if self.source.kind == "poetry" and _python_installer.has_local_path(_read(self.directory, "poetry.lock")):
            self.uncached = self.uncached or "poetry.lock names a directory or a file, whose content may change"
        if self.source.kind == "project":
            self.uncached = self.uncached or "there is no lockfile"
            wanted = "[build-system]" in self.pyproject if self.declared.project is None else self.declared.project
        else:
            wanted = bool(self.declared.project)
        return ["."] if wanted else []

    def _export(self, target: str, hit: bool) -> Step:
        """
        :param hit: whether it is only needed if the cached environment is damaged.
        :raises Pm2Error: the tool whose lockfile it is, is not there.
        """
        needed, otherwise = _python_installer.remedy(self.source)
        program = which(self.source.kind, [*search_path(), os.path.expanduser("~/.local/bin")])
        if program is None and not hit:
            raise Pm2Error("{0} needs {1} on PATH; {2}.".format(self.source.files[0], needed, otherwise))
        argv = _python_installer.export_command(self.source, self.declared, program or self.source.kind)
        step = self._step("python export", argv, target)
        if self.source.kind == "poetry" and not hit and run([*argv[:2], "--help"], step.env, check=False).rc != 0:
            raise Pm2Error("poetry.lock needs {0}, and {1} lacks it; {2}.".format(needed, program, otherwise))
        return step

    def _step(self, name: str, argv: List[str], stdout: Optional[str] = None) -> Step:
        ours = {
            "UV_PROJECT_ENVIRONMENT": self.venv,
            # a hard link into uv's own cache would let a release write into it
            "UV_LINK_MODE": "copy",
            "UV_NO_PROGRESS": "1",
            "PIPENV_IGNORE_VIRTUALENVS": "1",
            "PIPENV_VERBOSITY": "-1",
        }
        env = {**base_environment([os.path.join(self.venv, "bin")]), **ours, **self.spec.env}
        return Step(name, argv, self.directory, env, self.spec.timeout, stdout)

    def _key(self, requirements: List[str]) -> str:
        """A digest of all that the environment depends on."""
        names = {*self.source.files, *requirements, *_SETTINGS[self.installer.name]}
        if self.source.kind == "poetry":
            # what is exported depends on the groups there
            names.add("pyproject.toml")
        files = {name: _tree.content_digest(os.path.join(self.directory, name)) for name in names}
        base = inside(self.release.path, self.spec.directory, "directory of the build")
        inputs = {name: _tree.content_digest(os.path.join(base, name)) for name in self.spec.cache_inputs}
        return identity(
            {
                "python": self.python,
                "installer": [self.installer.name, self.installer.version],
                "source": self.source.kind,
                "venv": self.declared.venv,
                "arguments": [self.declared.extras, self.declared.groups, self.declared.install_args],
                "files": files,
                "inputs": inputs,
                "settings": {
                    name: value
                    for name, value in self.spec.env.items()
                    if _python_installer.SETTING_VARIABLE.match(name)
                },
            }
        )[:40]


def _inside_release(release: Release, directory: str, name: str) -> str:
    """:raises Pm2Error: a requirements file names one that lies outside of the release."""
    relative = os.path.relpath(os.path.join(directory, name), os.path.realpath(release.path))
    return inside(release.path, relative, "requirements file")


def environment(tree: Tree) -> Dict[str, str]:
    """What steps find beside PATH."""
    return {"VIRTUAL_ENV": str(tree.about["venv"])}
