# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Root file systems that the hosts of one machine share, read-only.

A base made by mmdebstrap is named by its suite and a key of everything it was made from, so it is never changed below
a running host: other inputs make another base. A baked one is the disk of a host, kept as one more overlay layer.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

from settings import HERE, PACKAGES, HostsError, Settings, machine_cas, run


def layers(settings: Settings, base: str) -> list[Path]:
    """The directories a host on this base is an overlay of, uppermost first.

    :param base: a suite (``bookworm``) or the name of a baked base.
    """
    directory = _directory(settings, base)
    if not directory.exists():
        raise HostsError(f"There is no base {base!r}.")
    below = (directory / "below").read_text().strip()
    return [directory / "root", *([Path(line) for line in below.splitlines()])]


def exists(settings: Settings, base: str) -> bool:
    return _directory(settings, base).exists()


def build(settings: Settings, suite: str) -> None:
    """Make the base of a suite, unless it is there."""
    directory = _directory(settings, suite)
    with settings.lock(f"base-{suite}"):
        if directory.exists():
            return
        unfinished = _unfinished(directory)
        run(
            *("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--include=" + ",".join(PACKAGES)),
            # suites out of support keep their last Release file
            '--aptopt=Acquire::Check-Valid-Until "false"',
            *(f"--customize-hook=upload {ca} {ca}" for ca in machine_cas()),
            f"--customize-hook=upload {HERE / 'customize.sh'} /customize.sh",
            '--customize-hook=chroot "$1" sh /customize.sh',
            '--customize-hook=rm "$1/customize.sh"',
            *(suite, unfinished / "root"),
            *_sources(settings, suite),
        )
        _finish(unfinished, directory, below=[])


def bake(settings: Settings, base: str, disk: Path, below: list[Path]) -> None:
    """Keep a host's disk as a base. The host must be off, and is of no more use.

    :param disk: its upper directory.
    :param below: the layers it was an overlay of.
    """
    directory = _directory(settings, base)
    unfinished = _unfinished(directory)
    disk.rename(unfinished / "root")
    # whoever starts from here gets an identity of its own
    for path in (unfinished / "root" / "etc" / "ssh").glob("ssh_host_*"):
        path.unlink()
    _finish(unfinished, directory, below)
    _remove_older(settings, directory)


def _remove_older(settings: Settings, directory: Path) -> None:
    """Bases of the same suite and recipe, from older inputs, that no host runs on."""
    used = {line for below in settings.directory.glob("sets/*/hosts/*/below") for line in below.read_text().split("\n")}
    for other in directory.parent.glob(directory.name.rpartition("-")[0] + "-*"):
        if other != directory and str(other / "root") not in used:
            shutil.rmtree(other)


def _directory(settings: Settings, base: str) -> Path:
    if re.fullmatch(r"[a-z]+", base):
        return settings.bases / f"{base}-{_key(settings, base)}"
    if not re.fullmatch(r"[a-z][a-z0-9.+-]+", base):
        raise HostsError(f"{base!r} is not a name of a base.")
    return settings.bases / base


def _unfinished(directory: Path) -> Path:
    unfinished = directory.with_name("." + directory.name)
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    return unfinished


def _finish(unfinished: Path, directory: Path, below: list[Path]) -> None:
    (unfinished / "below").write_text("".join(f"{layer}\n" for layer in below))
    unfinished.rename(directory)


def _key(settings: Settings, suite: str) -> str:
    texts = [text.encode() for text in (suite, *PACKAGES, settings.mirror)]
    files = [path.read_bytes() for path in (HERE / "customize.sh", *machine_cas())]
    return hashlib.sha256(b"\0".join(texts + files)).hexdigest()[:12]


def _sources(settings: Settings, suite: str) -> list[str]:
    """apt sources for mmdebstrap; none lets it take its own default.

    A Debian machine's own apt knows mirrors that it can reach; those of an Ubuntu machine have no Debian.
    """
    if settings.mirror:
        return [f"deb {settings.mirror} {suite} main"]
    uris = set(run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Origin: Debian").split())
    security = sorted(uri for uri in uris if "security" in uri)
    main = sorted(uris - set(security))
    return [
        *(f"deb {uri} {suite} main" for uri in main[:1]),
        *(f"deb {uri} {suite}-security main" for uri in security[:1] if main),
    ]
