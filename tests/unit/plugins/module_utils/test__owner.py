# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work with another user's rights."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._owner import as_user

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def fail() -> None:
    raise Pm2Error("Not today.", where="here")


def test_one_who_is_that_user_already_does_it_directly() -> None:
    assert as_user(pwd.getpwuid(os.geteuid()).pw_name, os.getpid) == os.getpid()


@only_root
def test_root_gives_its_rights_away_for_good(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    nobody = pwd.getpwnam("nobody")

    identity = as_user("nobody", lambda: [list(os.getresuid()), list(os.getresgid()), os.access(tmp_path, os.R_OK)])

    assert identity == [[nobody.pw_uid] * 3, [nobody.pw_gid] * 3, False]
    assert os.geteuid() == 0


@only_root
def test_errors_come_back() -> None:
    with pytest.raises(Pm2Error, match="Not today") as caught:
        as_user("nobody", fail)
    assert caught.value.details == {"where": "here"}

    with pytest.raises(Pm2Error, match="as user nobody failed"):
        as_user("nobody", lambda: 1 / 0)
    with pytest.raises(Pm2Error, match="ended without an answer"):
        as_user("nobody", lambda: os._exit(1))
