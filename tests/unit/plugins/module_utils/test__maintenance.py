"""Where maintenance is kept, and what a HAProxy that starts makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils import _maintenance
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error

BACKEND = "zerodown_web"


def test_it_is_kept_for_the_user_of_the_socket() -> None:
    kept = _maintenance.default_state_file("/run/haproxy/zerodown-shop.sock", BACKEND)
    assert kept == "/var/lib/zerodown-proxy/shop/zerodown_web_maintenance"


@pytest.mark.parametrize("socket", ["/run/haproxy/admin.sock", "/run/haproxy/zerodown-../x.sock", ""])
def test_any_other_socket_says_nothing(socket: str) -> None:
    assert _maintenance.default_state_file(socket, BACKEND) is None


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "state"
    assert not _maintenance.is_kept(str(path), BACKEND)
    _maintenance.keep(str(path), BACKEND, True)
    assert _maintenance.is_kept(str(path), BACKEND)
    assert not _maintenance.is_kept(str(path), "other")
    # HAProxy reads it as root, its user may read it too
    assert path.stat().st_mode & 0o777 == 0o644
    _maintenance.keep(str(path), BACKEND, False)
    assert not _maintenance.is_kept(str(path), BACKEND)


def test_another_number_of_the_backend_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "state"
    _maintenance.keep(str(path), BACKEND, True)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], "7" + lines[2][1:]]) + "\n")
    assert _maintenance.is_kept(str(path), BACKEND)


def test_a_directory_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(Pm2Error, match="cannot be written"):
        _maintenance.keep(str(tmp_path / "none" / "state"), BACKEND, True)
