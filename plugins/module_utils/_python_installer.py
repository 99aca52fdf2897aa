# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Python's dependencies: what they are locked by, who installs them, and the commands for it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Optional, Set, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils._build_spec import PythonSpec
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error

# in this order; requirements.txt before the lockfiles it may have been exported from
LOCKFILES = {"uv": "uv.lock", "requirements": "requirements.txt", "poetry": "poetry.lock", "pipenv": "Pipfile.lock"}
# uv has --no-default-groups since then
LOWEST_UV = (0, 5, 20)
SETTING_VARIABLE = re.compile(r"(UV|PIP|POETRY|PIPENV)_")


@dataclass(frozen=True)
class Source:
    """What says which packages are installed.

    :ivar kind: uv, requirements, poetry, pipenv, or project: pyproject.toml without a lockfile.
    :ivar files: their names, relative to the directory.
    """

    kind: str
    files: List[str]

    @property
    def lockfile(self) -> Optional[str]:
        return None if self.kind == "project" else self.files[0]


@dataclass(frozen=True)
class Requirements:
    """What requirements files say.

    :ivar files: all that were read, also those that others name; relative to the directory.
    :ivar hashed: whether one of them has a hash.
    :ivar local: the first entry that is a directory or file of the release, or a file elsewhere; or None.
    :ivar unpinned: the entries without an exact version.
    """

    files: List[str]
    hashed: bool
    local: Optional[str]
    unpinned: List[str]


@dataclass(frozen=True)
class Installer:
    """:ivar name: uv or pip.
    :ivar argv: how it is called; of pip, the Python that makes the virtual environment.
    """

    name: str
    argv: List[str]
    version: str


@dataclass(frozen=True)
class Commands:
    """Argument lists by the name of the step.

    :ivar install: make the environment; its result can be kept.
    :ivar project: install the release's own packages into it.
    :ivar export: a command whose output is a requirements file, or None.
    """

    install: Dict[str, List[str]]
    project: Dict[str, List[str]] = field(default_factory=dict)
    export: Optional[List[str]] = None


def choose(present: List[str], pyproject: str, spec: PythonSpec, lockfile_required: bool) -> Optional[Source]:
    """What is installed from; None when nothing in the directory says so.

    :param present: names of the files there.
    :param pyproject: the content of pyproject.toml, empty when there is none.
    :raises Pm2Error: there is no lockfile, and it is required.
    """
    if spec.requirements:
        return Source("requirements", spec.requirements)
    for kind, name in LOCKFILES.items():
        if name in present:
            return Source(kind, [name])
    if not re.search(r"^\[(project|tool\.poetry)\]", pyproject, re.MULTILINE):
        if "Pipfile" in present:
            raise Pm2Error("There is a Pipfile without Pipfile.lock; run pipenv lock and commit it.")
        return None
    if lockfile_required:
        raise Pm2Error(
            "There is a pyproject.toml without a lockfile ({0}); commit one, as by uv lock, or set lockfile_required "
            "to false.".format(", ".join(LOCKFILES.values()))
        )
    return Source("project", ["pyproject.toml"])


def check(source: Source, spec: PythonSpec, installer: Installer) -> None:
    """:raises Pm2Error: something is declared that this source or this installer does not have."""
    if spec.extras and source.kind in ("requirements", "pipenv"):
        raise Pm2Error("extras are of pyproject.toml, and {0} has none; remove python.extras.".format(source.files[0]))
    if spec.groups and source.kind == "requirements":
        raise Pm2Error(
            "{0} has no groups; remove python.groups, or name more files in python.requirements.".format(
                source.files[0]
            )
        )
    if source.kind == "uv" and installer.name != "uv":
        raise Pm2Error(
            "uv.lock can only be installed by uv; remove python.installer, or name the files to install in "
            "python.requirements."
        )
    if source.kind == "project" and installer.name == "pip" and spec.project is False:
        raise Pm2Error(
            "pip installs what pyproject.toml names only together with the project; remove python.project, or install "
            "uv."
        )


def read_requirements(names: List[str], read: Callable[[str], str]) -> Requirements:
    """Follow requirements files and those that they name.

    :param read: gives the content of a file by its path relative to the directory.
    """
    files: List[str] = []
    hashed = False
    local: Optional[str] = None
    pinned: Set[str] = set()
    entries: List[str] = []
    todo = [(name, True) for name in names]
    while todo:
        name, installs = todo.pop(0)
        if name in files:
            continue
        files.append(name)
        for line in _logical_lines(read(name)):
            hashed = hashed or "--hash" in line
            other = re.match(r"(-r|--requirement|-c|--constraint)(?:\s+|=|(?<=-[rc]))(\S+)", line)
            if other:
                if "://" in other.group(2):
                    local = local or other.group(2)
                else:
                    path = os.path.normpath(os.path.join(os.path.dirname(name), other.group(2)))
                    todo.append((path, installs and other.group(1) in ("-r", "--requirement")))
                continue
            editable = re.match(r"(?:-e|--editable)(?:\s+|=)(.*)", line)
            if line.startswith("-") and not editable:
                continue
            entry = re.split(r"\s+--", editable.group(1) if editable else line)[0].strip()
            if _is_local(entry):
                local = local or entry
            elif _is_pinned(entry):
                pinned.add(_name(entry))
            elif installs:
                entries.append(entry)
    return Requirements(files, hashed, local, [entry for entry in entries if _name(entry) not in pinned])


def _logical_lines(text: str) -> List[str]:
    """As pip reads them: continued by a backslash, without comments (pip's documentation, Requirements File Format)."""
    joined = re.sub(r"\\\r?\n", " ", text)
    lines = [re.sub(r"(^|\s)#.*$", "", line).strip() for line in joined.splitlines()]
    return [line for line in lines if line]


def _is_local(entry: str) -> bool:
    place = entry.split(" @ ", 1)[-1].strip() if " @ " in entry else entry
    if "://" in place:
        return place.startswith("file:")
    before = re.split(r"[;\[=<>~! ]", place)[0]
    return before.startswith((".", "/", "~")) or "/" in before or before.endswith((".whl", ".tar.gz", ".zip"))


def _is_pinned(entry: str) -> bool:
    requirement = entry.split(";", 1)[0] if "://" not in entry else entry
    if re.search(r"(^|@\s*)(git|hg|svn|bzr)\+", requirement):
        return re.search(r"@[0-9a-f]{40}\b", requirement) is not None
    if "://" in requirement:
        return True
    return re.search(r"={2,3}\s*[^\s,*]+(\s|$)", requirement) is not None


def _name(entry: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[;=<>~!@]", entry)[0]).lower()


def local_packages(lock: str) -> List[str]:
    """The packages in a uv.lock whose code is in the release itself, so that it must not be cached.

    uv writes the file itself, always in one form: ``[[package]]``, ``name``, ``version``, ``source`` on lines.
    """
    found = []
    for block in lock.split("[[package]]")[1:]:
        name = re.search(r'^name = "([^"]+)"', block, re.MULTILINE)
        if name and re.search(r"^source = \{ (editable|directory) = ", block, re.MULTILINE):
            found.append(name.group(1))
    return sorted(found)


def has_local_path(lock: str) -> bool:
    """Whether a poetry.lock names a directory or a file of the release."""
    return re.search(r'^type = "(directory|file)"', lock, re.MULTILINE) is not None


def wanted_version(python_version: str) -> Optional[str]:
    """What a ``.python-version`` asks for, as 3.12; None when it names something else than a version."""
    for line in _logical_lines(python_version):
        found = re.match(r"(?:cpython[-@])?(3\.\d+)(?:\.\d+)?$", line)
        return found.group(1) if found else None
    return None


def parse_uv_version(text: str) -> str:
    """Of what ``uv --version`` prints.

    :raises Pm2Error: it is no version, or too old.
    """
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    if not found:
        raise Pm2Error("uv --version does not print a version.")
    if tuple(int(part) for part in found.groups()) < LOWEST_UV:
        raise Pm2Error(
            "uv is version {0}, and {1} or newer is needed; update it.".format(
                found.group(0), ".".join(str(part) for part in LOWEST_UV)
            )
        )
    return found.group(0)


def commands(
    source: Source,
    spec: PythonSpec,
    installer: Installer,
    python: str,
    venv: str,
    local: List[str],
    files: List[str],
    hashed: bool,
) -> Commands:
    """What makes the virtual environment.

    :param python: the interpreter.
    :param venv: absolute.
    :param local: packages whose code is in the release (uv.lock), or the project (pyproject.toml).
    :param files: the requirements files to install from, absolute.
    :param hashed: whether they must have hashes.
    """
    if source.kind == "uv":
        return _sync(spec, installer, python, local)
    uses_uv = installer.name == "uv"
    target = os.path.join(venv, "bin", "python")
    if uses_uv:
        make = [*installer.argv, "venv", "--no-project", "--no-python-downloads", "--python", python, venv]
        add = [*installer.argv, "pip", "install", "--python", target]
        compile_them = ["--compile-bytecode"]
    else:
        make = [*installer.argv, "-m", "venv", venv]
        add = [target, "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
        compile_them = []
    own = {"python project": [*add, "--no-deps", "--editable", "."]} if local else {}
    if source.kind == "project":
        what = _of_project(spec, uses_uv)
        own = own if uses_uv else {}
    else:
        what = [part for name in files for part in ("--requirement", name)] + ["--require-hashes"] * hashed
    return Commands(
        {"virtual environment": make, "python dependencies": [*add, *compile_them, *what, *spec.install_args]}, own
    )


def _sync(spec: PythonSpec, installer: Installer, python: str, local: List[str]) -> Commands:
    """By uv.lock as it is: without asking whether it fits, which needs the very index that it was made with."""
    sync = [*installer.argv, "sync", "--frozen", "--no-default-groups", "--no-python-downloads", "--python", python]
    sync += _options("--extra", spec.extras) + _options("--group", spec.groups) + spec.install_args
    first = [*sync, "--compile-bytecode", *_options("--no-install-package", local)]
    own = {"python project": sync} if local and spec.project is not False else {}
    return Commands({"python dependencies": first}, own)


def _of_project(spec: PythonSpec, uses_uv: bool) -> List[str]:
    if uses_uv:
        return ["--requirement", "pyproject.toml", *_options("--extra", spec.extras), *_options("--group", spec.groups)]
    extras = "[{0}]".format(",".join(spec.extras)) if spec.extras else ""
    return ["--editable", "." + extras, *_options("--group", spec.groups)]


def _options(name: str, values: List[str]) -> List[str]:
    return [part for value in values for part in (name, value)]


def export_command(source: Source, spec: PythonSpec, program: str) -> List[str]:
    """Prints the lockfile of Poetry or Pipenv as a requirements file."""
    if source.kind == "poetry":
        argv = [program, "export", "--no-interaction", "--no-ansi", "--format", "requirements.txt"]
        return argv + _options("--extras", spec.extras) + _options("--with", spec.groups)
    argv = [program, "requirements", "--hash"]
    return argv + (["--categories", " ".join(["packages", *spec.groups])] if spec.groups else [])


def remedy(source: Source) -> Tuple[str, str]:
    """Of a lockfile that only its own tool can read: what is needed, and what to do without it."""
    if source.kind == "poetry":
        return (
            "Poetry with its plugin poetry-plugin-export",
            "install both for the app's user, or commit what poetry export prints as requirements.txt",
        )
    return (
        "Pipenv",
        "install it for the app's user, or commit what pipenv requirements --hash prints as requirements.txt",
    )
