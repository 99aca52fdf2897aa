# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make a release: beside what serves, whole or not at all."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Optional, Tuple, Union

from ansible_collections.zerodown.pm2.plugins.module_utils import _deploy_log, _dotenv, _shared, _tree
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import locked, sync_directory, write_atomic
from ansible_collections.zerodown.pm2.plugins.module_utils._release import (
    PRIVATE,
    Layout,
    Overview,
    Release,
    check_id,
    identity,
    new_id,
    overview,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._source_archive import ArchiveSource
from ansible_collections.zerodown.pm2.plugins.module_utils._source_artifact import ArtifactSource
from ansible_collections.zerodown.pm2.plugins.module_utils._source_directory import DirectorySource
from ansible_collections.zerodown.pm2.plugins.module_utils._source_git import GitSource

Source = Union[GitSource, ArchiveSource, ArtifactSource, DirectorySource]

ENV_FILE = ".env"
# another staging of the same app may have a large repository to fetch
LOCK_TIMEOUT = 900.0


@dataclass(frozen=True)
class Wanted:
    """A release as it is asked for.

    :ivar env: content for ``.env``; None for none of ours.
    :ivar variant: anything else that makes it different.
    :ivar release: the id to use for a new one; None to make one up.
    """

    source: Source
    directories: List[str]
    files: List[str]
    env: Optional[Dict[str, Any]]
    variant: Dict[str, Any]
    needs_build: bool
    retry_bad: bool
    release: Optional[str]
    by: str


@dataclass(frozen=True)
class Staged:
    """:ivar release: the one that is there, or would be.
    :ivar changed: whether it was made now, or would be.
    :ivar replaced: ids of releases that were removed because their build had failed.
    :ivar notices: what a person should know.
    """

    release: Release
    changed: bool
    replaced: List[str] = field(default_factory=list)
    notices: List[str] = field(default_factory=list)


def stage(layout: Layout, wanted: Wanted, check: bool) -> Staged:
    """Have the wanted release on disk, complete.

    :param check: only say what would be done.
    :raises Pm2Error: it cannot be made; nothing but caches is left of the attempt.
    """
    if wanted.release is not None:
        check_id(wanted.release)
    env = None if wanted.env is None else _dotenv.encode(wanted.env)
    _shared.check(layout, wanted.directories, wanted.files, [] if env is None else [ENV_FILE])
    revision, certain = wanted.source.revision()
    found, failed = _match(layout, wanted, revision, env)
    if found:
        return Staged(found, changed=False)
    if check:
        notices = [] if certain else ["The commit {0} is taken at its word in check mode.".format(revision)]
        replaced = [release.id for release in failed]
        return Staged(_planned(layout, wanted, revision, replaced), True, replaced, notices)
    with _directories(layout), locked(layout.staging_lock, LOCK_TIMEOUT, "staging a release of " + layout.root):
        _clean(layout)
        revision = wanted.source.fetch(revision)
        # another run may have staged it while we waited, and an abbreviated commit is whole now
        found, failed = _match(layout, wanted, revision, env)
        if found:
            return Staged(found, changed=False)
        replaced = [release.id for release in failed]
        release = _planned(layout, wanted, revision, replaced)
        _make(layout, wanted, release, env, failed)
    return Staged(release, True, replaced)


def read(layout: Layout) -> Overview:
    """What is there now.

    :raises Pm2Error: it cannot be read.
    """
    return overview(layout, _deploy_log.read(layout.log))


def env_names(layout: Layout, release_id: Optional[str]) -> List[str]:
    """The names in the ``.env`` of a release, for the diff."""
    if release_id is None:
        return []
    content = _env_of(os.path.join(layout.release(release_id), ENV_FILE)) or b""
    return [line.split("=")[0] for line in content.decode("utf-8", "replace").splitlines() if "=" in line]


def _match(
    layout: Layout, wanted: Wanted, revision: str, env: Optional[bytes]
) -> Tuple[Optional[Release], List[Release]]:
    """The release that is as wanted, newest first; and those whose build failed, which a new one replaces.

    :raises Pm2Error: it was marked bad, or the id is taken.
    """
    now = read(layout)
    same = [
        release
        for release in reversed(now.releases)
        if release.revision == revision
        and release.identity == _identity(wanted)
        and (env is None or _env_of(os.path.join(release.path, ENV_FILE)) == env)
    ]
    good = [release for release in same if release.id not in now.history.bad and not release.build_failed]
    if good:
        return good[0], []
    bad = [release for release in same if release.id in now.history.bad]
    if bad and not wanted.retry_bad:
        raise Pm2Error(
            "This was staged before as {0} and marked bad ({1}); fix it, or set retry_bad to make a new release of "
            "it.".format(bad[0].id, now.history.reasons.get(bad[0].id) or "no reason given")
        )
    failed = [release for release in same if release not in bad and release.id != now.live]
    taken = now.find(wanted.release) if wanted.release else None
    if taken and taken not in failed:
        raise Pm2Error("The release id {0!r} is taken by another release; use a new one.".format(taken.id))
    return None, failed


def _identity(wanted: Wanted) -> str:
    return identity(
        {
            "kind": wanted.source.kind,
            "shape": wanted.source.shape(),
            "directories": sorted(wanted.directories),
            "files": sorted(wanted.files),
            "env": wanted.env is not None,
            "variant": wanted.variant,
            "needs_build": wanted.needs_build,
        }
    )


def _planned(layout: Layout, wanted: Wanted, revision: str, replaced: List[str]) -> Release:
    created = _deploy_log.now()
    release_id = wanted.release or new_id(created, revision)
    # two different ones of one revision within a second
    number = 2
    while not wanted.release and release_id not in replaced and os.path.lexists(layout.release(release_id)):
        release_id = "{0}-{1}".format(new_id(created, revision), number)
        number += 1
    return Release(
        id=release_id,
        path=layout.release(release_id),
        revision=revision,
        source=wanted.source.describe(),
        identity=_identity(wanted),
        created=created,
        created_by=wanted.by,
        needs_build=wanted.needs_build,
    )


def _make(layout: Layout, wanted: Wanted, release: Release, env: Optional[bytes], failed: List[Release]) -> None:
    partial = layout.partial(release.id)
    try:
        os.mkdir(partial)
        wanted.source.write(release.revision, partial)
        if os.path.lexists(os.path.join(partial, PRIVATE)):
            raise Pm2Error("The source has a {0} of its own, which is ours in a release; rename it.".format(PRIVATE))
        _shared.link(layout, partial, wanted.directories, wanted.files)
        if env is not None:
            write_atomic(os.path.join(partial, ENV_FILE), env, 0o600)
        os.mkdir(os.path.join(partial, PRIVATE), 0o700)
        write_atomic(os.path.join(partial, PRIVATE, "release.json"), release.to_json(), 0o600)
        _tree.flush(partial)
        for other in failed:
            discard(layout, other)
        os.rename(partial, release.path)
        sync_directory(layout.releases)
    except OSError as error:
        with contextlib.suppress(Pm2Error):
            _tree.remove(partial)
        raise Pm2Error(
            "The release could not be staged below {0}: {1}{2}.".format(
                layout.releases, error.strerror, ": " + str(error.filename) if error.filename else ""
            )
        ) from error
    except Pm2Error:
        with contextlib.suppress(Pm2Error):
            _tree.remove(partial)
        raise


def discard(layout: Layout, release: Release) -> None:
    """Remove a release so that it is never there in part: first it loses its name.

    :raises Pm2Error: it is being built, or cannot be removed; what is left of it the next staging removes.
    """
    hidden = os.path.join(layout.releases, ".{0}.removed".format(release.id))
    _tree.remove(hidden)
    try:
        with locked(release.lock, 0.0, "building " + release.path):
            os.rename(release.path, hidden)
    except OSError as error:
        raise Pm2Error("{0} cannot be removed: {1}.".format(release.path, error.strerror)) from error
    _tree.remove(hidden)


def _clean(layout: Layout) -> None:
    """What a run that was killed left behind; we hold the lock, so no one is at it."""
    for name in os.listdir(layout.releases):
        if name.startswith(".") and name.endswith((".partial", ".removed", ".clone", ".tar")):
            _tree.remove(os.path.join(layout.releases, name))


def _env_of(path: str) -> Optional[bytes]:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return None


@contextlib.contextmanager
def _directories(layout: Layout) -> Iterator[None]:
    """Have the app's directories; when what follows fails, those that were made for it are taken away again."""
    made: List[str] = []
    try:
        for path in (layout.root, layout.releases, layout.shared, layout.cache):
            missing = path
            while not os.path.isdir(missing):
                made.append(missing)
                missing = os.path.dirname(missing)
            os.makedirs(path, mode=0o700 if path == layout.cache else 0o777, exist_ok=True)
    except OSError as error:
        raise Pm2Error(
            "{0} cannot be created: {1}; create {2} for the user who runs this.".format(
                error.filename, error.strerror, layout.root
            )
        ) from error
    try:
        yield
    except Pm2Error:
        if layout.releases in made:
            _tree.remove(layout.staging_lock)
        if layout.cache in made:
            _tree.remove(layout.cache)
        for path in sorted(made, key=len, reverse=True):
            with contextlib.suppress(OSError):
                os.rmdir(path)
        raise
