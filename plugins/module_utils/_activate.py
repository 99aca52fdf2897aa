# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happens to a release once it is staged: it goes live, is judged, is removed. Each is an entry in the deploy
log."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from dataclasses import dataclass, field
from typing import Any, ContextManager, Dict, List, Optional, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils import _deploy_log, _tree
from ansible_collections.zerodown.pm2.plugins.module_utils._confirmation import WITHDRAWN, Awaiting, withdrawal
from ansible_collections.zerodown.pm2.plugins.module_utils._dependency_cache import unused_entries
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import link_atomic, locked, sync_directory
from ansible_collections.zerodown.pm2.plugins.module_utils._release import (
    Layout,
    Overview,
    Release,
    check_id,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._stage import discard, read

LOCK_TIMEOUT = 60.0


@dataclass(frozen=True)
class Fate:
    """:ivar before: what was there.
    :ivar after: what is there now, or would be.
    :ivar release: id of the release it is about.
    :ivar changed: whether anything was changed, or would be.
    :ivar removed: ids of the releases that were removed, or would be.
    :ivar notices: what a person should know.
    """

    before: Overview
    after: Overview
    release: str
    changed: bool
    removed: List[str] = field(default_factory=list)
    notices: List[str] = field(default_factory=list)


def go_live(
    layout: Layout,
    release_id: Optional[str],
    rollback: bool,
    keep: int,
    protect: List[str],
    by: str,
    reason: Optional[str],
    check: bool,
    decided: bool = False,
    timings: Optional[Dict[str, float]] = None,
) -> Fate:
    """Let ``current`` name the release, then remove what ``keep`` and the protections do not hold.

    :param release_id: None with ``rollback`` for the last proven one before the live one.
    :param decided: it was looked at before, and its processes serve already: nothing may hinder it now.
    :param timings: seconds by step, for the deploy log.
    :raises Pm2Error: it may not go live; or ``current`` is not a link.
    """
    if keep < 1:
        raise Pm2Error("keep must be 1 or more, and is {0}.".format(keep))
    with _held(layout, check):
        now = read(layout)
        release = now.get(release_id) if decided and release_id else may_go_live(now, release_id, rollback)
        if os.path.lexists(layout.current) and not os.path.islink(layout.current):
            raise Pm2Error(
                "{0} is not a symbolic link; move it away, so that it can name the release.".format(layout.current)
            )
        kind = "rollback" if rollback else "live"
        switched = now.live != release.id
        # the log lacks it when a run died between the two
        logged = not switched and now.history.sequence[-1:] == [release.id]
        event = [] if logged else [{"event": kind, "release": release.id}]
        after = dataclasses.replace(now, live=release.id, events=now.events + event)
        removable = after.removable(keep, set(protect) | _tree.in_use(layout.releases))
        unused = unused_entries(layout.dependencies, [item for item in now.releases if item not in removable])
        removed = [item.id for item in removable]
        notices: List[str] = []
        if not check:
            if switched:
                _switch(layout, release)
            if not logged:
                previous = now.live if switched else None
                _deploy_log.append(layout.log, kind, release.id, release.revision, by, reason, previous, timings)
            removed, notices = _remove_all(layout, removable, by, "keep={0}".format(keep))
            for path in unused:
                _tree.remove(path)
    after = dataclasses.replace(after, releases=[item for item in now.releases if item.id not in removed])
    return Fate(now, after, release.id, not logged or bool(removed) or bool(unused), removed, notices)


def leave(layout: Layout, release_id: str) -> None:
    """Let ``current`` name nothing, when it names this release: what ran before any release runs again."""
    with _held(layout, False):
        if read(layout).live == release_id:
            os.unlink(layout.current)
            sync_directory(layout.root)


def judge(
    layout: Layout,
    release_id: str,
    verdict: str,
    by: str,
    reason: Optional[str],
    check: bool,
    rollout: Optional[str] = None,
) -> Fate:
    """Write down that a release is ``proven`` or ``bad``.

    :param rollout: the one that it was confirmed in.
    :raises Pm2Error: there is no such release; or proven is said of one that never was live.
    """
    with _held(layout, check):
        now = read(layout)
        release = now.get(release_id)
        if verdict == "proven" and release.id != now.live and release.id not in now.history.sequence:
            raise Pm2Error(
                "Release {0} never was live, so it cannot have proven itself; let it go live first.".format(release.id)
            )
        changed = release.id not in (now.history.proven if verdict == "proven" else now.history.bad)
        if changed and not check:
            _deploy_log.append(layout.log, verdict, release.id, release.revision, by, reason, rollout=rollout)
    event = {"event": verdict, "release": release.id, "reason": reason}
    after = dataclasses.replace(now, events=now.events + [event] * changed)
    return Fate(now, after, release.id, changed)


def withdraw(layout: Layout, awaiting: Awaiting) -> None:
    """Write down, once, that a release was left for want of its confirmation, which says nothing against it."""
    with _held(layout, False):
        now = read(layout)
        release = now.find(awaiting.release)
        if release and (withdrawal(now.events, release.id) or {}).get("rollout") != awaiting.rollout:
            by, reason = awaiting.decided_by, awaiting.decided_reason
            _deploy_log.append(
                layout.log, WITHDRAWN, release.id, release.revision, by, reason, rollout=awaiting.rollout
            )


def remove(layout: Layout, release_id: str, protect: List[str], by: str, reason: Optional[str], check: bool) -> Fate:
    """Remove one release.

    :raises Pm2Error: it is needed, and what for.
    """
    check_id(release_id)
    with _held(layout, check):
        now = read(layout)
        release = now.find(release_id)
        if release is None:
            return Fate(now, now, release_id, changed=False)
        uses = {
            "it is live": release_id == now.live,
            "it was live before the live one": release_id == now.previous,
            "it is the last proven one, to roll back to": release_id == now.rollback_target(),
            "it is among protect": release_id in protect,
            "a process runs from it": release_id in _tree.in_use(layout.releases),
        }
        for use, applies in uses.items():
            if applies:
                raise Pm2Error("Release {0} cannot be removed: {1}.".format(release_id, use))
        if not check:
            discard(layout, release)
            _deploy_log.append(layout.log, "removed", release.id, release.revision, by, reason)
    after = dataclasses.replace(now, releases=[item for item in now.releases if item is not release])
    return Fate(now, after, release_id, True, [release_id])


def _held(layout: Layout, check: bool) -> ContextManager[Any]:
    # with nothing staged there is nothing to hold, and no place for the lock
    if check or not os.path.isdir(layout.releases):
        return contextlib.nullcontext()
    return locked(layout.pointer_lock, LOCK_TIMEOUT, "changing the releases of " + layout.root)


def may_go_live(now: Overview, release_id: Optional[str], rollback: bool) -> Release:
    """
    :raises Pm2Error: it may not, and why.
    """
    if rollback and (release_id is None or release_id != now.live):
        target = now.rollback_target(release_id)
        if target is None:
            raise Pm2Error("There is no proven release before {0} to roll back to.".format(now.live or "any other"))
        return now.get(target)
    if release_id is None:
        raise Pm2Error("release is required with state=live, unless rollback=true.")
    release = now.get(release_id)
    if release.id in now.history.bad and release.id != now.live:
        raise Pm2Error(
            "Release {0} was marked bad ({1}) and does not go live; stage a new one.".format(
                release.id, now.history.reasons.get(release.id) or "no reason given"
            )
        )
    if not release.ready:
        raise Pm2Error(
            "Release {0} {1}; run zerodown.pm2.build on it{2}.".format(
                release.id,
                "has a build that failed" if release.build_failed else "was not built",
                "" if release.build_failed else ", or stage it with needs_build=false",
            )
        )
    return release


def _switch(layout: Layout, release: Release) -> None:
    try:
        link_atomic(os.path.join("releases", release.id), layout.current)
    except OSError as error:
        raise Pm2Error("{0} cannot be switched: {1}.".format(layout.current, error.strerror)) from error


def _remove_all(layout: Layout, releases: List[Release], by: str, reason: str) -> Tuple[List[str], List[str]]:
    """One that cannot be removed does not undo that another went live."""
    removed: List[str] = []
    notices: List[str] = []
    for release in releases:
        try:
            discard(layout, release)
        except Pm2Error as error:
            notices.append(error.message)
        else:
            _deploy_log.append(layout.log, "removed", release.id, release.revision, by, reason)
            removed.append(release.id)
    return removed, notices
