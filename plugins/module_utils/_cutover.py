# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One cutover on the host, from reading what is to the verdict on the release."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils import (
    _bake,
    _confirmation,
    _cutover_lock,
    _journal,
    _migrations,
    _record,
    _standby,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._activate import judge, may_go_live, withdraw
from ansible_collections.zerodown.pm2.plugins.module_utils._app import ONLINE
from ansible_collections.zerodown.pm2.plugins.module_utils._bus import Bus
from ansible_collections.zerodown.pm2.plugins.module_utils._client import Client, connect
from ansible_collections.zerodown.pm2.plugins.module_utils._colours import in_colour, live_colour
from ansible_collections.zerodown.pm2.plugins.module_utils._confirmation import GIVEN, THE_HOST, WITHDRAWN, Awaiting
from ansible_collections.zerodown.pm2.plugins.module_utils._cutover_plan import WARM, Swap, may_serve_again, plan
from ansible_collections.zerodown.pm2.plugins.module_utils._daemon import ensure_running
from ansible_collections.zerodown.pm2.plugins.module_utils._definitions import (
    in_generation,
    new_generation,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._dump import Entry
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import DaemonNotRunning, Pm2Error, RpcTimeout
from ansible_collections.zerodown.pm2.plugins.module_utils._gate_control import sweep
from ansible_collections.zerodown.pm2.plugins.module_utils._gate_directory import has_room
from ansible_collections.zerodown.pm2.plugins.module_utils._gates import Preloads, install, runtime_of
from ansible_collections.zerodown.pm2.plugins.module_utils._generation import Generation
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home
from ansible_collections.zerodown.pm2.plugins.module_utils._host_check import check_host
from ansible_collections.zerodown.pm2.plugins.module_utils._linger import end_expired
from ansible_collections.zerodown.pm2.plugins.module_utils._lookout import Rejected
from ansible_collections.zerodown.pm2.plugins.module_utils._move import Move
from ansible_collections.zerodown.pm2.plugins.module_utils._moves import (
    REVERT_DEADLINE,
    REVERT_HEALTHY_TIME,
    backward,
    forward,
    warm_rules,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._order import Order
from ansible_collections.zerodown.pm2.plugins.module_utils._plan import CREATE, Action, AppPlan, describe, of_app
from ansible_collections.zerodown.pm2.plugins.module_utils._release import Layout
from ansible_collections.zerodown.pm2.plugins.module_utils._report import app_data
from ansible_collections.zerodown.pm2.plugins.module_utils._resurrect import resurrect
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from ansible_collections.zerodown.pm2.plugins.module_utils._runner import Interrupted, undisturbed
from ansible_collections.zerodown.pm2.plugins.module_utils._secrets import blank_out, secret_values
from ansible_collections.zerodown.pm2.plugins.module_utils._settings import Settings, declared_apps
from ansible_collections.zerodown.pm2.plugins.module_utils._settlement import (
    abandon,
    await_daemon,
    bring_back,
    drop_unless_run_so,
    finish,
    repair,
    unfinished,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._stage import read
from ansible_collections.zerodown.pm2.plugins.module_utils._standby import Standby
from ansible_collections.zerodown.pm2.plugins.module_utils._state import Process
from ansible_collections.zerodown.pm2.plugins.module_utils._steady import Failure
from ansible_collections.zerodown.pm2.plugins.module_utils._switch import switch_of
from ansible_collections.zerodown.pm2.plugins.module_utils._traffic import watch_errors
from ansible_collections.zerodown.pm2.plugins.module_utils._transaction import (
    START_TIMEOUT,
    Transaction,
)

STILL_SERVES = "The new generation still serves, because {0}."
NOTHING_BEFORE = "there is no earlier generation to go back to"


def preview(order: Order, settings: Settings) -> Dict[str, Any]:
    """What would be done; changes nothing."""
    client = connect(settings.home, settings.install, settings.warn)
    processes = client.processes() if client.is_running() else []
    for journal in unfinished(settings.home, order.names):
        settings.warn(
            "A cutover of {0} was interrupted in its step {1}; the next run {2} it.".format(
                ", ".join(journal.names),
                journal.step,
                "finishes" if _journal.is_committed(settings.home, journal) else "undoes",
            )
        )
    awaiting = _confirmation.read(order.layout) if order.layout else None
    if awaiting and _confirmation.is_due(awaiting, time.time()):
        settings.warn("The next run first goes back from {0}, which was {1}.".format(awaiting.release, _why(awaiting)))
    else:
        _admit(order, awaiting)
    swaps = plan(order.apps, processes, order.always)
    _check(swaps, client, settings)
    gone = _gone(order, processes)
    switches = _switches(order)
    return {
        "changed": bool(swaps or gone or switches or _arms(order, awaiting, False)),
        "plan": _steps(swaps, gone),
        "diff": _diff(swaps, order),
        "apps": _apps(order, processes),
    }


def perform(order: Order, settings: Settings) -> Dict[str, Any]:
    """Do it, whole or not at all.

    :raises Pm2Error: with details ``changed``, ``plan``, ``apps``, ``failures``, ``serves``.
    """
    client, preloads = ready(settings)
    names = concerned(order.names, order.layout, settings.home)
    with undivided(client, names, settings, order.by, order.reason, order.lock_timeout, order.force) as repaired:
        end_expired(client, names)
        left = _look_at_confirmation(order, order.layout, settings, client, preloads) if order.layout else []
        return _Run(order, settings, client, preloads).run(repaired + left)


def ready(settings: Settings) -> Tuple[Client, Preloads]:
    """A daemon that runs, and the gate in its place.

    :raises Pm2Error: there is none, or it cannot run two generations of an app.
    """
    os.makedirs(settings.home.path, mode=0o700, exist_ok=True)
    was_down = ensure_running(settings.home, settings.install(), settings.start_timeout)
    preloads = install(settings.home)
    sweep(settings.home)
    client = connect(settings.home, settings.install, settings.warn)
    if not client.changes_in_place:
        raise Pm2Error(
            "The PM2 daemon of {0} speaks a protocol that is not known, and its command line cannot run two "
            "generations of an app; use PM2 5, 6 or 7.".format(settings.home.path)
        )
    if was_down:
        # else what is saved now would soon be forgotten; where there is a unit, it has done so
        bring_back(client, settings)
    return client, preloads


@contextlib.contextmanager
def undivided(
    client: Client,
    names: List[str],
    settings: Settings,
    by: str,
    reason: Optional[str],
    wait: float,
    force: bool,
) -> Iterator[List[str]]:
    """Hold the locks of these apps; what an earlier run left behind is undone or finished first.

    :returns: sentences that say so.
    """
    with _cutover_lock.held(settings.home, names, by, reason, wait, force):
        try:
            yield [repair(client, journal, settings) for journal in unfinished(settings.home, names)]
        except DaemonNotRunning as error:
            await_daemon(client, settings)
            raise Pm2Error(
                "{0} It runs again, with what was saved; run the task again.".format(error.message), **error.details
            ) from error
        finally:
            for name in names:
                _journal.sweep(settings.home, name)
            sweep(settings.home)


def concerned(names: Iterable[str], layout: Optional[Layout], home: Home) -> List[str]:
    """The apps that nobody else may touch meanwhile: those that are declared, those that no longer are, and those of an
    interrupted cutover that is to be settled first."""
    declared_before = _record.declared_names(layout) if layout else []
    names = list(dict.fromkeys([*names, *declared_before]))
    interrupted = [name for journal in unfinished(home, names) for name in journal.names]
    return list(dict.fromkeys([*names, *interrupted]))


def _switches(order: Order) -> bool:
    return bool(order.layout and order.release and read(order.layout).live != order.release)


def _gone(order: Order, processes: List[Process]) -> List[Process]:
    """Processes of apps that the release that is live declares and the new one does not."""
    if not order.layout:
        return []
    names = set(_record.declared_names(order.layout)) - set(order.names)
    return [process for name in sorted(names) for process in of_app(processes, name)]


# the confirmation ---------------------------------------------------------------------------------------------------


def _look_at_confirmation(
    order: Order, layout: Layout, settings: Settings, client: Client, preloads: Preloads
) -> List[str]:
    """
    :returns: what was done about a release whose confirmation did not come in time.
    :raises Pm2Error: another rollout has the app.
    """
    awaiting = _confirmation.read(layout)
    if order.rollback:
        if awaiting and awaiting.decided == WITHDRAWN:
            # it is somebody's own decision now, whatever hindered the host
            _confirmation.write(settings.home, dataclasses.replace(awaiting, decided=None))
        return []
    done: List[str] = []
    # its cutover was cut short: it is gone on with
    is_mine = awaiting and awaiting.until is None and awaiting.is_for(order.release, order.rollout)
    if awaiting and not is_mine:
        try:
            done = settle(awaiting, settings, client, preloads)
        except (DaemonNotRunning, Interrupted):
            raise
        except Pm2Error as error:
            if order.release == awaiting.release:
                raise
            # the release that is deployed now takes its place all the same
            settings.warn(error.message)
    left = _confirmation.read(layout)
    if left and not _confirmation.is_due(left, time.time()):
        _admit(order, left)
    return done


def _admit(order: Order, awaiting: Optional[Awaiting]) -> None:
    """:raises Pm2Error: another rollout has the app."""
    if awaiting and not order.rollback and not order.force and order.rollout != awaiting.rollout:
        raise Pm2Error(
            _confirmation.refusal(awaiting), awaiting=_confirmation.as_data(awaiting, time.time()), changed=False
        )


def _arms(order: Order, awaiting: Optional[Awaiting], has_changes: bool) -> bool:
    """Whether the release is to be confirmed, and nobody has asked for it yet.

    :param has_changes: whether it will be run with options that it was not run with.
    """
    if not order.confirm_timeout or not order.layout:
        return False
    overview = read(order.layout)
    if overview.live != order.release:
        return True
    is_asked = awaiting is not None and awaiting.is_for(order.release, order.rollout)
    return not is_asked and (has_changes or order.release not in overview.history.proven)


def settle(awaiting: Awaiting, settings: Settings, client: Client, preloads: Preloads) -> List[str]:
    """Do what is due about a release that awaits its confirmation; the caller holds the locks of its apps, so that no
    cutover of it runs.

    :returns: a sentence when the host goes back.
    """
    layout, home = Layout.at(awaiting.root), settings.home
    now = read(layout)
    if awaiting.decided == GIVEN:
        confirm(awaiting, home)
    elif now.live != awaiting.release:
        _confirmation.drop_unless_live(home, layout, now.live)
    elif not awaiting.options and _confirmation.proven_since(now.events, awaiting.release):
        _confirmation.drop(home, layout)
    elif awaiting.decided == WITHDRAWN:
        return [go_back(awaiting, settings, client, preloads)["serves"]]
    elif awaiting.until is None:
        _confirmation.write(home, _confirmation.renewed(awaiting, time.time()))
        drop_unless_run_so(home, layout)
    elif _confirmation.is_due(awaiting, time.time()):
        late = _confirmation.decided(awaiting, WITHDRAWN, THE_HOST, awaiting.too_late)
        return [go_back(late, settings, client, preloads)["serves"]]
    return []


def confirm(awaiting: Awaiting, home: Home) -> None:
    """:param awaiting: decided so."""
    layout = Layout.at(awaiting.root)
    _confirmation.write(home, awaiting)
    by, reason = awaiting.decided_by, awaiting.decided_reason
    judge(layout, awaiting.release, "proven", by, reason, False, awaiting.rollout)
    _confirmation.drop(home, layout)


def back_order(awaiting: Awaiting, settings: Settings) -> Optional[Order]:
    """The way back from it; ``None`` when there is nothing to go back to."""
    layout = Layout.at(awaiting.root)
    overview = read(layout)
    target, record = _earlier(layout, awaiting)
    if record is None or _obstacle(layout, awaiting):
        return None
    return Order(
        apps=declared_apps([{**entry, "state": None} for entry in record.apps], ONLINE, settings),
        entries=record.apps,
        layout=layout,
        release=target,
        rollback=True,
        min_healthy_time=REVERT_HEALTHY_TIME,
        healthy_deadline=REVERT_DEADLINE,
        by=awaiting.decided_by,
        reason=awaiting.decided_reason,
        # nobody is asked how many to keep
        keep=len(overview.releases) + 1,
    )


def _earlier(layout: Layout, awaiting: Optional[Awaiting]) -> Tuple[Optional[str], Optional[_record.Record]]:
    """The release to go back to, and what it was run as; the same one when only its options await a confirmation."""
    if awaiting and awaiting.options:
        return awaiting.release, _record.read_before(layout, awaiting.release)
    target = read(layout).rollback_target()
    return target, _record.read(layout, target) if target else None


def _obstacle(layout: Layout, awaiting: Awaiting) -> Optional[str]:
    """Why nothing goes back by itself to what was live before, where migrations are in the way."""
    overview = read(layout)
    target = _earlier(layout, awaiting)[0]
    return _migrations.obstacle(overview.events, target) if target else None


def go_back(awaiting: Awaiting, settings: Settings, client: Client, preloads: Preloads) -> Dict[str, Any]:
    """Let what was live before serve again.

    :param awaiting: decided so.
    :raises Pm2Error: it cannot be; then it is tried again by whoever comes next.
    """
    layout = Layout.at(awaiting.root)
    order = back_order(awaiting, settings)
    _confirmation.write(settings.home, awaiting)
    if order is None:
        serves = STILL_SERVES.format(_obstacle(layout, awaiting) or NOTHING_BEFORE)
        withdraw(layout, awaiting)
        _confirmation.drop(settings.home, layout)
        return {"serves": "Release {0} was {1}. {2}".format(awaiting.release, _why(awaiting), serves)}
    try:
        result = _Run(order, settings, client, preloads).run([])
    except (DaemonNotRunning, Interrupted):
        raise
    except Pm2Error as error:
        raise Pm2Error(
            "Release {0} was {1}, and it could not be gone back to {2}: {3}".format(
                awaiting.release, _why(awaiting), order.release, error.message
            ),
            **error.details,
        ) from error
    serves = "Release {0} was {1}; {2} serves again.".format(awaiting.release, _why(awaiting), order.release)
    if awaiting.options:
        withdraw(layout, awaiting)
        _confirmation.drop(settings.home, layout)
        serves = "What changed of release {0} was {1}; it serves as it did before.".format(
            awaiting.release, _why(awaiting)
        )
    return {**result, "serves": serves}


def _why(awaiting: Awaiting) -> str:
    by = awaiting.decided_by
    return awaiting.too_late if by in ("", THE_HOST) else "withdrawn by {0}".format(by)


# what is done, told --------------------------------------------------------------------------------------------------


def _check(swaps: List[Swap], client: Client, settings: Settings) -> None:
    for swap in swaps:
        if swap.app.cutover.proxy is not None:
            try:
                switch_of(swap.app.cutover.proxy).check()
            except Pm2Error as error:
                settings.refuse("App {0}: {1}".format(swap.app.name, error.message))
    standbys = _standby.read_all(settings.home)
    # the port of the candidate may be that of a standby, which ends before
    everything = client.everything() if standbys and client.is_running() else []
    warm = [item for standby in standbys for item in standby.among(everything)]
    plans = [
        AppPlan(
            swap.app,
            [*swap.old, *of_app(warm, swap.app.name)],
            actions=[Action(CREATE, swap.app.name, count=swap.app.instances)],
        )
        for swap in swaps
    ]
    check_host(plans, client.version() if client.is_running() else None, settings)
    if any(swap.app.takes_preload for swap in swaps) and not has_room(settings.home):
        settings.refuse(
            "PM2_HOME {0} is too long for the sockets of the gate, which keep a candidate from traffic; use a shorter "
            "pm2_home, or set preload to false.".format(settings.home.path)
        )


def _steps(swaps: List[Swap], gone: List[Process]) -> List[Dict[str, Any]]:
    return [swap.as_data() for swap in swaps] + [
        {"action": "delete", "app": process.name, "pm_id": process.pm_id, "why": "no longer declared"}
        for process in gone
    ]


def _diff(swaps: List[Swap], order: Order) -> Dict[str, str]:
    texts = []
    for swap in swaps:
        action = Action(CREATE, swap.app.name, count=swap.app.instances)
        deletes = [Action("delete", swap.app.name, pm_id=process.pm_id) for process in swap.old]
        texts.append(describe(AppPlan(swap.app, swap.old, actions=[*deletes, action])))
    live = read(order.layout).live if order.layout else None
    before, after = (
        ("release: {0}\n".format(live), "release: {0}\n".format(order.release)) if order.layout else ("", "")
    )
    return {"before": before + "".join(old for old, _n in texts), "after": after + "".join(new for _o, new in texts)}


def _apps(order: Order, processes: List[Process]) -> List[Dict[str, Any]]:
    now = time.time()
    return [app_data(app.name, of_app(processes, app.name), now) for app in order.apps]


class _Run:
    """One run under the lock."""

    def __init__(self, order: Order, settings: Settings, client: Client, preloads: Preloads) -> None:
        self.order = order
        self.settings = settings
        self.client = client
        self.home = settings.home
        self.preloads = preloads
        self.started = time.monotonic()
        self.result: Dict[str, Any] = {"changed": False}
        self.live_before: Optional[str] = None
        self.record_before: Optional[_record.Record] = None
        self.awaiting: Optional[Awaiting] = None

    def run(self, repaired: List[str]) -> Dict[str, Any]:
        for sentence in repaired:
            self.settings.warn(sentence)
        order = self.order
        if order.layout and order.release and not order.rollback:
            # a run that was waited for may have marked it bad, and so may what was repaired
            may_go_live(read(order.layout), order.release, False)
        processes = self.client.processes()
        self.settings.hide([item.env.get("env") or {} for name in order.names for item in of_app(processes, name)])
        swaps = plan(order.apps, processes, order.always)
        gone = _gone(order, processes)
        _check(swaps, self.client, self.settings)
        warm = self._warm(order.names) if order.rollback else []
        swaps = [self._from_standby(swap, warm) for swap in swaps]
        self.result.update(
            changed=bool(swaps or gone or repaired or _switches(order)),
            plan=_steps(swaps, gone),
            diff=_diff(swaps, order),
            repaired=repaired,
        )
        memory = {swap.app.name: _bake.mean_memory(swap.old) for swap in swaps}
        before: List[Entry] = []
        self.live_before = read(order.layout).live if order.layout else None
        if order.layout and self.live_before:
            self.record_before = _record.read(order.layout, self.live_before)
        moves = [forward(swap, order, self.home, self.preloads) for swap in swaps]
        self._arm(bool(swaps or gone))
        if swaps or gone:
            before = self._transact(moves, gone)
        elif _switches(order):
            self._propose()
            self._record(self._plan_of(new_generation("pointer"), moves, []))
        self._prove_in_production(moves, before, memory)
        processes = self.client.processes()
        self.result.update(
            apps=_apps(order, processes), release=order.release, seconds=round(time.monotonic() - self.started, 3)
        )
        return self.result

    def _arm(self, has_changes: bool) -> None:
        """From now on the host goes back by itself, unless this cutover fails or its release is confirmed."""
        order = self.order
        if not order.layout or not order.release or not order.confirm_timeout:
            return
        found = _confirmation.read(order.layout)
        options = has_changes and self._changes_options(order.release)
        if not _arms(order, found, options):
            self.awaiting = found
            return
        # one that somebody used force on keeps what it would have gone back to
        if options and not (found and found.options):
            _record.keep(order.layout, order.release)
        is_replaced = found and found.release == self.live_before and not found.decided
        self.awaiting = _confirmation.write(
            self.home,
            Awaiting(
                root=order.layout.root,
                release=order.release,
                rollout=str(order.rollout),
                previous=self.live_before,
                names=[*order.names, *_record.declared_names(order.layout)],
                timeout=order.confirm_timeout,
                since=time.time(),
                by=order.by,
                reason=order.reason,
                replaces=dataclasses.asdict(dataclasses.replace(found, replaces=None))
                if found and is_replaced
                else None,
                options=options,
            ),
        )
        self.result["changed"] = True

    def _changes_options(self, release: str) -> bool:
        """Whether this release has proven itself with other options than it is run with now."""
        order, before = self.order, self.record_before
        if not order.layout or not order.entries or before is None or self.live_before != release:
            return False
        return release in read(order.layout).history.proven and before.apps != json.loads(json.dumps(order.entries))

    def _renew(self, awaiting: Awaiting) -> None:
        now = time.time()
        renewed = _confirmation.write(self.home, _confirmation.renewed(awaiting, now, self.order.confirm_timeout))
        self.result["awaiting"] = _confirmation.as_data(renewed, now)

    def _disarm(self) -> None:
        """What serves stays, whatever is said of it."""
        if self.order.layout:
            _confirmation.drop(self.home, self.order.layout)

    def _warm(self, names: List[str]) -> List[Standby]:
        """Standbys of the release that is to serve, all of one generation."""
        order = self.order
        root = order.layout.root if order.layout else None
        found = [
            item
            for item in _standby.read_all(self.home)
            if item.name in names and item.root == root and item.release == order.release
        ]
        return [item for item in found if item.generation == found[0].generation]

    def _from_standby(self, swap: Swap, warm: List[Standby]) -> Swap:
        for standby in warm:
            own = standby.among(self.client.everything())
            if standby.name == swap.app.name and may_serve_again(swap, standby, own):
                return dataclasses.replace(swap, proof=WARM)
        return swap

    # the transaction ------------------------------------------------------------------------------------------

    def _plan_of(self, generation: str, moves: List[Move], gone: List[Process]) -> _journal.Journal:
        order = self.order
        warm = {move.name for move in moves if move.proof == WARM}
        names = list(dict.fromkeys([*order.names, *[item.name for item in gone]]))
        return _journal.Journal(
            name=order.names[0],
            names=[name for name in names if name in {move.name for move in moves} | {item.name for item in gone}],
            generation=generation,
            probe=generation + "-probe",
            old=[item.pm_id for move in moves for item in move.old] + [item.pm_id for item in gone],
            root=order.layout.root if order.layout else None,
            release=order.release,
            previous=read(order.layout).live if order.layout else None,
            rollback=order.rollback,
            drain_timeout=max([move.drain_timeout for move in moves], default=0.0),
            by=order.by,
            reason=order.reason,
            started=time.time(),
            handovers=[move.handover.as_data() for move in moves if move.handover],
            warm={item.name: dataclasses.asdict(item) for item in _standby.read_all(self.home) if item.name in warm},
        )

    def _transact(self, moves: List[Move], gone: List[Process]) -> List[Entry]:
        """
        :returns: what ran before, as it would be saved.
        :raises Pm2Error: nothing has changed; or all has, and it could not be written down.
        """
        warm = self._warm([move.name for move in moves if move.proof == WARM])
        generation = (
            warm[0].generation
            if warm
            else new_generation(self.order.release or time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))
        )
        for move in moves:
            move.definitions = [
                in_generation(item, generation, self.home, self.preloads.get(runtime_of(item) or ""))
                for item in move.definitions
            ]
            if move.probe:
                move.probe = in_generation(move.probe, generation + "-probe", self.home, None)
        old = [item for move in moves for item in move.old] + gone
        before: List[Entry] = []
        is_told = False
        journal = self._plan_of(generation, moves, gone)
        with Bus(self.home.pub_socket) as bus:
            transaction = Transaction(
                self.client, bus, moves, gone, journal, self.settings.warn, self.settings.log_lines
            )
            try:
                try:
                    self._propose()
                    _journal.save_before(self.home, journal.name, old)
                    before = _journal.load_before(self.home, journal.name)
                    _journal.write(self.home, journal)
                    transaction.prove()
                    transaction.open()
                    transaction.commit()
                except Exception as error:
                    if not _journal.is_committed(self.home, transaction.journal):
                        with undisturbed():
                            self._take_back(transaction, error)
                        raise
                    # the list is saved, only its being so could not be noted
                    is_told = isinstance(error, Interrupted)
                with undisturbed() as told:
                    self._complete(transaction)
                if told or is_told:
                    raise self._stopped()
            finally:
                self.result["timings"] = transaction.timings
        return before

    def _propose(self) -> None:
        order = self.order
        if order.layout and order.release and order.entries:
            _record.propose(order.layout, order.release, _record.Record(order.entries, *self._node()))

    def _node(self) -> Tuple[str, str]:
        node = self.settings.install().node
        return node, Rpc(self.home.rpc_socket).node_version()

    def _complete(self, transaction: Transaction) -> None:
        """What follows the commit, whatever becomes of the daemon."""
        try:
            self._go_over(transaction)
        except (DaemonNotRunning, RpcTimeout):
            await_daemon(self.client, self.settings)
            # also what nobody said a boot should start
            resurrect(self.client, [item for move in transaction.moves for item in move.definitions], START_TIMEOUT)
            self._go_over(transaction)

    def _go_over(self, transaction: Transaction) -> None:
        transaction.retire()
        self._record(transaction.journal, transaction.timings)

    def _record(self, journal: _journal.Journal, timings: Optional[Dict[str, float]] = None) -> None:
        for notice in finish(self.client, journal, self.order.keep, timings):
            self.settings.warn(notice)

    def _take_back(self, transaction: Transaction, error: Exception) -> None:
        """:raises Pm2Error: with what went wrong, and what serves."""
        try:
            await_daemon(self.client, self.settings)
            failed = abandon(self.client, transaction.journal)
        except Pm2Error as obstacle:
            # the journal stays, so the next run tries again
            failed = ["Not everything could be put back: {0} Run the task again.".format(obstacle.message)]
        details = {**self.result, "changed": self._blame(error)}
        try:
            processes = self.client.processes()
            details["apps"] = _apps(self.order, processes)
            serves = _serves(transaction.moves, processes)
        except Pm2Error as obstacle:
            serves = "What serves cannot be told: {0}".format(obstacle.message)
        message = error.message if isinstance(error, Pm2Error) else "{0}: {1}.".format(type(error).__name__, error)
        details.update(error.details if isinstance(error, Pm2Error) else {})
        details["timings"] = transaction.timings
        details["serves"] = serves
        if not isinstance(error, Pm2Error):
            details["exception"] = repr(error)
        raise Pm2Error(
            "{0}. {1}{2}".format(message.rstrip("."), serves, " " + " ".join(failed) if failed else ""), **details
        ) from error

    def _blame(self, error: Exception) -> bool:
        """Mark a rejected release bad, unless it is live, so that its changed options are to blame; whether it was."""
        order = self.order
        if not isinstance(error, Rejected) or error.details.get("verdict") != "bad":
            return False
        if not order.layout or not order.release or order.rollback or order.release == read(order.layout).live:
            return False
        # it quotes the log of the app
        reason = blank_out(str(error), secret_values([app.definition["env"] for app in order.apps]))
        judge(order.layout, order.release, "bad", order.by, reason, False)
        return True

    # the bake ---------------------------------------------------------------------------------------------------

    def _prove_in_production(self, moves: List[Move], before: List[Entry], memory: Dict[str, Optional[float]]) -> None:
        """Watch what now serves until it counts as proven; also for a release whose watch was cut short earlier."""
        order = self.order
        proven = order.layout is not None and order.release in read(order.layout).history.proven
        if not moves and not self.awaiting and (proven or not order.layout):
            return
        if self.awaiting and self.awaiting.until is not None and not moves:
            # it was watched before
            self._renew(self.awaiting)
            return
        try:
            failure = self._watch(memory)
        except Interrupted:
            raise self._stopped() from None
        if failure is None:
            if self.awaiting:
                self._renew(self.awaiting)
            elif order.layout and order.release and not proven:
                judge(order.layout, order.release, "proven", order.by, order.reason, False)
                # one that another rollout awaited, with force
                _confirmation.drop(self.home, order.layout)
                self.result["changed"] = True
            return
        self._breach(failure, moves, before, proven)

    def _stopped(self) -> Interrupted:
        return Interrupted(
            "The cutover was told to stop (SIGTERM). What is new serves, and was not watched to the end; run the task "
            "again.",
            **{**self.result, "changed": True},
        )

    def _watch(self, memory: Dict[str, Optional[float]]) -> Optional[Failure]:
        order = self.order
        from_now = self.client.processes()
        apps = []
        for app in order.apps:
            generation = next((item.generation for item in of_app(from_now, app.name) if item.generation), None)
            colour = live_colour(of_app(from_now, app.name), app)
            proxy = app.cutover.proxy
            address = proxy.addresses[colour] if proxy and colour else None
            if generation:
                apps.append(
                    _bake.Watched(
                        Generation(self.client, app.name, generation),
                        app.instances,
                        in_colour(app, colour).port,
                        app.cutover.health,
                        memory.get(app.name),
                        # of what was not started just now, somebody may have restarted a process since
                        {}
                        if app.name in memory
                        else {item.pm_id: item.restarts for item in of_app(from_now, app.name)},
                        path=address if isinstance(address, str) else None,
                        errors=watch_errors(app, colour),
                    )
                )
        start = time.monotonic()
        try:
            return _bake.smoke(order.smoke, apps) or _bake.watch(apps, order.bake_time, order.memory_growth_max)
        finally:
            self.result.setdefault("timings", {})["bake"] = round(time.monotonic() - start, 3)

    def _breach(self, failure: Failure, moves: List[Move], before: List[Entry], proven: bool) -> None:
        """
        :param proven: whether the release had proven itself before, so that its changed options are to blame.
        :raises Pm2Error: always: with what was seen, and what serves now.
        """
        order = self.order
        reason = "App {0}: {1} {2}".format(
            failure.app,
            "process {0}".format(failure.process.pm_id) if failure.process else "it",
            failure.reason,
        )
        if order.layout and order.release and not proven:
            judge(order.layout, order.release, "bad", order.by, reason, False)
        details: Dict[str, Any] = {
            **self.result,
            "changed": True,
            "verdict": "bad",
            "failures": [{"app": failure.app, "reason": failure.reason}],
        }
        obstacle = (
            self._no_way_back(self.live_before if before else None) if order.auto_revert else "auto_revert is off"
        )
        if obstacle:
            self._disarm()
            serves = STILL_SERVES.format(obstacle)
        else:
            serves = self._revert(moves, before) if before else self._go_back()
        raise Pm2Error("{0}. {1}".format(reason.rstrip("."), serves), **details, serves=serves)

    def _no_way_back(self, target: Optional[str]) -> Optional[str]:
        """
        :param target: the release to go back to; by default the last proven one.
        """
        now = read(self.order.layout) if self.order.layout else None
        target = target or (now.rollback_target() if now else None)
        return _migrations.obstacle(now.events, target) if now and target else None

    def _go_back(self) -> str:
        """For a watch that an earlier run began, and with it what was before: back to the last proven release."""
        order = self.order
        target, record = _earlier(order.layout, self.awaiting) if order.layout else (None, None)
        if not record:
            self._disarm()
            return STILL_SERVES.format(NOTHING_BEFORE)
        entries = [{**entry, "state": None} for entry in record.apps]
        return self._serve_again(
            lambda earlier: earlier.run([]),
            apps=declared_apps(entries, ONLINE, self.settings),
            entries=record.apps,
            release=target,
            min_healthy_time=REVERT_HEALTHY_TIME,
            healthy_deadline=REVERT_DEADLINE,
        )

    def _revert(self, moves: List[Move], before: List[Entry]) -> str:
        """Bring back what ran before, beside what runs now."""
        order = self.order
        processes = self.client.processes()
        back = backward(moves, before, processes, self.preloads, self.home)
        leaving = [
            item
            for move in moves
            if move.name not in {entry["name"] for entry in before}
            for item in of_app(processes, move.name)
        ]
        return self._serve_again(
            lambda earlier: earlier._transact(earlier._from_standbys(back), leaving),
            apps=order.apps,
            entries=self.record_before.apps if self.record_before else [],
            release=self.live_before,
        )

    def _from_standbys(self, back: List[Move]) -> List[Move]:
        warm = self._warm([move.name for move in back])
        return [self._back_to_standby(move, warm) for move in back]

    def _back_to_standby(self, move: Move, warm: List[Standby]) -> Move:
        """What was replaced just now may still run."""
        for standby in warm:
            own = standby.among(self.client.everything())
            colour = move.handover.colour if move.handover else None
            is_whole = len(own) == len(move.definitions) and all(item.is_running() for item in own)
            if standby.name == move.name and standby.colour == colour and is_whole:
                return dataclasses.replace(move, proof=WARM, rules=warm_rules(move.rules))
        return move

    def _serve_again(self, do: "Callable[[_Run], Any]", **what: Any) -> str:
        order = self.order
        earlier = _Run(
            Order(layout=order.layout, rollback=True, by=order.by, reason="revert", keep=order.keep, **what),
            self.settings,
            self.client,
            self.preloads,
        )
        start = time.monotonic()
        try:
            do(earlier)
        except Pm2Error as error:
            return "It could not be reverted: {0}".format(error.message)
        finally:
            self.result.setdefault("timings", {})["revert"] = round(time.monotonic() - start, 3)
        if order.layout:
            drop_unless_run_so(self.home, order.layout)
        return "{0} serves again.".format(earlier.order.release or "What ran before")


def _serves(moves: List[Move], processes: List[Process]) -> str:
    """What serves after a candidate was taken back."""
    parts = []
    for move in moves:
        own = [item for item in of_app(processes, move.name) if item.is_running()]
        if not move.old:
            continue
        same = {item.pid for item in own} >= {item.pid for item in move.old if item.pid}
        parts.append(
            "{0} ({1})".format(
                move.name, "untouched, the same processes" if same and own else "started again" if own else "DOWN"
            )
        )
    return (
        "What served before serves: {0}.".format(", ".join(parts)) if parts else "Nothing ran before, nothing runs now."
    )
