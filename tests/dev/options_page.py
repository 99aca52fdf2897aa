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

CUTOVER_HEAD = """## How it is replaced

The options of the [cutover](cutover.md), beside those of PM2.
"""
CUTOVER_EXAMPLES: dict[str, Any] = {
    "strategy": "restart",
    "preload": False,
    "listens": False,
    "overlap": False,
    "candidate_variable": "HTTP_PORT",
    "candidate_args": ["--port={port}"],
    "drain_timeout": 60,
    "health": [{"path": "/health"}],
    "proxy": {"ports": [8001, 8002]},
    "canary": [5, 25, 100],
    "canary_time": 120,
    "canary_requests": 100,
    "canary_deadline": 900,
    "canary_errors_max": 0.5,
    "canary_slowdown_max": 1.5,
    "standby_time": 600,
}
# what means nothing without another option
CUTOVER_NEEDS: dict[str, dict[str, Any]] = {
    name: {"proxy": {"ports": [8001, 8002]}, **({"canary": [50, 100]} if name.startswith("canary_") else {})}
    for name in CUTOVER_EXAMPLES
    if name.startswith("canary") or name == "standby_time"
}
HEALTH_HEAD = """## A check of `health`

Also one of `smoke`, which is made once: it has no `interval`, `successes` and `failures`.
"""
HEALTH_EXAMPLES: dict[str, Any] = {
    "name": "the start page",
    "type": "tcp",
    "port": 3001,
    "scheme": "https",
    "host": "shop.example.com",
    "method": "HEAD",
    "path": "/health?deep=1",
    "headers": {"Authorization": "Bearer s3cret"},
    "status": ["200-299", "401"],
    "body": "Sign in",
    "json": {"status": "ok", "checks.database": True},
    "command": ["node", "bin/self-test.js"],
    "timeout": 2,
    "interval": 0.5,
    "successes": 2,
    "failures": 3,
}


def page() -> str:
    from daemon.test_app_options import CASES
    from support.process_options import process_options

    from ansible_collections.zerodown.pm2.plugins.module_utils._cutover_options import cutover_arguments
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
    sections.append(CUTOVER_HEAD)
    for name in cutover_arguments():
        description = documented[name]["description"]
        for inner, option in documented[name].get("options", {}).items() if name == "proxy" else ():
            description = [*description, f"`{inner}`:", *option["description"]]
        sections.append(_section("###", name, description, CUTOVER_EXAMPLES[name]))
    sections.append(HEALTH_HEAD)
    for name, option in documented["health"]["options"].items():
        sections.append(_section("###", name, option["description"], HEALTH_EXAMPLES[name]))
    return "\n".join(sections)


def _section(level: str, name: str, description: list[str], example: Any) -> str:
    text = " ".join(plain(sentence) for sentence in description)
    return f"{level} {name}\n\n{text}\n\n```yaml\n{yaml.safe_dump({name: example}, sort_keys=False)}```\n"


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
