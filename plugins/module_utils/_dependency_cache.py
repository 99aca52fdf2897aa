# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Installed dependency trees, kept under a key and given to the next release by hard links.

A linked file has one content for all releases, the live one among them. So no linked file may be changed in place:
they are read-only, and what tools are known to rewrite (``node_modules/.*``, but not pnpm's store ``.pnpm``) is
copied. Root ignores modes, so for root everything is copied.

A virtual environment names its own path in many files (``pyvenv.cfg``, the first lines of ``bin/*``). They are found
when it is stored, and each release gets a copy that names its own. Python never writes a compiled file in place
(importlib: beside it, then rename), and takes one from the cache because source and time are as they were.

An entry is ``<key>/entry.json`` and ``<key>/tree``. It lists each file with size, time and mode, and one that
differs, as after a crash or a careless script, makes the entry worthless.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
from typing import Any, Iterator, List, Optional, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils import _tree
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import write_atomic
from ansible_collections.zerodown.pm2.plugins.module_utils._release import Release

FORMAT = 1
# a file that names its directory is a script or a list
_TEXT_LIMIT = 4 << 20
# what link(2) says when there can be no link here: another file system, too many links, not allowed (link(2), ERRORS)
_NO_LINK = (errno.EXDEV, errno.EMLINK, errno.EPERM)


class Damaged(Exception):
    """An entry is not what it was when it was stored; says how."""


def trees(directory: str) -> List[str]:
    """The ``node_modules`` below ``directory`` that lie in no other, relative to it: one, or more with workspaces."""
    found: List[str] = []
    for parent, names, _files in os.walk(directory):
        if "node_modules" in names:
            path = os.path.join(parent, "node_modules")
            if not os.path.islink(path):
                found.append(os.path.relpath(path, directory))
        names[:] = [name for name in names if name not in ("node_modules", ".git")]
    return sorted(found)


def _modes_bind() -> bool:
    """Whether a read-only file is one for us: not with CAP_DAC_OVERRIDE (capabilities(7), bit 1), which root has."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as stream:
        found = re.search(r"^CapEff:\s*([0-9a-f]+)", stream.read(), re.MULTILINE)
    return found is not None and not int(found.group(1), 16) >> 1 & 1


def exists(cache: str, key: str) -> bool:
    return os.path.isfile(os.path.join(cache, key, "entry.json"))


def restore(cache: str, key: str, directory: str, link: bool) -> int:
    """Give the release the trees of an entry.

    :param directory: the package's directory in the release.
    :param link: hard links where that is safe and possible, else copies.
    :returns: how many files there are.
    :raises Damaged: the entry is not what was stored; what was put into the release is gone again, and so is the entry.
    """
    entry = os.path.join(cache, key)
    link = link and _modes_bind()
    roots: List[str] = []
    try:
        with open(os.path.join(entry, "entry.json"), encoding="utf-8") as stream:
            content = json.load(stream)
        if content["format"] != FORMAT:
            raise Damaged("it has another format")
        roots = content["trees"]
        for root in roots:
            _tree.remove(os.path.join(directory, root))
            os.makedirs(os.path.dirname(os.path.join(directory, root)), exist_ok=True)
        copied = set(content.get("relocated", []))
        for path, mode, size, mtime, target in content["files"]:
            own = path in copied or _rewritten(path)
            _restore_one(entry, directory, path, (mode, size, mtime), target, link and not own)
            if own and stat.S_ISREG(mode):
                _relocate(os.path.join(directory, path), content["origin"], directory)
    except (Damaged, OSError, ValueError, KeyError, TypeError) as error:
        for root in roots:
            _tree.remove(os.path.join(directory, root))
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Pm2Error(
                "The dependencies could not be put into {0}: {1}; free some space.".format(directory, error.strerror)
            ) from error
        _tree.remove(entry)
        raise Damaged(str(error)) from error
    return _count(content["files"])


def _count(records: List[List[Any]]) -> int:
    return sum(not stat.S_ISDIR(record[1]) for record in records)


def _restore_one(
    entry: str, directory: str, path: str, stored: Tuple[int, int, int], target: Optional[str], link: bool
) -> None:
    here = os.path.join(directory, path)
    if target is not None:
        os.symlink(target, here)
        return
    if stat.S_ISDIR(stored[0]):
        os.mkdir(here)
        return
    source = os.path.join(entry, "tree", path)
    found = os.lstat(source)
    if (found.st_mode, found.st_size, found.st_mtime_ns) != stored:
        raise Damaged("{0} changed since it was stored; releases that share it may be damaged too".format(path))
    if link:
        try:
            os.link(source, here)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
        else:
            return
    shutil.copyfile(source, here)
    os.utime(here, ns=(found.st_atime_ns, found.st_mtime_ns))
    os.chmod(here, stat.S_IMODE(found.st_mode) | stat.S_IWUSR)


def _rewritten(path: str) -> bool:
    """Whether tools rewrite it: the bookkeeping of package managers, caches, generated clients, ``.bin``."""
    parts = path.split("/")
    return any(
        parent == "node_modules" and name.startswith(".") and name != ".pnpm" for parent, name in zip(parts, parts[1:])
    )


def _relocate(path: str, origin: str, directory: str) -> None:
    """Such files name the directory they were made in; some (pnpm's ``.bin``) would make it run code from there."""
    content = _names(path, origin)
    if content is not None:
        with open(path, "wb") as stream:
            stream.write(content.replace(os.fsencode(origin), os.fsencode(directory)))


def _names(path: str, origin: str) -> Optional[bytes]:
    """The content of a text that names the directory ``origin``; else None."""
    with open(path, "rb") as stream:
        content = stream.read()
    return content if os.fsencode(origin) in content and b"\0" not in content else None


def store(cache: str, key: str, directory: str, link: bool, venv: Optional[str] = None) -> Tuple[int, Optional[str]]:
    """Keep the trees that an install made.

    :param venv: the virtual environment, relative to ``directory``; None for each node_modules.
    :returns: how many files there are, and why they were not kept, or None.
    """
    roots = [venv] if venv else trees(directory)
    if not roots:
        return 0, "the install made no node_modules"
    link = link and _modes_bind()
    partial = os.path.join(cache, ".{0}.{1}.partial".format(key, os.getpid()))
    files: List[List[Any]] = []
    relocated: List[str] = []
    try:
        os.makedirs(os.path.join(partial, "tree"), mode=0o700)
        for path, entry in _below(directory, roots):
            kept = os.path.join(partial, "tree", path)
            own = venv is not None and _of_its_place(path, entry, directory, venv)
            if own:
                relocated.append(path)
            linked = link and not own and not _rewritten(path)
            links_out = os.path.join(venv, "bin", "") if venv else None
            files.append([path] + _store_one(entry, kept, path, directory, linked, links_out))
        content = {"format": FORMAT, "origin": directory, "trees": roots, "relocated": relocated, "files": files}
        # the list may not outlive the files
        _tree.flush(partial)
        write_atomic(os.path.join(partial, "entry.json"), json.dumps(content).encode("utf-8"), 0o600)
        os.rename(partial, os.path.join(cache, key))
    except (OSError, Pm2Error, Damaged) as error:
        _tree.remove(partial)
        return _count(files), "the tree could not be kept: {0}".format(error)
    return _count(files), None


def _below(directory: str, roots: List[str]) -> Iterator[Tuple[str, os.stat_result]]:
    for root in roots:
        base = os.path.join(directory, root)
        yield root, os.lstat(base)
        for entry in _tree.walk(base, []):
            yield os.path.relpath(entry.path, directory), entry.stat(follow_symlinks=False)


def _of_its_place(path: str, found: os.stat_result, directory: str, venv: str) -> bool:
    """Whether a file of a virtual environment belongs to this release alone: it names its path, or lies at the top,
    where uv locks and pip rewrites. What is compiled names it too, but Python goes by where it finds it."""
    if not stat.S_ISREG(found.st_mode):
        return False
    if os.path.dirname(path) == venv:
        return True
    if path.endswith((".pyc", ".so")) or found.st_size > _TEXT_LIMIT:
        return False
    return _names(os.path.join(directory, path), directory) is not None


def _store_one(
    found: os.stat_result, kept: str, path: str, directory: str, link: bool, links_out: Optional[str]
) -> List[Any]:
    """:param links_out: prefix of the paths whose links may lead to the host's own files, as ``bin/python`` does."""
    here = os.path.join(directory, path)
    if stat.S_ISLNK(found.st_mode):
        target = os.readlink(here)
        reached = os.path.normpath(os.path.join(os.path.dirname(here), target))
        host = links_out is not None and path.startswith(links_out) and not reached.startswith(directory + "/")
        if not host and (os.path.isabs(target) or not reached.startswith(directory + "/")):
            raise Damaged("{0} is a link to {1}, which is not part of the directory".format(path, target))
        return [found.st_mode, 0, 0, target]
    if stat.S_ISDIR(found.st_mode):
        os.makedirs(kept)
        return [found.st_mode, 0, 0, None]
    # what has another name already is shared with someone else, such as pnpm's store
    if link and found.st_nlink == 1:
        os.chmod(here, stat.S_IMODE(found.st_mode) & ~0o222)
        try:
            os.link(here, kept)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            shutil.copy2(here, kept)
    else:
        shutil.copy2(here, kept)
        os.chmod(kept, stat.S_IMODE(found.st_mode) & ~0o222)
    stored = os.lstat(kept)
    return [stored.st_mode, stored.st_size, stored.st_mtime_ns, None]


def unused_entries(cache: str, releases: List[Release]) -> List[str]:
    """The paths of entries that none of these releases was built with, and of what a killed run left."""
    keys = {
        ((release.build or {}).get(part) or {}).get("key")
        for release in releases
        for part in ("dependencies", "python")
    }
    try:
        names = os.listdir(cache)
    except OSError:
        return []
    found = []
    for name in names:
        pid = name.split(".")[-2] if name.endswith(".partial") else None
        if (pid is None and name not in keys) or (pid is not None and not os.path.exists("/proc/" + pid)):
            found.append(os.path.join(cache, name))
    return sorted(found)
