# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""File operations that are all or nothing, and paths that cannot leave their root."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from typing import Iterator, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error


def write_atomic(path: str, data: bytes, mode: int = 0o600) -> None:
    """Replace ``path`` so that a reader, a full disk or a power cut sees the old content or the new one, whole.

    Temporary file beside it, fsync, rename(2), fsync of the directory.

    :raises Pm2Error: it could not be written; the old file is as it was.
    """
    directory = os.path.dirname(path)
    try:
        descriptor, temporary = tempfile.mkstemp(prefix="." + os.path.basename(path) + ".", dir=directory)
    except OSError as error:
        raise Pm2Error("{0} cannot be written: {1}.".format(path, error.strerror)) from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.rename(temporary, path)
        sync_directory(directory)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise Pm2Error("{0} cannot be written: {1}.".format(path, error.strerror)) from error


def sync_directory(path: str) -> None:
    """Make a rename in this directory survive a power cut (fsync(2), NOTES)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_atomic(target: str, path: str) -> None:
    """Let the symbolic link ``path`` name ``target``, with no moment at which it is missing (rename(2))."""
    temporary = "{0}.{1}.tmp".format(path, os.getpid())
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    os.symlink(target, temporary)
    try:
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
    sync_directory(os.path.dirname(path))


def inside(root: str, relative: str, what: str) -> str:
    """``root/relative`` with every symbolic link resolved, when it lies below ``root``.

    :param what: names the value in the error, as a person would ("linked path").
    :raises Pm2Error: absolute, or it leaves ``root`` by ``..`` or by a symbolic link.
    """
    base = os.path.realpath(root)
    if not relative or os.path.isabs(relative) or "\0" in relative:
        raise Pm2Error("The {0} {1!r} must be relative to {2}.".format(what, relative, root))
    path = os.path.realpath(os.path.join(base, relative))
    if path != base and not path.startswith(base.rstrip("/") + "/"):
        raise Pm2Error("The {0} {1!r} leads out of {2}; use a path below it.".format(what, relative, root))
    return path


@contextlib.contextmanager
def locked(path: str, timeout: float, what: str) -> Iterator[int]:
    """Hold an exclusive flock(2) on ``path``; the kernel frees it however the holder ends.

    Gives the descriptor: a program that inherits it holds the lock too, should we be killed before it ends.

    :param timeout: seconds to wait for another holder.
    :param what: names the deed in the error ("starting the PM2 daemon").
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holder = _read_holder(descriptor)
                    raise Pm2Error(
                        "Another run{0} is {1} (lock {2}); it was waited for {3:g} s.".format(
                            " (pid {0})".format(holder) if holder else "", what, path, timeout
                        )
                    ) from None
                time.sleep(0.05)
        # for people only: a full disk must not keep anybody from what he came for
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode("ascii"), 0)
        yield descriptor
    finally:
        # closing ours would not free it while something that was left behind has it open
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _read_holder(descriptor: int) -> Optional[str]:
    text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    return text if text.isdigit() else None


def excerpt(path: str, start: int, first: int, last: int) -> List[str]:
    """The first and the last lines of a text file, without their line ends, and ``...`` where some were left out.

    :param start: the byte to begin at.
    """
    with open(path, "rb") as stream:
        stream.seek(start)
        head = stream.read(8 * 1024).decode("utf-8", "replace").splitlines()[:first]
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(start, size - 64 * 1024))
        end = stream.read().decode("utf-8", "replace").splitlines()
    whole = size - start <= 64 * 1024 and len(end) <= first + last
    return end if whole else head + ["..."] + end[-last:]


def tail(path: str, lines: int, max_bytes: int = 64 * 1024) -> list:
    """The last lines of a text file, without their line ends; empty when it cannot be read.

    :param max_bytes: how much of its end is read at most.
    """
    try:
        with open(path, "rb") as stream:
            stream.seek(0, os.SEEK_END)
            size = stream.tell()
            stream.seek(max(0, size - max_bytes))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return []
    return text.splitlines()[-lines:]
