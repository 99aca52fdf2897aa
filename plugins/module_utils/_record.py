# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a release was run as: the declaration of its apps, kept in the release, so that a rollback brings back not only
the code but the variables and options that it was proven with."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from typing import Any, Dict, List, Optional

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import sync_directory, write_atomic
from ansible_collections.zerodown.pm2.plugins.module_utils._release import PRIVATE, Layout, read_live

FORMAT = 1


@dataclass(frozen=True)
class Record:
    """
    :ivar apps: the options of each app as the module was given them; secrets included: never return or print it.
    :ivar node: path of the Node that was declared or found.
    :ivar node_version: of the daemon's Node.
    """

    apps: List[Dict[str, Any]]
    node: Optional[str]
    node_version: Optional[str]


def path_of(layout: Layout, release_id: str) -> str:
    return os.path.join(layout.release(release_id), PRIVATE, "apps.json")


def propose(layout: Layout, release_id: str, record: Record) -> None:
    """Write down what a candidate is run as; counts once it is confirmed. Private: it has the app's variables."""
    content = {"format": FORMAT, **vars(record)}
    data = (json.dumps(content, sort_keys=True) + "\n").encode("utf-8")
    write_atomic(_proposal(layout, release_id), data, 0o600)


def confirm(layout: Layout, release_id: str) -> None:
    """The candidate has gone live."""
    with contextlib.suppress(FileNotFoundError):
        os.rename(_proposal(layout, release_id), path_of(layout, release_id))
        sync_directory(os.path.dirname(path_of(layout, release_id)))


def keep(layout: Layout, release_id: str) -> None:
    """The release is about to be run as something else, which somebody is yet to confirm."""
    with open(path_of(layout, release_id), "rb") as stream:
        write_atomic(_before(layout, release_id), stream.read(), 0o600)


def withdraw(layout: Layout, release_id: str) -> None:
    """The candidate was rejected."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_proposal(layout, release_id))


def _proposal(layout: Layout, release_id: str) -> str:
    return path_of(layout, release_id) + ".next"


def _before(layout: Layout, release_id: str) -> str:
    return path_of(layout, release_id) + ".before"


def read(layout: Layout, release_id: str) -> Optional[Record]:
    """``None`` for a release that never was run by a cutover.

    :raises Pm2Error: it is there and cannot be used.
    """
    return _read(path_of(layout, release_id))


def read_before(layout: Layout, release_id: str) -> Optional[Record]:
    """What was kept.

    :raises Pm2Error: it is there and cannot be used.
    """
    return _read(_before(layout, release_id))


def _read(path: str) -> Optional[Record]:
    try:
        with open(path, encoding="utf-8") as stream:
            content: Dict[str, Any] = json.load(stream)
        if content.pop("format") != FORMAT:
            raise Pm2Error("{0} was written by another version of zerodown.pm2; update the collection.".format(path))
        return Record(**content)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Pm2Error("{0} cannot be read: {1}.".format(path, error.strerror)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Pm2Error(
            "{0} is damaged; remove it: to roll back to this release then needs its apps declared.".format(path)
        ) from error


def declared_names(layout: Layout) -> List[str]:
    """The apps of the release that is live."""
    live = read_live(layout)
    record = read(layout, live) if live else None
    return [str(app.get("name")) for app in record.apps] if record else []
