# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""docs/options.md: every option of a process, with the example that the tests run against real daemons.

``python tests/dev/options_page.py`` writes it; a unit test compares.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "options.md"
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / ".dev" / "collections")]

HEAD = """# Every option of a process

What `zerodown.pm2.app` takes, at its top level or in `apps`, and what stands below `processes` of an app in `pm2_apps`.
Each example is declared, declared again, changed and removed against real PM2 daemons by the tests. Paths may be
relative to `cwd`.
"""
# what the tests show in another way
EXAMPLES: dict[str, Any] = {
    "name": "shop",
    "instances": 2,
    "execute_command": True,
    "autostart": False,
    "uid": "www-data",
    "gid": "www-data",
    "trace": False,
    "disable_trace": True,
}


def page() -> str:
    from daemon.test_app_options import CASES
    from support.process_options import process_options

    from ansible_collections.zerodown.pm2.plugins.module_utils._options import BY_NAME

    examples = dict(EXAMPLES)
    for case in CASES:
        examples.setdefault(case.option, case.first)
    documented = process_options()
    sections = [HEAD]
    for name, option in BY_NAME.items():
        aliases = f" (also {', '.join(f'`{alias}`' for alias in option.aliases)})" if option.aliases else ""
        text = " ".join(plain(sentence) for sentence in documented[name]["description"])
        example = yaml.safe_dump({name: placed(examples[name])}, sort_keys=False, allow_unicode=True)
        sections.append(f"## {name}\n\n{text}{aliases}\n\n```yaml\n{example}```\n")
    return "\n".join(sections)


def plain(text: str) -> str:
    """Ansible's markup as Markdown."""
    return re.sub(r"\b[CVOE]\(((?:[^()]|\([^()]*\))*)\)", r"`\1`", re.sub(r"\b[MP]\(([^)#]*)[^)]*\)", r"`\1`", text))


def placed(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("{dir}", "/srv/shop")
    if isinstance(value, list):
        return [placed(item) for item in value]
    return value


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
