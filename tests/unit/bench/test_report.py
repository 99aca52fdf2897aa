# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the benchmark's page and picture make of what was measured."""

from __future__ import annotations

from xml.etree import ElementTree

from bench.page import is_as_wanted, page
from bench.picture import picture
from bench.rows import NEW, OLD, ROWS, Row
from bench.run import Outcome, version_of
from support.load import Sample, summarize

SVG = "{http://www.w3.org/2000/svg}"
GOOD = [Sample(at / 100, at / 100 + 0.01, 200, "v1" if at < 300 else "v2") for at in range(1000)]


def outcome(row: Row, method: str, samples: list[Sample], serves: str) -> Outcome:
    result = summarize(samples, 10.0, lambda sample: version_of(sample) is not None)
    return Outcome(row, method, [result, result], [2.0, 2.0], "exit 0", 1.0, serves, False, 0)


def test_what_is_lost_stands_out() -> None:
    lost = [*GOOD[:500], Sample(5.0, 5.1, 0, "refused"), Sample(5.0, 5.1, 500, "oops"), *GOOD[502:]]
    good, bad = outcome(ROWS[0], "ours", GOOD, NEW), outcome(ROWS[0], "theirs", lost, NEW)
    assert is_as_wanted(good)
    assert not is_as_wanted(bad)
    assert "| good | 0 lost; new | **2 lost, 2 wrong**; new |" in page([good, bad], "a machine")

    parts = list(ElementTree.fromstring(picture([good, bad])).iter())
    assert [part.get("class") for part in parts if part.tag == SVG + "path"] == [
        "old",
        "new",
        "old",
        "new",
        "wrong",
        "lost",
    ]
    numbers = {part.get("class"): part.text for part in parts if "number" in part.get("class", "")}
    assert numbers == {"number good": "0", "number bad": "4"}


def test_the_wrong_version_is_not_what_was_wanted() -> None:
    assert not is_as_wanted(outcome(ROWS[0], "ours", GOOD, OLD))


def test_an_answer_of_no_version_is_wrong() -> None:
    answers = [Sample(0, 1, 200, "v1"), Sample(0, 1, 200, "v2"), Sample(0, 1, 200, "hello"), Sample(0, 1, 500, "v1")]
    assert [version_of(sample) for sample in answers] == [OLD, NEW, None, None]
