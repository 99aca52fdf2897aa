# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole directory trees: copy, digest, remove, put on disk, and who runs from them.

Symbolic links are copied, compared and removed as what they are, and never followed.
"""

from __future__ import annotations

import contextlib
import ctypes
import fnmatch
import hashlib
import os
import re
import shutil
import stat
from typing import Iterator, List, Optional, Set

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error


def walk(root: str, exclude: List[str]) -> Iterator[os.DirEntry]:
    """Everything below ``root``, a directory before what is in it, names in order.

    :param exclude: shell patterns of names or of paths relative to ``root``.
    """

    def descend(directory: str) -> Iterator[os.DirEntry]:
        with os.scandir(directory) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
        for entry in entries:
            relative = os.path.relpath(entry.path, root)
            if any(fnmatch.fnmatch(entry.name, item) or fnmatch.fnmatch(relative, item) for item in exclude):
                continue
            yield entry
            if entry.is_dir(follow_symlinks=False):
                yield from descend(entry.path)

    return descend(root)


def copy(source: str, target: str, exclude: List[str]) -> None:
    """Copy what is in ``source`` into the existing directory ``target``; files keep their mode, less what others may
    write.

    :raises Pm2Error: a socket, device or pipe is in it.
    :raises OSError: it cannot be read or written.
    """
    for entry in walk(source, exclude):
        path = os.path.join(target, os.path.relpath(entry.path, source))
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), path)
        elif entry.is_dir():
            os.mkdir(path)
        elif entry.is_file():
            shutil.copyfile(entry.path, path)
            os.chmod(path, safe_mode(entry.stat().st_mode))
        else:
            raise Pm2Error("{0} is neither file, directory nor link; exclude it.".format(entry.path))


def safe_mode(mode: int) -> int:
    """Of a file from elsewhere: its owner may read and write it, no one else may write it, and no set-id bits."""
    return stat.S_IMODE(mode) & 0o755 | 0o600


def digest(root: str, exclude: List[str]) -> str:
    """SHA-256 over the names, kinds, contents and executable bits of everything below ``root``."""
    total = hashlib.sha256()
    for entry in walk(root, exclude):
        if entry.is_symlink():
            kind, content = "link", os.readlink(entry.path)
        elif entry.is_dir():
            kind, content = "directory", ""
        else:
            executable = entry.stat().st_mode & stat.S_IXUSR
            kind, content = "program" if executable else "file", file_digest(entry.path, "sha256")
        record = "\0".join((kind, os.path.relpath(entry.path, root), content)) + "\0\n"
        total.update(record.encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def file_digest(path: str, algorithm: str) -> str:
    """The digest of a file in hexadecimal; of something that is not a file, of nothing (it is refused when copied)."""
    total = hashlib.new(algorithm)
    if stat.S_ISREG(os.stat(path).st_mode):
        with open(path, "rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                total.update(block)
    return total.hexdigest()


def content_digest(path: str) -> Optional[str]:
    """Of a file or of a directory with all that is in it; None when there is neither."""
    if os.path.isdir(path):
        return digest(path, [])
    return file_digest(path, "sha256") if os.path.isfile(path) else None


def remove(path: str) -> None:
    """Remove a tree or a file, when it is there; also directories that do not let their owner write (some tools make
    their caches so).

    :raises Pm2Error: something in it cannot be removed.
    """
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            _remove_directory(path)
        else:
            os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise Pm2Error(
            "{0} cannot be removed: {1}; it may belong to another user.".format(error.filename or path, error.strerror)
        ) from error


def _remove_directory(path: str) -> None:
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        os.chmod(path, 0o700)
    with os.scandir(path) as scan:
        entries = list(scan)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            _remove_directory(entry.path)
        else:
            os.unlink(entry.path)
    os.rmdir(path)


def flush(path: str) -> None:
    """Put everything written to the file system of ``path`` on disk (syncfs(2)), so that a rename cannot outlive it."""
    library = ctypes.CDLL(None)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if not hasattr(library, "syncfs") or library.syncfs(descriptor) != 0:
            os.sync()
    finally:
        os.close(descriptor)


def in_use(directory: str) -> Set[str]:
    """The names in ``directory`` that a process runs from: its working directory, or a path in its command line (PM2
    puts the script there, lib/ProcessContainer.js). Other users' processes show the latter only."""
    found: Set[str] = set()
    prefixes = {directory.rstrip("/") + "/", os.path.realpath(directory) + "/"}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        texts: List[str] = []
        # it may have ended, or belong to someone else
        with contextlib.suppress(OSError):
            texts.append(os.readlink("/proc/{0}/cwd".format(name)))
        with contextlib.suppress(OSError), open("/proc/{0}/cmdline".format(name), "rb") as stream:
            texts.append(stream.read().decode("utf-8", "replace"))
        for text in texts:
            for prefix in prefixes:
                found.update(re.split("[/\\0 ]", rest, maxsplit=1)[0] for rest in text.split(prefix)[1:])
    return found - {""}
