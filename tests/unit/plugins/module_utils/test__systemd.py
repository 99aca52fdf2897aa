# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which unit manages a PM2_HOME; systemd itself is tried on real hosts (molecule/shared/tasks/startup_*.yml)."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils import _systemd
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home

OURS = "[Service]\nType=exec\n\n[X-Zerodown]\nPm2Home={0}\nLinger=no\n"


@pytest.fixture
def directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    paths = {scope: tmp_path / scope for scope in (_systemd.SYSTEM, _systemd.USER)}
    for path in paths.values():
        path.mkdir()
    monkeypatch.setattr(_systemd, "is_booted", lambda: True)
    monkeypatch.setattr(_systemd, "unit_directory", lambda scope, _user=None: str(paths[scope]))
    return paths


def test_found_by_what_it_says_in_whatever_file(directories: dict[str, Path]) -> None:
    (directories["system"] / "a.service").write_text("[Service]\nExecStart=/bin/true\n")
    (directories["system"] / "other.service").write_text(OURS.format("/home/b/.pm2"))
    (directories["user"] / "shop.service").write_text(OURS.format("/home/a/.pm2"))
    (directories["user"] / "link.service").symlink_to("/dev/null")

    unit = _systemd.managing_unit(Home("/home/a/.pm2"))

    assert unit == _systemd.ManagedUnit("user", "shop.service", str(directories["user"] / "shop.service"))
    assert _systemd.managing_unit(Home("/home/c/.pm2")) is None


def test_where_systemd_does_not_run_there_is_none(
    directories: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (directories["system"] / "a.service").write_text(OURS.format("/home/a/.pm2"))
    monkeypatch.setattr(_systemd, "is_booted", lambda: False)

    assert _systemd.managing_unit(Home("/home/a/.pm2")) is None
