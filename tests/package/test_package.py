# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection as its users get it: built, installed offline, and used by FQCN from a directory that is not ours."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.checkout import ROOT, copy_to
from support.playbook import Controller
from support.pm2_host import pm2_package, private_home

from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what git knows: what lies about in a checkout must not decide what is tested."""
    place = tmp_path_factory.mktemp("build")
    copy = place / "pm2"
    copy_to(copy)
    subprocess.run(["ansible-galaxy", "collection", "build", "--output-path", str(place)], cwd=copy, check=True)
    (built,) = place.glob("zerodown-pm2-*.tar.gz")
    return built


@pytest.fixture(scope="module")
def installed(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collections path on which nothing else is."""
    path = tmp_path_factory.mktemp("collections")
    subprocess.run(
        ["ansible-galaxy", "collection", "install", "--offline", "--collections-path", str(path), str(tarball)],
        cwd=path,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(path)},
        check=True,
    )
    return path


@pytest.fixture
def pm2_home() -> Iterator[Path]:
    with private_home() as home:
        yield home


def ansible_doc(installed: Path, *arguments: str) -> Any:
    process = subprocess.run(
        ["ansible-doc", "--json", *arguments],
        cwd=installed,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(installed)},
        capture_output=True,
        check=True,
        text=True,
    )
    return json.loads(process.stdout)


def test_nothing_ships_that_users_have_no_use_for(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        names = archive.getnames()
    allowed = {"changelogs", "docs", "extensions", "meta", "playbooks", "plugins", "roles"}
    assert {name.split("/")[0] for name in names if "/" in name} <= allowed
    assert not [name for name in names if name.endswith((".pyc", ".log"))]


def test_every_module_and_role_is_documented(installed: Path) -> None:
    modules = {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")}
    documented = ansible_doc(installed, "--type", "module", *(f"zerodown.pm2.{name}" for name in sorted(modules)))
    assert set(documented) == {f"zerodown.pm2.{name}" for name in modules}
    # Ansible gives the defaults of a group to each module in it: those that would refuse them must not be in it
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())
    takes_defaults = [
        name for name in sorted(modules) if "pm2_home" in documented[f"zerodown.pm2.{name}"]["doc"]["options"]
    ]
    assert runtime["action_groups"]["pm2"] == takes_defaults
    roles = {path.name for path in (ROOT / "roles").iterdir()}
    documented = ansible_doc(installed, "--type", "role", *(f"zerodown.pm2.{name}" for name in sorted(roles)))
    assert {name for name, content in documented.items() if "main" in content["entry_points"]} == {
        f"zerodown.pm2.{name}" for name in roles
    }


def test_a_foreign_repository_uses_it(installed: Path, tmp_path: Path, pm2_home: Path) -> None:
    """A module with a group's defaults, and the role app, from a playbook of somebody else."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "worker.js").write_text("setInterval(() => {}, 1000);\n")
    (tmp_path / "site.yml").write_text(
        """---
- name: Somebody's own play
  hosts: all
  gather_facts: false
  module_defaults:
    group/zerodown.pm2.pm2:
      pm2_home: "{{ pm2_home }}"
      pm2_executable: "{{ pm2_executable }}"
  tasks:
    - name: Run one process
      zerodown.pm2.app:
        name: mailer
        script: "{{ source }}/worker.js"

    - name: Deploy an app
      ansible.builtin.import_role:
        name: zerodown.pm2.app
      vars:
        app_root: "{{ playbook_dir }}/apps"
        app_user: ""
        app_list:
          - name: shop
            source:
              type: directory
              directory: "{{ source }}"
            processes:
              - script: worker.js
"""
    )
    controller = Controller(
        tmp_path,
        collections=installed,
        variables={
            "pm2_home": str(pm2_home),
            "pm2_executable": str(pm2_package("7") / "bin" / "pm2"),
            "source": str(source),
        },
    )
    assert controller.run("site.yml").changed > 0
    processes = Rpc(str(pm2_home / "rpc.sock")).processes()
    assert sorted(process["name"] for process in processes) == ["mailer", "shop"]

    assert controller.run("site.yml").changed == 0
    assert [process["pid"] for process in Rpc(str(pm2_home / "rpc.sock")).processes()] == [
        process["pid"] for process in processes
    ]
