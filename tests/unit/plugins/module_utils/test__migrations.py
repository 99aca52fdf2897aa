# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which migrations count for the way back, from the deploy log alone."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils._migrations import obstacle, of_release, revert_class, since
from ansible_collections.zerodown.pm2.plugins.module_utils._release import Overview, Release, history

CLASSES = {"e": "expand", "c": "contract", "i": "irreversible", "?": "of another time"}


def events(log: str) -> list[dict[str, Any]]:
    """``+a`` went live, ``<a`` by a rollback, ``.a`` proven, ``-a`` removed, ``m:a:c:x`` ran ``x``, a contract."""
    kinds = {"+": "live", "<": "rollback", ".": "proven", "-": "removed"}
    found = []
    for word in log.split():
        if word.startswith("m:"):
            _, release, kind, name = word.split(":")
            found.append({"event": "migrated", "release": release, "name": name, "class": CLASSES[kind]})
        else:
            found.append({"event": kinds[word[0]], "release": word[1:]})
    return found


@pytest.mark.parametrize(
    ("log", "target", "strongest"),
    [
        pytest.param("+a +b", "a", None, id="none"),
        pytest.param("m:a:i:x +a +b", "a", None, id="its own"),
        pytest.param("+a m:b:e:x +b", "a", "expand", id="expand"),
        pytest.param("+a m:b:e:x m:b:c:y m:b:e:z +b", "a", "contract", id="the strongest"),
        pytest.param("+a m:b:i:x +b m:c:e:x +c", "a", "irreversible", id="of all between"),
        pytest.param("+a m:b:i:x +b m:c:e:x +c", "b", "expand", id="not of those before"),
        pytest.param("+a m:b:c:x m:c:e:x +c", "a", "contract", id="of one that never went live, too"),
        pytest.param("+a m:b:c:x +b <a +c", "a", None, id="it has gone live since"),
        pytest.param("+a m:b:c:x +b +c -b", "a", "contract", id="of one that was removed"),
        pytest.param("+a m:b:i:x m:b:e:x +b", "a", "expand", id="corrected"),
        pytest.param("+a m:b:?:x +b", "a", None, id="a class that is not known"),
        pytest.param("+a +b m:a:c:x", "a", None, id="run late for the target itself"),
    ],
)
def test_what_counts(log: str, target: str, strongest: str | None) -> None:
    assert revert_class(events(log), target) == strongest


def test_an_obstacle_names_what_it_is() -> None:
    log = events("+a m:b:c:x m:b:c:y m:b:e:z +b")
    assert obstacle(log, "a") == "the contract migration 'x', 'y' was run since a was live"
    assert obstacle(log, "b") is None
    assert obstacle(events("+a m:b:e:x +b"), "a") is None


def test_of_a_release_in_the_order_in_which_they_were_run() -> None:
    log = events("m:b:e:x m:a:e:y m:b:c:z -a m:a:e:w")
    assert [event["name"] for event in of_release(log, "b")] == ["x", "z"]
    assert [event["name"] for event in of_release(log, "a")] == ["w"]
    assert [event["name"] for event in since(log, "c")] == ["x", "y", "z", "w"]


def test_the_history_of_releases_does_not_know_of_them() -> None:
    plain = "+a .a +b"
    assert history(events("m:a:e:x +a .a m:b:i:y +b m:b:e:z")) == history(events(plain))


def test_a_release_is_described_with_them() -> None:
    release = Release("a", "/srv/shop/releases/a", "0", {}, "", "", "", False)
    now = Overview([release], "a", [{**events("m:a:c:x")[0], "time": "2026-01-31T14:05:30Z", "seconds": 2.1}])
    assert now.describe(release)["migrations"] == [
        {"name": "x", "class": "contract", "time": "2026-01-31T14:05:30Z", "seconds": 2.1}
    ]
