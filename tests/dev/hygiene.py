# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What no file of the repository may name: the host of a package registry (mirrors are settings, lock files are
written without addresses), and a path of the machine it was written on. Run in tests/ as ``python -m dev.hygiene``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from support.checkout import ROOT, files

REGISTRY = re.compile(r"\bregistry\.(npmjs|yarnpkg)\.(org|com)\b|\bpypi\.(python\.)?org\b|\bpythonhosted\.org\b")
# a checkout directly below one of these has a path that says nothing about its machine
COMMON = {"/", "/home", "/media", "/mnt", "/opt", "/root", "/srv", "/tmp", "/usr", "/usr/local", "/var"}


def machine_paths() -> re.Pattern[str]:
    places = {str(place) for place in (ROOT, ROOT.parent, Path.home()) if str(place) not in COMMON}
    return re.compile(r"(?<![\w.~-])(" + "|".join(map(re.escape, sorted(places))) + r")(?![\w-])")


def main() -> int:
    rules = {"the host of a package registry": REGISTRY, "a path of this machine": machine_paths()}
    failed = 0
    names = files()
    for name in names:
        for number, line in enumerate((ROOT / name).read_text("utf-8", "replace").splitlines(), 1):
            for what, rule in rules.items():
                found = rule.search(line)
                if found:
                    failed += 1
                    print(f"{name}:{number}: {what}: {found.group()}")
    print(f"{len(names)} files")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
