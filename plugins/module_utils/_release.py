# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Releases as data: where they lie, what they are called, which is live, proven or bad, what a rollback goes to, what
may go.

Nothing here changes a host. The order of things comes from the manifests and the deploy log, never from file times.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Optional, Set

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._migrations import of_release

# ours inside a release, so that nothing the source has is ever overwritten
PRIVATE = ".zerodown"
FORMAT = 1

_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}\Z")


@dataclass(frozen=True)
class Layout:
    """The paths below an app's root."""

    root: str

    @classmethod
    def at(cls, path: str) -> "Layout":
        """:raises Pm2Error: the path is relative, or is the root of the file system."""
        root = os.path.normpath(path)
        if not os.path.isabs(path) or root.strip("/") == "":
            raise Pm2Error("path must be the absolute path of an app's own directory, and {0!r} is not.".format(path))
        return cls(root)

    @property
    def releases(self) -> str:
        return os.path.join(self.root, "releases")

    @property
    def shared(self) -> str:
        return os.path.join(self.root, "shared")

    @property
    def cache(self) -> str:
        return os.path.join(self.root, "cache")

    @property
    def current(self) -> str:
        return os.path.join(self.root, "current")

    @property
    def log(self) -> str:
        return os.path.join(self.root, "deploys.jsonl")

    @property
    def staging_lock(self) -> str:
        return os.path.join(self.releases, ".staging.lock")

    @property
    def pointer_lock(self) -> str:
        return os.path.join(self.releases, ".current.lock")

    @property
    def migration_lock(self) -> str:
        return os.path.join(self.releases, ".migrating.lock")

    @property
    def dependencies(self) -> str:
        return os.path.join(self.cache, "dependencies")

    def release(self, release_id: str) -> str:
        return os.path.join(self.releases, release_id)

    def partial(self, release_id: str) -> str:
        """Where a release is written until it is complete; at the same depth, so that relative links hold."""
        return os.path.join(self.releases, ".{0}.partial".format(release_id))


@dataclass(frozen=True)
class Release:
    """A complete release.

    :ivar revision: the commit, or the digest of an archive or a directory.
    :ivar source: where it came from, without credentials.
    :ivar identity: digest of all that makes it differ from other releases of its revision, see :func:`identity`.
    :ivar created: in UTC, ISO 8601.
    :ivar build: what the build wrote: ``status`` (running, failed, done), ``spec``, ``steps``, ``dependencies``; or
        None.
    """

    id: str
    path: str
    revision: str
    source: Dict[str, Any]
    identity: str
    created: str
    created_by: str
    needs_build: bool
    build: Optional[Dict[str, Any]] = None

    @property
    def ready(self) -> bool:
        """Whether it may go live as far as building goes: a build that was begun must have ended well."""
        if self.build is None:
            return not self.needs_build
        return bool(self.build.get("status") == "done")

    @property
    def build_failed(self) -> bool:
        return self.build is not None and not self.ready

    @property
    def manifest(self) -> str:
        return os.path.join(self.path, PRIVATE, "release.json")

    @property
    def build_log(self) -> str:
        return os.path.join(self.path, PRIVATE, "build.log")

    @property
    def lock(self) -> str:
        return os.path.join(self.path, PRIVATE, "lock")

    def to_json(self) -> bytes:
        fields = ("id", "revision", "source", "identity", "created", "created_by", "needs_build", "build")
        content: Dict[str, Any] = {"format": FORMAT}
        content.update((name, getattr(self, name)) for name in fields)
        return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode("utf-8")


@dataclass(frozen=True)
class History:
    """What the deploy log says.

    :ivar sequence: ids as they went live, one after the other.
    :ivar path: the same, less what rollbacks took back; its end is the live release.
    :ivar proven: ids whose last verdict was proven.
    :ivar bad: ids whose last verdict was bad, with the reason.
    :ivar reasons: the reason given with the last verdict.
    """

    sequence: List[str]
    path: List[str]
    proven: Set[str]
    bad: Set[str]
    reasons: Dict[str, Optional[str]]


@dataclass(frozen=True)
class Overview:
    """All releases of an app, oldest first, and what became of them."""

    releases: List[Release]
    live: Optional[str]
    events: List[Dict[str, Any]]

    @property
    def history(self) -> History:
        return history(self.events)

    def find(self, release_id: str) -> Optional[Release]:
        return next((release for release in self.releases if release.id == release_id), None)

    def get(self, release_id: str) -> Release:
        """:raises Pm2Error: there is no such release; says which there are."""
        found = self.find(release_id)
        if found is None:
            raise Pm2Error(
                "There is no complete release {0!r}; stage it first. There {1}.".format(
                    release_id, _listing([release.id for release in self.releases])
                )
            )
        return found

    @property
    def previous(self) -> Optional[str]:
        """The release that was live just before the live one, while it is still on disk."""
        for release_id in reversed(self.history.sequence):
            if release_id != self.live and self.find(release_id):
                return release_id
        return None

    @property
    def rollback_targets(self) -> List[str]:
        """What can be gone back to, best first: those before the live one on its path, then the other proven ones."""
        before = self._before_live()
        rest = [release.id for release in reversed(self.releases) if release.id not in before]
        return before + [release_id for release_id in rest if self._proven(release_id)]

    def _before_live(self) -> List[str]:
        path = self.history.path
        if self.live in path:
            path = path[: len(path) - 1 - path[::-1].index(self.live)]
        found: List[str] = []
        for release_id in reversed(path):
            if release_id not in found and self._proven(release_id):
                found.append(release_id)
        return found

    def _proven(self, release_id: str) -> bool:
        release = self.find(release_id)
        return release is not None and release.ready and release_id != self.live and release_id in self.history.proven

    def rollback_target(self, requested: Optional[str] = None) -> Optional[str]:
        """The last proven release before the live one, or the requested one when it can be gone back to.

        :returns: None when nothing was requested and there is none.
        :raises Pm2Error: the requested one is live, bad, missing or was never proven; lists those that can be.
        """
        targets = self.rollback_targets
        if requested is None:
            return next(iter(self._before_live()), None)
        if requested in targets:
            return requested
        if requested == self.live:
            fault = "is the live one"
        elif self.find(requested) is None:
            fault = "is not on this host"
        elif requested in self.history.bad:
            fault = "was marked bad ({0})".format(self.history.reasons.get(requested) or "no reason given")
        else:
            fault = "was never proven"
        raise Pm2Error(
            "Release {0!r} cannot be rolled back to: it {1}. There {2}.".format(requested, fault, _listing(targets))
        )

    def removable(self, keep: int, protected: Iterable[str]) -> List[Release]:
        """What retention removes, oldest first: neither among the ``keep`` newest nor in use in any way."""
        stay = set(protected) | {self.live, self.previous, self.rollback_target()}
        stay.update(release.id for release in self.releases[-keep:])
        return [release for release in self.releases if release.id not in stay]

    def describe(self, release: Release) -> Dict[str, Any]:
        """A release as the modules return it."""
        return {
            "id": release.id,
            "path": release.path,
            "revision": release.revision,
            "source": release.source,
            "created": release.created,
            "created_by": release.created_by,
            "needs_build": release.needs_build,
            # the digest of the arguments is made of secrets too
            "build": release.build and {name: item for name, item in release.build.items() if name != "spec"},
            "ready": release.ready,
            "live": release.id == self.live,
            "previous": release.id == self.previous,
            "proven": release.id in self.history.proven,
            "bad": release.id in self.history.bad,
            "reason": self.history.reasons.get(release.id),
            "migrations": [
                {name: event.get(name) for name in ("name", "class", "time", "seconds")}
                for event in of_release(self.events, release.id)
            ],
        }


def _listing(ids: List[str]) -> str:
    return "are: " + ", ".join(ids) if ids else "are none"


def check_id(release_id: str) -> str:
    """:raises Pm2Error: not a name that is safe as a directory and never hidden."""
    if not _ID.match(release_id):
        raise Pm2Error(
            "The release id {0!r} is not valid: use letters, digits, '.', '_' and '-', at most 100 of them, and not "
            "'.' first.".format(release_id)
        )
    return release_id


def new_id(created: str, revision: str) -> str:
    """``20260131T140509Z-1f3a9c2e``.

    :param created: ``2026-01-31T14:05:09Z``.
    """
    return "{0}-{1}".format(created.replace("-", "").replace(":", ""), revision[:8])


def identity(parts: Dict[str, Any]) -> str:
    """A digest that is equal for equal ``parts`` (plain data), whatever their order."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def history(events: List[Dict[str, Any]]) -> History:
    """Fold the deploy log: the last verdict on a release counts, a rollback shortens the path, a removal forgets."""
    sequence: List[str] = []
    path: List[str] = []
    verdicts: Dict[str, str] = {}
    reasons: Dict[str, Optional[str]] = {}
    for event in events:
        kind, release_id = event["event"], event["release"]
        if kind == "rollback" and release_id in path:
            del path[len(path) - path[::-1].index(release_id) :]
            sequence.append(release_id)
        elif kind in ("live", "rollback"):
            path.append(release_id)
            sequence.append(release_id)
        elif kind in ("proven", "bad"):
            verdicts[release_id] = kind
            reasons[release_id] = event.get("reason")
        elif kind == "removed":
            # an id can be used again, by a release that has earned nothing yet
            verdicts.pop(release_id, None)
            reasons.pop(release_id, None)
            path = [entry for entry in path if entry != release_id]
            sequence = [entry for entry in sequence if entry != release_id]
    return History(
        sequence=sequence,
        path=path,
        proven={release_id for release_id, verdict in verdicts.items() if verdict == "proven"},
        bad={release_id for release_id, verdict in verdicts.items() if verdict == "bad"},
        reasons=reasons,
    )


def read_releases(layout: Layout) -> List[Release]:
    """The complete releases, oldest first. What is being written or removed has a hidden name and is not among them.

    :raises Pm2Error: a manifest cannot be read.
    """
    try:
        names = [name for name in os.listdir(layout.releases) if not name.startswith(".")]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Pm2Error(
            "{0} cannot be read: {1}; run this as the user who owns it.".format(layout.releases, error.strerror)
        ) from error
    found = [_read(layout.release(name), name) for name in names]
    return sorted((release for release in found if release), key=lambda release: (release.created, release.id))


def _read(path: str, name: str) -> Optional[Release]:
    manifest = os.path.join(path, PRIVATE, "release.json")
    try:
        with open(manifest, encoding="utf-8") as stream:
            content = json.load(stream)
        if content["format"] != FORMAT:
            raise Pm2Error("{0} was written by a newer zerodown.pm2; update the collection.".format(manifest))
        del content["format"]
        # where it is now counts, should someone have moved or renamed the directory
        content.update(id=name, path=path)
        return Release(**content)
    except (FileNotFoundError, NotADirectoryError):
        # not ours
        return None
    except OSError as error:
        raise Pm2Error(
            "{0} cannot be read: {1}; run this as the user who owns it.".format(manifest, error.strerror)
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise Pm2Error("{0} is damaged; remove the release {1} by hand.".format(manifest, path)) from error


def read_live(layout: Layout) -> Optional[str]:
    """The id of the release that ``current`` names, also when that is missing; None when it names something else."""
    try:
        target = os.readlink(layout.current)
    except OSError:
        return None
    directory, name = os.path.split(os.path.normpath(os.path.join(layout.root, target)))
    return name if os.path.realpath(directory) == os.path.realpath(layout.releases) else None


def overview(layout: Layout, events: List[Dict[str, Any]]) -> Overview:
    """:raises Pm2Error: what is there cannot be read."""
    return Overview(releases=read_releases(layout), live=read_live(layout), events=events)
