# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where PM2 and the Node that runs it are, found without starting either."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error

# sudo and cron have a short PATH; npm -g and the archives of nodejs.org install here
SYSTEM_PATH = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]


@dataclass(frozen=True)
class Pm2Install:
    """A PM2 on disk.

    :ivar executable: ``…/bin/pm2`` as it was found (often a symbolic link).
    :ivar package: the directory of the npm package, links resolved.
    :ivar version: of the package, from its package.json; a running daemon may still be an older one.
    :ivar node: the Node binary it is run with.
    """

    executable: str
    package: str
    version: str
    node: str

    @property
    def daemon_script(self) -> str:
        return os.path.join(self.package, "lib", "Daemon.js")

    @property
    def cli_script(self) -> str:
        return os.path.join(self.package, "bin", "pm2")


def search_path() -> List[str]:
    """PATH of the session first, then the system directories it may lack."""
    path = [entry for entry in os.environ.get("PATH", "").split(os.pathsep) if os.path.isabs(entry)]
    return path + [entry for entry in SYSTEM_PATH if entry not in path]


def which(name: str, path: Optional[List[str]] = None) -> Optional[str]:
    """The first executable file of this name, as execvp(3) would find it."""
    candidates = [name] if os.sep in name else [os.path.join(entry, name) for entry in (path or search_path())]
    for candidate in candidates:
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    return None


def find_pm2(executable: Optional[str] = None, node: Optional[str] = None) -> Pm2Install:
    """The PM2 to use.

    :param executable: the user's ``pm2_executable``; ``None`` searches PATH.
    :param node: the Node to run it with; ``None`` takes the one beside the executable, else the first on PATH.
    :raises Pm2Error: there is none, or what is there is not PM2, or there is no Node.
    """
    found = which(os.path.expanduser(executable)) if executable else which("pm2")
    if not found:
        raise Pm2Error(
            "PM2 was not found {0}; install it (role zerodown.pm2.pm2, or npm install -g pm2) or set "
            "pm2_executable.".format("at {0}".format(executable) if executable else "on PATH")
        )
    package = _package_of(found)
    version = _package_version(package) if package else None
    if not package or not version:
        raise Pm2Error("{0} is not the pm2 of an npm package; set pm2_executable to PM2's own bin/pm2.".format(found))
    node_found = which(os.path.expanduser(node)) if node else which("node", [os.path.dirname(found)]) or which("node")
    if not node_found:
        raise Pm2Error(
            "Node was not found {0}; install it (role zerodown.pm2.nodejs) or set node_executable.".format(
                "at {0}".format(node) if node else "beside {0} or on PATH".format(found)
            )
        )
    return Pm2Install(executable=found, package=package, version=version, node=os.path.abspath(node_found))


def _package_of(executable: str) -> Optional[str]:
    """npm links ``bin/pm2`` to ``…/node_modules/pm2/bin/pm2``."""
    package = os.path.dirname(os.path.dirname(os.path.realpath(executable)))
    return package if os.path.isfile(os.path.join(package, "lib", "Daemon.js")) else None


def _package_version(package: str) -> Optional[str]:
    try:
        with open(os.path.join(package, "package.json"), encoding="utf-8") as stream:
            content = json.load(stream)
    except (OSError, ValueError):
        return None
    return str(content["version"]) if content.get("name") == "pm2" and "version" in content else None
