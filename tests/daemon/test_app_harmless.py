# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nothing that we let through makes a library throw inside PM2's daemon, which would end it and every app."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from typing import Any

import pytest
from support.pm2_host import pm2_package

from ansible_collections.zerodown.pm2.plugins.module_utils._options import (
    _WATCH_OPTIONS,
    parse_cron,
    parse_patterns,
    parse_watch_options,
)

TRY_ALL = """
const attempt = %s;
const refused = {};
for (const value of JSON.parse(require('fs').readFileSync(0))) {
  try { attempt(value); } catch (error) { refused[JSON.stringify(value)] = error.message; }
}
console.log(JSON.stringify(refused));
process.exit();
"""
# what PM2 does with a cron pattern (lib/Worker.js registerCron)
CRON = "pattern => require('croner')(pattern, () => {}).stop()"
# what chokidar does with a pattern of ignore_watch (its index.js _isIgnored)
IGNORE = "pattern => require('anymatch')([pattern])('some/path.txt')"
# what PM2 does with watch_options (lib/Watcher.js)
WATCH = "options => require('chokidar').watch(__dirname, options).close()"
PIECES = [
    *("*", "?", "L", "l", "0", "1", "5", "7", "8", "12", "13", "23", "24", "28", "29", "30", "31", "32", "59", "60"),
    *("1-5", "5-1", "0-59", "1-31", "*/2", "*/0", "*/99", "3/5", "70/5", "1-10/2", "10-1/2", "1-10/0", "0-6", "0-7"),
    *("1,2,3", "1,,2", "1,2-3", "1,*/2", "*,1", "jan", "DEC", "mon-fri", "SUN,sat", "feb,3", "janfeb", "1w", "1#2"),
    *(
        "",
        "-",
        "/",
        ",",
        "-1",
        "1-",
        "*-5",
        "2-*",
        "*/",
        "/2",
        "1/2/3",
        "1-2-3",
        "a",
        "@daily",
        "0x1",
        "1.5",
        "+1",
        "01",
    ),
]
SELDOM = ["0 0 29 2 *", "0 0 29 2 mon", "59 59 23 31 12 *", "0 0 31 4,5 sun", "0 0 L 2 *", "0 0 */31 2 *"]
# what matches no date overflows croner's stack
NEVER = ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31 2 mon", "0 0 30-31 2 *"]


def patterns() -> list[str]:
    chance = random.Random(20260131)
    # with "*" for most fields, so that enough of them are right
    return [
        " ".join(chance.choice(PIECES) if chance.random() < 0.4 else "*" for _field in range(chance.choice([5, 6])))
        for _each in range(20000)
    ]


def refused(version: str, attempt: str, values: list[Any]) -> dict[str, str]:
    """Value -> message, of those for which the code throws."""
    node = shutil.which("node")
    assert node
    answer = subprocess.run(
        [node, "-e", TRY_ALL % attempt],
        cwd=pm2_package(version),
        input=json.dumps(values),
        capture_output=True,
        check=True,
        text=True,
        timeout=300,
    )
    result: dict[str, str] = json.loads(answer.stdout)
    return result


versions = pytest.mark.parametrize("version", ["7", "6", "5"])


@versions
def test_cron_patterns(version: str) -> None:
    accepted = []
    for pattern in [*patterns(), *SELDOM, *NEVER]:
        try:
            parsed = parse_cron(pattern)
        except ValueError:
            continue
        if parsed:
            accepted.append(parsed)
    assert len(accepted) > 2000
    assert set(SELDOM) <= set(accepted)
    assert not set(NEVER) & set(accepted)
    assert refused(version, CRON, accepted) == {}


@versions
def test_patterns_to_ignore(version: str) -> None:
    chance = random.Random(20260131)
    texts = ["".join(chance.choices("ab*!?[](){},|+@\\/.^$ ", k=chance.randrange(8))) for _each in range(20000)]
    accepted = []
    for text in texts:
        try:
            accepted += parse_patterns([text])
        except ValueError:
            continue
    assert len(accepted) > 10000
    assert refused(version, IGNORE, accepted) == {}
    # and this is why some are not let through
    assert set(refused(version, IGNORE, ["", "!"])) == {'""', '"!"'}


@versions
def test_watch_options(version: str) -> None:
    chance = random.Random(20260131)
    values = [True, False, 0, 1, 100, "yes", "x", "", "!", None, [], ["a"], [""], {}, {"pollInterval": 10}, {"x": 1}]
    accepted = []
    for _each in range(2000):
        options = {chance.choice(list(_WATCH_OPTIONS)): chance.choice(values) for _option in range(2)}
        try:
            accepted.append(parse_watch_options(options))
        except ValueError:
            continue
    assert len(accepted) > 100
    assert refused(version, WATCH, accepted) == {}
