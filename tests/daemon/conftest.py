# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every test against a real PM2 daemon starts from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.pm2_host import find_free_port, pm2_package, private_home, start_daemon

from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc

PM2_VERSIONS = ["7", "6", "5"]


@pytest.fixture(params=PM2_VERSIONS, ids=lambda version: f"pm2-{version}")
def pm2_version(request: pytest.FixtureRequest) -> str:
    """The major version; for one of them only: ``@pytest.mark.parametrize("pm2_version", ["7"], indirect=True)``."""
    return str(request.param)


@pytest.fixture
def pm2_executable(pm2_version: str) -> str:
    return str(pm2_package(pm2_version) / "bin" / "pm2")


@pytest.fixture
def pm2_home() -> Iterator[Path]:
    """A private PM2_HOME without a daemon; whatever was started in it ends with the test."""
    with private_home() as home:
        yield home


@pytest.fixture
def daemon(pm2_home: Path, pm2_version: str) -> Rpc:
    """A running daemon of :func:`pm2_version` in :func:`pm2_home`, to look at what a module did."""
    start_daemon(pm2_home, pm2_package(pm2_version))
    return Rpc(str(pm2_home / "rpc.sock"))


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A function: each call gives a TCP port of 127.0.0.1 that nothing listens on."""
    return find_free_port
