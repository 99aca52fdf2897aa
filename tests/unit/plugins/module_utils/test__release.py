# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which release is which, from the deploy log alone; what a rollback goes to; what retention may remove."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._release import (
    Layout,
    Overview,
    Release,
    check_id,
    history,
    identity,
    new_id,
    read_live,
    read_releases,
)


def release(release_id: str, build: dict[str, Any] | None = None, needs_build: bool = False) -> Release:
    return Release(
        id=release_id,
        path=f"/srv/shop/releases/{release_id}",
        revision="0" * 40,
        source={},
        identity="",
        created=release_id,
        created_by="someone",
        needs_build=needs_build,
        build=build,
    )


def overview(ids: str, live: str | None, log: str) -> Overview:
    """:param log: ``+a`` went live, ``<a`` by a rollback, ``.a`` proven, ``!a`` bad, ``-a`` removed."""
    kinds = {"+": "live", "<": "rollback", ".": "proven", "!": "bad", "-": "removed"}
    events = [{"event": kinds[word[0]], "release": word[1:], "reason": "because"} for word in log.split()]
    return Overview([release(name) for name in ids.split()], live, events)


@pytest.mark.parametrize(
    ("ids", "live", "log", "target"),
    [
        pytest.param("a", "a", "+a .a", None, id="only one"),
        pytest.param("a b", "b", "+a .a +b", "a", id="the one before"),
        pytest.param("a b c", "c", "+a .a +b +c", "a", id="b never proved itself"),
        pytest.param("a b c", "c", "+a .a +b .b !b +c", "a", id="b turned out bad"),
        pytest.param("a b c", "c", "+a .a +b .b +c", "b", id="a is older"),
        pytest.param("a c", "c", "+a .a +b .b +c", "a", id="b was removed by hand"),
        pytest.param("a b c", "b", "+a .a +b .b +c .c <b", "a", id="a second rollback goes on, not forward again"),
        pytest.param("a b c", "a", "+a .a +b .b +c .c <b <a", None, id="nothing before the first"),
        pytest.param("a b", "a", "+a .a +b .b +a", "b", id="a deployed again is no rollback"),
        pytest.param("a b c", "c", "+a .a +b .b <a +c", "a", id="a deploy after a rollback"),
        pytest.param("a b", "b", "+a .a -a +b", None, id="an id used again has earned nothing"),
        pytest.param("a b", None, "+a .a +b .b", "b", id="current is missing"),
        pytest.param("a b c", "c", "+a .a +b .b", "b", id="current was switched by hand"),
        pytest.param("a b", "b", "", None, id="no log"),
    ],
)
def test_rollback_target(ids: str, live: str | None, log: str, target: str | None) -> None:
    assert overview(ids, live, log).rollback_target() == target


def test_a_release_that_does_not_lie_before_the_live_one_can_be_asked_for() -> None:
    now = overview("a b c", "b", "+a .a +b .b +c .c <b")
    assert now.rollback_targets == ["a", "c"]
    assert now.rollback_target("c") == "c"


@pytest.mark.parametrize(
    ("requested", "fault"),
    [("c", "is the live one"), ("x", "is not on this host"), ("b", "was marked bad (because)"), ("d", "never proven")],
)
def test_what_cannot_be_rolled_back_to_is_refused_with_what_can(requested: str, fault: str) -> None:
    now = overview("a b c d", "c", "+a .a +b !b +c")
    with pytest.raises(Pm2Error) as error:
        now.rollback_target(requested)
    assert fault in error.value.message
    assert "There are: a." in error.value.message


def test_an_unbuilt_release_is_no_target() -> None:
    events = [{"event": "live", "release": "a"}, {"event": "proven", "release": "a"}, {"event": "live", "release": "b"}]
    now = Overview([release("a", {"status": "failed"}), release("b")], "b", events)
    assert now.rollback_target() is None


@pytest.mark.parametrize(
    ("live", "log", "previous"),
    [
        ("b", "+a +b", "a"),
        ("b", "+a +b +c <b", "c"),
        ("a", "+a", None),
        ("b", "+a +x +b", "a"),
        ("b", "+a +b +b", "a"),
    ],
)
def test_previous_is_what_was_live_just_before_and_is_still_there(live: str, log: str, previous: str | None) -> None:
    assert overview("a b c", live, log).previous == previous


def test_the_last_verdict_counts() -> None:
    folded = history([{"event": event, "release": "a", "reason": event} for event in ("live", "proven", "bad")])
    assert (folded.proven, folded.bad, folded.reasons) == (set(), {"a"}, {"a": "bad"})


IDS = [f"r{number}" for number in range(8)]
LOGS = st.lists(st.tuples(st.sampled_from("+<.!"), st.sampled_from(IDS)), max_size=30)


@given(log=LOGS, keep=st.integers(1, 9), protect=st.sets(st.sampled_from(IDS)), data=st.data())
def test_retention_never_takes_what_is_needed(
    log: list[tuple[str, str]], keep: int, protect: set[str], data: st.DataObject
) -> None:
    live = data.draw(st.sampled_from([*IDS, None]))
    now = overview(" ".join(IDS), live, " ".join(kind + name for kind, name in log))
    removed = {item.id for item in now.removable(keep, protect)}
    needed = {now.live, now.previous, now.rollback_target(), *protect, *IDS[-keep:]}
    assert removed == set(IDS) - needed
    target = now.rollback_target()
    assert target is None or target not in {now.live, *now.history.bad}


@pytest.mark.parametrize("valid", ["20260131T140509Z-1f3a9c2e", "v1.2.3", "a", "_x-y", "x" * 100])
def test_ids(valid: str) -> None:
    assert check_id(valid) == valid


@pytest.mark.parametrize("invalid", ["", ".", "..", ".hidden", "a/b", "../x", "a b", "a\n", "$(id)", "x;y", "x" * 101])
def test_ids_that_are_refused(invalid: str) -> None:
    with pytest.raises(Pm2Error, match="not valid"):
        check_id(invalid)


def test_an_id_is_made_of_time_and_revision() -> None:
    made = new_id("2026-01-31T14:05:09Z", "1f3a9c2e7d5b4a39")
    assert made == check_id("20260131T140509Z-1f3a9c2e")


@pytest.mark.parametrize("path", ["shop", "./shop", "/", "//", "/srv/..", ""])
def test_roots_that_are_refused(path: str) -> None:
    with pytest.raises(Pm2Error, match="absolute path"):
        Layout.at(path)


def test_identity_does_not_depend_on_order() -> None:
    assert identity({"a": 1, "b": {"c": 2, "d": 3}}) == identity({"b": {"d": 3, "c": 2}, "a": 1})
    assert identity({"a": 1}) != identity({"a": 2})


def test_a_build_that_was_begun_must_have_ended_well() -> None:
    assert release("a").ready
    assert not release("a", needs_build=True).ready
    assert release("a", {"status": "done"}, needs_build=True).ready
    for status in ("running", "failed"):
        assert not release("a", {"status": status}).ready


def write(layout: Layout, item: Release) -> None:
    path = Path(layout.release(item.id)) / ".zerodown"
    path.mkdir(parents=True)
    (path / "release.json").write_bytes(item.to_json())


def test_manifests_are_read_back_oldest_first(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    assert read_releases(layout) == []
    for name in ("b", "a"):
        write(layout, release(name))
    (tmp_path / "releases" / "not-ours").mkdir()
    (tmp_path / "releases" / ".c.partial").mkdir()
    found = read_releases(layout)
    assert [item.id for item in found] == ["a", "b"]
    assert found[0].path == str(tmp_path / "releases" / "a")
    assert found[0].to_json() == release("a").to_json()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1}', '{"format": 1, "more": 2}'])
def test_a_damaged_manifest_is_named(tmp_path: Path, content: str) -> None:
    layout = Layout(str(tmp_path))
    write(layout, release("a"))
    (tmp_path / "releases/a/.zerodown/release.json").write_text(content)
    with pytest.raises(Pm2Error, match=r"release\.json is damaged"):
        read_releases(layout)


def test_a_manifest_from_the_future_is_named(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    write(layout, release("a"))
    path = tmp_path / "releases/a/.zerodown/release.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    with pytest.raises(Pm2Error, match="newer"):
        read_releases(layout)


@pytest.mark.parametrize(
    ("target", "live"),
    [("releases/a", "a"), ("{root}/releases/a", "a"), ("releases/a/", "a"), ("elsewhere", None), (None, None)],
)
def test_current(tmp_path: Path, target: str | None, live: str | None) -> None:
    (tmp_path / "releases").mkdir()
    if target:
        (tmp_path / "current").symlink_to(target.format(root=tmp_path))
    assert read_live(Layout(str(tmp_path))) == live
