# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A release from an archive: a file or a download, checked against its checksum and unpacked so that nothing lands
elsewhere.

One extraction for tar and zip, with checks of our own: the filters of tarfile came with Python 3.12 and its
back-ports, and differ among them.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import os
import re
import shutil
import stat
import tarfile
import time
import urllib.parse
import urllib.request
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import IO, Any, Callable, Dict, Iterator, List, Optional, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils import _tree
from ansible_collections.zerodown.pm2.plugins.module_utils._command import run
from ansible_collections.zerodown.pm2.plugins.module_utils._environment import base_environment
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import which
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import inside

_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_ZSTD = b"\x28\xb5\x2f\xfd"
_DAMAGES = [tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, ValueError]
# a Python built without it cannot unpack xz at all, which tarfile says itself
with contextlib.suppress(ImportError):
    import lzma

    _DAMAGES.append(lzma.LZMAError)


@dataclass(frozen=True)
class ArchiveSource:
    """:ivar file: a path on the host; or
    :ivar url: http or https, and then ``checksum`` is required.
    :ivar checksum: ``sha256:…``.
    :ivar download: where a download lies until it is unpacked.
    :ivar timeout: seconds that a download or decompression may take.
    """

    download: str
    file: Optional[str] = None
    url: Optional[str] = None
    headers: Dict[str, str] = field(default_factory=dict)
    checksum: Optional[str] = None
    strip_components: int = 0
    timeout: float = 600.0

    kind = "archive"

    def __post_init__(self) -> None:
        """:raises Pm2Error: the options do not fit together."""
        if bool(self.file) == bool(self.url):
            raise Pm2Error("An archive needs either source.file or source.url.")
        if self.url and urllib.parse.urlsplit(self.url).scheme not in ("http", "https"):
            raise Pm2Error("source.url must begin with http:// or https://; for a path use source.file.")
        if self.url and "@" in urllib.parse.urlsplit(self.url).netloc:
            raise Pm2Error("source.url must not hold a user or password; send them in source.headers.")
        if self.url and not self.checksum:
            raise Pm2Error("source.url needs source.checksum, such as sha256:<64 hexadecimal digits>.")
        if self.checksum:
            algorithm, _colon, digits = self.checksum.partition(":")
            if not re.match(r"[0-9a-fA-F]{%d}\Z" % _LENGTHS.get(algorithm, 1), digits) or algorithm not in _LENGTHS:
                raise Pm2Error(
                    "source.checksum must be sha256:, sha384: or sha512: and hexadecimal digits, not {0!r}.".format(
                        self.checksum
                    )
                )
        if self.strip_components < 0:
            raise Pm2Error("source.strip_components must be 0 or more.")

    def shape(self) -> Dict[str, Any]:
        return {"strip_components": self.strip_components}

    def describe(self) -> Dict[str, Any]:
        return {"type": "archive", "file" if self.file else "url": self._name(), "checksum": self.checksum}

    def revision(self) -> Tuple[str, bool]:
        """The digest. A download is not needed to tell it, for its checksum is known.

        :raises Pm2Error: the file cannot be read, or is not the one that the checksum is of.
        """
        if self.url:
            return str(self._checksum()[1]), True
        try:
            return self._check(str(self.file)), True
        except OSError as error:
            raise Pm2Error("The archive {0} cannot be read: {1}.".format(self.file, error.strerror)) from error

    def fetch(self, revision: str) -> str:
        """Download it where it has to be.

        :raises Pm2Error: it cannot be had, or is not the one that the checksum is of.
        """
        if self.url:
            self._download()
            try:
                return self._check(self.download)
            except Pm2Error:
                self.discard()
                raise
        return revision

    def write(self, _revision: str, target: str) -> None:
        """Unpack it into the empty directory ``target``.

        :raises Pm2Error: not an archive, damaged, or something in it would land outside of ``target``.
        """
        path = self.download if self.url else str(self.file)
        try:
            _unpack(path, target, self.strip_components, self.timeout)
        except (*_DAMAGES, OSError) as error:
            # gzip and bz2 have an OSError without a number for it
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise Pm2Error("The archive {0} is damaged: {1}.".format(self._name(), error)) from error
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove the download."""
        if self.url:
            _tree.remove(self.download)

    def _checksum(self) -> Tuple[str, Optional[str]]:
        algorithm, _colon, digits = (self.checksum or "sha256:").partition(":")
        return algorithm, digits.lower() or None

    def _check(self, path: str) -> str:
        """The digest of the file, when it is the expected one."""
        algorithm, expected = self._checksum()
        digest = _tree.file_digest(path, algorithm)
        if expected and digest != expected:
            raise Pm2Error(
                "The archive {0} has the {1} checksum {2}, expected was {3}; it is damaged or another one.".format(
                    self._name(), algorithm, digest, expected
                )
            )
        return digest

    def _name(self) -> str:
        """For people: a signed address has secrets in its query."""
        return str(self.file) if self.file else urllib.parse.urlsplit(str(self.url))._replace(query="").geturl()

    def _download(self) -> None:
        request = urllib.request.Request(str(self.url), headers=self.headers)
        deadline = time.monotonic() + self.timeout
        try:
            opener = urllib.request.build_opener(_Redirect)
            with opener.open(request, timeout=self.timeout) as answer, open(self.download, "wb") as stream:
                for block in iter(lambda: answer.read(1 << 20), b""):
                    stream.write(block)
                    if time.monotonic() > deadline:
                        raise TimeoutError(0, "it took longer than {0:g} s".format(self.timeout))
        except (OSError, http.client.HTTPException) as error:
            self.discard()
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            raise Pm2Error("The archive {0} could not be downloaded: {1}.".format(self._name(), reason)) from error


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Tokens are for the host that they were given for."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Optional[urllib.request.Request]:
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and request.host != req.host:
            request.headers.clear()
        return request


@dataclass(frozen=True)
class _Member:
    """One thing in an archive.

    :ivar kind: directory, file, link (symbolic) or hardlink.
    :ivar target: of a link; of a hard link the name in the archive.
    """

    name: str
    kind: str
    mode: int
    target: str
    open: Callable[[], IO[bytes]]


def _unpack(path: str, target: str, strip: int, timeout: float) -> None:
    with _members(path, target, timeout) as members:
        links: List[str] = []
        empty = True
        for member in members:
            parts = _parts(member.name)[strip:]
            if parts:
                empty = False
                _write(member, parts, target, strip)
                if member.kind == "link":
                    links.append(os.path.join(target, *parts))
    if empty:
        raise Pm2Error(
            "The archive {0} has nothing in it{1}.".format(
                path, " below its {0} leading directories; lower source.strip_components".format(strip) if strip else ""
            )
        )
    for link in links:
        # only now is it known what they lead through
        if os.path.islink(link):
            inside(target, os.path.relpath(link, target), "link in the archive")


def _parts(name: str) -> List[str]:
    if name.startswith("/") or "\0" in name:
        raise Pm2Error("The archive has the absolute name {0!r} in it and is refused.".format(name))
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Pm2Error("The archive has the name {0!r} in it, which leads out of it, and is refused.".format(name))
    return parts


def _write(member: _Member, parts: List[str], target: str, strip: int) -> None:
    # a link that came before must not lead a later file out
    parent = inside(target, os.path.join(".", *parts[:-1]), "directory in the archive")
    os.makedirs(parent, exist_ok=True)
    path = os.path.join(parent, parts[-1])
    if member.kind == "directory":
        if not os.path.isdir(path) or os.path.islink(path):
            _tree.remove(path)
            os.mkdir(path)
        return
    _tree.remove(path)
    if member.kind == "link":
        os.symlink(member.target, path)
    elif member.kind == "hardlink":
        original = inside(target, os.path.join(".", *_parts(member.target)[strip:]), "hard link in the archive")
        os.link(original, path)
    else:
        with member.open() as source, open(path, "xb") as stream:
            shutil.copyfileobj(source, stream, 1 << 20)
        os.chmod(path, _tree.safe_mode(member.mode))


@contextlib.contextmanager
def _members(path: str, target: str, timeout: float) -> Iterator[Iterator[_Member]]:
    with open(path, "rb") as stream:
        magic = stream.read(4)
    if magic == _ZSTD:
        plain = target + ".tar"
        zstd = which("zstd")
        if not zstd:
            raise Pm2Error("The archive {0} is compressed with zstd; install the package zstd.".format(path))
        try:
            run([zstd, "-d", "-q", "-f", "-o", plain, "--", path], base_environment(), timeout=timeout)
            with tarfile.open(plain) as tar:
                yield _tar_members(tar)
        finally:
            _tree.remove(plain)
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield _zip_members(archive)
    else:
        with tarfile.open(path) as tar:
            yield _tar_members(tar)


def _tar_members(tar: tarfile.TarFile) -> Iterator[_Member]:
    kinds = {tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "link", tarfile.LNKTYPE: "hardlink"}
    for info in tar:
        if not (info.isreg() or info.type in kinds):
            raise Pm2Error("The archive has the device or pipe {0!r} in it and is refused.".format(info.name))
        kind = kinds.get(info.type, "file")
        yield _Member(info.name, kind, info.mode, info.linkname, functools.partial(_tar_open, tar, info))
    _check_end(tar)


def _check_end(tar: tarfile.TarFile) -> None:
    """tarfile takes a damaged header for the end, and does not read on to the checksum of gzip behind it."""
    stream = tar.fileobj
    if stream is None:
        raise AssertionError("an open archive has its file")
    stream.seek(tar.offset)
    if stream.read(tarfile.BLOCKSIZE) != b"\0" * tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it does not end where it should")
    while stream.read(1 << 20):
        pass


def _tar_open(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = tar.extractfile(info)
    if stream is None:
        raise ValueError("{0!r} has no content".format(info.name))
    return stream


def _zip_members(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for info in archive.infolist():
        # the upper half is the mode where the zip was made on Unix
        mode = info.external_attr >> 16
        kind, target = "file", ""
        if info.is_dir():
            kind = "directory"
        elif stat.S_ISLNK(mode):
            kind, target = "link", archive.read(info).decode("utf-8", "surrogateescape")
        yield _Member(info.filename, kind, mode or 0o644, target, functools.partial(archive.open, info))
