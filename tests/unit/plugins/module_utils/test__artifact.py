# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Artifacts: the same input gives the same bytes, and what is for another host is refused."""

from __future__ import annotations

import dataclasses
import os
import tarfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.module_utils._artifact import (
    MANIFEST,
    Manifest,
    Platform,
    here,
    parse,
    unfit,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._pack import pack

HOST = Platform("linux", "x86_64", "glibc 2.36")
RUNTIME = {"node": "v20.20.2", "python": "3.11.7"}


def manifest(**changes: object) -> Manifest:
    plain = Manifest("shop", "1f3a9c2e", 1_700_000_000, {"package-lock.json": "0" * 64}, RUNTIME, HOST)
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def tree(root: Path) -> Path:
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "run").write_text("#!/bin/sh\n")
    (root / "bin" / "run").chmod(0o700)
    (root / "index.js").write_text("42\n")
    (root / "start").symlink_to("bin/run")
    (root / "empty").mkdir()
    (root / "node_modules").mkdir()
    (root / "node_modules" / "of-the-build.js").write_text("")
    return root


def test_the_same_bytes_whoever_made_it_where_and_when(tmp_path: Path) -> None:
    first = tree(tmp_path / "a")
    whole, digest = pack(str(first), ["node_modules"], manifest(), str(tmp_path / "a.tar.gz"))
    # other names of the directories, other times, modes as another umask leaves them, another order of writing
    second = tmp_path / "elsewhere" / "b"
    for name in ("start", "index.js", "empty", "bin"):
        second.mkdir(parents=True, exist_ok=True)
        if name == "start":
            (second / name).symlink_to("bin/run")
        elif name == "index.js":
            (second / name).write_text("42\n")
            (second / name).chmod(0o444)
            os.utime(second / name, (1, 1))
        else:
            (second / name).mkdir(mode=0o700)
    (second / "bin" / "run").write_text("#!/bin/sh\n")
    (second / "bin" / "run").chmod(0o755)
    time.sleep(1.1)
    assert pack(str(second), ["node_modules"], manifest(), str(tmp_path / "b.tar.gz")) == (whole, digest)
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "b.tar.gz").read_bytes()
    assert whole.files == {
        "bin/run": "a8076d3d28d21e02012b20eaf7dbf75409a6277134439025f282e368e3305abf",
        "index.js": "084c799cd551dd1d8d5c5f9a5d593b2e931f5e36122ee5c793c1d08a19839cc0",
        "start": "-> bin/run",
    }


def test_its_manifest_comes_first(tmp_path: Path) -> None:
    whole, _digest = pack(str(tree(tmp_path / "a")), [], manifest(), str(tmp_path / "a.tar.gz"))
    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        first = tar.next()
        assert first
        assert first.name == MANIFEST
        stream = tar.extractfile(first)
        assert stream
        assert parse(stream.read(), "a") == whole
        assert {(member.uid, member.uname, member.mtime) for member in tar} == {(0, "", 1_700_000_000)}


@pytest.mark.parametrize("name", [MANIFEST, "pipe"])
def test_what_cannot_be_packed(tmp_path: Path, name: str) -> None:
    root = tree(tmp_path / "a")
    if name == "pipe":
        os.mkfifo(root / name)
    else:
        (root / name).write_text("{}")
    with pytest.raises(Pm2Error, match=name):
        pack(str(root), [], manifest(), str(tmp_path / "a.tar.gz"))


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "no manifest"), (b"[]", "no manifest"), (b'{"format": 1}', "no manifest"), (b'{"format": 2}', "format 2")],
)
def test_what_is_no_manifest(content: bytes, says: str) -> None:
    with pytest.raises(Pm2Error, match=says):
        parse(content, "shop.tar.gz")


@given(st.dictionaries(st.text(), st.text()), st.text(), st.integers())
def test_a_manifest_is_the_same_after_a_trip(files: dict[str, str], revision: str, seconds: int) -> None:
    whole = manifest(files=files, revision=revision, time=seconds)
    assert parse(whole.to_json(), "a") == whole


@pytest.mark.parametrize(
    ("platform", "runtime", "says"),
    [
        (HOST, RUNTIME, None),
        # a host need not have what others look for
        (HOST, {}, None),
        (Platform("linux", "x86_64", "glibc 2.41"), {"node": "v20.1.0", "python": "3.11.2"}, None),
        (
            Platform("linux", "aarch64", "glibc 2.36"),
            RUNTIME,
            "It was built on linux x86_64, and this host is linux aarch64.",
        ),
        (
            Platform("linux", "x86_64", "glibc 2.31"),
            RUNTIME,
            "It was built with the C library glibc 2.36, and this host has glibc 2.31.",
        ),
        (
            Platform("linux", "x86_64", "other"),
            RUNTIME,
            "It was built with the C library glibc 2.36, and this host has other.",
        ),
        (HOST, {"node": "v22.1.0"}, "It was built with node v20.20.2, and this host has v22.1.0."),
        (HOST, {"python": "3.12.1"}, "It was built with python 3.11.7, and this host has 3.12.1."),
    ],
)
def test_what_is_for_another_host(platform: Platform, runtime: dict[str, str], says: str | None) -> None:
    assert unfit(manifest(), platform, runtime) == says


def test_what_is_built_here_runs_here() -> None:
    assert unfit(manifest(platform=here()), here(), RUNTIME) is None
