# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A release that serves and awaits its confirmation: until when, for which rollout, and how it ended.

It is written down in the app's root, beside the deploy log. In PM2_HOME lies a file that says so, because the program
that brings apps back at boot knows no roots. What was decided is written down before it is done: whoever holds the lock
of the app and writes first has won, and whoever comes after a kill -9 or a power cut goes on with it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import sync_directory, write_atomic
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._release import Layout, Overview

FORMAT = 1
_SUFFIX = ".awaiting"

# what is declared of a release, and what may be decided about it
GIVEN = "given"
AWAITED = "awaited"
WITHDRAWN = "withdrawn"

# who the deploy log names when nobody told the host to go back
THE_HOST = "the host"


@dataclass(frozen=True)
class Awaiting:
    """
    :ivar release: id of the release that serves, or is about to.
    :ivar previous: id of the one that was live before.
    :ivar names: of the apps that its cutover replaced.
    :ivar timeout: seconds that the confirmation may take.
    :ivar since: when the cutover began, seconds since 1970.
    :ivar until: likewise; ``None`` while the cutover and its bake run.
    :ivar decided: ``given`` or ``withdrawn``; ``None`` as long as it is open.
    :ivar replaces: the fields of the one that is awaited again should this cutover fail; somebody used force.
    :ivar options: whether it had proven itself before, and what awaits is how it is run now; see _record.keep.
    """

    root: str
    release: str
    rollout: str
    previous: Optional[str]
    names: List[str]
    timeout: float
    since: float
    by: str
    reason: Optional[str] = None
    until: Optional[float] = None
    decided: Optional[str] = None
    decided_by: str = ""
    decided_reason: Optional[str] = None
    replaces: Optional[Dict[str, Any]] = None
    options: bool = False
    format: int = FORMAT

    @property
    def too_late(self) -> str:
        """Why the host goes back by itself."""
        return "not confirmed within {0:g} s by {1}".format(self.timeout, self.by)

    def is_for(self, release: Optional[str], rollout: Optional[str]) -> bool:
        return (self.release, self.rollout) == (release, rollout)


# on disk -------------------------------------------------------------------------------------------------------------


def path_of(layout: Layout) -> str:
    return os.path.join(layout.root, "unconfirmed.json")


def sign_of(home: Home, layout: Layout) -> str:
    """What tells the boot that this app has a release that awaits its confirmation. Who waits for that holds its
    lock, flock(2)."""
    return os.path.join(home.gate, hashlib.sha256(os.fsencode(layout.root)).hexdigest()[:16] + _SUFFIX)


def read(layout: Layout) -> Optional[Awaiting]:
    """:raises Pm2Error: it is there and cannot be used."""
    path = path_of(layout)
    try:
        with open(path, encoding="utf-8") as stream:
            content: Dict[str, Any] = json.load(stream)
        if content["format"] != FORMAT:
            raise Pm2Error("{0} was written by another version of zerodown.pm2; update the collection.".format(path))
        return Awaiting(**content)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Pm2Error("{0} cannot be read: {1}.".format(path, error.strerror)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise Pm2Error(
            "{0} is damaged; look at what is live (zerodown.pm2.release_info), then remove the file.".format(path)
        ) from error


def roots(home: Home) -> List[str]:
    """Of the apps of this PM2_HOME that may have a release that awaits its confirmation."""
    found = []
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(home.gate)):
            if name.endswith(_SUFFIX) and not name.startswith("."):
                with open(os.path.join(home.gate, name), encoding="utf-8") as stream:
                    found.append(stream.read())
    return found


def read_all(home: Home) -> List[Awaiting]:
    """Those that can be read."""
    found = []
    for root in roots(home):
        with contextlib.suppress(Pm2Error):
            found.append(read(Layout.at(root)))
    return [awaiting for awaiting in found if awaiting]


def write(home: Home, awaiting: Awaiting) -> Awaiting:
    """:raises Pm2Error: it could not be written."""
    layout = Layout.at(awaiting.root)
    sign = sign_of(home, layout)
    # the one that is there may be locked by who waits
    if not os.path.exists(sign):
        write_atomic(sign, layout.root.encode("utf-8"))
    write_atomic(path_of(layout), (json.dumps(dataclasses.asdict(awaiting)) + "\n").encode("utf-8"))
    return awaiting


def drop(home: Home, layout: Layout) -> None:
    """Nothing is awaited any more."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path_of(layout))
        sync_directory(layout.root)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(sign_of(home, layout))


def drop_unless_live(home: Home, layout: Layout, live: Optional[str]) -> None:
    """What does not serve awaits nothing; what it would have replaced awaits again.

    :param live: id of the release that is live.
    """
    awaiting = read(layout)
    if awaiting is None or awaiting.release == live:
        return
    before = Awaiting(**awaiting.replaces) if awaiting.replaces else None
    if before and before.release == live:
        write(home, before)
    else:
        drop(home, layout)


# what it means -------------------------------------------------------------------------------------------------------


def remaining(awaiting: Awaiting, now: float) -> float:
    """Seconds until something is to be done about it; none when it was decided, and when no cutover runs that would
    let the time begin."""
    if awaiting.decided or awaiting.until is None:
        return 0.0
    return max(0.0, awaiting.until - now)


def is_due(awaiting: Awaiting, now: float) -> bool:
    """Whether the host is to go back, or to finish what was decided."""
    return awaiting.decided is not None or (awaiting.until is not None and awaiting.until <= now)


def renewed(awaiting: Awaiting, now: float, timeout: Optional[float] = None) -> Awaiting:
    """Its time begins anew.

    :param timeout: seconds; by default as many as before.
    """
    timeout = awaiting.timeout if timeout is None else timeout
    return dataclasses.replace(awaiting, timeout=timeout, until=now + timeout)


def decided(awaiting: Awaiting, what: str, by: str, reason: Optional[str]) -> Awaiting:
    return dataclasses.replace(awaiting, decided=what, decided_by=by, decided_reason=reason)


def as_data(awaiting: Optional[Awaiting], now: float) -> Optional[Dict[str, Any]]:
    """As the modules return it."""
    if awaiting is None:
        return None
    return {
        "release": awaiting.release,
        "previous": awaiting.previous,
        "rollout": awaiting.rollout,
        "by": awaiting.by,
        "reason": awaiting.reason,
        "timeout": awaiting.timeout,
        "since": _clock(awaiting.since),
        "options": awaiting.options,
        "until": None if awaiting.until is None else _clock(awaiting.until),
        "remaining": None if awaiting.until is None else round(remaining(awaiting, now), 1),
    }


def refusal(awaiting: Awaiting) -> str:
    """For a cutover that has nothing to do with it."""
    return (
        "Release {0} awaits the confirmation of rollout {1} by {2}, since {3}, {4}; wait for it, or set force to let "
        "this cutover take its place.".format(
            awaiting.release,
            awaiting.rollout,
            awaiting.by,
            _clock(awaiting.since),
            "until {0}".format(_clock(awaiting.until)) if awaiting.until is not None else "and its cutover is not over",
        )
    )


def withdrawal(events: List[Dict[str, Any]], release: str) -> Optional[Dict[str, Any]]:
    """What the deploy log says of the withdrawal of a release, since it went live the last time."""
    return _since_live(events, release, WITHDRAWN)


def proven_since(events: List[Dict[str, Any]], release: str) -> bool:
    """Whether somebody said that it has proven itself, since it went live the last time."""
    return _since_live(events, release, "proven") is not None


def _since_live(events: List[Dict[str, Any]], release: str, kind: str) -> Optional[Dict[str, Any]]:
    found = None
    for event in events:
        if event["release"] == release and event["event"] in ("live", "rollback"):
            found = None
        elif event["release"] == release and event["event"] == kind:
            found = event
    return found


def is_to_do(
    state: str, release: str, rollout: str, awaiting: Optional[Awaiting], overview: Overview, host: str
) -> bool:
    """Whether what is declared is still to be done, rather than so already.

    :param host: its name, for sentences.
    :raises Pm2Error: it cannot be: what happened instead, and when.
    """
    if awaiting and awaiting.release == overview.live:
        if awaiting.is_for(release, rollout):
            return True
        raise Pm2Error(
            "Release {0} of rollout {1} is awaited on {2}, and not {3} of rollout {4}; name the one that is "
            "meant.".format(awaiting.release, awaiting.rollout, host, release, rollout)
        )
    event = withdrawal(overview.events, release)
    if event and event.get("rollout") == rollout:
        if state == WITHDRAWN:
            return False
        raise Pm2Error(_what_happened(event, overview, host), live=overview.live, withdrawal=event)
    if overview.live != release:
        raise Pm2Error(_another(release, overview, host), live=overview.live)
    if release not in overview.history.proven:
        raise Pm2Error(
            "Release {0} is live on {1} and awaits no confirmation; give its cutover a confirm_timeout.".format(
                release, host
            ),
            live=overview.live,
        )
    if state == WITHDRAWN:
        raise Pm2Error(
            "Release {0} has proven itself on {1}, so it cannot be withdrawn any more; roll it back "
            "(zerodown.pm2.cutover, state rolled_back).".format(release, host),
            live=overview.live,
        )
    return False


def _what_happened(event: Dict[str, Any], overview: Overview, host: str) -> str:
    release, live = event["release"], overview.live
    if live == release and release in overview.history.proven:
        return (
            "{0} went back to what release {1} was run as before, at {2}, because its changed options were {3}.".format(
                host,
                release,
                event.get("time"),
                event.get("reason")
                if event.get("by") == THE_HOST
                else "withdrawn by {0} ({1})".format(event.get("by"), event.get("reason") or "no reason given"),
            )
        )
    if live == release:
        return "Release {0} was withdrawn on {1} at {2} ({3}), and serves because nothing ran before it.".format(
            release, host, event.get("time"), event.get("reason")
        )
    if event.get("by") == THE_HOST:
        return "{0} went back to {1} at {2} by itself, because release {3} was {4}.".format(
            host, live, event.get("time"), release, event.get("reason")
        )
    return "{0} went back to {1} at {2}, because release {3} was withdrawn by {4} ({5}).".format(
        host, live, event.get("time"), release, event.get("by"), event.get("reason") or "no reason given"
    )


def _another(release: str, overview: Overview, host: str) -> str:
    switches = [event for event in overview.events if event["event"] in ("live", "rollback")]
    if not overview.live:
        return "Release {0} is not live on {1}: none is.".format(release, host)
    return "Release {0} is not live on {1}: {2} is{3}.".format(
        release,
        host,
        overview.live,
        ", since {0} by {1}".format(switches[-1].get("time"), switches[-1].get("by")) if switches else "",
    )


def _clock(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
