"""Finding PM2 and Node without running them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import find_pm2


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """What ``npm install --global --prefix`` leaves."""
    package = tmp_path / "lib/node_modules/pm2"
    executable(package / "bin/pm2")
    (package / "lib").mkdir()
    (package / "lib/Daemon.js").touch()
    (package / "package.json").write_text(json.dumps({"name": "pm2", "version": "7.0.4"}))
    executable(tmp_path / "bin/node")
    (tmp_path / "bin/pm2").symlink_to("../lib/node_modules/pm2/bin/pm2")
    return tmp_path


def test_through_npms_link_with_the_node_beside_it(prefix: Path) -> None:
    install = find_pm2(str(prefix / "bin/pm2"))
    assert install.version == "7.0.4"
    assert install.package == str(prefix / "lib/node_modules/pm2")
    assert install.node == str(prefix / "bin/node")
    assert Path(install.daemon_script).exists()


def test_on_path(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{prefix}/bin")
    assert find_pm2().executable == str(prefix / "bin/pm2")


def test_the_node_that_was_asked_for(prefix: Path) -> None:
    node = executable(prefix / "other/node")
    assert find_pm2(str(prefix / "bin/pm2"), str(node)).node == str(node)


def test_missing_pm2_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(Pm2Error, match="set pm2_executable"):
        find_pm2(str(tmp_path / "pm2"))


def test_another_program_of_the_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Pm2Error, match="is not the pm2 of an npm package"):
        find_pm2(str(executable(tmp_path / "bin/pm2")))


def test_missing_node_names_the_remedy(prefix: Path) -> None:
    with pytest.raises(Pm2Error, match="set node_executable"):
        find_pm2(str(prefix / "bin/pm2"), str(prefix / "none"))
