# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Linked paths: what outlives a release lies in ``shared`` and is linked into each one."""

from __future__ import annotations

import os
from typing import List

from ansible_collections.zerodown.pm2.plugins.module_utils import _tree
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import inside
from ansible_collections.zerodown.pm2.plugins.module_utils._release import PRIVATE, Layout


def check(layout: Layout, directories: List[str], files: List[str], reserved: List[str]) -> None:
    """Refuse what cannot be linked, before anything changes.

    :param reserved: names in the release that are not theirs to take.
    :raises Pm2Error: not a plain path below ``shared``, one within another, or a file that is missing.
    """
    paths = directories + files
    for path in paths:
        if path != os.path.normpath(path) or path.split("/")[0] in ("", ".", ".."):
            raise Pm2Error(
                "The shared path {0!r} must be a plain path relative to {1}, without '..'.".format(path, layout.shared)
            )
        if path.split("/")[0] in [PRIVATE] + reserved:
            raise Pm2Error("The shared path {0!r} is taken by the release itself; use another one.".format(path))
        for other in paths:
            if path.startswith(other + "/"):
                raise Pm2Error("The shared path {0!r} lies within {1!r}; leave it out.".format(path, other))
        if paths.count(path) > 1:
            raise Pm2Error("The shared path {0!r} is there twice; leave one out.".format(path))
        inside(layout.shared, path, "shared path")
    for path in files:
        if not os.path.isfile(os.path.join(layout.shared, path)):
            raise Pm2Error(
                "The shared file {0} is missing; put it there, or take it out of shared.files.".format(
                    os.path.join(layout.shared, path)
                )
            )
    for path in directories:
        found = os.path.join(layout.shared, path)
        if os.path.lexists(found) and not os.path.isdir(found):
            raise Pm2Error("{0} is not a directory; remove it, or take it out of shared.directories.".format(found))


def link(layout: Layout, release: str, directories: List[str], files: List[str]) -> None:
    """Put the links into a release that is being staged.

    A directory that is new in ``shared`` gets what the source has at its path, whole or not at all.

    :param release: its directory, directly below ``releases``.
    :raises Pm2Error: the source has a link on the way that leads out of the release.
    """
    for path in directories + files:
        # links resolved on both sides, or the way from one to the other would be wrong
        shared = os.path.join(os.path.realpath(layout.shared), path)
        parent = inside(release, os.path.dirname(path) or ".", "shared path")
        here = os.path.join(parent, os.path.basename(path))
        if path in directories and not os.path.isdir(shared):
            _create(shared, here)
        os.makedirs(parent, exist_ok=True)
        _tree.remove(here)
        os.symlink(os.path.relpath(shared, parent), here)


def _create(shared: str, seed: str) -> None:
    os.makedirs(os.path.dirname(shared), exist_ok=True)
    partial = os.path.join(os.path.dirname(shared), ".{0}.partial".format(os.path.basename(shared)))
    _tree.remove(partial)
    os.mkdir(partial)
    if os.path.isdir(seed) and not os.path.islink(seed):
        _tree.copy(seed, partial, [])
    os.rename(partial, shared)
