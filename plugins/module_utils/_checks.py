# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a project says itself about how it is checked: what is to pass before it goes anywhere, found in its files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Dict, List, Sequence

# in this order: what takes least time to fail comes first
SCRIPTS = ("lint", "typecheck", "test", "build")
# npm init writes it into every package.json
_NO_TEST = "no test specified"

# Python's, each by the files that have its settings, or by a section of pyproject.toml, tox.ini or setup.cfg
_TOOLS = (
    ("ruff", ("ruff.toml", ".ruff.toml"), r"tool\.ruff", ["ruff", "check", "."]),
    ("flake8", (".flake8",), r"flake8", ["flake8"]),
    ("mypy", ("mypy.ini", ".mypy.ini"), r"tool\.mypy|mypy", ["mypy", "."]),
    ("pytest", ("pytest.ini", "conftest.py"), r"tool\.pytest(\.ini_options)?|pytest|tool:pytest", ["pytest"]),
)
SETTINGS = ("pyproject.toml", "tox.ini", "setup.cfg")
# groups of dependencies and files of requirements that tools like these come from
_GROUPS = ("dev", "development", "lint", "test", "tests", "typing")
_REQUIREMENTS = re.compile(
    r"(requirements[-_.](dev|develop|development|test|tests|lint|ci)|(dev|test)[-_]requirements)\.txt"
)


@dataclass(frozen=True)
class Check:
    """:ivar name: of the step.
    :ivar argv: to run in the project's directory, in its virtual environment.
    """

    name: str
    argv: List[str]


def scripts(package: Dict[str, Any]) -> List[str]:
    """The scripts of package.json that check or build."""
    declared = package.get("scripts")
    declared = declared if isinstance(declared, dict) else {}
    found = [name for name in SCRIPTS if isinstance(declared.get(name), str)]
    return [name for name in found if not (name == "test" and _NO_TEST in declared[name])]


def of_python(present: Sequence[str], settings: Dict[str, str]) -> List[Check]:
    """
    :param present: the names in the project's directory.
    :param settings: the texts of those of SETTINGS that are there.
    """
    sections = [
        section for text in settings.values() for section in re.findall(r"^\[+\s*([^\]\n]+?)\s*\]+", text, re.M)
    ]
    found = [
        Check(name, ["python", "-m", *argv])
        for name, files, section, argv in _TOOLS
        if set(files) & set(present) or any(re.fullmatch(r"(%s)(\..*)?" % section, item) for item in sections)
    ]
    if any(check.name == "pytest" for check in found):
        return found
    if "manage.py" in present:
        return [*found, Check("test", ["python", "manage.py", "test", "--noinput"])]
    if "tests" in present or any(re.fullmatch(r"test_.*\.py|.*_test\.py", name) for name in present):
        return [*found, Check("pytest", ["python", "-m", "pytest"])]
    return found


def development(present: Sequence[str], pyproject: str, pipfile: str) -> Dict[str, List[str]]:
    """What is to be installed beside what production needs: ``groups`` or ``requirements`` of the build's ``python``,
    as the lockfile that is used has it; empty when there is nothing."""
    if "uv.lock" not in present and "requirements.txt" in present:
        files = sorted(name for name in present if _REQUIREMENTS.fullmatch(name))
        return {"requirements": ["requirements.txt", *files]} if files else {}
    names = groups(pyproject, pipfile)
    return {"groups": names} if names else {}


def groups(pyproject: str, pipfile: str) -> List[str]:
    """The groups of dependencies that are for development."""
    found = re.findall(r"^\[tool\.poetry\.group\.([\w-]+)\.dependencies\]", pyproject, re.M)
    section = re.search(r"^\[dependency-groups\]\s*\n(.*?)(?=^\[|\Z)", pyproject, re.M | re.S)
    if section:
        found += re.findall(r"^([\w-]+)\s*=", section.group(1), re.M)
    named = [name for name in _GROUPS if name in found]
    return named + (["dev-packages"] if re.search(r"^\[dev-packages\]", pipfile, re.M) else [])
