# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an artifact says of itself: what it was made from, and what it was made for.

Its manifest is a file in it, the first one. Who made it and when is not, so that the same input gives the same bytes;
that is in the record beside it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
from dataclasses import dataclass, field
from typing import Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._libc import libc

MANIFEST = ".zerodown-artifact.json"
FORMAT = 1
# more would not be a manifest (bytes)
MANIFEST_MAX = 64 << 20


@dataclass(frozen=True)
class Platform:
    """
    :ivar system: of uname(2), in lower case.
    :ivar machine: of uname(2).
    :ivar libc: with its version where it is glibc.
    """

    system: str
    machine: str
    libc: str


@dataclass(frozen=True)
class Manifest:
    """
    :ivar app: its name.
    :ivar revision: the commit, or the digest of the archive or directory.
    :ivar time: of the files, seconds since 1970.
    :ivar lockfiles: sha256 by path.
    :ivar runtime: version by name, ``node`` and ``python``.
    :ivar platform: that it was built on.
    :ivar dependencies: the directories of installed dependencies that are in it; without them it is installed on each
        host.
    :ivar files: sha256 by path; of a symbolic link ``-> target``.
    """

    app: str
    revision: str
    time: int
    lockfiles: Dict[str, str]
    runtime: Dict[str, str]
    platform: Platform
    dependencies: List[str] = field(default_factory=list)
    files: Dict[str, str] = field(default_factory=dict)
    format: int = FORMAT

    def to_json(self) -> bytes:
        return (json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True) + "\n").encode("utf-8")


def parse(content: bytes, name: str) -> Manifest:
    """
    :param name: of the artifact, for the error.
    :raises Pm2Error: it is no manifest that we know.
    """
    try:
        data = json.loads(content)
        if data["format"] != FORMAT:
            raise Pm2Error(
                "The artifact {0} has format {1}, and format {2} is known; build it with this version of the "
                "collection.".format(name, data["format"], FORMAT)
            )
        return Manifest(**{**data, "platform": Platform(**data["platform"])})
    except (ValueError, KeyError, TypeError) as error:
        raise Pm2Error("The artifact {0} has no manifest that can be read: {1!r}.".format(name, error)) from error


def here() -> Platform:
    return Platform(sys.platform, os.uname().machine, libc())


def unfit(manifest: Manifest, platform: Platform, runtime: Dict[str, str]) -> Optional[str]:
    """Why it cannot run here, in one sentence; ``None`` when it can.

    :param runtime: of this host; what it lacks is not compared, others look for it.
    """
    built = manifest.platform
    if (built.system, built.machine) != (platform.system, platform.machine):
        return "It was built on {0} {1}, and this host is {2} {3}.".format(
            built.system, built.machine, platform.system, platform.machine
        )
    there, own = _glibc(built.libc), _glibc(platform.libc)
    if bool(there) != bool(own) or there > own:
        return "It was built with the C library {0}, and this host has {1}.".format(built.libc, platform.libc)
    for name, version in sorted(manifest.runtime.items()):
        found = runtime.get(name)
        if found and _line(name, found) != _line(name, version):
            return "It was built with {0} {1}, and this host has {2}.".format(name, version, found)
    return None


def _glibc(text: str) -> List[int]:
    """Its version; empty for another library. What is built with an old one runs with newer ones."""
    match = re.fullmatch(r"glibc (\d+)\.(\d+).*", text)
    return [int(part) for part in match.groups()] if match else []


def _line(name: str, version: str) -> str:
    """The versions of which one runs what was compiled for another: Node's major one, Python's minor one."""
    parts = version.lstrip("v").split(".")
    return ".".join(parts[: 1 if name == "node" else 2])
