# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who listens on a TCP port, read from /proc (proc(5), /proc/net/tcp)."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import Dict, Iterable, Iterator, List, Optional, Set

from ansible_collections.zerodown.pm2.plugins.module_utils._home import user_name

_LISTEN = "0A"
# the addresses an app on this host is likely to want: any, and loopback, in the byte order of /proc/net/tcp and tcp6
_ANY = {"00000000", "0" * 32}
_LOOPBACK = {"0100007F", "0" * 24 + "01000000", "0000000000000000FFFF00000100007F"}


@dataclass(frozen=True)
class Listener:
    inode: str
    uid: int


def listeners(port: int) -> List[Listener]:
    """Those on any address or on loopback."""
    found = []
    for name in ("tcp", "tcp6"):
        try:
            with open("/proc/net/" + name, encoding="ascii") as stream:
                rows = [line.split() for line in stream][1:]
        except OSError:
            continue
        for row in rows:
            address, _colon, hexadecimal = row[1].rpartition(":")
            if row[3] == _LISTEN and int(hexadecimal, 16) == port and address in _ANY | _LOOPBACK:
                found.append(Listener(inode=row[9], uid=int(row[7])))
    return found


@dataclass(frozen=True)
class Holder:
    """:ivar pid: ``None`` for a process that we may not look at."""

    pid: Optional[int]
    uid: int

    def __str__(self) -> str:
        if self.pid is None:
            return "a process of user {0}".format(user_name(self.uid))
        return "process {0} ({1})".format(self.pid, _command(self.pid))


def foreign_holder(port: int, own: Iterable[int], daemon: Optional[int] = None) -> Optional[Holder]:
    """Who holds the port beside these processes and their children; ``None`` when nobody does.

    :param own: pids that may hold it.
    :param daemon: pid that may hold it, and its children may not: PM2's daemon is the parent of all apps.
    """
    open_ones = listeners(port)
    if not open_ones:
        return None
    holders = _holders({listener.inode for listener in open_ones})
    allowed = set(own)
    for listener in open_ones:
        pids = holders.get(listener.inode, [])
        if not any(pid == daemon or is_below(pid, allowed) for pid in pids):
            return Holder(pids[0] if pids else None, listener.uid)
    return None


def _holders(inodes: Set[str]) -> Dict[str, List[int]]:
    """The pids that have these sockets open, as far as we may look."""
    wanted = {"socket:[{0}]".format(inode): inode for inode in inodes}
    found: Dict[str, List[int]] = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for link in _open_files("/proc/{0}/fd".format(pid)):
            if link in wanted:
                found.setdefault(wanted[link], []).append(int(pid))
    return found


def _open_files(directory: str) -> Iterator[str]:
    try:
        names = os.listdir(directory)
    except OSError:
        return
    for name in names:
        # closed meanwhile
        with contextlib.suppress(OSError):
            yield os.readlink(os.path.join(directory, name))


def is_below(pid: int, ancestors: Set[int]) -> bool:
    """Whether it is one of these, or a child of one."""
    while pid > 1:
        if pid in ancestors:
            return True
        pid = _parent(pid)
    return False


def _parent(pid: int) -> int:
    try:
        with open("/proc/{0}/stat".format(pid), encoding="utf-8", errors="replace") as stream:
            return int(stream.read().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def _command(pid: int) -> str:
    """The program's name only: an argument may be a secret."""
    try:
        with open("/proc/{0}/comm".format(pid), encoding="utf-8", errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return "?"
