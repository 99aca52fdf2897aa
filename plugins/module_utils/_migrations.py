# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which migrations were run, from the deploy log alone, and what that means for the way back. Changes nothing."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error

# in the deploy log
EVENT = "migrated"

EXPAND = "expand"
CONTRACT = "contract"
IRREVERSIBLE = "irreversible"
# the weakest first
CLASSES = (EXPAND, CONTRACT, IRREVERSIBLE)


def of_release(events: List[Dict[str, Any]], release_id: str) -> List[Dict[str, Any]]:
    """The last event of each migration of a release, in the order in which they were run."""
    begin = 0
    for number, event in enumerate(events):
        if event["event"] == "removed" and event["release"] == release_id:
            # an id can be used again
            begin = number
    return [event for event in _last(events[begin:]) if event["release"] == release_id]


def since(events: List[Dict[str, Any]], target: str) -> List[Dict[str, Any]]:
    """What was run for other releases since this one last went live: it has not shown that it can work with that.
    Those that were removed count, because what they did to a database is still there."""
    begin = 0
    for number, event in enumerate(events):
        if event["release"] == target and event["event"] in ("live", "rollback"):
            begin = number
    return [event for event in _last(events[begin:]) if event["release"] != target]


def _last(events: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """The last event of each migration."""
    found = {}
    for event in events:
        if event["event"] == EVENT and event.get("class") in CLASSES:
            found[(event["release"], event["name"])] = event
    return list(found.values())


def revert_class(events: List[Dict[str, Any]], target: str) -> Optional[str]:
    """The strongest class of what was run since ``target`` last went live; ``None`` when nothing was."""
    return max((event["class"] for event in since(events, target)), key=CLASSES.index, default=None)


def obstacle(events: List[Dict[str, Any]], target: str) -> Optional[str]:
    """Why nothing may go back to ``target`` by itself, as a part of a sentence; ``None`` when it may."""
    strongest = revert_class(events, target)
    if strongest in (None, EXPAND):
        return None
    names = [event["name"] for event in since(events, target) if event["class"] == strongest]
    return "the {0} migration {1} was run since {2} was live".format(
        strongest, ", ".join(repr(name) for name in names), target
    )


def may_go_back(events: List[Dict[str, Any]], target: str, forced: bool, warn: Callable[[str], None]) -> None:
    """Look at a rollback that somebody asks for.

    :param forced: whether it may go back over anything.
    :param warn: takes a sentence for the user.
    :raises Pm2Error: it would go back over an irreversible migration.
    """
    why = obstacle(events, target)
    if why is None:
        return
    if revert_class(events, target) == IRREVERSIBLE and not forced:
        raise Pm2Error(
            "Release {0!r} is not gone back to, because {1}, and the data of then cannot be had back; deploy a release "
            "that works with what is there, or set past_migrations.".format(target, why)
        )
    warn("Release {0!r} may not work any more: {1}.".format(target, why))
