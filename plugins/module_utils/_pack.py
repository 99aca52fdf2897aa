# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make the artifact of a built release: the same files give the same bytes, whoever makes it, where and when."""

from __future__ import annotations

import dataclasses
import gzip
import io
import os
import stat
import tarfile
from typing import IO, Dict, List, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils import _tree
from ansible_collections.zerodown.pm2.plugins.module_utils._artifact import MANIFEST, Manifest
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error

# zlib's own default, named so that no other default changes the bytes
LEVEL = 6


def pack(root: str, exclude: List[str], manifest: Manifest, target: str) -> Tuple[Manifest, str]:
    """Write all below ``root`` to the file ``target``, gzipped.

    :param exclude: shell patterns of names, or of paths relative to ``root``.
    :param manifest: without its files.
    :returns: the manifest with them, and the sha256 of what was written.
    :raises Pm2Error: something is neither file, directory nor link, or ``root`` has a file of the manifest's name.
    :raises OSError: it cannot be read or written.
    """
    entries = sorted((os.path.relpath(entry.path, root), entry.path) for entry in _tree.walk(root, exclude))
    if any(name == MANIFEST for name, _path in entries):
        raise Pm2Error(
            "The release has a file {0} of its own, which is ours in an artifact; rename it.".format(MANIFEST)
        )
    manifest = dataclasses.replace(manifest, files=_digests(entries))
    with open(target, "wb") as stream, gzip.GzipFile(
        filename="", mode="wb", compresslevel=LEVEL, fileobj=stream, mtime=0
    ) as zipped, tarfile.open(mode="w", fileobj=zipped, format=tarfile.PAX_FORMAT) as tar:
        _add(tar, _member(MANIFEST, tarfile.REGTYPE, 0o644, manifest.time), manifest.to_json())
        for name, path in entries:
            _add_path(tar, name, path, manifest.time)
    return manifest, _tree.file_digest(target, "sha256")


def _digests(entries: List[Tuple[str, str]]) -> Dict[str, str]:
    found = {}
    for name, path in entries:
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            found[name] = "-> " + os.readlink(path)
        elif stat.S_ISREG(mode):
            found[name] = _tree.file_digest(path, "sha256")
        elif not stat.S_ISDIR(mode):
            raise Pm2Error("{0} is neither file, directory nor link; exclude it.".format(path))
    return found


def _add_path(tar: tarfile.TarFile, name: str, path: str, time: int) -> None:
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        member = _member(name, tarfile.SYMTYPE, 0o777, time)
        member.linkname = os.readlink(path)
        _add(tar, member, b"")
    elif stat.S_ISDIR(mode):
        _add(tar, _member(name, tarfile.DIRTYPE, 0o755, time), b"")
    else:
        # what the umask of its maker was makes no difference, nor that files of the dependency cache are read-only
        member = _member(name, tarfile.REGTYPE, 0o755 if mode & stat.S_IXUSR else 0o644, time)
        with open(path, "rb") as stream:
            member.size = os.fstat(stream.fileno()).st_size
            tar.addfile(member, stream)


def _member(name: str, kind: bytes, mode: int, time: int) -> tarfile.TarInfo:
    """Of nobody, at the time of the revision: what serves files tells their versions apart by size and time."""
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.mtime = kind, mode, time
    return member


def _add(tar: tarfile.TarFile, member: tarfile.TarInfo, content: bytes) -> None:
    member.size = len(content)
    stream: IO[bytes] = io.BytesIO(content)
    tar.addfile(member, stream)
