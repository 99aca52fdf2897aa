# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is found in a project that is to pass before it goes anywhere."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.module_utils._checks import development, groups, of_python, scripts

RUFF = "[tool.ruff]\nline-length = 120\n"


@pytest.mark.parametrize(
    ("package", "found"),
    [
        ({}, []),
        ({"scripts": None}, []),
        ({"scripts": {"build": "tsc", "test": "jest", "lint": "eslint ."}}, ["lint", "test", "build"]),
        ({"scripts": {"start": "node .", "test": 'echo "Error: no test specified" && exit 1'}}, []),
        ({"scripts": {"typecheck": "tsc --noEmit", "test": 7}}, ["typecheck"]),
    ],
)
def test_scripts(package: dict[str, Any], found: list[str]) -> None:
    assert scripts(package) == found


@pytest.mark.parametrize(
    ("present", "settings", "found"),
    [
        ([], {}, []),
        (["main.py"], {"pyproject.toml": "[project]\nname = 'a'\n"}, []),
        ([], {"pyproject.toml": RUFF}, ["ruff"]),
        ([], {"pyproject.toml": "[tool.ruff.lint]\nselect = ['ALL']\n"}, ["ruff"]),
        # neither another tool of that beginning, nor what only mentions it
        ([], {"pyproject.toml": "[tool.ruffian]\n# [tool.ruff]\n"}, []),
        (["ruff.toml", "mypy.ini", "conftest.py"], {}, ["ruff", "mypy", "pytest"]),
        ([], {"setup.cfg": "[flake8]\n[mypy]\n[tool:pytest]\n"}, ["flake8", "mypy", "pytest"]),
        ([], {"pyproject.toml": "[[tool.mypy.overrides]]\n[tool.pytest.ini_options]\n"}, ["mypy", "pytest"]),
        (["tests"], {"pyproject.toml": RUFF}, ["ruff", "pytest"]),
        (["manage.py", "tests"], {}, ["test"]),
        (["manage.py", "pytest.ini"], {}, ["pytest"]),
        (["test_main.py"], {}, ["pytest"]),
    ],
)
def test_of_python(present: list[str], settings: dict[str, str], found: list[str]) -> None:
    checks = of_python(present, settings)
    assert [check.name for check in checks] == found
    assert all(check.argv[0] == "python" for check in checks)


@given(st.lists(st.text()), st.text())
def test_any_file_is_read(present: list[str], text: str) -> None:
    of_python(present, {"pyproject.toml": text})
    development(present, text, text)


def test_groups() -> None:
    pyproject = """
[dependency-groups]
docs = ["sphinx"]
test = ["pytest"]
dev = [
  "ruff",
]
[tool.poetry.group.lint.dependencies]
flake8 = "*"
[tool.other]
typing = 1
"""
    assert groups(pyproject, "") == ["dev", "lint", "test"]
    assert groups("", "[packages]\n[dev-packages]\npytest = '*'\n") == ["dev-packages"]


def test_what_is_installed_for_development() -> None:
    names = ["requirements.txt", "requirements-dev.txt", "test_requirements.txt", "requirements-prod.txt", "dev.txt"]
    files = ["requirements.txt", "requirements-dev.txt", "test_requirements.txt"]
    grouped = "[dependency-groups]\ndev = []\n"
    assert development(names, grouped, "") == {"requirements": files}
    assert development(["requirements.txt"], grouped, "") == {}
    assert development([*names, "uv.lock"], grouped, "") == {"groups": ["dev"]}
    assert development(["poetry.lock"], "", "") == {}
