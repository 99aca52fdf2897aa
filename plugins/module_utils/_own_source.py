# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text of a module of ours, for what runs on the host without Ansible."""

from __future__ import annotations

import functools
import importlib.util
from typing import Any


@functools.lru_cache(maxsize=None)
def source_of(module: str) -> str:
    """Through the import system: on a host this runs from the zip file that Ansible sent. Asked again it is told from
    memory, as that file is gone when a process that outlives the module asks.

    :param module: its full name.
    :raises ImportError: there is no text of it.
    """
    spec = importlib.util.find_spec(module)
    source: Any = None
    if spec and spec.loader and hasattr(spec.loader, "get_source"):
        source = spec.loader.get_source(spec.name)
    if not source:
        raise ImportError("no source of {0}".format(module))
    # bytes from Ansible's own loader on the controller, text from Python's
    return source.decode("utf-8") if isinstance(source, bytes) else str(source)
