# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which package manager, and its commands; that they do what is expected is shown in tests/releases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._package_manager import (
    Choice,
    PackageManager,
    cache_key,
    choose,
    read_package,
)

NODE = {"version": "v20.0.0", "platform": "linux", "arch": "x64", "abi": "115", "libc": "glibc 2.36"}


@pytest.mark.parametrize(
    ("present", "package", "declared", "choice"),
    [
        (["package-lock.json"], {}, "auto", ("npm", "package-lock.json")),
        (["npm-shrinkwrap.json", "package-lock.json"], {}, "auto", ("npm", "npm-shrinkwrap.json")),
        (["pnpm-lock.yaml"], {}, "auto", ("pnpm", "pnpm-lock.yaml")),
        (["yarn.lock"], {"packageManager": "npm@10"}, "auto", ("yarn", "yarn.lock")),
        (["yarn.lock", "package-lock.json"], {"packageManager": "yarn@4.1.0"}, "auto", ("yarn", "yarn.lock")),
        (["yarn.lock", "package-lock.json"], {}, "npm", ("npm", "package-lock.json")),
    ],
)
def test_choice(present: list[str], package: dict[str, Any], declared: str, choice: tuple[str, str]) -> None:
    assert choose(present, package, declared, lockfile_required=True) == Choice(*choice)


@pytest.mark.parametrize(
    ("present", "package", "declared", "fault"),
    [
        ([], {}, "auto", "no lockfile for npm (npm-shrinkwrap.json or package-lock.json)"),
        ([], {"packageManager": "pnpm@9"}, "auto", "no lockfile for pnpm"),
        (["yarn.lock"], {}, "npm", "no lockfile for npm"),
        (["yarn.lock", "pnpm-lock.yaml"], {}, "auto", "several lockfiles (pnpm-lock.yaml, yarn.lock)"),
        (["yarn.lock", "pnpm-lock.yaml"], {"packageManager": "npm@10"}, "auto", "several lockfiles"),
    ],
)
def test_what_cannot_be_told_is_refused(present: list[str], package: dict[str, Any], declared: str, fault: str) -> None:
    with pytest.raises(Pm2Error) as error:
        choose(present, package, declared, lockfile_required=True)
    assert fault in error.value.message


@pytest.mark.parametrize(("package", "name"), [({}, "npm"), ({"packageManager": "yarn@4.1.0+sha256.x"}, "yarn")])
def test_a_lockfile_that_is_not_required_may_be_missing(package: dict[str, Any], name: str) -> None:
    assert choose([], package, "auto", lockfile_required=False) == Choice(name, None)


def manager(name: str, version: str, lockfile: str | None = "lock", **package: Any) -> PackageManager:
    return PackageManager(Choice(name, lockfile), [name], version, package)


@pytest.mark.parametrize(
    ("item", "arguments"),
    [
        (manager("npm", "10.8.2"), "ci --include=dev --no-audit --no-fund"),
        (manager("npm", "10.8.2", None), "install --include=dev --no-audit --no-fund"),
        (manager("pnpm", "10.0.0"), "install --frozen-lockfile --prod=false"),
        (manager("pnpm", "10.0.0", None), "install --no-frozen-lockfile --prod=false"),
        (manager("yarn", "1.22.22"), "install --non-interactive --production=false --frozen-lockfile"),
        (manager("yarn", "1.22.22", None), "install --non-interactive --production=false"),
        (manager("yarn", "4.1.0"), "install --immutable"),
        (manager("yarn", "4.1.0", None), "install --no-immutable"),
    ],
)
def test_install(item: PackageManager, arguments: str) -> None:
    assert item.install(["--more"]) == [item.choice.name, *arguments.split(), "--more"]


@pytest.mark.parametrize(
    ("item", "command"),
    [
        (manager("npm", "10.8.2"), "npm run --ignore-scripts postinstall"),
        (manager("pnpm", "10.0.0"), "pnpm run --config.enable-pre-post-scripts=false postinstall"),
        (manager("yarn", "1.22.22"), "yarn run postinstall"),
        (manager("yarn", "4.1.0"), "yarn run postinstall"),
    ],
)
def test_lifecycle_scripts(item: PackageManager, command: str) -> None:
    assert item.lifecycle() == {}
    item.package["scripts"] = {"build": "x", "postinstall": "x"}
    assert {name: " ".join(argv) for name, argv in item.lifecycle().items()} == {"postinstall": command}


def test_lifecycle_scripts_are_in_the_order_of_an_install() -> None:
    item = manager("npm", "10.8.2", scripts={"prepare": "x", "preinstall": "x", "install": "x", "test": "x"})
    assert list(item.lifecycle()) == ["preinstall", "install", "prepare"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("package.json", "lock", "packages/a/package.json", "prisma/schema.prisma", "index.js"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    return tmp_path


def key(project: Path, **changes: Any) -> str:
    arguments: dict[str, Any] = {
        "manager": manager("npm", "10.8.2"),
        "node": NODE,
        "extra": [],
        "inputs": ["prisma"],
        "env": {"npm_config_omit": "optional", "PORT": "1"},
        **changes,
    }
    return cache_key(directory=str(project), **arguments)


@pytest.mark.parametrize(
    "file",
    ["lock", "package.json", "packages/a/package.json", ".npmrc", ".yarnrc.yml", "patches/x", "prisma/schema.prisma"],
)
def test_the_key_depends_on_files(project: Path, file: str) -> None:
    before = key(project)
    (project / file).parent.mkdir(exist_ok=True)
    (project / file).write_text("changed")
    assert key(project) != before


@pytest.mark.parametrize(
    "changes",
    [
        {"manager": manager("npm", "10.8.3")},
        {"manager": manager("pnpm", "10.8.2")},
        {"node": {**NODE, "version": "v22.0.0"}},
        {"node": {**NODE, "arch": "arm64"}},
        {"node": {**NODE, "libc": "other"}},
        {"extra": ["--legacy-peer-deps"]},
        {"env": {"npm_config_omit": "dev"}},
    ],
)
def test_the_key_depends_on_the_surroundings(project: Path, changes: dict[str, Any]) -> None:
    assert key(project, **changes) != key(project)


def test_the_key_depends_on_nothing_else(project: Path) -> None:
    before = key(project)
    (project / "index.js").write_text("changed")
    (project / "node_modules/x").mkdir(parents=True)
    (project / "node_modules/x/package.json").write_text("{}")
    assert key(project, env={"npm_config_omit": "optional", "PORT": "2"}) == before


def test_package_json(tmp_path: Path) -> None:
    assert read_package(str(tmp_path)) is None
    (tmp_path / "package.json").write_text('{"name": "x"}')
    assert read_package(str(tmp_path)) == {"name": "x"}


@pytest.mark.parametrize("content", ["", "[]", "{", "\xff"])
def test_a_damaged_package_json_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "package.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(Pm2Error, match=r"package\.json"):
        read_package(str(tmp_path))
