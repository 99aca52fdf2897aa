"""docs/options.md is what tests/dev/options_page.py makes of the documentation and the tested examples."""

from __future__ import annotations

from dev.options_page import PAGE, page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python tests/dev/options_page.py"
