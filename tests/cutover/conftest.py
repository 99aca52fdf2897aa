# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every test of a cutover starts from: one app on a host of its own, or a host for some."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.binary_app import BinaryWeb
from support.faults import Host
from support.pm2_host import private_home
from support.proxied import Haproxy
from support.python_servers import python_servers
from support.python_web import PythonWeb
from support.web import HEALTH, Web

# for the rows that matter most; all others are tested with the newest PM2 alone
EVERY_PM2 = pytest.mark.parametrize(
    "pm2_version",
    # 6 is little else than 5, see tests/daemon/conftest.py
    [pytest.param(major, id=f"pm2-{major}", marks=[pytest.mark.whole] if major == "6" else []) for major in "765"],
    indirect=True,
)


@pytest.fixture
def pm2_version(request: pytest.FixtureRequest) -> str:
    """The major version."""
    return str(getattr(request, "param", "7"))


@pytest.fixture
def web(pm2_version: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> Iterator[Web]:
    """``pytest --junitxml`` keeps the figures of each test."""
    with private_home() as home:
        yield Web(home, pm2_version, tmp_path, record_property)


@pytest.fixture
def python_web(pm2_version: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> Iterator[PythonWeb]:
    with private_home() as home:
        yield PythonWeb(home, pm2_version, tmp_path, record_property, programs=python_servers())


@pytest.fixture
def binary_web(pm2_version: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> Iterator[BinaryWeb]:
    with private_home() as home:
        yield BinaryWeb(home, pm2_version, tmp_path, record_property)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """For what may go wrong: apps on a host of its own."""
    with private_home() as home:
        yield Host(home, tmp_path)


@pytest.fixture
def haproxy() -> Iterator[Haproxy]:
    with Haproxy() as found:
        yield found


@pytest.fixture
def app(web: Web, haproxy: Haproxy) -> Web:
    """In fork mode, behind a proxy."""
    return proxied(web, haproxy)


def proxied(web: Web, haproxy: Haproxy) -> Web:
    web.options = {
        "exec_mode": "fork",
        "health": [HEALTH],
        "env": {"PORT": None},
        "proxy": haproxy.options,
        "standby_time": 60,
    }
    return web
