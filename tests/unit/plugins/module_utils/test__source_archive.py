# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives: every kind unpacks to the same tree, and nothing lands outside, whatever the archive says."""

from __future__ import annotations

import io
import os
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Tuple

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._source_archive import ArchiveSource

# name, and content or ("link" | "hardlink", target) or a type of tarfile
Entry = Tuple[str, Any]

TREE: list[Entry] = [
    ("app/", None),
    ("app/bin/run", b"#!/bin/sh\n"),
    ("app/index.js", b"42\n"),
    ("app/start", ("link", "bin/run")),
]


def tar(path: Path, entries: list[Entry], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]  # the stubs want a literal mode
        for name, content in entries:
            info = tarfile.TarInfo(name.rstrip("/"))
            info.mode = 0o755 if "bin" in name or content is None else 0o644
            data = b""
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, tuple):
                info.type = tarfile.SYMTYPE if content[0] == "link" else tarfile.LNKTYPE
                info.linkname = content[1]
            elif content in (tarfile.FIFOTYPE, tarfile.CHRTYPE):
                info.type = content
            else:
                data = content
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def zipped(path: Path, entries: list[Entry]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries:
            info = zipfile.ZipInfo(name)
            link = isinstance(content, tuple)
            mode = 0o120777 if link else 0o100755 if "bin" in name else 0o100644
            info.external_attr = mode << 16
            archive.writestr(info, content[1].encode() if link else content or b"")
    return path


def unpack(path: Path, target: Path, strip: int = 0) -> None:
    target.mkdir(exist_ok=True)
    source = ArchiveSource(download="", file=str(path), strip_components=strip)
    source.write(source.fetch(source.revision()[0]), str(target))


MAKERS: dict[str, Callable[[Path], Path]] = {
    "tar": lambda path: tar(path, TREE),
    "gz": lambda path: tar(path, TREE, "w:gz"),
    "bz2": lambda path: tar(path, TREE, "w:bz2"),
    "xz": lambda path: tar(path, TREE, "w:xz"),
    "zip": lambda path: zipped(path, TREE),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_every_kind_gives_the_same_tree(tmp_path: Path, kind: str) -> None:
    unpack(MAKERS[kind](tmp_path / "archive"), tmp_path / "out", strip=1)
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*")}
    assert found == {"bin", "bin/run", "index.js", "start"}
    assert os.access(tmp_path / "out/bin/run", os.X_OK)
    assert not os.access(tmp_path / "out/index.js", os.X_OK)
    assert os.readlink(tmp_path / "out/start") == "bin/run"


EVIL: dict[str, list[Entry]] = {
    "absolute": [("/etc/x", b"")],
    "parent": [("../x", b"")],
    "parent within": [("a/../../x", b"")],
    "link out": [("l", ("link", "../outside"))],
    "absolute link": [("l", ("link", "/etc"))],
    "file through a link": [("l", ("link", "../outside")), ("l/x", b"")],
    "link through links": [("l", ("link", "d/../../outside")), ("d", ("link", "."))],
    "hard link out": [("h", ("hardlink", "../outside/precious"))],
    "absolute hard link": [("h", ("hardlink", "/etc/passwd"))],
    "hard link through a link": [("l", ("link", "../outside")), ("h", ("hardlink", "l/precious"))],
    "pipe": [("p", tarfile.FIFOTYPE)],
    "device": [("c", tarfile.CHRTYPE)],
}


@pytest.mark.parametrize("case", EVIL)
def test_nothing_lands_outside(tmp_path: Path, case: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/precious").write_text("stays")
    with pytest.raises(Pm2Error, match="archive"):
        unpack(tar(tmp_path / "evil.tar", EVIL[case]), tmp_path / "out")
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["precious"]
    assert (tmp_path / "outside/precious").read_text() == "stays"
    assert (tmp_path / "outside/precious").stat().st_nlink == 1
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("case", ["parent", "link out", "file through a link"])
def test_nothing_of_a_zip_lands_outside(tmp_path: Path, case: str) -> None:
    (tmp_path / "outside").mkdir()
    with pytest.raises(Pm2Error, match="archive"):
        unpack(zipped(tmp_path / "evil.zip", EVIL[case]), tmp_path / "out")
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_later_entry_replaces_a_link_and_does_not_write_through_it(tmp_path: Path) -> None:
    unpack(tar(tmp_path / "a.tar", [("f", b"one"), ("l", ("link", "f")), ("l", b"two")]), tmp_path / "out")
    assert (tmp_path / "out/f").read_text() == "one"
    assert (tmp_path / "out/l").read_text() == "two"


def test_hard_links_within_are_kept(tmp_path: Path) -> None:
    unpack(tar(tmp_path / "a.tar", [("x/f", b"one"), ("x/h", ("hardlink", "x/f"))]), tmp_path / "out", strip=1)
    assert (tmp_path / "out/f").samefile(tmp_path / "out/h")


def test_stripping_everything_away_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Pm2Error, match="lower source.strip_components"):
        unpack(tar(tmp_path / "a.tar", TREE), tmp_path / "out", strip=3)


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04broken", b"\x1f\x8b\x08broken"])
def test_what_is_no_archive_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(Pm2Error, match=r"The archive .*a\.tar is damaged"):
        unpack(tmp_path / "a.tar", tmp_path / "out")


@pytest.mark.parametrize("damage", ["truncated", "changed"])
@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_damaged_archive_is_named(tmp_path: Path, mode: str, damage: str) -> None:
    noise = bytes(random.Random(1).choices(range(256), k=60_000))
    path = tar(tmp_path / "archive", [("file", noise), ("more", b"")], mode)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    if damage == "truncated":
        del content[middle:]
    elif mode == "w":
        # a plain tar has checksums in its headers only; this is the second one
        content[60_928:60_938] = b"\xff" * 10
    else:
        content[middle] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(Pm2Error, match="is damaged"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({}, "either source.file or source.url"),
        ({"file": "/x", "url": "https://h/x"}, "either source.file or source.url"),
        ({"url": "https://h/x"}, "needs source.checksum"),
        ({"url": "file:///etc/passwd", "checksum": "sha256:" + "0" * 64}, "must begin with"),
        ({"url": "https://u:secret@h/x", "checksum": "sha256:" + "0" * 64}, "source.headers"),
        ({"file": "/x", "checksum": "md5:" + "0" * 32}, "sha256"),
        ({"file": "/x", "checksum": "sha256:" + "0" * 63}, "sha256"),
        ({"file": "/x", "checksum": "0" * 64}, "sha256"),
        ({"file": "/x", "strip_components": -1}, "0 or more"),
    ],
)
def test_options_that_are_refused(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(Pm2Error, match=fault) as error:
        ArchiveSource(download="/d", **options)
    assert "secret" not in error.value.message


def test_a_wrong_checksum_tells_both(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", TREE)
    source = ArchiveSource(download="", file=str(path), checksum="sha256:" + "0" * 64)
    with pytest.raises(Pm2Error, match="has the sha256 checksum [0-9a-f]{64}, expected was 0{64}"):
        source.revision()
