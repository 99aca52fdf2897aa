# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Git, as far as it needs no repository: what is refused, which commit is meant, where credentials go."""

from __future__ import annotations

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._source_git import (
    GitSource,
    _resolve,
    _with_credentials,
    split_credentials,
)

A, B = "a" * 40, "b" * 40


@pytest.mark.parametrize("repo", ["--upload-pack=/bin/sh", "-x", "ext::sh -c id", "fd::3", "https://h/x\ny"])
def test_repositories_that_git_must_not_see(repo: str) -> None:
    with pytest.raises(Pm2Error, match="not the address"):
        GitSource(repo=repo, mirror="/m")


@pytest.mark.parametrize(
    "repo",
    [
        "/srv/git/shop.git",
        "https://[::1]:8443/shop.git",
        "git@host:team/shop.git",
        "ssh://git@host:22/shop",
        "file:///x",
    ],
)
def test_repositories(repo: str) -> None:
    assert GitSource(repo=repo, mirror="/m").address == repo


@pytest.mark.parametrize("version", ["", "-x", "a b", "a..b", "a^", "a~1", "a:b", "a\n", "*", "a?", "a[", "a\\b"])
def test_versions_that_git_must_not_see(version: str) -> None:
    with pytest.raises(Pm2Error, match="branch, tag or commit"):
        GitSource(repo="/r", mirror="/m", version=version)


@pytest.mark.parametrize("version", ["main", "feature/x", "v1.2.3", "refs/heads/main", A, "$(id)", "x;y", "a'b"])
def test_versions(version: str) -> None:
    assert GitSource(repo="/r", mirror="/m", version=version).version == version


@pytest.mark.parametrize(
    ("version", "commit"),
    [("main", A), ("v1", B), ("HEAD", A), ("refs/tags/v1", B), ("same", A), ("nothing", None), ("heads/main", None)],
)
def test_the_commit_that_is_meant(version: str, commit: str | None) -> None:
    references = {
        "HEAD": A,
        "refs/heads/main": A,
        "refs/tags/v1": B,
        "refs/heads/same": A,
        "refs/tags/same": A,
    }
    assert _resolve(references, version) == commit


def test_a_name_for_two_commits_is_refused() -> None:
    with pytest.raises(Pm2Error, match="refs/heads/x or refs/tags/x"):
        _resolve({"refs/heads/x": A, "refs/tags/x": B}, "x")


@pytest.mark.parametrize(
    ("repo", "parts"),
    [
        ("https://h/x.git", ("https://h/x.git", None, None)),
        ("https://token@h/x.git", ("https://h/x.git", "token", "")),
        ("https://u:p%40ss@h:8443/x.git", ("https://h:8443/x.git", "u", "p@ss")),
        ("ssh://git@h/x.git", ("ssh://git@h/x.git", None, None)),
        ("git@h:x.git", ("git@h:x.git", None, None)),
    ],
)
def test_credentials_are_taken_out_of_the_address(repo: str, parts: tuple[str, str | None, str | None]) -> None:
    assert split_credentials(repo) == parts


def test_the_line_for_the_credential_store() -> None:
    assert _with_credentials("https://h:8443/x.git", "u@e", "p/s:") == "https://u%40e:p%2Fs%3A@h:8443\n"


@pytest.mark.parametrize("path", ['/a"b', "/a\nb"])
def test_paths_that_would_break_out_of_their_quotes(path: str) -> None:
    with pytest.raises(Pm2Error, match="quote or line end"):
        GitSource(repo="/r", mirror="/m", key_file=path)
