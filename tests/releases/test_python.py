# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Virtual environments: made by uv and by pip, from each kind of lockfile, and given to the next release."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from releases.conftest import AS_ANYONE, TRUST, App, Repository, install_python_tool, install_uv, make_repository

# small, pure, and idna has a program
PINNED = "idna==3.20\n"
PYPROJECT = """
[project]
name = "api"
version = "1.0.0"
requires-python = ">=3.10"
dependencies = ["idna==3.20"]
[project.optional-dependencies]
more = ["h11==0.16.0"]
[dependency-groups]
dev = ["iniconfig==2.1.0"]
"""
PACKAGE = """
[build-system]
requires = ["setuptools>=61"]
build-backend = "setuptools.build_meta"
"""


def lock(directory: Path) -> None:
    """A uv.lock, made here so that it names this machine's index."""
    uv = install_uv()
    subprocess.run(
        ["uv", "lock", "--quiet"], cwd=directory, env={**uv.env, **TRUST}, check=True, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("locked")
    (directory / "pyproject.toml").write_text(PYPROJECT)
    lock(directory)
    return directory


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = make_repository(tmp_path / "repository")
    made.write({"main.py": "import idna\n"})
    return made


@pytest.fixture(params=["uv", "pip"])
def installer(request: pytest.FixtureRequest) -> dict[str, Any]:
    """How the module is run so that it finds uv, or does not."""
    return {"session": install_uv().env} if request.param == "uv" else {"python": {"installer": "pip"}}


def stage(app: App, repository: Repository, number: int = 1) -> str:
    staged = app.stage(repository.source, needs_build=True, variant={"number": number}, prefix=AS_ANYONE)
    return str(staged["release"]["id"])


def names(result: dict[str, Any]) -> list[str]:
    return [step["name"] for step in result["steps"]]


def runs(directory: Path, *argv: str, venv: str = ".venv") -> str:
    """What a program of the virtual environment prints."""
    program = subprocess.run(
        [directory / venv / "bin" / argv[0], *argv[1:]], cwd=directory, check=True, capture_output=True, text=True
    )
    return program.stdout.strip()


def has(directory: Path, module: str, venv: str = ".venv") -> bool:
    return runs(directory, "python", "-c", WHERE.format(module), venv=venv) == "True"


WHERE = "import importlib.util; print(importlib.util.find_spec({0!r}) is not None)"


def test_requirements(app: App, repository: Repository, installer: dict[str, Any]) -> None:
    repository.write({"requirements.txt": PINNED})
    first = stage(app, repository)
    planned = app.build(first, check=True, **installer)
    assert planned["changed"]
    assert not (app.path(first) / ".venv").exists()
    made = app.build(first, **installer)
    assert names(made) == names(planned) == ["virtual environment", "python dependencies"]
    assert (made["python"]["cache"], made["python"]["notice"], made["dependencies"]) == ("miss", None, None)
    assert made["python"]["key"] == planned["python"]["key"]
    assert made["python"]["lockfile"] == "requirements.txt"

    repository.write({"more.py": "# another commit\n"})
    second = stage(app, repository)
    again = app.build(second, **installer)
    assert names(again) == []
    assert again["python"]["cache"] == "hit"
    # it stands on its own, by every name it goes by
    shutil.rmtree(app.path(first))
    here = str(app.path(second))
    assert runs(app.path(second), "python", "-c", "import sys; print(sys.prefix)") == f"{here}/.venv"
    assert runs(app.path(second), "python", "-c", "import idna; print(idna.__file__)").startswith(here)
    assert "3.20" in runs(app.path(second), "idna", "--version")
    assert first.encode() not in b"".join(
        item.read_bytes()
        for item in (app.path(second) / ".venv").rglob("*")
        if item.is_file() and item.suffix not in (".pyc", ".so")
    )
    app.release(state="live", release=second)


def test_files_are_shared_and_what_python_compiles_is_not_compiled_again(
    app: App, repository: Repository, installer: dict[str, Any]
) -> None:
    repository.write({"requirements.txt": PINNED})
    first, second = stage(app, repository, 1), stage(app, repository, 2)
    for release in (first, second):
        app.build(release, **installer)
    package = next((app.path(first) / ".venv/lib").glob("python*/site-packages/idna"))
    other = app.path(second) / package.relative_to(app.path(first))
    assert (package / "core.py").samefile(other / "core.py")
    assert (other / "core.py").stat().st_mode & 0o222 == 0
    (compiled,) = (other / "__pycache__").glob("core.*.pyc")
    before = compiled.stat()
    runs(app.path(second), "python", "-c", "import idna.core")
    assert (compiled.stat().st_ino, compiled.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert compiled.samefile(package / "__pycache__" / compiled.name)
    # what Python does write replaces the file of this release alone
    runs(app.path(second), "python", "-c", f"import py_compile; py_compile.compile({str(other / 'core.py')!r})")
    assert not compiled.samefile(package / "__pycache__" / compiled.name)
    traced = runs(app.path(second), "python", "-c", "import idna.core; print(idna.core.encode.__code__.co_filename)")
    assert traced == str(other / "core.py")


def test_hashes_are_honoured(app: App, repository: Repository, installer: dict[str, Any]) -> None:
    wrong = "idna==3.20 \\\n    --hash=sha256:" + "0" * 64 + "\n"
    repository.write({"requirements.txt": wrong})
    result = app.build(stage(app, repository), fails=True, **installer)
    assert result["step"] == "python dependencies"
    assert "hash" in "\n".join(result["output_tail"]).lower()


def test_other_files_by_name(app: App, repository: Repository) -> None:
    repository.write({"requirements/base.txt": PINNED, "requirements/production.txt": "-r base.txt\nh11==0.16.0\n"})
    python = {"requirements": ["requirements/production.txt"], "venv": "env"}
    keys = []
    for content in (PINNED + "# base\n", "idna==3.10\n"):
        repository.write({"requirements/base.txt": content})
        release = stage(app, repository)
        result = app.build(release, python=python, session=install_uv().env)
        keys.append(result["python"]["key"])
        assert has(app.path(release), "h11", venv="env")
    assert keys[0] != keys[1]


def test_what_is_not_pinned_is_told(app: App, repository: Repository) -> None:
    repository.write({"requirements.txt": "idna\n"})
    release = stage(app, repository)
    result = app.build(release, session=install_uv().env)
    assert "no exact version of idna" in json.dumps(result["warnings"])
    assert not app.build(release, session=install_uv().env)["changed"]


def test_uv_lock(app: App, repository: Repository, locked: Path) -> None:
    for name in ("pyproject.toml", "uv.lock"):
        shutil.copy(locked / name, repository.path)
    repository.write({})
    session = install_uv().env
    first = stage(app, repository, 1)
    result = app.build(first, session=session)
    assert names(result) == ["python dependencies"]
    assert result["python"]["cache"] == "miss"
    assert [has(app.path(first), name) for name in ("idna", "iniconfig", "h11")] == [True, False, False]
    second = stage(app, repository, 2)
    assert names(app.build(second, session=session)) == []
    third = stage(app, repository, 3)
    result = app.build(third, session=session, python={"extras": ["more"], "groups": ["dev"]})
    assert result["python"]["cache"] == "miss"
    assert [has(app.path(third), name) for name in ("idna", "iniconfig", "h11")] == [True, True, True]


def test_the_own_package_is_that_of_the_release(app: App, repository: Repository) -> None:
    repository.write({"pyproject.toml": PYPROJECT + PACKAGE, "src/api/__init__.py": "NUMBER = 1\n"})
    lock(repository.path)
    session = install_uv().env
    for number, steps in ((1, ["python dependencies", "python project"]), (2, ["python project"])):
        repository.write({"src/api/__init__.py": f"NUMBER = {number}\n"})
        release = stage(app, repository)
        result = app.build(release, session=session)
        assert names(result) == steps
        assert runs(app.path(release), "python", "-c", "import api; print(api.NUMBER)") == str(number)
        place = runs(app.path(release), "python", "-c", "import api; print(api.__file__)")
        assert place == str(app.path(release) / "src/api/__init__.py")
    without = stage(app, repository, 3)
    assert names(app.build(without, session=session, python={"project": False})) == []


def test_a_project_without_a_lockfile(app: App, repository: Repository, installer: dict[str, Any]) -> None:
    repository.write({"pyproject.toml": PYPROJECT + PACKAGE, "src/api/__init__.py": ""})
    release = stage(app, repository)
    assert "without a lockfile" in app.build(release, fails=True, **installer)["msg"]
    result = app.build(release, lockfile_required=False, **installer)
    assert result["python"]["notice"] == "there is no lockfile"
    assert has(app.path(release), "idna")
    assert has(app.path(release), "api")


def test_node_and_python(app: App, repository: Repository) -> None:
    package = {"name": "web", "version": "1.0.0", "private": True, "scripts": {"build": "python -c 'import idna'"}}
    (repository.path / "frontend").mkdir()
    (repository.path / "frontend/package.json").write_text(json.dumps(package))
    subprocess.run(["npm", "install", "--package-lock-only"], cwd=repository.path / "frontend", check=True)
    repository.write({"requirements.txt": PINNED})
    options: dict[str, Any] = {"directory": "frontend", "scripts": ["build"], "cache": "none"}
    node_only = stage(app, repository, 1)
    result = app.build(node_only, fails=True, **options)
    assert result["step"] == "script build"
    assert not (app.path(node_only) / ".venv").exists()
    both = stage(app, repository, 2)
    step = {"name": "where", "argv": ["python", "-c", "import sys; print(sys.prefix)"], "directory": "."}
    result = app.build(both, **options, python={"directory": "."}, steps=[step])
    wanted = ["virtual environment", "python dependencies", "install", "script build", "where"]
    assert names(result) == wanted
    assert f"{app.path(both)}/.venv" in Path(result["log"]).read_text().splitlines()
    assert result["dependencies"]["package_manager"] == "npm"


def test_what_no_kept_release_uses_leaves_the_cache(app: App, repository: Repository) -> None:
    repository.write({"requirements.txt": PINNED})
    session = install_uv().env
    app.build(stage(app, repository), session=session)
    repository.write({"requirements.txt": "idna==3.10\n"})
    kept = stage(app, repository)
    key = app.build(kept, session=session)["python"]["key"]
    assert len(list((app.root / "cache/dependencies").iterdir())) == 2
    app.release(state="live", release=kept, keep=1)
    assert [path.name for path in (app.root / "cache/dependencies").iterdir()] == [key]


def test_a_damaged_environment_is_made_anew(app: App, repository: Repository) -> None:
    repository.write({"requirements.txt": PINNED})
    session = install_uv().env
    key = app.build(stage(app, repository, 1), session=session)["python"]["key"]
    tree = app.root / "cache/dependencies" / key / "tree"
    damaged = next(tree.rglob("idna/core.py"))
    damaged.chmod(0o600)
    damaged.write_text("damaged")
    second = stage(app, repository, 2)
    result = app.build(second, session=session)
    assert names(result) == ["virtual environment", "python dependencies"]
    assert "idna/core.py changed" in json.dumps(result["warnings"])
    assert has(app.path(second), "idna")


def test_a_lockfile_that_is_exported(app: App, repository: Repository, tmp_path: Path) -> None:
    tool = install_python_tool("pipenv", ["pipenv==2026.10.3"])
    # it writes into the home otherwise
    own = {"WORKON_HOME": str(tmp_path / "venvs")}
    (repository.path / "Pipfile").write_text('[packages]\nidna = "==3.20"\n')
    subprocess.run(["pipenv", "lock"], cwd=repository.path, env={**tool.env, **own}, check=True, capture_output=True)
    repository.write({})
    session = {**tool.env, "PATH": f"{install_uv().binaries}:{tool.env['PATH']}"}
    for number, steps in ((1, ["python export", "virtual environment", "python dependencies"]), (2, [])):
        release = stage(app, repository, number)
        result = app.build(release, env=own, session=session)
        assert names(result) == steps
        assert has(app.path(release), "idna")
        if steps:
            assert "--hash=sha256:" in (app.path(release) / ".zerodown/requirements.txt").read_text()


def test_poetry_without_its_plugin_is_refused(app: App, repository: Repository) -> None:
    tool = install_python_tool("poetry", ["poetry==2.5.1"])
    repository.write({"poetry.lock": ""})
    message = app.build(stage(app, repository), fails=True, session=tool.env)["msg"]
    assert f"{tool.binaries}/poetry lacks it; install both" in message


@pytest.mark.parametrize(
    ("files", "options", "fault"),
    [
        (
            {"poetry.lock": ""},
            {},
            "poetry.lock needs Poetry with its plugin poetry-plugin-export on PATH; install both",
        ),
        ({"Pipfile.lock": "{}"}, {}, "Pipfile.lock needs Pipenv on PATH; install it"),
        ({"Pipfile": ""}, {}, "run pipenv lock"),
        ({"uv.lock": ""}, {}, "uv was not found on PATH, and uv.lock needs it"),
        ({"uv.lock": ""}, {"python": {"installer": "pip"}}, "uv.lock can only be installed by uv"),
        ({"requirements.txt": ""}, {"python": {"installer": "uv"}}, "uv was not found on PATH, and python.installer"),
        ({"requirements.txt": ""}, {"python": {"extras": ["x"]}}, "remove python.extras"),
        ({"requirements.txt": ""}, {"python": {"venv": "../x"}}, "leads out of"),
        ({"requirements.txt": ""}, {"python": {"venv": "."}}, "a directory of its own"),
        ({"requirements.txt": ""}, {"python": {"directory": "no"}}, "no directory 'no' for Python"),
        ({"requirements.txt": ""}, {"python": {"executable": "python3.99"}}, "correct python.executable"),
        ({"requirements.txt": ""}, {"python": {"executable": "/bin/true"}}, "does not answer as Python 3 does"),
        ({"requirements.txt": ""}, {"install_args": ["-v"]}, "python.install_args"),
        ({"requirements.txt": "-r no.txt\n"}, {}, "no.txt cannot be read"),
        ({"requirements.txt": "-r ../../../no.txt\n"}, {}, "leads out of"),
        ({"requirements.txt": "", ".python-version": "3.99\n"}, {}, "python3.99 was not found on PATH"),
        ({}, {"python": {}}, "has nothing to install for Python"),
        ({"requirements.txt": ""}, {"python": {"instaler": "uv"}}, "instaler"),
    ],
)
def test_what_is_refused(
    app: App, repository: Repository, files: dict[str, str], options: dict[str, Any], fault: str
) -> None:
    repository.write({**files, "more.py": ""})
    without_uv = {**os.environ, "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    release = stage(app, repository)
    assert fault in app.build(release, fails=True, session=without_uv, **options)["msg"]
    assert app.info()["releases"][0]["build"] is None


def test_nothing_of_python_is_nothing_installed(app: App, repository: Repository) -> None:
    assert app.build(stage(app, repository))["python"] is None
    repository.write({"requirements.txt": PINNED})
    result = app.build(stage(app, repository), python={"installer": "none"})
    assert (names(result), result["python"]) == ([], None)
