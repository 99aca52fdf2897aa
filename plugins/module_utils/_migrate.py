# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a migration of an app, once for a release."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from typing import Any, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils import _deploy_log, _dotenv
from ansible_collections.zerodown.pm2.plugins.module_utils._activate import may_go_live
from ansible_collections.zerodown.pm2.plugins.module_utils._command import TAIL_LINES, run
from ansible_collections.zerodown.pm2.plugins.module_utils._environment import base_environment
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import CommandError, Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import which
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import excerpt, inside, locked, write_atomic
from ansible_collections.zerodown.pm2.plugins.module_utils._migrations import EVENT, of_release
from ansible_collections.zerodown.pm2.plugins.module_utils._release import PRIVATE, Layout, Overview, Release
from ansible_collections.zerodown.pm2.plugins.module_utils._secrets import secret_values
from ansible_collections.zerodown.pm2.plugins.module_utils._stage import ENV_FILE, read

FORMAT = 1
# what another run may take beside its migration (seconds)
LOCK_MARGIN = 60.0
# beside the TAIL_LINES last ones
HEAD_LINES = 10


@dataclass(frozen=True)
class Migration:
    """As it is declared.

    :ivar kind: its class.
    :ivar noted: whether it is only written down, because another host runs it.
    :ivar env: all that it finds beside the base.
    :ivar directory: relative to the release.
    :ivar timeout: seconds.
    """

    name: str
    kind: str
    noted: bool
    argv: List[str]
    env: Dict[str, str]
    directory: str
    timeout: float
    node_executable: Optional[str] = None


def path_of(release: Release) -> str:
    """What was run for this release."""
    return os.path.join(release.path, PRIVATE, "migrations.json")


def log_of(release: Release) -> str:
    return os.path.join(release.path, PRIVATE, "migrations.log")


def read_done(release: Release) -> List[Dict[str, Any]]:
    """``name``, ``class``, ``time``, ``seconds`` (None for one that another host ran), in the order of time.

    :raises Pm2Error: it is there and cannot be used.
    """
    path = path_of(release)
    try:
        with open(path, encoding="utf-8") as stream:
            content = json.load(stream)
        if content["format"] != FORMAT:
            raise Pm2Error("{0} was written by another version of zerodown.pm2; update the collection.".format(path))
        done: List[Dict[str, Any]] = content["done"]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Pm2Error("{0} cannot be read: {1}.".format(path, error.strerror)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise Pm2Error(
            "{0} is damaged; look into deploys.jsonl which migrations were run, and stage a new release.".format(path)
        ) from error
    return done


def find_release(now: Overview, release_id: str, noted: bool) -> Release:
    """:raises Pm2Error: it is not there, or may not go live, so that nothing should be migrated for it."""
    return now.get(release_id) if noted else may_go_live(now, release_id, False)


def command_of(release: Release, migration: Migration) -> "tuple[str, Dict[str, str]]":
    """Where it is run, and its whole environment.

    :raises Pm2Error: it cannot be run.
    """
    cwd = inside(release.path, migration.directory, "directory of the migration")
    if not os.path.isdir(cwd):
        raise Pm2Error("Release {0} has no directory {1!r} to migrate in.".format(release.id, migration.directory))
    node = which(os.path.expanduser(migration.node_executable)) if migration.node_executable else which("node")
    if migration.node_executable and node is None:
        raise Pm2Error("Node was not found at {0}; correct node_executable.".format(migration.node_executable))
    python = (release.build or {}).get("python")
    path = [os.path.join(python["venv"], "bin")] if python else []
    if node:
        path.append(os.path.dirname(os.path.abspath(node)))
    venv = {"VIRTUAL_ENV": str(python["venv"])} if python else {}
    return cwd, {**base_environment(path), **venv, **migration.env}


def is_done(now: Overview, release: Release, migration: Migration) -> bool:
    """Whether nothing is left to do: it is written down in both places, with this class."""
    wanted = (migration.name, migration.kind)
    logged = [(event["name"], event["class"]) for event in of_release(now.events, release.id)]
    return wanted in logged and wanted in [(entry["name"], entry["class"]) for entry in read_done(release)]


def find(done: List[Dict[str, Any]], name: str) -> Optional[Dict[str, Any]]:
    return next((entry for entry in done if entry["name"] == name), None)


def will_run(done: List[Dict[str, Any]], migration: Migration) -> bool:
    return not migration.noted and find(done, migration.name) is None


def migrate(layout: Layout, release_id: str, migration: Migration, by: str) -> Dict[str, Any]:
    """Run it, or only write down that it was, unless that was done before.

    :returns: ``changed``, ``run``, and ``done``, see :func:`read_done`.
    :raises Pm2Error: it failed: details ``migration``, ``log``, ``output_tail``, ``done``; the next run runs it again.
    """
    what = "migrating " + layout.root
    with locked(layout.migration_lock, migration.timeout + LOCK_MARGIN, what) as lock:
        # another run may have done it while we waited
        now = read(layout)
        release = find_release(now, release_id, migration.noted)
        done = read_done(release)
        if is_done(now, release, migration):
            return {"changed": False, "run": False, "done": done}
        runs = will_run(done, migration)
        entry = find(done, migration.name)
        if entry is None:
            seconds = _run(release, migration, done, lock) if runs else None
            entry = {"name": migration.name, "time": _deploy_log.now(), "seconds": seconds}
        # one that was declared with the wrong class is corrected
        entry = {**entry, "class": migration.kind}
        done = [item for item in done if item["name"] != migration.name] + [entry]
        content = {"format": FORMAT, "done": done}
        write_atomic(path_of(release), (json.dumps(content, indent=2, sort_keys=True) + "\n").encode("utf-8"))
        about = {"name": entry["name"], "class": entry["class"], "seconds": entry["seconds"]}
        _deploy_log.append(layout.log, EVENT, release.id, release.revision, by, about=about)
        return {"changed": True, "run": runs, "done": done}


def secrets_of(release: Release) -> List[str]:
    """What its own file of variables has, which many a tool reads by itself."""
    with contextlib.suppress(OSError, UnicodeDecodeError), open(
        os.path.join(release.path, ENV_FILE), encoding="utf-8"
    ) as stream:
        return sorted(secret_values([_dotenv.decode(stream.read())]))
    return []


def _run(release: Release, migration: Migration, done: List[Dict[str, Any]], lock: int) -> float:
    """
    :param lock: that the migration holds, too: should we be killed, nobody starts it a second time beside itself.
    :returns: the seconds that it took.
    """
    cwd, env = command_of(release, migration)
    path = log_of(release)
    begun = time.monotonic()
    try:
        with open(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab", buffering=0
        ) as log:
            heading = "=== {0} {1}: {2}\n".format(_deploy_log.now(), migration.name, " ".join(migration.argv))
            log.write(heading.encode("utf-8", "replace"))
            start = os.fstat(log.fileno()).st_size
            completed = run(migration.argv, env, cwd, migration.timeout, check=False, output=log, inherits=[lock])
    except OSError as error:
        raise Pm2Error("{0} cannot be written: {1}.".format(path, error.strerror)) from error
    except CommandError as error:
        fault = error.message.rstrip(".")
    else:
        if completed.rc == 0:
            return round(time.monotonic() - begun, 2)
        fault = "return code {0}".format(completed.rc)
    raise Pm2Error(
        "Migration {0!r} of release {1} failed: {2}; all of its output is in {3}. The next run runs it again.".format(
            migration.name, release.id, fault, path
        ),
        changed=True,
        migration=migration.name,
        log=path,
        output_tail=excerpt(path, start, HEAD_LINES, TAIL_LINES),
        done=done,
    )
