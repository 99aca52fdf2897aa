"""docs/options.md is what tests/dev/options_page.py makes of the documentation and the tested examples."""

from __future__ import annotations

from dev.options_page import CUTOVER_EXAMPLES, CUTOVER_NEEDS, HEALTH_EXAMPLES, PAGE, page

from ansible_collections.zerodown.pm2.plugins.module_utils._cutover_options import (
    cutover_arguments,
    parse_cutover_options,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._health_spec import health_arguments, parse


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python tests/dev/options_page.py"


def test_the_examples_of_the_cutover_are_right() -> None:
    checks = [{name: value} for name, value in HEALTH_EXAMPLES.items()]
    for check in checks:
        kind = "command" if "command" in check else check.get("type", "http")
        parsed = parse([{"type": kind, **check}])
        assert len(parsed) == 1
    assert set(HEALTH_EXAMPLES) == set(health_arguments()["options"])
    for name, value in CUTOVER_EXAMPLES.items():
        needs = CUTOVER_NEEDS.get(name, {})
        assert parse_cutover_options("shop", {**needs, name: value}) != parse_cutover_options("shop", needs), name
    assert set(CUTOVER_EXAMPLES) == set(cutover_arguments())
