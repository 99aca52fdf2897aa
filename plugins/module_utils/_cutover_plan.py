# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides how each app is replaced: how its candidate is proven, and in which order the new one opens and the old one
goes. Pure.

What PM2 gives: in cluster mode all workers of a port share one listening socket, whatever they run, so two generations
serve side by side. In fork mode a port has one owner, unless it is a Python app with our gate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._app import App
from ansible_collections.zerodown.pm2.plugins.module_utils._colours import in_colour, live_colour, spare_colour
from ansible_collections.zerodown.pm2.plugins.module_utils._cutover_options import RESTART
from ansible_collections.zerodown.pm2.plugins.module_utils._drift import differences, instance_number
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._plan import has_done_its_work, of_app, share_port
from ansible_collections.zerodown.pm2.plugins.module_utils._runtime import PYTHON
from ansible_collections.zerodown.pm2.plugins.module_utils._standby import Standby
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process

# how the candidate is proven
# it is the new generation, and holds its ports closed
HELD = "held"
# a stand-in on a port of its own is proven and removed
OWN_PORT = "own_port"
# it listens on nothing: it is watched while it runs
WATCHED = "watched"
# only once it has taken the place of the old one
AFTERWARDS = "afterwards"
# it was proven when it served before, and still runs
WARM = "warm"


@dataclass(frozen=True)
class Swap:
    """One app that is replaced.

    :ivar old: its processes before.
    :ivar proof: how the candidate is proven.
    :ivar outage: whether the old one stops serving before the new one serves.
    :ivar options: the names of the options that change.
    :ivar colour: where the candidate listens; ``None`` without a proxy.
    :ivar live: where the old one listens; ``None`` when it has no colour.
    """

    app: App
    old: List[Process]
    proof: str
    outage: bool
    options: List[str]
    colour: Optional[str] = None
    live: Optional[str] = None

    def as_data(self) -> Dict[str, Any]:
        data: Dict[str, Any] = {
            "action": "cutover" if self.old else "create",
            "app": self.app.name,
            "count": self.app.instances,
            "proof": self.proof,
            "outage": self.outage,
        }
        if self.options:
            data["options"] = self.options
        if self.colour:
            data["colour"] = self.colour
        if self.old:
            data["replaces"] = [process.pm_id for process in self.old]
        return data


def needs_swap(app: App, processes: List[Process]) -> bool:
    """Whether what runs is not what is declared."""
    own = of_app(processes, app.name)
    app = in_colour(app, live_colour(own, app))
    if len(own) != app.instances:
        return True
    numbers = sorted(instance_number(process) for process in own)
    if app.is_cluster and numbers != list(range(app.instances)):
        return True
    return any(differences(app, process) or not (process.is_running() or has_done_its_work(process)) for process in own)


def make_swap(app: App, processes: List[Process]) -> Swap:
    """
    :raises Pm2Error: it cannot be replaced without an outage that nobody accepted; says what to do.
    """
    own = of_app(processes, app.name)
    live = live_colour(own, app)
    changed = {difference.option for process in own for difference in differences(in_colour(app, live), process)}
    if own and len(own) != app.instances:
        changed.add("instances")
    options = sorted(changed)
    running = [process for process in own if process.is_running()]
    if app.cutover.proxy is not None:
        return _behind_proxy(app, own, bool(running), live, options)
    must_listen = app.cutover.must_listen(app.port)
    if not must_listen:
        return _quiet(app, own, running, options)
    if share_port(app, running) and app.cutover.strategy != RESTART:
        proof = HELD if app.takes_preload else _proof_on_own_port(app, bool(running))
        if proof == AFTERWARDS:
            raise Pm2Error(_cannot_be_checked(app))
        return Swap(app, own, proof, False, options)
    if not running:
        # nobody is disturbed, so the candidate may have the real port
        return Swap(app, own, HELD if app.takes_preload else WATCHED, False, options)
    if app.cutover.strategy != RESTART:
        raise Pm2Error(_refusal(app))
    return Swap(app, own, HELD if app.takes_preload else _proof_on_own_port(app, True), True, options)


def _behind_proxy(app: App, own: List[Process], serves: bool, live: Optional[str], options: List[str]) -> Swap:
    """Each generation has an address of its own, so any app can be replaced side by side that bears to run twice."""
    if app.instances > 1 and not app.is_cluster and app.gate != PYTHON:
        raise Pm2Error(
            "App {0}: behind a proxy it has one address, which {1} processes in fork mode cannot share; let the server "
            "make its own workers (uvicorn --workers, gunicorn --workers), or use cluster mode.".format(
                app.name, app.instances
            )
        )
    colour = spare_colour(live)
    app = in_colour(app, colour)
    # what a socket's path is given is not asked before it listens
    is_held = app.takes_preload and app.port is not None
    if serves and not app.cutover.overlap:
        return Swap(app, own, AFTERWARDS, True, options, colour, live)
    outage = serves and app.cutover.strategy == RESTART
    return Swap(app, own, HELD if is_held else AFTERWARDS if outage else WATCHED, outage, options, colour, live)


def may_serve_again(swap: Swap, standby: Standby, warm: List[Process]) -> bool:
    """Whether the standby is what the app is to be replaced by.

    :param warm: its processes.
    """
    return (
        not swap.outage
        and standby.colour == swap.colour
        and len(warm) == swap.app.instances
        and all(item.is_running() and not differences(swap.app, item) for item in warm)
    )


def _quiet(app: App, own: List[Process], running: List[Process], options: List[str]) -> Swap:
    """One that is not known to listen. It may do so all the same, on a port that nobody declared: then in fork mode its
    candidate can have it only by strategy restart."""
    proof = HELD if app.takes_preload else WATCHED
    if running and not app.cutover.overlap:
        return Swap(app, own, AFTERWARDS, True, options)
    if running and app.cutover.strategy == RESTART and app.cutover.listens is None:
        return Swap(app, own, proof if proof == HELD else AFTERWARDS, True, options)
    return Swap(app, own, proof, False, options)


def _proof_on_own_port(app: App, serves: bool) -> str:
    if not serves:
        return WATCHED
    options = app.cutover
    by_variable = options.candidate_variable in app.definition.get("env", {})
    return OWN_PORT if options.candidate_args is not None or by_variable else AFTERWARDS


def _cannot_be_checked(app: App) -> str:
    return (
        "App {0}: without the preload its candidate must be told a port of its own, and {1} is not in env; name its "
        "variable (candidate_variable), give candidate_args, or leave preload on.".format(
            app.name, app.cutover.candidate_variable
        )
    )


def _refusal(app: App) -> str:
    if app.gate == PYTHON:
        return (
            "App {0}: it cannot be replaced without an outage this time, because what runs was started without the "
            "gate and keeps the port to itself; set strategy to restart for this one change, or put it behind a proxy "
            "(option proxy).".format(app.name)
        )
    if app.is_cluster:
        return (
            "App {0}: it cannot be replaced without an outage, because what runs now is in fork mode and keeps the "
            "port to itself; set strategy to restart for this one change of its mode.".format(app.name)
        )
    return (
        "App {0}: in fork mode it cannot be replaced without an outage, because PM2 lets one process have a port; put "
        "it behind a proxy (option proxy), set instances for a Node app (cluster mode), leave preload on for a Python "
        "app, or set strategy to restart to accept a short outage.".format(app.name)
    )


def plan(apps: List[App], processes: List[Process], always: bool = False) -> List[Swap]:
    """What is to be replaced; empty when everything runs as declared.

    :param always: replace what runs as declared, too.
    :raises Pm2Error: one of them cannot be replaced as declared.
    """
    return [make_swap(app, processes) for app in apps if always or needs_swap(app, processes)]


def rules_port(app: App) -> Optional[int]:
    """The port that its processes must listen on."""
    return app.port if app.cutover.must_listen(app.port) else None
