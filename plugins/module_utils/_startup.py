# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Registering a PM2 daemon with systemd: what is there, what should be, and carrying the difference out."""

from __future__ import annotations

import contextlib
import os
import pwd
import sys
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Callable, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils import _dump
from ansible_collections.zerodown.pm2.plugins.module_utils._boot_program import FILE_NAME, build
from ansible_collections.zerodown.pm2.plugins.module_utils._client import Client, connect
from ansible_collections.zerodown.pm2.plugins.module_utils._daemon import daemon_environment, make_home
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import CommandError, DaemonNotRunning, Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import Pm2Install
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import write_atomic
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home, user_name
from ansible_collections.zerodown.pm2.plugins.module_utils._owner import as_user
from ansible_collections.zerodown.pm2.plugins.module_utils._resurrect import wait_until_back
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc
from ansible_collections.zerodown.pm2.plugins.module_utils._save import save
from ansible_collections.zerodown.pm2.plugins.module_utils._systemd import (
    SYSTEM,
    USER,
    Systemd,
    UnitState,
    is_booted,
    lingers,
    pm2_own_units,
    read_text,
    set_linger,
    unit_directory,
    units_in,
    wait_for_user_manager,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._unit import UnitSpec, mark_of, pm2_own_home, render

JOURNAL_LINES = 15
MANAGER_TIMEOUT = 15.0
# beyond what the unit itself grants
PATIENCE = 15


@dataclass(frozen=True)
class Registration:
    """Which unit is meant.

    :ivar scope: ``system`` or ``user``.
    :ivar unit: with ``.service``.
    """

    scope: str
    user: str
    home: Home
    unit: str

    @property
    def path(self) -> str:
        return os.path.join(unit_directory(self.scope, self.user), self.unit)

    @property
    def program(self) -> str:
        """Where our boot program lies; one for all units of the scope."""
        if self.scope == SYSTEM:
            return os.path.join("/usr/local/lib/zerodown-pm2", FILE_NAME)
        return os.path.join(pwd.getpwnam(self.user).pw_dir, ".local/lib/zerodown-pm2", FILE_NAME)

    def do(self, work: Callable[[], Any]) -> Any:
        """Something with the rights that the unit's files and manager ask for."""
        return work() if self.scope == SYSTEM else as_user(self.user, work)

    def systemd(self) -> Systemd:
        return Systemd(self.scope)


@dataclass(frozen=True)
class Found:
    """What is there.

    :ivar text: of the unit file; empty when there is none.
    :ivar linger_by_us: lingering was turned on by the unit that is there.
    :ivar replaces: paths of units that ``pm2 startup`` wrote for the same PM2_HOME; one may lie at our own path.
    :ivar program: the boot program's bytes; empty when there is none.
    """

    text: str
    linger_by_us: bool
    replaces: List[str]
    program: bytes
    state: UnitState
    lingers: bool
    has_home: bool


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    :ivar home: PM2_HOME is to be made.
    :ivar remove: paths of units to remove, all written by ``pm2 startup``.
    """

    home: bool
    linger: bool
    program: bool
    unit: bool
    remove: List[str]
    enable: bool
    disable: bool

    def changes(self) -> bool:
        return any((self.home, self.linger, self.program, self.unit, self.remove, self.enable, self.disable))


def check_host(scope: str, user: str) -> None:
    """Refuse what cannot work, before anything else.

    :raises Pm2Error: no systemd, or not the rights.
    """
    if not is_booted():
        raise Pm2Error(
            "systemd is not the init system of this host, so a daemon cannot be registered with it; start it with the "
            "module zerodown.pm2.daemon instead."
        )
    if scope == SYSTEM and os.geteuid() != 0:
        raise Pm2Error(
            "A unit in system scope can only be managed by root; run the task with become: true, or use scope: user."
        )
    if scope == USER and os.geteuid() != 0 and user_name(os.geteuid()) != user:
        raise Pm2Error(
            "A unit of user {0} can be managed by {0} or by root, not by {1}; set become_user.".format(
                user, user_name(os.geteuid())
            )
        )


def check_access(registration: Registration, install: Pm2Install) -> None:
    """Refuse a Node or PM2 that the user cannot run, say one below /root.

    :raises Pm2Error: naming the path.
    """
    wanted = [(install.node, os.X_OK), (install.daemon_script, os.R_OK)]
    refused = as_user(registration.user, lambda: [path for path, mode in wanted if not os.access(path, mode)])
    if refused:
        raise Pm2Error(
            "User {0} may not use {1}; install it where everybody can read it or set {2}.".format(
                registration.user,
                refused[0],
                "node_executable" if refused[0] == install.node else "pm2_executable",
            )
        )
    try:
        owner = os.stat(registration.home.path).st_uid
    except FileNotFoundError:
        return
    if owner != pwd.getpwnam(registration.user).pw_uid:
        raise Pm2Error(
            "PM2_HOME {0} belongs to user {1}, but the unit runs as {2}; set user or pm2_home.".format(
                registration.home.path, user_name(owner), registration.user
            )
        )


def unit_text(
    registration: Registration, install: Pm2Install, settings: UnitSpec, linger_by_us: bool, writable: List[str]
) -> str:
    """The unit file as it should be.

    :param settings: what the task says; paths and environment are filled in here.
    :param writable: absolute paths that the sandbox leaves open; PM2_HOME always is.
    """
    open_paths = [registration.home.path, *writable] if registration.scope == SYSTEM else []
    spec = replace(
        settings,
        home=registration.home.path,
        user=registration.user if registration.scope == SYSTEM else None,
        group=_group(registration.user),
        node=install.node,
        daemon_script=stable_daemon_script(install),
        pm2=install.executable,
        program=[sys.executable, "-I", registration.program],
        environment={
            **daemon_environment(registration.home, install.node, registration.user),
            **settings.environment,
        },
        linger=linger_by_us,
        writable=open_paths,
    )
    return render(spec)


def stable_daemon_script(install: Pm2Install) -> str:
    """The daemon's file, by the way the executable was found and not by where all links end: in
    ``/opt/pm2/current/lib/…`` the word *current* must go on meaning what it will mean after the next upgrade."""
    path = install.executable
    while os.path.islink(path):
        path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
    found = os.path.join(os.path.dirname(os.path.dirname(path)), "lib", "Daemon.js")
    # leaving out ".." is wrong where a directory on the way is a link itself
    return found if os.path.realpath(found) == os.path.realpath(install.daemon_script) else install.daemon_script


def _group(user: str) -> str:
    # the number: a group's name may be missing from the database
    return str(pwd.getpwnam(user).pw_gid)


def look(registration: Registration) -> Found:
    """:raises Pm2Error: the unit's name is taken by somebody else's unit."""
    text = registration.do(lambda: read_text(registration.path)) or ""
    mark = mark_of(text)
    own_by_pm2 = pm2_own_home(text) is not None
    if text and mark is None and not own_by_pm2:
        raise Pm2Error(
            "The unit {0} was not written by this module; remove it or choose another name.".format(registration.path)
        )
    if mark is not None and mark.home != registration.home.path:
        raise Pm2Error(
            "The unit {0} is for PM2_HOME {1}; choose another name or remove that one first (state: absent).".format(
                registration.path, mark.home
            )
        )
    state = _state(registration)
    if not text and state.path and state.path != registration.path:
        raise Pm2Error(
            "{0} is the name of another unit, {1}, which would be hidden; choose another name.".format(
                registration.unit, state.path
            )
        )
    others = pm2_own_units(registration.home) if registration.scope == SYSTEM else []
    return Found(
        text=text,
        linger_by_us=mark is not None and mark.linger,
        replaces=([registration.path] if own_by_pm2 else []) + [path for path in others if path != registration.path],
        program=bytes.fromhex(registration.do(lambda: _read(registration.program).hex())),
        state=state,
        lingers=lingers(registration.user),
        has_home=registration.home.exists(),
    )


def _has_manager(registration: Registration) -> bool:
    """Whether systemctl can be asked: the manager of a user who neither lingers nor is logged in does not run."""
    return registration.scope == SYSTEM or wait_for_user_manager(pwd.getpwnam(registration.user).pw_uid, 0)


def _state(registration: Registration) -> UnitState:
    if not _has_manager(registration):
        link = os.path.join(os.path.dirname(registration.path), "default.target.wants", registration.unit)
        enabled = registration.do(lambda: os.path.islink(link))
        return UnitState(active="inactive", enabled="enabled" if enabled else "", main_pid=0, age=None, path="")
    return UnitState(**registration.do(lambda: asdict(registration.systemd().state(registration.unit))))


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return b""


def plan(registration: Registration, found: Found, text: str, enabled: bool) -> Plan:
    """What to do so that this unit is there, and starts at boot or does not."""
    is_enabled = found.state.enabled.startswith("enabled")
    return Plan(
        home=not found.has_home,
        linger=registration.scope == USER and not found.lingers,
        program=found.program != build(),
        unit=found.text != text,
        remove=[path for path in found.replaces if path != registration.path],
        enable=enabled and not is_enabled,
        disable=not enabled and is_enabled,
    )


def apply(registration: Registration, todo: Plan, text: str) -> None:
    """Carry a plan out. The daemon and its apps are not touched.

    :raises Pm2Error: naming what could not be done.
    """
    systemd = registration.systemd()
    if todo.home:
        as_user(registration.user, lambda: make_home(registration.home))
    if todo.linger:
        _turn_linger_on(registration.user)
    if registration.scope == USER and not wait_for_user_manager(
        pwd.getpwnam(registration.user).pw_uid, MANAGER_TIMEOUT
    ):
        raise Pm2Error(
            "The systemd manager of user {0} did not come up within {1:g} s; look at the journal of user@{2}.service "
            "(is libpam-systemd installed?).".format(
                registration.user, MANAGER_TIMEOUT, pwd.getpwnam(registration.user).pw_uid
            )
        )
    if todo.program:
        # packed here: the user may not read the module that root runs
        program = build()
        registration.do(lambda: _write(registration.program, program, 0o644))
    if todo.unit:
        registration.do(lambda: _write(registration.path, text.encode("utf-8"), 0o644))
    for path in todo.remove:
        systemd.disable(os.path.basename(path))
        os.unlink(path)
    if todo.unit or todo.remove:
        registration.do(systemd.reload)
    if todo.enable:
        registration.do(lambda: systemd.enable(registration.unit))
    if todo.disable:
        registration.do(lambda: systemd.disable(registration.unit))


def _turn_linger_on(user: str) -> None:
    try:
        set_linger(user, True)
    except CommandError as error:
        raise Pm2Error(
            "Lingering could not be turned on for user {0} ({1}); do it once as root: loginctl enable-linger "
            "{0}.".format(user, error.message.rstrip("."))
        ) from error


def _write(path: str, data: bytes, mode: int) -> None:
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    write_atomic(path, data, mode)


# proving -----------------------------------------------------------------------------------------------------


def needs_start(registration: Registration, unit_changes: bool) -> Optional[str]:
    """Why the unit must be (re)started to prove it, as a sentence; ``None`` when its daemon runs as the unit says.

    :param unit_changes: this run changes the unit, or would.
    """
    state = _state(registration)
    pid = as_user(registration.user, lambda: _daemon_pid(registration.home))
    if not pid:
        return "No daemon runs."
    if state.active not in ("active", "activating", "reloading") or state.main_pid != pid:
        return "The daemon (pid {0}) runs outside of the unit.".format(pid)
    if unit_changes:
        return "The unit changed."
    written = time.time() - registration.do(lambda: os.stat(registration.path).st_mtime)
    if state.age is not None and written < state.age:
        return "The daemon was started before the unit was last changed."
    return None


def _daemon_pid(home: Home) -> int:
    try:
        return Rpc(home.rpc_socket).daemon_pid()
    except DaemonNotRunning:
        return 0


def start_and_prove(registration: Registration, install: Pm2Install, timeout: float) -> None:
    """(Re)start the unit and look whether every saved process comes back. What runs is saved first.

    :param timeout: seconds that systemd grants the unit to stop and to start, see :func:`patience`.
    :raises Pm2Error: the unit does not start (details ``journal``), or not everything came back.
    """
    as_user(registration.user, lambda: _save_if_running(registration.home, install))
    systemd = registration.systemd()
    try:
        # a unit that was given up is started as if nothing had been; one that never failed says so, which is no error
        registration.do(lambda: systemd.forget_failure(registration.unit))
        registration.do(lambda: systemd.restart(registration.unit, timeout))
    except Pm2Error as error:
        raise Pm2Error(
            "The unit {0} could not be started ({1}); see journal.".format(
                registration.unit, error.message.rstrip(".")
            ),
            journal=registration.do(lambda: systemd.journal(registration.unit, JOURNAL_LINES)),
        ) from error
    lost = not_back(registration, install, timeout)
    if lost:
        raise Pm2Error(
            "The unit {0} runs, but not every saved process came back: {1}".format(registration.unit, " ".join(lost)),
            journal=registration.do(lambda: systemd.journal(registration.unit, JOURNAL_LINES)),
        )
    pid = as_user(registration.user, lambda: _daemon_pid(registration.home))
    if pid != _state(registration).main_pid:
        raise Pm2Error(
            "The daemon that answers (pid {0}) is not that of {1}; somebody started another one in between.".format(
                pid, registration.unit
            )
        )


def not_back(registration: Registration, install: Pm2Install, timeout: float) -> List[str]:
    """A sentence for each saved process that shall run and does not stay up; empty when all is well."""
    result: List[str] = as_user(registration.user, lambda: _not_back(registration.home, install, timeout))
    return result


def _not_back(home: Home, install: Pm2Install, timeout: float) -> List[str]:
    return wait_until_back(_client(home, install), _dump.load(home).entries, timeout)


def _save_if_running(home: Home, install: Pm2Install) -> None:
    client = _client(home, install)
    if client.is_running():
        save(home, client)


def _client(home: Home, install: Pm2Install) -> Client:
    return connect(home, lambda: install, lambda _sentence: None)


def patience(settings: UnitSpec) -> float:
    """Seconds for a stop and a start with all that systemd grants them."""
    return 2.0 * settings.stop_timeout + 2.0 * settings.start_timeout + PATIENCE


# removing ----------------------------------------------------------------------------------------------------


def remove(registration: Registration, found: Found, timeout: float) -> None:
    """Stop the daemon if it is the unit's, and leave nothing behind but PM2_HOME.

    :param timeout: seconds for the stop.
    """
    own = [registration.path] if found.text else []
    for path in own + [path for path in found.replaces if path not in own]:
        registration.do(partial(_remove_unit, path, registration.systemd(), _has_manager(registration), timeout))
    if not program_in_use(registration):
        registration.do(lambda: _unlink(registration.program))
    if registration.scope == USER:
        home = pwd.getpwnam(registration.user).pw_dir
        registration.do(lambda: _remove_empty(os.path.dirname(registration.path), home))
        if found.linger_by_us:
            set_linger(registration.user, False)


def _remove_unit(path: str, systemd: Systemd, has_manager: bool, timeout: float) -> None:
    name = os.path.basename(path)
    if has_manager:
        systemd.stop(name, timeout)
        systemd.disable(name)
    else:
        _unlink(os.path.join(os.path.dirname(path), "default.target.wants", name))
    _unlink(path)
    if has_manager:
        systemd.reload()
        systemd.forget_failure(name)


def program_in_use(registration: Registration) -> bool:
    """Whether another unit of the scope runs our boot program."""
    directory = os.path.dirname(registration.path)
    return bool(
        registration.do(
            lambda: any(registration.program in text for path, text in units_in(directory) if path != registration.path)
        )
    )


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    if os.path.basename(path) == FILE_NAME:
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(path))


def _remove_empty(directory: str, root: str) -> None:
    """Remove directories that are empty now, up to but without ``root``."""
    with contextlib.suppress(OSError):
        os.rmdir(os.path.join(directory, "default.target.wants"))
    while directory.startswith(root.rstrip("/") + "/"):
        try:
            os.rmdir(directory)
        except OSError:
            return
        directory = os.path.dirname(directory)
