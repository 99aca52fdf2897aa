# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ending a daemon: its processes first, each with the time it was promised, then itself.

PM2's own handler of SIGTERM writes the dump anew and stops one process after the other (PM2 lib/Daemon.js
gracefullExit): a hundred apps that take their time would be cut off by the service manager, and what it writes is not
private. So no signal is sent; the saved list stays as it is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import List

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import DaemonNotRunning, Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process, parse_all, pid_exists

WORKERS = 32
# what is kept of the time for the daemon's own end
RESERVE = 2.0


def stop_daemon(rpc: Rpc, timeout: float) -> List[str]:
    """End every process, all at once, and then the daemon.

    :param timeout: seconds for all of it; processes that are left then get SIGKILL.
    :returns: a sentence for each process that had to be killed. Nothing to do when no daemon runs.
    """
    deadline = time.monotonic() + max(timeout - RESERVE, 1.0)
    try:
        rpc.announce_kill()
        processes = parse_all(rpc.processes())
    except DaemonNotRunning:
        return []
    if processes:
        with ThreadPoolExecutor(min(WORKERS, len(processes))) as pool:
            list(pool.map(lambda process: _delete(rpc, process, deadline), processes))
    late = [process for process in processes if process.pid and pid_exists(process.pid)]
    rpc.kill(RESERVE)
    for process in late:
        if process.pid and pid_exists(process.pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, signal.SIGKILL)
    return ["{0} (pid {1}) did not end in time and was killed.".format(process.name, process.pid) for process in late]


def _delete(rpc: Rpc, process: Process, deadline: float) -> None:
    # one that cannot be stopped must not keep the others from it; who is left over is seen by its pid
    with contextlib.suppress(Pm2Error):
        rpc.delete(process.pm_id, max(0.1, deadline - time.monotonic()))
