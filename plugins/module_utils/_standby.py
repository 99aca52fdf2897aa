# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The generation that a proxy served before and that is still warm: which it is, and until when.

It is written down beside the journals of cutovers. What stands there is no longer part of the app for anybody but who
ends it or lets it serve again: it is not compared, not saved and not started at boot.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import write_atomic
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process

_SUFFIX = ".standby"
FORMAT = 1


@dataclass(frozen=True)
class Standby:
    """
    :ivar name: of the app.
    :ivar generation: of its processes.
    :ivar until: seconds since 1970.
    :ivar colour: where they listen.
    :ivar proxy: the fields of ProxyOptions.
    :ivar root: directory of the releases; ``None`` for an app without.
    :ivar release: id of the release that they run.
    :ivar drain_timeout: seconds that their connections have at the end.
    """

    name: str
    generation: str
    until: float
    colour: str
    proxy: Dict[str, Any] = field(default_factory=dict)
    root: Optional[str] = None
    release: Optional[str] = None
    drain_timeout: float = 30.0
    format: int = FORMAT

    def is_of(self, process: Process) -> bool:
        return process.name == self.name and process.generation == self.generation

    def among(self, processes: List[Process]) -> List[Process]:
        """Its own, of everything that PM2 has."""
        return [process for process in processes if self.is_of(process)]


def write(home: Home, standby: Standby) -> None:
    """:raises Pm2Error: it could not be written."""
    write_atomic(_path(home, standby.name), (json.dumps(dataclasses.asdict(standby)) + "\n").encode("utf-8"))


def forget(home: Home, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_path(home, name))


def read_all(home: Home) -> List[Standby]:
    """Those that can be read: of any other, the processes count as part of the app, and the next cutover ends them."""
    try:
        names = sorted(os.listdir(home.gate))
    except OSError:
        return []
    found = []
    for name in names:
        if name.endswith(_SUFFIX) and not name.startswith("."):
            with contextlib.suppress(OSError, ValueError, TypeError, Pm2Error):
                with open(os.path.join(home.gate, name), encoding="utf-8") as stream:
                    standby = Standby(**json.load(stream))
                if standby.format == FORMAT:
                    found.append(standby)
    return found


def without(standbys: List[Standby], processes: List[Process]) -> List[Process]:
    """The processes that are part of their apps."""
    return [item for item in processes if not any(standby.is_of(item) for standby in standbys)]


def remaining(standby: Standby) -> float:
    """Seconds."""
    return max(0.0, standby.until - time.time())


def _path(home: Home, name: str) -> str:
    return os.path.join(home.gate, name + _SUFFIX)
