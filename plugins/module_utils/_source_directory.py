# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A release from a directory on the host; its revision is a digest of its content."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Dict, List, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils import _tree
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error


@dataclass(frozen=True)
class DirectorySource:
    """:ivar root: the app's root, which must lie elsewhere.
    :ivar exclude: shell patterns of names or relative paths.
    """

    directory: str
    root: str
    exclude: List[str]

    kind = "directory"

    def shape(self) -> Dict[str, Any]:
        # what is excluded is not in the digest either
        return {}

    def describe(self) -> Dict[str, Any]:
        return {"type": "directory", "directory": self.directory, "exclude": self.exclude}

    def revision(self) -> Tuple[str, bool]:
        """:raises Pm2Error: no such directory, one within the other, or it cannot be read."""
        if not os.path.isdir(self.directory):
            raise Pm2Error("There is no directory {0} to make a release from.".format(self.directory))
        here, root = os.path.realpath(self.directory) + "/", os.path.realpath(self.root) + "/"
        if here.startswith(root) or root.startswith(here):
            raise Pm2Error("The directory {0} and the app's root {1} must not lie in each other.".format(here, root))
        try:
            return _tree.digest(self.directory, self.exclude), True
        except OSError as error:
            raise Pm2Error("{0} cannot be read: {1}.".format(error.filename, error.strerror)) from error

    def fetch(self, revision: str) -> str:
        return revision

    def write(self, revision: str, target: str) -> None:
        """:raises Pm2Error: it changed meanwhile, or has something in it that cannot be copied."""
        _tree.copy(self.directory, target, self.exclude)
        if _tree.digest(target, []) != revision:
            raise Pm2Error("The directory {0} changed while it was copied; run this again.".format(self.directory))
