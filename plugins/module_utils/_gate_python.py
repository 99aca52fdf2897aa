# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gate of Python apps on the host: ``sitecustomize.py`` in a directory of its own, first on ``PYTHONPATH``.

Each version has its directory, ``gate/python-<first 8 hex digits of its SHA-256>``: what runs goes on with the one that
it was started with. An app gets the two keys that Node apps get, see _gate_script.py.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import Any, Dict, List, Mapping

# imported for its name only: what is not imported, Ansible does not send to the host
from ansible_collections.zerodown.pm2.plugins.module_utils import _gate_sitecustomize
from ansible_collections.zerodown.pm2.plugins.module_utils._gate_directory import make_directory, write_script
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._own_source import source_of

VARIABLE = "PYTHONPATH"
FILE_NAME = "sitecustomize.py"
_OURS = re.compile(r"/gate/python-[0-9a-f]{8}$")


def script() -> str:
    return source_of(_gate_sitecustomize.__name__)


def name() -> str:
    return "python-{0}".format(hashlib.sha256(script().encode("utf-8")).hexdigest()[:8])


def install(home: Home) -> str:
    """Write the script below ``home`` unless it is there; its directory.

    :raises Pm2Error: the directory is not ours alone, or cannot be written.
    """
    directory = os.path.join(home.gate, name())
    for path in (home.gate, directory):
        make_directory(path)
    write_script(os.path.join(directory, FILE_NAME), script())
    return directory


def is_directory(path: str) -> bool:
    """Whether this is one of ours."""
    return _OURS.search(path) is not None


def strip(env: Mapping[str, Any]) -> Dict[str, Any]:
    """The variables as they were declared: without our directory."""
    declared = dict(env)
    if is_ours(env):
        rest = [entry for entry in _entries(env) if not _OURS.search(entry)]
        declared.pop(VARIABLE)
        if rest:
            declared[VARIABLE] = os.pathsep.join(rest)
    return declared


def put(env: Mapping[str, Any], directory: str) -> Dict[str, Any]:
    """The variables with our directory first."""
    declared = strip(env)
    return {**declared, VARIABLE: os.pathsep.join([directory, *filter(None, [declared.get(VARIABLE)])])}


def added(env: Mapping[str, Any]) -> List[str]:
    """Our directories among the variables."""
    return [entry for entry in _entries(env) if _OURS.search(entry)]


def is_ours(env: Mapping[str, Any]) -> bool:
    """Whether a process with these variables runs the script, of whichever version."""
    return bool(added(env))


def _entries(env: Mapping[str, Any]) -> List[str]:
    return str(env.get(VARIABLE) or "").split(os.pathsep)
