# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is declared about checks, and what a record says."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.module_utils import _ci
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error

COMMIT = "1f3a9c2e7d5b4a39c8e1f0a2b3c4d5e6f7a8b9c0"
WHEN, UNTIL = "2026-01-31T14:05:09.000000Z", "2026-01-31T14:05:19.500000Z"
MANIFEST = {"runtime": {"node": "v20.1.0"}, "dependencies": ["node_modules"], "platform": {"system": "linux"}}
PACKED = {"checksum": "sha256:" + "ab" * 32, "size": 7, "manifest": MANIFEST}


def app(**more: Any) -> Dict[str, Any]:
    return {
        "name": "shop",
        "source": {"type": "git", "repo": "https://git.example.com/shop", "version": "main"},
        **more,
    }


def record(declared: Dict[str, Any], **more: Any) -> str:
    built: Optional[Dict[str, Any]] = {"steps": [{"name": "install", "argv": ["npm"], "seconds": 2.0}]}
    given: Dict[str, Any] = {"built": built, "failed": None, "packed": None, "versions": []}
    made = _ci.record(declared, COMMIT, **{**given, **more}, who="ann", when=WHEN, until=UNTIL)
    return json.dumps(made)


def red(declared: Dict[str, Any], **more: Any) -> str:
    steps = [{"name": "install", "seconds": 1.0}, {"name": "script test", "seconds": 2.0}]
    failed = {"msg": "It failed.", "step": "script test", "steps": steps, "output_tail": ["1 failing"], **more}
    return record(declared, built=None, failed=failed)


@pytest.mark.parametrize(
    ("declared", "checks", "scripts", "steps"),
    [
        ({}, False, None, None),
        ({"build": {"scripts": ["build"]}}, False, ["build"], None),
        ({"ci": {}}, True, [], []),
        ({"ci": {"checks": False}}, False, [], []),
        ({"ci": {"scripts": ["lint"]}, "build": {"scripts": ["build"]}}, False, ["lint", "build"], []),
        ({"ci": {"scripts": ["lint"], "checks": True}}, True, ["lint"], []),
        # each only once
        (
            {"ci": {"scripts": ["build", "e2e"]}, "build": {"scripts": ["gen", "build"]}},
            False,
            ["build", "e2e", "gen"],
            [],
        ),
        ({"ci": {"steps": [{"name": "a"}]}, "build": {"steps": [{"name": "b"}]}}, False, [], ["a", "b"]),
    ],
)
def test_what_is_run(declared: Dict[str, Any], checks: bool, scripts: Any, steps: Any) -> None:
    build = _ci.build_options(app(**declared))
    assert build["checks"] == checks
    assert build.get("scripts") == scripts
    assert (steps is None and "steps" not in build) or [step["name"] for step in build["steps"]] == steps


@pytest.mark.parametrize(
    ("other", "differ"),
    [
        ({"source": {"type": "git", "repo": "https://ann:pw@git.example.com/shop", "version": "v1", "depth": 1}}, []),
        ({"source": {"type": "git", "repo": "https://git.example.com/other"}}, ["source"]),
        ({"build": {"cache": "copy", "timeout": 9}}, []),
        ({"build": {"prune": True}}, ["build"]),
        ({"build": {"env": {"MODE": "a"}}}, ["build"]),
        ({"ci": {}}, ["ci"]),
        ({"artifact": {}}, ["artifact"]),
    ],
)
def test_what_makes_another_declaration(other: Dict[str, Any], differ: List[str]) -> None:
    one, two = _ci.declaration(app()), _ci.declaration(app(**other))
    assert [name for name in one if one[name] != two[name]] == differ


def test_what_does_not_belong_to_it() -> None:
    first = app(ci={}, artifact={}, build={"env": {"API_TOKEN": "first-secret"}})
    statuses = {"type": "github", "repo": "a/b", "token": "x"}
    second = app(
        ci={"required": False, "statuses": statuses},
        artifact={"keep": 3, "any_platform": True},
        build={"env": {"API_TOKEN": "second-secret"}},
    )
    assert _ci.declaration(first) == _ci.declaration(second)


def test_the_first_host_has_it_checked() -> None:
    parts = _ci.declaration(app())
    declared = {"web1": {}, "web2": {"shop": parts}, "web3": {"shop": parts, "api": parts}}
    assert _ci.owners(declared) == {"shop": "web2", "api": "web3"}
    declared["web3"]["shop"] = _ci.declaration(app(ci={}, build={"prune": True}))
    with pytest.raises(Pm2Error, match="with one build and ci for web2 and with another for web3"):
        _ci.owners(declared)


@pytest.mark.parametrize("name", ["..", "", "a/b", ".hidden", "a b"])
def test_a_name_that_no_directory_may_have(name: str) -> None:
    with pytest.raises(Pm2Error, match="use another"):
        _ci.check_name({"name": name})


def test_a_part_of_a_commit() -> None:
    _ci.check_commit("shop", COMMIT)
    with pytest.raises(Pm2Error, match="write all of its digits"):
        _ci.check_commit("shop", COMMIT[:12])


def test_a_green_record() -> None:
    declared = app(ci={}, artifact={})
    versions = [
        {"item": ["uname", "-s", "-m"], "rc": 0, "stdout": "Linux x86_64"},
        {"item": ["git", "--version"], "rc": 0, "stdout": "git version 2.39.5"},
        {"item": ["uv", "--version"], "rc": 2, "stdout": ""},
    ]
    built = {
        "steps": [{"name": "install", "argv": ["npm"], "seconds": 2.0}],
        "dependencies": {"package_manager": "npm", "version": "10.8.2", "node": "v20.1.0"},
        "python": {"installer": "pip", "version": None, "python": "3.12.1"},
    }
    made = json.loads(record(declared, built=built, packed=PACKED, versions=versions))
    assert made["result"] == "green"
    assert made["failed"] is None
    assert made["seconds"] == 10.5
    assert made["steps"] == [{"name": "install", "seconds": 2.0, "ok": True}]
    assert made["tools"] == {"git": "2.39.5", "node": "v20.1.0", "npm": "10.8.2", "python": "3.12.1"}
    assert made["artifact"]["name"] == COMMIT + "-" + "ab" * 6 + ".tar.gz"
    plain = json.loads(record(declared, versions=versions))
    assert plain["platform"] == {"system": "linux", "machine": "x86_64"}
    assert plain["artifact"] is None


def test_a_red_record_has_no_secret() -> None:
    secret = "very-s3cret"
    declared = app(ci={}, build={"env": {"API_KEY": secret}})
    made = json.loads(red(declared, msg="Refused " + secret, output_tail=["x " + secret]))
    assert (made["result"], made["failed"]["step"]) == ("red", "script test")
    assert [step["ok"] for step in made["steps"]] == [True, False]
    assert secret not in json.dumps(made)
    packing = json.loads(record(declared, failed={"msg": "No room."}))
    assert (packing["result"], packing["failed"]["step"]) == ("red", "pack")
    planning = json.loads(record(declared, built=None, failed={"msg": "There is no lockfile."}))
    assert planning["failed"] == {"step": "build", "message": "There is no lockfile.", "lines": []}


def test_what_is_staged_of_an_app_without_checks() -> None:
    declared = app(build={"scripts": ["build"]})
    found = _ci.tested(declared, "", "")
    assert (found.refusal, found.source, found.build) == ("", declared["source"], {"scripts": ["build"]})
    assert _ci.tested(app(needs_build=False), "", "").build is None


def test_what_was_checked_is_what_is_staged() -> None:
    declared = app(ci={})
    found = _ci.tested(declared, COMMIT, record(declared))
    assert (found.green, found.refusal) == (True, "")
    assert found.source["version"] == COMMIT
    assert found.build == {}
    assert found.built["record"]["result"] == "green"
    directory = app(ci={}, source={"type": "directory", "directory": "/srv/x"})
    found = _ci.tested(directory, COMMIT, record(directory))
    assert found.green
    assert "declare artifact" in found.refusal


def test_what_was_packed_is_what_is_staged() -> None:
    declared = app(artifact={"any_platform": True}, build={"scripts": ["build"]})
    found = _ci.tested(declared, COMMIT, record(declared, packed=PACKED))
    name = COMMIT + "-" + "ab" * 6 + ".tar.gz"
    checksum = PACKED["checksum"]
    assert found.source == {
        "type": "artifact", "name": name, "checksum": checksum, "commit": COMMIT, "any_platform": True,
    }  # fmt: skip
    assert found.build is None


DECLARED = app(ci={})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "nothing is recorded of it; run ansible-playbook zerodown.pm2.ci."),
        ("{", "what is recorded cannot be read"),
        ("[]", "what is recorded cannot be read"),
        ('{"format": 9}', "what is recorded has format 9, and format 1 is known"),
        (record(app(name="api", ci={})).replace('"shop"', '"api"'), "what is recorded is about something else"),
        (record(app(ci={"scripts": ["x"]})), "it was checked with another ci than is declared now"),
        (red(DECLARED), "its step 'script test' failed on " + WHEN),
    ],
)
def test_what_is_not_green(text: str, says: str) -> None:
    found = _ci.tested(DECLARED, COMMIT, text)
    assert not found.green
    assert found.refusal.startswith("App shop: commit {0} is not staged: ".format(COMMIT))
    assert says in found.refusal
    assert found.lines == (["1 failing"] if "script test" in says else [])
    free = _ci.tested(app(ci={"required": False}), COMMIT, text)
    assert (free.green, free.refusal, free.source["version"]) == (False, "", COMMIT)
    # an artifact cannot be had without a record
    assert _ci.tested(app(ci={"required": False}, artifact={}), COMMIT, text).refusal


BUILD = {"directory": "web", "scripts": ["build"], "steps": [{"name": "x"}], "prune": True, "env": {"A": "1"}}


@pytest.mark.parametrize(
    ("runtime", "dependencies", "expected"),
    [
        ({}, [], None),
        ({"node": "v20"}, ["node_modules"], None),
        ({"node": "v20"}, [], {"directory": "web", "prune": True, "env": {"A": "1"}, "python": {"installer": "none"}}),
        ({"python": "3.12"}, [], {"directory": "web", "package_manager": "none", "env": {"A": "1"}, "python": {}}),
        (
            {"python": "3.12", "node": "v20"},
            ["node_modules"],
            {"directory": "web", "package_manager": "none", "env": {"A": "1"}, "python": {}},
        ),
        ({"python": "3.12", "node": "v20"}, [], {"directory": "web", "prune": True, "env": {"A": "1"}, "python": {}}),
    ],
)
def test_what_is_left_to_do_on_a_host(runtime: Dict[str, str], dependencies: List[str], expected: Any) -> None:
    assert _ci.host_build(BUILD, {"runtime": runtime, "dependencies": dependencies}) == expected


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 3)), max_size=20, unique_by=lambda i: i[:2]),
    st.integers(1, 4),
)
def test_the_newest_stay(items: List[Any], keep: int) -> None:
    def name(number: int, recorded: bool) -> str:
        return "/s/{0:040x}{1}".format(number, ".json" if recorded else "-{0:012x}.tar.gz".format(number))

    files = [{"path": name(number, recorded), "mtime": mtime} for number, recorded, mtime in items]
    other = {"path": "/s/notes.txt", "mtime": 0}
    gone = _ci.expired([*files, other], keep)
    left = [file for file in files if file["path"] not in gone]
    assert other["path"] not in gone
    for suffix in (".json", ".tar.gz"):
        times = sorted((file["mtime"] for file in files if file["path"].endswith(suffix)), reverse=True)
        kept = sorted((file["mtime"] for file in left if file["path"].endswith(suffix)), reverse=True)
        assert kept[: min(keep, len(times))] == times[:keep]
    # what belongs together goes together
    assert not {path.rpartition("/")[2][:40] for path in gone} & {file["path"].rpartition("/")[2][:40] for file in left}
    assert len({file["path"].rpartition("/")[2][:40] for file in left}) <= 2 * keep


def test_something_is_kept() -> None:
    with pytest.raises(Pm2Error, match="1 or more"):
        _ci.expired([], 0)
