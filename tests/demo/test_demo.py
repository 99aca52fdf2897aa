# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``make demo`` as somebody types it who has just got the repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.checkout import copy_to
from support.pm2_host import end_daemon

# deploy 1, deploy 2, deploy 3 which is refused, roll back
ROUND = [version for version in ("1.0.0", "2.0.0", "2.0.0", "1.0.0") for _path in ("/", "/healthz")]


@pytest.fixture
def checkout() -> Iterator[Path]:
    """A fresh one, with a path that is short enough for a socket."""
    place = Path(tempfile.mkdtemp(prefix="demo-"))
    copy_to(place)
    subprocess.run(["git", "init", "--quiet"], cwd=place, check=True)
    try:
        yield place
    finally:
        end_daemon(place / ".demo" / "pm2")
        shutil.rmtree(place)


def make(target: str, checkout: Path) -> str:
    # not the tools of the checkout that this test belongs to
    path = [entry for entry in os.environ["PATH"].split(os.pathsep) if "/.dev/" not in entry]
    process = subprocess.run(
        ["make", target],
        cwd=checkout,
        env={**os.environ, "PATH": os.pathsep.join(path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
        timeout=600,
    )
    assert process.returncode == 0, process.stdout
    return process.stdout


def test_the_demo_comes_runs_twice_and_goes(checkout: Path) -> None:
    for _time in ("first", "again"):
        output = make("demo", checkout)
        # what answered after each step, at / and /healthz
        assert re.findall(r'^  \{.*"version": "([\d.]+)"', output, re.MULTILINE) == ROUND, output
    found = re.search(r"runs at (http://127\.0\.0\.1:\d+/)", output)
    assert found, output
    url = found[1]
    with urllib.request.urlopen(url, timeout=10) as response:
        assert json.load(response)["version"] == "1.0.0"

    # the line that the demo says to paste
    (paste,) = re.findall(r"^  (PM2_HOME=.* ls)$", output, re.MULTILINE)
    listed = subprocess.run(["sh", "-c", paste], capture_output=True, check=True, text=True, timeout=60).stdout
    assert listed.count("sample-app") == 2

    make("demo-clean", checkout)
    assert not (checkout / ".demo").exists()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=10)

    make("clean", checkout)
    ignored = subprocess.run(
        ["git", "status", "--porcelain", "--ignored"], cwd=checkout, capture_output=True, check=True, text=True
    ).stdout
    assert "!!" not in ignored
