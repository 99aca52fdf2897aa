# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of one process, as the module ``app`` documents them, in the form of a role's argument specification.

With .dev/collections on PYTHONPATH, ``python tests/support/process_options.py`` prints the block that stands below
``processes: options:`` in roles/app/meta/argument_specs.yml; a unit test compares the two.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from ansible_collections.zerodown.pm2.plugins.doc_fragments.process import ModuleDocFragment

SECRET = ("env", "headers")


def process_options() -> dict[str, Any]:
    """Name -> type, elements, choices, no_log, description."""
    return _entries(yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"])


def _entries(documented: dict[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, option in documented.items():
        options[name] = _entry(name, option)
        # the specification of a role has no aliases
        for alias in option.get("aliases", []):
            options[alias] = {**options[name], "description": [f"Another name of C({name})."]}
    return options


def _entry(name: str, option: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {key: option[key] for key in ("type", "elements", "choices") if key in option}
    if name in SECRET:
        entry["no_log"] = True
    # what O() names here is no option of the role
    entry["description"] = [re.sub(r"O\((?:apps\[\]\.)?(.*?)\)", r"C(\1)", text) for text in option["description"]]
    if "suboptions" in option:
        entry["options"] = _entries(option["suboptions"])
    return entry


class _Indented(yaml.SafeDumper):
    """Lists indented below their key, as yamllint wants them."""

    def increase_indent(self, flow: bool = False, *_: bool, **__: bool) -> None:
        super().increase_indent(flow, False)


if __name__ == "__main__":
    print(yaml.dump(process_options(), Dumper=_Indented, sort_keys=False, width=80), end="")
