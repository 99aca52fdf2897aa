# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run by the scenario molecule/cutover. By hand, on its hosts: ``ZERODOWN_HOSTS_ID=... ZERODOWN_HOSTS_NET=... python -m
pytest tests/hosts_cutover``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hosts_cutover.fleet import Fleet


@pytest.fixture(scope="session")
def all_hosts(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(tmp_path_factory.mktemp("controllers"))


@pytest.fixture
def fleet(all_hosts: Fleet) -> Iterator[Fleet]:
    yield all_hosts
    all_hosts.tidy()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures of each test, which ``record_property`` has kept."""
    terminalreporter.section("figures")
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", []) if getattr(report, "when", "") == "call" else []:
                terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {name}: {value}")
