# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A release from an artifact: an archive that says of which commit it is, and for which hosts."""

from __future__ import annotations

import os
import shutil
import tarfile
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils import _artifact, _tree
from ansible_collections.zerodown.pm2.plugins.module_utils._artifact import MANIFEST, MANIFEST_MAX, Manifest
from ansible_collections.zerodown.pm2.plugins.module_utils._command import run
from ansible_collections.zerodown.pm2.plugins.module_utils._environment import base_environment
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import CommandError, Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import which
from ansible_collections.zerodown.pm2.plugins.module_utils._source_archive import ArchiveSource


@dataclass(frozen=True)
class ArtifactSource:
    """:ivar archive: with its checksum, which tells the release before anything is fetched.
    :ivar commit: that it is of.
    :ivar any_platform: whether what was built for another host is taken.
    :ivar node: the Node that will run it; None for the first one on PATH.
    """

    archive: ArchiveSource
    commit: str
    any_platform: bool = False
    node: Optional[str] = None

    kind = "artifact"

    def __post_init__(self) -> None:
        """:raises Pm2Error: the checksum is missing."""
        if not self.archive.checksum:
            raise Pm2Error("An artifact needs source.checksum, which the module artifact returned.")

    def shape(self) -> Dict[str, Any]:
        # two builds of a commit that differ are two releases
        return {"checksum": self.archive.checksum}

    def describe(self) -> Dict[str, Any]:
        return {**self.archive.describe(), "type": "artifact"}

    def revision(self) -> Tuple[str, bool]:
        return self.commit, True

    def fetch(self, revision: str) -> str:
        """
        :raises Pm2Error: it cannot be had, is damaged, of another commit, or for another host.
        """
        self.archive.fetch(self.archive.revision()[0])
        manifest = self._manifest()
        if manifest.revision != revision:
            self.archive.discard()
            raise Pm2Error(
                "The artifact {0} is of {1}, and {2} is asked for; correct source.commit.".format(
                    self._name(), manifest.revision, revision
                )
            )
        why = None if self.any_platform else _artifact.unfit(manifest, _artifact.here(), self._runtime(manifest))
        if why:
            self.archive.discard()
            raise Pm2Error(
                "The artifact {0} is not for this host. {1} Build it on a host like this one, or set "
                "source.any_platform.".format(self._name(), why)
            )
        return revision

    def write(self, revision: str, target: str) -> None:
        """Unpack it into the empty directory ``target``; all files have the time of the commit, so that every host
        answers the same about them."""
        time = self._manifest().time
        self.archive.write(revision, target)
        _tree.remove(os.path.join(target, MANIFEST))
        for entry in _tree.walk(target, []):
            os.utime(entry.path, (time, time), follow_symlinks=False)

    def _manifest(self) -> Manifest:
        """The first file in it."""
        path = self.archive.download if self.archive.url else str(self.archive.file)
        try:
            with tarfile.open(path) as tar:
                first = tar.next()
                stream = tar.extractfile(first) if first and first.name == MANIFEST else None
                if stream is None:
                    raise Pm2Error(
                        "{0} is no artifact: it does not begin with {1}. Make one with the module artifact, or use "
                        "source.type=archive.".format(self._name(), MANIFEST)
                    )
                return _artifact.parse(stream.read(MANIFEST_MAX), self._name())
        except (tarfile.TarError, EOFError, OSError) as error:
            raise Pm2Error("The artifact {0} cannot be read: {1}.".format(self._name(), error)) from error

    def _runtime(self, manifest: Manifest) -> Dict[str, str]:
        """The version of Node here. Python's is looked at when the virtual environment is made."""
        node = shutil.which(self.node) if self.node else which("node")
        if "node" not in manifest.runtime or not node:
            return {}
        try:
            return {"node": run([node, "--version"], base_environment()).stdout.strip()}
        except CommandError:
            return {}

    def _name(self) -> str:
        described = self.archive.describe()
        return str(described.get("file") or described.get("url"))
