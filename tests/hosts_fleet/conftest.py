# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run by the scenario molecule/fleet. By hand, on its hosts: ``ZERODOWN_HOSTS_ID=... ZERODOWN_HOSTS_NET=... python -m
pytest tests/hosts_fleet``."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hosts_cutover.conftest import pytest_terminal_summary  # noqa: F401  (a hook)
from hosts_fleet.fleet import BalancedFleet


@pytest.fixture(scope="session")
def all_hosts(tmp_path_factory: pytest.TempPathFactory) -> BalancedFleet:
    return BalancedFleet(tmp_path_factory.mktemp("controllers"))


@pytest.fixture
def fleet(all_hosts: BalancedFleet) -> Iterator[BalancedFleet]:
    yield all_hosts
    all_hosts.tidy()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """make test-faults."""
    if not os.environ.get("ZERODOWN_WHOLE"):
        whole = [item for item in items if item.get_closest_marker("whole")]
        config.hook.pytest_deselected(items=whole)
        items[:] = [item for item in items if item not in whole]
