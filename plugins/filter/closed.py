# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a deploy may go on at this time."""

from __future__ import annotations

import datetime
import re
from typing import Any, Callable, Dict, List, Optional

import zoneinfo
from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: closed
short_description: Why no deploy may go on now
version_added: 0.1.0
description:
  - Takes a freeze and returns a sentence that says why no deploy may go on at this time, or nothing when one may.
positional: windows, now
options:
  _input:
    description:
      - The freeze, C(by), C(reason) and perhaps C(until), a date or time of ISO 8601, in UTC unless it says otherwise.
        An empty one is no freeze.
    type: dict
    required: true
  windows:
    description:
      - When a deploy may go on, each with C(from) and C(to), such as V("09:30"), C(days), some of V(mon), V(tue),
        V(wed), V(thu), V(fri), V(sat), V(sun), by default all, and C(timezone), by default V(UTC).
      - A window that ends before it begins goes on over midnight. Without a window any time is right.
    type: list
    elements: dict
    required: true
  now:
    description: Seconds since 1970.
    type: float
    required: true
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: Refuse
  ansible.builtin.assert:
    that: reason | length == 0
    fail_msg: "{{ reason }}"
  vars:
    reason: "{{ {} | zerodown.pm2.closed(windows, now().timestamp()) }}"
    windows: [{days: [mon, tue, wed, thu], from: '09:00', to: '16:00', timezone: Europe/Berlin}]
"""

RETURN = r"""
_value:
  description: The sentence, or nothing.
  type: str
"""

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)|24:00")
_KEYS = {"days", "from", "to", "timezone"}


def closed(frozen: Dict[str, Any], windows: List[Dict[str, Any]], now: float) -> str:
    """:raises AnsibleFilterError: a freeze or window that cannot be understood."""
    moment = datetime.datetime.fromtimestamp(now, datetime.timezone.utc)
    why = _frozen(frozen or {}, moment)
    if why:
        return why
    if windows and not [window for window in windows if _is_in(window, moment)]:
        return "No deploy goes on now, {0:%a %H:%M} UTC, but {1}.".format(
            moment, " and ".join(_text(window) for window in windows)
        )
    return ""


def _frozen(frozen: Any, moment: datetime.datetime) -> Optional[str]:
    if not frozen:
        return None
    if not isinstance(frozen, dict) or not frozen.get("by") or not frozen.get("reason"):
        raise AnsibleFilterError("deploy_frozen needs by and reason, so that others know whom to ask, and why.")
    until = _moment(frozen["until"]) if frozen.get("until") else None
    if until and moment >= until:
        return None
    return "Deploys are frozen by {0}{1}: {2}.".format(
        frozen["by"], " until {0:%Y-%m-%d %H:%M} UTC".format(until) if until else "", str(frozen["reason"]).rstrip(".")
    )


def _moment(value: Any) -> datetime.datetime:
    try:
        found = datetime.datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError as error:
        raise AnsibleFilterError("deploy_frozen.until {0!r} is no date or time of ISO 8601.".format(value)) from error
    return (found if found.tzinfo else found.replace(tzinfo=datetime.timezone.utc)).astimezone(datetime.timezone.utc)


def _is_in(window: Dict[str, Any], moment: datetime.datetime) -> bool:
    unknown = sorted(set(window) - _KEYS)
    if unknown:
        raise AnsibleFilterError("A window of deploy_windows has no {0}.".format(", ".join(unknown)))
    local = moment.astimezone(_zone(window))
    begin, end = _minutes(window, "from"), _minutes(window, "to")
    minute = local.hour * 60 + local.minute
    if begin < end:
        return begin <= minute < end and _is_on(window, local.weekday())
    # over midnight: the days are those on which it begins
    if minute >= begin:
        return _is_on(window, local.weekday())
    return minute < end and _is_on(window, (local.weekday() - 1) % 7)


def _is_on(window: Dict[str, Any], weekday: int) -> bool:
    days = [str(day).lower()[:3] for day in window.get("days") or DAYS]
    wrong = [day for day in days if day not in DAYS]
    if wrong:
        raise AnsibleFilterError("{0!r} in deploy_windows is no day; use {1}.".format(wrong[0], ", ".join(DAYS)))
    return DAYS[weekday] in days


def _minutes(window: Dict[str, Any], name: str) -> int:
    value = window.get(name)
    # YAML reads 9:30 without quotes as a number, in base 60
    text = "{0}:{1:02}".format(*divmod(value, 60)) if isinstance(value, int) else str(value)
    if not _TIME.fullmatch(text):
        raise AnsibleFilterError('{0!r} in deploy_windows is no time of day; write {1}: "09:30".'.format(value, name))
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def _zone(window: Dict[str, Any]) -> zoneinfo.ZoneInfo:
    name = str(window.get("timezone") or "UTC")
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
        raise AnsibleFilterError(
            "{0!r} in deploy_windows is no time zone, such as Europe/Berlin.".format(name)
        ) from error


def _text(window: Dict[str, Any]) -> str:
    days = ", ".join(str(day) for day in window.get("days") or ["daily"])
    return "{0} from {1} to {2} {3}".format(days, window["from"], window["to"], window.get("timezone") or "UTC")


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> Dict[str, Callable[..., Any]]:
        return {"closed": closed}
