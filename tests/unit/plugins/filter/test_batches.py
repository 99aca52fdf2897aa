# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.filter.batches import batches

WEB = {f"web{number}": ["shop"] for number in range(1, 11)}
SIZES = st.lists(
    st.one_of(st.integers(1, 30), st.integers(1, 100).map("{0}%".format)),
    min_size=1,
    max_size=4,
)


def test_one_then_a_quarter_then_the_rest() -> None:
    assert [len(batch) for batch in batches(WEB, [1, "25%", "100%"])] == [1, 2, 7]
    assert [len(batch) for batch in batches(WEB, [1, "25%"])] == [1, 2, 2, 2, 2, 1]
    assert batches({"web1": ["shop"]}, [1, "25%", "100%"]) == [["web1"]]


def test_each_kind_of_host_has_its_own_canary_host() -> None:
    fleet = {**WEB, "job1": ["mailer"], "job2": ["mailer"], "both": ["mailer", "shop"], "none": []}
    first, second, *_rest = batches(fleet, [1, "50%", "100%"])
    assert first == ["web1", "job1", "both"]
    assert second == ["web2", "web3", "web4", "web5", "web6", "job2"]


@given(st.dictionaries(st.text(min_size=1), st.lists(st.sampled_from("abc"), unique=True), max_size=40), SIZES)
def test_every_host_that_has_an_app_is_in_one_batch(fleet: dict[str, list[str]], sizes: list[Any]) -> None:
    found = batches(fleet, sizes)
    hosts = [host for batch in found for host in batch]
    assert sorted(hosts) == sorted(host for host, apps in fleet.items() if apps)
    assert all(found)


@pytest.mark.parametrize("sizes", [[], [0], ["0%"], ["101%"], ["half"], "25%", [-1], [1.5]])
def test_what_is_no_size_is_refused(sizes: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="deploy_batches"):
        batches(WEB, sizes)
