# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Dict, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.module_utils._lockfile import NODE, PYTHON, difference, versions

NPM = {
    "lockfileVersion": 3,
    "packages": {
        "": {"name": "shop", "version": "1.0.0"},
        "node_modules/express": {"version": "4.19.0"},
        "node_modules/@scope/tool": {"version": "1.0.0"},
        "node_modules/a/node_modules/ms": {"version": "2.0.0"},
        "node_modules/ms": {"version": "2.1.3"},
        "packages/own": {"version": "0.0.1"},
        "node_modules/own": {"resolved": "packages/own", "link": True},
    },
}
NPM_1 = {
    "lockfileVersion": 1,
    "dependencies": {"a": {"version": "1.0.0", "dependencies": {"ms": {"version": "2.0.0"}}}},
}
PNPM_9 = """\
lockfileVersion: '9.0'

importers:

  .:
    dependencies:
      ms:
        specifier: ^2.1.3
        version: 2.1.3

packages:

  '@scope/tool@1.0.0':
    resolution: {integrity: sha512-x}

  ms@2.1.3:
    resolution: {integrity: sha512-y}

snapshots:

  ms@2.1.3: {}
"""
PNPM_6 = """\
lockfileVersion: '6.0'

packages:

  /@scope/tool@1.0.0:
    resolution: {integrity: sha512-x}

  /ms@2.1.3(peer@1.0.0):
    resolution: {integrity: sha512-y}
"""
YARN_1 = """\
# yarn lockfile v1


"@scope/tool@^1.0.0":
  version "1.0.0"
  integrity sha512-x

ms@2.0.0, ms@~2.0.0:
  version "2.0.0"

ms@^2.1.1:
  version "2.1.3"
"""
YARN_2 = """\
__metadata:
  version: 8

"@scope/tool@npm:^1.0.0":
  version: 1.0.0
  resolution: "@scope/tool@npm:1.0.0"

"ms@npm:^2.1.1, ms@npm:^2.1.3":
  version: 2.1.3

"shop@workspace:.":
  version: 0.0.0-use.local
"""
UV = """\
version = 1

[[package]]
name = "shop"
version = "0.1.0"
source = { virtual = "." }

[[package]]
name = "fastapi"
version = "0.115.0"
source = { registry = "https://example.com/simple" }
"""
POETRY = """\
[[package]]
name = "django"
version = "5.1"
description = "x"

[package.dependencies]
asgiref = ">=3.8.1"
"""
REQUIREMENTS = """\
# made by a tool
Fast_API[all]==0.115.0 \\
    --hash=sha256:aa
uvicorn == 0.30.0 ; python_version > "3.8"
-e .
unpinned>=1
"""
PIPENV = {"default": {"flask": {"version": "==3.0.0"}, "own": {"path": "."}}, "develop": {"x": {"version": "==1"}}}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "package-lock.json",
            json.dumps(NPM),
            {"express": ["4.19.0"], "@scope/tool": ["1.0.0"], "ms": ["2.0.0", "2.1.3"]},
        ),
        ("npm-shrinkwrap.json", json.dumps(NPM_1), {"a": ["1.0.0"], "ms": ["2.0.0"]}),
        ("pnpm-lock.yaml", PNPM_9, {"@scope/tool": ["1.0.0"], "ms": ["2.1.3"]}),
        ("pnpm-lock.yaml", PNPM_6, {"@scope/tool": ["1.0.0"], "ms": ["2.1.3"]}),
        ("yarn.lock", YARN_1, {"@scope/tool": ["1.0.0"], "ms": ["2.0.0", "2.1.3"]}),
        ("yarn.lock", YARN_2, {"@scope/tool": ["1.0.0"], "ms": ["2.1.3"]}),
        ("uv.lock", UV, {"fastapi": ["0.115.0"]}),
        ("poetry.lock", POETRY, {"django": ["5.1"]}),
        ("requirements.txt", REQUIREMENTS, {"fast-api": ["0.115.0"], "uvicorn": ["0.30.0"]}),
        ("Pipfile.lock", json.dumps(PIPENV), {"flask": ["3.0.0"]}),
    ],
)
def test_versions(name: str, text: str, expected: Dict[str, List[str]]) -> None:
    assert versions(name, text) == expected


@given(st.sampled_from([*NODE, *PYTHON]), st.text())
def test_what_cannot_be_read_holds_nothing_and_harms_nobody(name: str, text: str) -> None:
    assert isinstance(versions(name, text), dict)


def test_difference() -> None:
    before = {"gone": ["1"], "same": ["1"], "other": ["1", "2"]}
    after = {"new": ["3"], "same": ["1"], "other": ["2"]}
    assert difference(before, after) == [
        {"name": "gone", "before": ["1"], "after": []},
        {"name": "new", "before": [], "after": ["3"]},
        {"name": "other", "before": ["1", "2"], "after": ["2"]},
    ]
