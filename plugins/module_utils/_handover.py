# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the proxy is told at each side of a cutover's commit, and what becomes of the colour that served: from the
journal alone, and so that it may be done twice."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from dataclasses import dataclass
from typing import Any, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils import _standby
from ansible_collections.zerodown.pm2.plugins.module_utils._client import Client
from ansible_collections.zerodown.pm2.plugins.module_utils._colours import colour_in, colour_of
from ansible_collections.zerodown.pm2.plugins.module_utils._dump import Entry
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import write_atomic
from ansible_collections.zerodown.pm2.plugins.module_utils._gate_control import sweep
from ansible_collections.zerodown.pm2.plugins.module_utils._generation import has_gate, retire
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._journal import PROVE, Journal
from ansible_collections.zerodown.pm2.plugins.module_utils._proxy_options import BLUE, ProxyOptions, other
from ansible_collections.zerodown.pm2.plugins.module_utils._standby import Standby
from ansible_collections.zerodown.pm2.plugins.module_utils._state import GENERATION_KEY, Process
from ansible_collections.zerodown.pm2.plugins.module_utils._switch import Switch, switch_of

POLL_INTERVAL = 0.05
# for what the proxy has just given to a process, seconds
ARRIVAL = 1.0
_SUFFIX = ".proxy"


@dataclass(frozen=True)
class Handover:
    """One app whose traffic goes from one colour to the other; plain data in the journal.

    :ivar name: of the app.
    :ivar colour: of the candidate.
    :ivar live: of what served before; ``None`` when nothing did, or nothing of a colour.
    :ivar variable: in which its processes find their address.
    :ivar standby_time: seconds that what served stays warm; 0 for one that is not to be gone back to.
    :ivar drain_timeout: seconds that its connections have to end.
    :ivar waits: whether requests wait while neither colour listens.
    """

    name: str
    proxy: ProxyOptions
    colour: str
    live: Optional[str]
    variable: str
    standby_time: float = 0.0
    drain_timeout: float = 30.0
    waits: bool = False

    def as_data(self) -> Dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, data: Dict[str, Any]) -> "Handover":
        return cls(**{**data, "proxy": ProxyOptions(**data["proxy"])})

    @property
    def switch(self) -> Switch:
        return switch_of(self.proxy)


def handovers(journal: Journal) -> List[Handover]:
    return [Handover.of(data) for data in journal.handovers]


# after the commit ----------------------------------------------------------------------------------------------------


def hand_over(client: Client, journal: Journal) -> List[str]:
    """Let the new colour have all traffic. What served before becomes the standby, or has its requests ended.

    :returns: a sentence for each app whose proxy could not be told.
    """
    failed = []
    for handover in handovers(journal):
        _note(client.home, handover)
        # before anybody ends what is not of the new generation
        keeps = _keep_warm(client, journal, handover)
        try:
            handover.switch.serve(handover.colour, is_warm=True)
        except Pm2Error as error:
            failed.append(_left("serves its new generation", handover, error))
            continue
        if not keeps:
            old = [
                item
                for item in client.processes()
                if item.name == handover.name and item.generation != journal.generation and item.is_running()
            ]
            patience = _wait_at_the_proxy(old, handover.drain_timeout)
            wait_until_idle(handover.switch, other(handover.colour), patience)
            with contextlib.suppress(Pm2Error):
                # closes the proxy's idle connections, which the app would wait for
                handover.switch.serve(handover.colour, is_warm=False)
    return failed


def _keep_warm(client: Client, journal: Journal, handover: Handover) -> bool:
    if not handover.live or handover.standby_time <= 0:
        return False
    if any(item.name == handover.name for item in _standby.read_all(client.home)):
        # done already, by a run that was killed
        return True
    old = [
        item
        for item in client.processes()
        if item.name == handover.name
        and item.generation not in (None, journal.generation)
        and item.is_running()
        and colour_of(item, handover.proxy, handover.variable) == handover.live
    ]
    generations = {item.generation for item in old}
    if len(generations) != 1:
        return False
    _standby.write(
        client.home,
        Standby(
            name=handover.name,
            generation=str(generations.pop()),
            until=time.time() + handover.standby_time,
            colour=handover.live,
            proxy=dataclasses.asdict(handover.proxy),
            root=journal.root,
            release=journal.previous,
            drain_timeout=handover.drain_timeout,
        ),
    )
    return True


def wait_until_idle(switch: Switch, colour: str, timeout: float) -> None:
    """Until no request is under way on this colour.

    :param timeout: seconds; then they go on, and end with the processes.
    """
    deadline = time.monotonic() + timeout
    with contextlib.suppress(Pm2Error):
        while switch.sessions(colour) > 0 and time.monotonic() < deadline:
            time.sleep(POLL_INTERVAL)


def _wait_at_the_proxy(processes: List[Process], drain_timeout: float) -> float:
    """Seconds to wait until a colour is idle, before its processes are drained. Those with a gate need only have got
    what the proxy gave them: they do the waiting themselves then, and tell who stays, such as a WebSocket, to go."""
    return min(drain_timeout, ARRIVAL) if all(map(has_gate, processes)) else drain_timeout


def end_standby(client: Client, standby: Standby) -> None:
    """End what was kept warm; the caller holds the lock of the app.

    :raises Pm2Error: it could not be ended.
    """
    switch = switch_of(ProxyOptions(**standby.proxy))
    own = standby.among(client.everything())
    patience = _wait_at_the_proxy([item for item in own if item.is_running()], standby.drain_timeout)
    wait_until_idle(switch, standby.colour, patience)
    with contextlib.suppress(Pm2Error):
        switch.serve(other(standby.colour), is_warm=False)
    retire(client, own, standby.drain_timeout)
    _standby.forget(client.home, standby.name)
    # of processes that had to be killed
    sweep(client.home)


# before the commit ---------------------------------------------------------------------------------------------------


def hand_back(journal: Journal) -> List[str]:
    """Let the colours that served have all traffic again. Where what served was ended, requests wait instead, until
    :func:`end_waiting`.

    :returns: a sentence for each app whose proxy could not be told.
    """
    waiting = _ended(journal)
    for handover in waiting:
        # they fail meanwhile, where the proxy cannot let them wait
        with contextlib.suppress(Pm2Error):
            handover.switch.hold()
    return _serve_again(journal, [handover for handover in handovers(journal) if handover not in waiting])


def end_waiting(journal: Journal) -> List[str]:
    """What served before runs again, or never will.

    :returns: a sentence for each app whose proxy could not be told.
    """
    return _serve_again(journal, _ended(journal))


def _ended(journal: Journal) -> List[Handover]:
    """Those of which what served was ended, or may have been, before the new generation had the traffic."""
    return [item for item in handovers(journal) if item.waits and item.live and journal.step != PROVE]


def _serve_again(journal: Journal, found: List[Handover]) -> List[str]:
    failed = []
    for handover in found:
        try:
            handover.switch.serve(handover.live or BLUE, is_warm=handover.name in journal.warm)
        except Pm2Error as error:
            failed.append(_left("serves what it served before", handover, error))
    return failed


def _left(what: str, handover: Handover, error: Pm2Error) -> str:
    return (
        "The proxy of app {0} could not be told that it {1}: {2} It learns it when it starts, or with the next "
        "run.".format(handover.name, what, error.message)
    )


# at boot -------------------------------------------------------------------------------------------------------------


def _note(home: Home, handover: Handover) -> None:
    """For :func:`align`: after a power cut the saved list tells which generation comes back, and the proxy may remember
    another."""
    content = {"proxy": dataclasses.asdict(handover.proxy), "variable": handover.variable}
    write_atomic(os.path.join(home.gate, handover.name + _SUFFIX), (json.dumps(content) + "\n").encode("utf-8"))


def align(home: Home, entries: List[Entry]) -> List[str]:
    """Let every proxy serve the colour that is saved, when a daemon has just begun: nothing is warm any more.

    :returns: sentences about what could not be done.
    """
    for standby in _standby.read_all(home):
        _standby.forget(home, standby.name)
    failed = []
    with contextlib.suppress(FileNotFoundError):
        for file_name in sorted(os.listdir(home.gate)):
            name = file_name[: -len(_SUFFIX)]
            if not file_name.endswith(_SUFFIX) or file_name.startswith("."):
                continue
            try:
                with open(os.path.join(home.gate, file_name), encoding="utf-8") as stream:
                    content = json.load(stream)
                proxy = ProxyOptions(**content["proxy"])
                environments = [entry.get("env") or {} for entry in entries if entry.get("name") == name]
                found = {colour_in(env, proxy, content["variable"]) for env in environments} - {None}
            except (OSError, ValueError, KeyError, TypeError) as error:
                failed.append("{0} cannot be used: {1}.".format(file_name, error))
                continue
            for colour in found if len(found) == 1 else ():
                try:
                    switch_of(proxy).serve(str(colour), is_warm=False)
                except Pm2Error as error:
                    failed.append("The proxy of {0} could not be told its colour: {1}".format(name, error.message))
    return failed


def without_warm(home: Home, entries: List[Entry]) -> List[Entry]:
    """The entries of a saved list without what was only kept warm when somebody saved it by PM2's own means."""
    warm = {(item.name, item.generation) for item in _standby.read_all(home)}
    return [entry for entry in entries if (entry.get("name"), entry.get(GENERATION_KEY)) not in warm]
