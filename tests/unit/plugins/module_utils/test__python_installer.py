# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Python's lockfiles say, and which commands follow; that those do what is expected is shown in tests/releases."""

from __future__ import annotations

from typing import Any, Dict, List

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils._build_spec import PythonSpec
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._python_installer import (
    Installer,
    Source,
    check,
    choose,
    commands,
    export_command,
    has_local_path,
    local_packages,
    parse_uv_version,
    read_requirements,
    wanted_version,
)

PROJECT = '[project]\nname = "x"\n'
UV = Installer("uv", ["uv"], "0.9.0")
PIP = Installer("pip", ["python3"], "3.12.1")


@pytest.mark.parametrize(
    ("present", "pyproject", "spec", "kind"),
    [
        (["uv.lock", "requirements.txt", "pyproject.toml"], PROJECT, {}, "uv"),
        (["requirements.txt", "poetry.lock"], "", {}, "requirements"),
        (["poetry.lock", "pyproject.toml"], "[tool.poetry]\n", {}, "poetry"),
        (["Pipfile", "Pipfile.lock"], "", {}, "pipenv"),
        (["uv.lock"], "", {"requirements": ["a.txt"]}, "requirements"),
    ],
)
def test_source(present: List[str], pyproject: str, spec: Dict[str, Any], kind: str) -> None:
    source = choose(present, pyproject, PythonSpec(**spec), lockfile_required=True)
    assert source is not None
    assert source.kind == kind
    assert source.lockfile == source.files[0]


@pytest.mark.parametrize("pyproject", ["", "[tool.ruff]\nline-length = 100\n"])
def test_settings_of_tools_are_no_project(pyproject: str) -> None:
    assert choose(["pyproject.toml", "main.py"], pyproject, PythonSpec(), lockfile_required=True) is None


def test_a_project_without_a_lockfile() -> None:
    with pytest.raises(Pm2Error, match="without a lockfile"):
        choose(["pyproject.toml"], PROJECT, PythonSpec(), lockfile_required=True)
    source = choose(["pyproject.toml"], PROJECT, PythonSpec(), lockfile_required=False)
    assert source is not None
    assert (source.kind, source.lockfile) == ("project", None)


FILES = {
    "requirements.txt": "-r base.txt\n-c more/pins.txt  # pins\nFlask_Login\nh11==0.16.0; python_version > '3'\n",
    "base.txt": "idna==3.11 \\\n    --hash=sha256:00\n-i https://example.com/simple\n\n# nothing\nattrs>=20\n",
    "more/pins.txt": "flask-login==0.6.3\nnot-asked-for>=1\n",
}


def test_requirements_are_followed() -> None:
    found = read_requirements(["requirements.txt"], FILES.__getitem__)
    assert found.files == ["requirements.txt", "base.txt", "more/pins.txt"]
    assert found.hashed
    assert found.local is None
    assert found.unpinned == ["attrs>=20"]


def test_files_that_name_each_other_are_read_once() -> None:
    files = {"a.txt": "-r b.txt\n", "b.txt": "--requirement=a.txt\n"}
    assert read_requirements(["a.txt"], files.__getitem__).files == ["a.txt", "b.txt"]


@pytest.mark.parametrize(
    ("line", "local", "pinned"),
    [
        ("idna==3.11", False, True),
        ("idna[all] == 3.11", False, True),
        ("idna===3.11", False, True),
        ("idna==3.*", False, False),
        ("idna>=3,!=3.1", False, False),
        ("idna", False, False),
        ("idna==3.11 --hash=sha256:00 --hash=sha256:11", False, True),
        ("idna @ https://example.com/idna-3.11.tar.gz", False, True),
        ("https://example.com/idna-3.11.tar.gz", False, True),
        ("idna @ git+https://example.com/idna.git@main", False, False),
        ("git+https://example.com/idna.git@" + "a" * 40, False, True),
        ("-e git+https://example.com/idna.git@" + "a" * 40 + "#egg=idna", False, True),
        ("-e .", True, False),
        ("--editable=./lib", True, False),
        (".", True, False),
        ("./lib", True, False),
        ("libs/lib", True, False),
        ("lib.whl", True, False),
        ("idna @ file:///srv/idna", True, False),
        ("idna @ ./idna", True, False),
        ("-r https://example.com/requirements.txt", True, False),
    ],
)
def test_a_line(line: str, local: bool, pinned: bool) -> None:
    found = read_requirements(["x"], {"x": line + "\n"}.__getitem__)
    assert found.local is not None if local else found.local is None
    if not local:
        assert (found.unpinned == []) == pinned


LOCK = """version = 1

[[package]]
name = "api"
version = "0.1.0"
source = { editable = "." }

[[package]]
name = "flat"
version = "0.1.0"
source = { virtual = "." }

[[package]]
name = "idna"
version = "3.11"
source = { registry = "https://example.com/simple" }

[[package]]
name = "part"
version = "0.1.0"
source = { directory = "libs/part" }
"""


def test_local_packages() -> None:
    assert local_packages(LOCK) == ["api", "part"]
    assert has_local_path('[package.source]\ntype = "directory"\nurl = "libs/part"\n')
    assert not has_local_path('[package.source]\ntype = "legacy"\n')


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("3.12\n", "3.12"),
        ("3.12.4\n", "3.12"),
        ("# comment\ncpython-3.13\n", "3.13"),
        ("cpython@3.11\n", "3.11"),
        ("pypy-3.10\n", None),
        ("my-virtualenv\n", None),
        ("", None),
    ],
)
def test_the_version_that_is_asked_for(text: str, version: str) -> None:
    assert wanted_version(text) == version


def test_the_version_of_uv() -> None:
    assert parse_uv_version("uv 0.9.5 (d5f39331a 2025-10-21)") == "0.9.5"
    with pytest.raises(Pm2Error, match="0.5.20 or newer"):
        parse_uv_version("uv 0.5.1")
    with pytest.raises(Pm2Error, match="does not print a version"):
        parse_uv_version("hello")


def planned(kind: str, installer: Installer, files: List[str], local: List[str], **spec: Any) -> Dict[str, str]:
    hashed = spec.pop("hashed", False)
    source = Source(kind, files)
    made = commands(source, PythonSpec(**spec), installer, "/usr/bin/python3", "/r/.venv", local, files, hashed)
    return {name: " ".join(argv) for name, argv in {**made.install, **made.project}.items()}


def test_commands_of_uv_lock() -> None:
    sync = "uv sync --frozen --no-default-groups --no-python-downloads --python /usr/bin/python3 --extra x --group y"
    spec = {"extras": ["x"], "groups": ["y"], "install_args": ["--all-packages"]}
    assert planned("uv", UV, ["uv.lock"], ["api"], **spec) == {
        "python dependencies": f"{sync} --all-packages --compile-bytecode --no-install-package api",
        "python project": f"{sync} --all-packages",
    }
    assert list(planned("uv", UV, ["uv.lock"], ["api"], project=False)) == ["python dependencies"]
    assert list(planned("uv", UV, ["uv.lock"], [])) == ["python dependencies"]


def test_commands_of_requirements() -> None:
    files = ["a.txt", "b.txt"]
    made = planned("requirements", PIP, files, [], hashed=True, install_args=["--no-binary=x"])
    assert made == {
        "virtual environment": "python3 -m venv /r/.venv",
        "python dependencies": "/r/.venv/bin/python -m pip install --no-input --disable-pip-version-check "
        "--requirement a.txt --requirement b.txt --require-hashes --no-binary=x",
    }
    made = planned("requirements", UV, files, ["."])
    assert made == {
        "virtual environment": "uv venv --no-project --no-python-downloads --python /usr/bin/python3 /r/.venv",
        "python dependencies": "uv pip install --python /r/.venv/bin/python --compile-bytecode "
        "--requirement a.txt --requirement b.txt",
        "python project": "uv pip install --python /r/.venv/bin/python --no-deps --editable .",
    }


def test_commands_of_a_project() -> None:
    spec = {"extras": ["a", "b"], "groups": ["g"]}
    made = planned("project", UV, ["pyproject.toml"], ["."], **spec)
    assert made["python dependencies"].endswith("--requirement pyproject.toml --extra a --extra b --group g")
    assert made["python project"].endswith("--no-deps --editable .")
    made = planned("project", PIP, ["pyproject.toml"], ["."], **spec)
    assert made["python dependencies"].endswith("--editable .[a,b] --group g")
    assert "python project" not in made


def test_exports() -> None:
    spec = PythonSpec(extras=["a"], groups=["g"])
    poetry = export_command(Source("poetry", ["poetry.lock"]), spec, "poetry")
    assert " ".join(poetry) == (
        "poetry export --no-interaction --no-ansi --format requirements.txt --extras a --with g"
    )
    pipenv = export_command(Source("pipenv", ["Pipfile.lock"]), PythonSpec(groups=["g"]), "pipenv")
    assert pipenv == ["pipenv", "requirements", "--hash", "--categories", "packages g"]


@pytest.mark.parametrize(
    ("kind", "installer", "spec", "fault"),
    [
        ("requirements", UV, {"extras": ["x"]}, "python.extras"),
        ("pipenv", UV, {"extras": ["x"]}, "python.extras"),
        ("requirements", UV, {"groups": ["x"]}, "python.groups"),
        ("uv", PIP, {}, "only be installed by uv"),
        ("project", PIP, {"project": False}, "python.project"),
    ],
)
def test_what_does_not_fit_is_refused(kind: str, installer: Installer, spec: Dict[str, Any], fault: str) -> None:
    with pytest.raises(Pm2Error, match=fault):
        check(Source(kind, ["file"]), PythonSpec(**spec), installer)
