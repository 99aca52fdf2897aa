# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packs _boot.py and all it imports into one file that Python runs (zipapp), for the systemd unit."""

from __future__ import annotations

import ast
import io
import zipfile
from typing import Dict, List

# imported for its name only: what is not imported, Ansible does not send to the host
from ansible_collections.zerodown.pm2.plugins.module_utils import _boot
from ansible_collections.zerodown.pm2.plugins.module_utils._own_source import source_of

PACKAGE, FIRST = _boot.__name__.rsplit(".", 1)
FILE_NAME = "boot.pyz"

_MAIN = "import sys\nfrom {0}.{1} import main\nsys.exit(main())\n".format(PACKAGE, FIRST)
# the smallest that a zip file can say: the same sources shall make the same bytes
_EPOCH = (1980, 1, 1, 0, 0, 0)


def build() -> bytes:
    """The program, the same bytes for the same sources."""
    files = {"__main__.py": _MAIN}
    parts = PACKAGE.split(".")
    for depth in range(1, len(parts) + 1):
        files["/".join([*parts[:depth], "__init__.py"])] = ""
    for name, source in _closure(FIRST).items():
        files["{0}/{1}.py".format("/".join(parts), name)] = source
    stream = io.BytesIO()
    # stored, not deflated: zlib is not in every Python, and its bytes differ between versions
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(files):
            archive.writestr(zipfile.ZipInfo(path, _EPOCH), files[path])
    return stream.getvalue()


def _closure(first: str) -> Dict[str, str]:
    """The source of this module and of every module of ours that it imports, by name."""
    sources: Dict[str, str] = {}
    todo = [first]
    while todo:
        name = todo.pop()
        if name not in sources:
            sources[name] = source_of("{0}.{1}".format(PACKAGE, name))
            todo.extend(_imported(sources[name]))
    return sources


def _imported(source: str) -> List[str]:
    """Also what is imported late, in a function."""
    names: List[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            names.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE + "."):
            names.append(node.module[len(PACKAGE) + 1 :])
    return names
