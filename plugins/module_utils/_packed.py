# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The artifact of a built release: what goes into it, and where it lies on the host that built it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils import _artifact, _tree
from ansible_collections.zerodown.pm2.plugins.module_utils._artifact import Manifest
from ansible_collections.zerodown.pm2.plugins.module_utils._command import run
from ansible_collections.zerodown.pm2.plugins.module_utils._environment import base_environment
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import which
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import locked, sync_directory, write_atomic
from ansible_collections.zerodown.pm2.plugins.module_utils._pack import pack
from ansible_collections.zerodown.pm2.plugins.module_utils._release import PRIVATE, Layout, Release, identity

# what tools leave behind, some of it with the time in it; names at any depth, but for those with a slash
_LITTER = [
    ".git", "__pycache__", "*.pyc", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".nyc_output", "*.tsbuildinfo",
    ".modules.yaml", ".yarn-state.yml", "node_modules/.cache", "*/node_modules/.cache",
]  # fmt: skip
LOCKFILES = (
    "package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "yarn.lock",
    "uv.lock", "requirements.txt", "poetry.lock", "Pipfile.lock",
)  # fmt: skip
# another run packs the same
LOCK_TIMEOUT = 900.0


@dataclass(frozen=True)
class Packed:
    """
    :ivar file: its path.
    :ivar checksum: ``sha256:`` and the digits, of the file.
    :ivar size: bytes.
    :ivar manifest: what it says of itself, without the files in it.
    """

    changed: bool
    file: str
    checksum: str
    size: int
    manifest: Dict[str, Any]


def pack_release(
    layout: Layout, release: Release, app: str, dependencies: bool, exclude: List[str], check: bool
) -> Packed:
    """Have the artifact of a release below ``cache/artifacts``.

    :param dependencies: whether ``node_modules`` goes into it. A virtual environment never does: it names its place.
    :param exclude: more shell patterns of names or relative paths.
    :raises Pm2Error: the release is not built, or cannot be packed.
    """
    if not release.ready:
        raise Pm2Error("Release {0} is not built, so there is nothing to pack; run build first.".format(release.id))
    left_out = [*_LITTER, PRIVATE, *_venv(release), *([] if dependencies else ["node_modules"]), *exclude]
    name = "{0}-{1}".format(release.id, identity({"app": app, "exclude": sorted(left_out)})[:8])
    base = os.path.join(layout.cache, "artifacts", name)
    found = _read(base)
    if found:
        return found
    if check:
        return Packed(True, base + ".tar.gz", "", 0, {})
    try:
        os.makedirs(os.path.dirname(base), mode=0o700, exist_ok=True)
        with locked(base + ".lock", LOCK_TIMEOUT, "packing " + release.path):
            return _read(base) or _write(layout, release, app, dependencies, left_out, base)
    except OSError as error:
        raise Pm2Error("Release {0} could not be packed: {1}.".format(release.id, error)) from error


def _write(layout: Layout, release: Release, app: str, dependencies: bool, left_out: List[str], base: str) -> Packed:
    manifest = Manifest(
        app=app,
        revision=release.revision,
        time=_time(layout, release),
        lockfiles=_lockfiles(release, left_out),
        runtime=_runtime(release),
        platform=_artifact.here(),
        dependencies=["node_modules"] if dependencies and (release.build or {}).get("dependencies") else [],
    )
    partial = base + ".partial"
    try:
        manifest, digest = pack(release.path, left_out, manifest, partial)
        _tree.flush(partial)
        os.rename(partial, base + ".tar.gz")
        sync_directory(os.path.dirname(base))
    finally:
        _tree.remove(partial)
    told = json.loads(manifest.to_json())
    del told["files"]
    size = os.stat(base + ".tar.gz").st_size
    packed = Packed(True, base + ".tar.gz", "sha256:" + digest, size, told)
    content = {"checksum": packed.checksum, "size": size, "manifest": told}
    write_atomic(base + ".json", (json.dumps(content, indent=1, sort_keys=True) + "\n").encode("utf-8"))
    return packed


def _read(base: str) -> Optional[Packed]:
    """What an earlier run packed. It told so only when all of it was on disk."""
    try:
        with open(base + ".json", encoding="utf-8") as stream:
            content = json.load(stream)
        if os.stat(base + ".tar.gz").st_size != content["size"]:
            return None
        return Packed(False, base + ".tar.gz", content["checksum"], content["size"], content["manifest"])
    except (OSError, ValueError, KeyError):
        return None


def _venv(release: Release) -> List[str]:
    python = (release.build or {}).get("python")
    return [os.path.relpath(python["venv"], os.path.realpath(release.path))] if python else []


def _runtime(release: Release) -> Dict[str, str]:
    build = release.build or {}
    versions = {
        "node": (build.get("dependencies") or {}).get("node"),
        "python": (build.get("python") or {}).get("python"),
    }
    return {name: str(version) for name, version in versions.items() if version}


def _lockfiles(release: Release, left_out: List[str]) -> Dict[str, str]:
    found = {}
    for entry in _tree.walk(release.path, [*left_out, "node_modules"]):
        if entry.name in LOCKFILES and entry.is_file(follow_symlinks=False):
            found[os.path.relpath(entry.path, release.path)] = _tree.file_digest(entry.path, "sha256")
    return found


def _time(layout: Layout, release: Release) -> int:
    """Of the commit. Something without a time gets one from its digest, because what serves files tells two of the
    same size apart by it."""
    mirror = os.path.join(layout.cache, "repository.git")
    git = which("git")
    if release.source.get("type") == "git" and git and os.path.isdir(mirror):
        argv = [git, "--git-dir", mirror, "show", "--no-patch", "--format=%ct", release.revision]
        answer = run(argv, base_environment(), check=False)
        if answer.rc == 0 and answer.stdout.strip().isdigit():
            return int(answer.stdout)
    # from 1980 on, which zip knows, for eight years
    return 315532800 + int(release.revision[:7], 16)
