# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a delivery would change on this host, read from what is here; and the plan of the whole delivery, kept here."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils import _delivery, _lockfile, _record
from ansible_collections.zerodown.pm2.plugins.module_utils._command import run
from ansible_collections.zerodown.pm2.plugins.module_utils._environment import base_environment
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import which
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import inside, write_atomic
from ansible_collections.zerodown.pm2.plugins.module_utils._release import Layout, Release
from ansible_collections.zerodown.pm2.plugins.module_utils._stage import ENV_FILE, read

FORMAT = 1
# a person reads them
COMMITS_MAX = 50


@dataclass(frozen=True)
class Candidate:
    """What would go live.

    :ivar release: id of the release.
    :ivar revision: its commit.
    :ivar apps: the options of its processes, secrets included.
    :ivar directories: in it that have lockfiles, relative to it.
    :ivar env_file: the text of its ``.env``.
    :ivar migrations: that are run before.
    """

    release: str
    revision: str
    apps: List[Dict[str, Any]]
    directories: List[str]
    env_file: str
    migrations: List[Dict[str, Any]]


def plan(layout: Layout, candidate: Candidate, key: str) -> Dict[str, Any]:
    """``bound``, what a go is bound to, and for a person to read ``commits``, ``dependencies``, ``settings``."""
    now = read(layout)
    live = now.find(now.live) if now.live else None
    after = _delivery.settings(candidate.apps, candidate.env_file, layout.release(candidate.release), key)
    record = _record.read(layout, live.id) if live else None
    before = _delivery.settings(record.apps, _env_file(live), live.path, key) if live and record else {}
    changes = _delivery.changed_settings(before, after) if record else []
    return {
        "changes": bool(changes) or not live or live.id != candidate.release,
        "bound": {
            "live": live.id if live else "",
            "release": candidate.release,
            "revision": candidate.revision,
            "settings": after,
            "migrations": {item["name"]: item["class"] for item in candidate.migrations},
        },
        "live_revision": live.revision if live else "",
        "commits": _commits(layout, live.revision, candidate.revision) if live else None,
        "dependencies": _dependencies(live, now.find(candidate.release), candidate.directories),
        "settings": changes,
    }


def _env_file(release: Release) -> str:
    try:
        with open(os.path.join(release.path, ENV_FILE), encoding="utf-8") as stream:
            return stream.read()
    except OSError:
        return ""


def _commits(layout: Layout, before: str, after: str) -> Optional[Dict[str, Any]]:
    """``new`` and ``gone``: those that only the one or the other has, newest first; ``None`` when nobody here knows."""
    mirror, git = os.path.join(layout.cache, "repository.git"), which("git")
    if not git or not os.path.isdir(mirror):
        return None
    found = {}
    for name, first, last in (("new", before, after), ("gone", after, before)):
        form = "--format=%H%x00%an%x00%s"
        argv = [git, "--git-dir", mirror, "log", "--max-count", str(COMMITS_MAX), form, first + ".." + last]
        answer = run(argv, base_environment(), check=False)
        if answer.rc:
            return None
        lines = [line.split("\0") for line in answer.stdout.splitlines()]
        found[name] = [{"commit": line[0], "author": line[1], "subject": line[2]} for line in lines if len(line) == 3]
    return found


def _dependencies(live: Optional[Release], release: Optional[Release], directories: List[str]) -> List[Dict[str, Any]]:
    if not live or not release:
        return []
    return _lockfile.difference(_locked(live.path, directories), _locked(release.path, directories))


def _locked(path: str, directories: List[str]) -> _lockfile.Versions:
    found: Dict[str, List[str]] = {}
    for directory in directories:
        place = inside(path, directory, "directory of a lockfile")
        for names in (_lockfile.NODE, _lockfile.PYTHON):
            for name, versions in _read_first(place, names).items():
                found[name] = sorted({*found.get(name, []), *versions})
    return found


def _read_first(place: str, names: Tuple[str, ...]) -> _lockfile.Versions:
    for name in names:
        try:
            with open(os.path.join(place, name), encoding="utf-8") as stream:
                return _lockfile.versions(name, stream.read())
        except (OSError, UnicodeDecodeError):
            continue
    return {}


# what is kept on the host ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Delivered:
    """
    :ivar key: for what is sealed; it never leaves the host.
    :ivar digest: of the plan; empty before the first delivery.
    :ivar plan: of all hosts.
    :ivar by: who delivered.
    :ivar at: in UTC.
    """

    key: str
    digest: str = ""
    plan: Optional[Dict[str, Any]] = None
    by: str = ""
    at: str = ""


def load(layout: Layout) -> Optional[Delivered]:
    """``None`` when nothing that can be read is there: then a new delivery is needed anyway."""
    try:
        with open(_path(layout), encoding="utf-8") as stream:
            content = json.load(stream)
        return Delivered(**content) if content.pop("format") == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def keep(layout: Layout, delivered: Delivered) -> None:
    """:raises Pm2Error: it could not be written."""
    content = {"format": FORMAT, **vars(delivered)}
    try:
        os.makedirs(layout.root, mode=0o750, exist_ok=True)
    except OSError as error:
        raise Pm2Error("{0} cannot be made: {1}.".format(layout.root, error.strerror)) from error
    write_atomic(_path(layout), (json.dumps(content, sort_keys=True) + "\n").encode("utf-8"))


def new_key() -> str:
    return secrets.token_hex(16)


def _path(layout: Layout) -> str:
    return os.path.join(layout.root, "delivery.json")
