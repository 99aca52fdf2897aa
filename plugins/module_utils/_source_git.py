# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A release from git: which commit is meant, a bare mirror that is fetched into, the commit's files without their
history."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import tempfile
import urllib.parse
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils import _tree
from ansible_collections.zerodown.pm2.plugins.module_utils._command import Completed, run
from ansible_collections.zerodown.pm2.plugins.module_utils._environment import base_environment
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import CommandError, Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._executables import which
from ansible_collections.zerodown.pm2.plugins.module_utils._fs import inside

_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_ABBREVIATED = re.compile(r"[0-9a-f]{4,40}\Z")
# git-check-ref-format(1), and nothing that could be taken for an option
_VERSION = re.compile(r"(?!-)[^\x00-\x20\x7f~^:?*\[\\]+\Z")

_TELLING = re.compile(r"^(fatal|error|ssh): |^Host key|^No .* host key|Permission denied")


@dataclass(frozen=True)
class GitSource:
    """:ivar mirror: the bare repository on the host.
    :ivar key: content of a private key.
    :ivar known_hosts: content; None for what the user and the host know.
    :ivar check: leave no trace, not even the key of a new host in the user's known_hosts.
    :ivar timeout: seconds for each run of git.
    """

    repo: str
    mirror: str
    version: str = "HEAD"
    depth: Optional[int] = None
    submodules: bool = False
    subdirectory: Optional[str] = None
    key: Optional[str] = None
    key_file: Optional[str] = None
    known_hosts: Optional[str] = None
    accept_new_host: bool = False
    check: bool = False
    timeout: float = 600.0

    kind = "git"

    def __post_init__(self) -> None:
        """:raises Pm2Error: an address or version that git must not see."""
        if self.repo.startswith("-") or "::" in self.repo.split("/")[0] or re.search(r"[\x00-\x1f]", self.repo):
            raise Pm2Error("{0!r} is not the address of a git repository; use https, ssh or a path.".format(self.repo))
        if not _VERSION.match(self.version) or ".." in self.version:
            raise Pm2Error("{0!r} is not the name of a branch, tag or commit.".format(self.version))
        for value in (self.key_file, self.mirror):
            if value and re.search(r'["\n]', value):
                raise Pm2Error("The path {0!r} has a quote or line end in it; use another one.".format(value))

    def shape(self) -> Dict[str, Any]:
        """What makes two releases of one commit different."""
        return {"submodules": self.submodules, "subdirectory": self.subdirectory or ""}

    def describe(self) -> Dict[str, Any]:
        return {"type": "git", "repo": self.address, "version": self.version, "subdirectory": self.subdirectory}

    @property
    def address(self) -> str:
        """``repo`` without user and password where it is an https address."""
        return split_credentials(self.repo)[0]

    def revision(self) -> Tuple[str, bool]:
        """The commit that ``version`` means in the repository right now, and whether that is certain.

        Asks the repository (``git ls-remote``) and changes nothing. A commit that no branch or tag names is looked up
        in the mirror.

        :raises Pm2Error: unreachable, or there is no such branch or tag.
        """
        with self._session() as session:
            references = session.references()
            commit = _resolve(references, self.version)
            if commit:
                return commit, True
            if not _ABBREVIATED.match(self.version):
                raise Pm2Error(_unknown(self, references))
            known = session.in_mirror(self.version)
            return known or self.version, bool(known)

    def fetch(self, revision: str) -> str:
        """Have the commit in the mirror.

        :param revision: as :meth:`revision` gave it.
        :returns: the whole commit.
        :raises Pm2Error: it cannot be fetched, or there is no such commit.
        """
        with self._session() as session:
            return session.in_mirror(revision) or session.fetch(revision)

    def write(self, revision: str, target: str) -> None:
        """Put the files of a fetched commit into the empty directory ``target``.

        :raises Pm2Error: no such subdirectory, a submodule cannot be had, or the disk is full.
        """
        with self._session() as session:
            if self.submodules:
                session.clone_into(revision, target)
            else:
                session.check_out(revision, target)

    @contextlib.contextmanager
    def _session(self) -> Iterator["_Session"]:
        git = which("git")
        if not git:
            raise Pm2Error("git was not found on PATH; install the package git.")
        address, user, password = split_credentials(self.repo)
        # no secret is ever an argument: everyone may read those
        with tempfile.TemporaryDirectory(prefix="zerodown-") as private:
            options = []
            if user is not None:
                path = os.path.join(private, "credentials")
                _write_private(path, _with_credentials(address, user, password or ""))
                # the first one takes the user's own helpers away, which would learn the password
                options = ["-c", "credential.helper=", "-c", "credential.helper=store --file=" + shlex.quote(path)]
            _write_private(os.path.join(private, "ssh_config"), self._ssh_config(private))
            yield _Session(self, [git] + options, address, private)

    def _ssh_config(self, private: str) -> str:
        lines = ["BatchMode yes", "StrictHostKeyChecking " + ("accept-new" if self.accept_new_host else "yes")]
        if self.key:
            _write_private(os.path.join(private, "key"), self.key.replace("\r\n", "\n").rstrip("\n") + "\n")
        key_file = os.path.join(private, "key") if self.key else self.key_file
        if key_file:
            lines += ['IdentityFile "{0}"'.format(key_file), "IdentitiesOnly yes", "IdentityAgent none"]
        if self.known_hosts:
            _write_private(os.path.join(private, "known_hosts"), self.known_hosts.rstrip("\n") + "\n")
            lines += [
                'UserKnownHostsFile "{0}"'.format(os.path.join(private, "known_hosts")),
                "GlobalKnownHostsFile /dev/null",
            ]
        elif self.check:
            # ssh writes to the first one
            lines.append('UserKnownHostsFile "{0}" ~/.ssh/known_hosts'.format(os.path.join(private, "known_hosts")))
        # what comes first wins, ssh_config(5)
        return "\n".join(lines + ["Include ~/.ssh/config", "Match all", "Include /etc/ssh/ssh_config", ""])


class _Session:
    """git, with the private files that one or more runs of it need."""

    def __init__(self, source: GitSource, git: List[str], address: str, private: str) -> None:
        self.source = source
        self.git = git
        self.address = address
        self.private = private

    def run(self, *arguments: str, check: bool = True, cwd: str = "/", **variables: str) -> Completed:
        env = base_environment()
        env.update(
            GIT_TERMINAL_PROMPT="0",
            # git has sh split this; the only path in it is ours
            GIT_SSH_COMMAND="ssh -F " + shlex.quote(os.path.join(self.private, "ssh_config")),
            # no ext:: or other helpers, neither asked for nor out of a .gitmodules
            GIT_ALLOW_PROTOCOL="https:http:ssh:git" + (":file" if _is_local(self.address) else ""),
            GIT_LFS_SKIP_SMUDGE="0",
        )
        env.update(variables)
        return run(self.git + list(arguments), env, cwd=cwd, timeout=self.source.timeout, check=check)

    def references(self) -> Dict[str, str]:
        """Name to commit; an annotated tag is followed to its commit."""
        try:
            listed = self.run("ls-remote", "--", self.address)
        except CommandError as error:
            raise Pm2Error(
                "The repository {0} cannot be read: {1}; check address, network, key and known host keys.".format(
                    self.address, _reason(error)
                ),
                **error.details,
            ) from error
        found: Dict[str, str] = {}
        for line in listed.stdout.splitlines():
            commit, _tab, name = line.partition("\t")
            # the peeled one comes after the tag itself and replaces it
            found[name[:-3] if name.endswith("^{}") else name] = commit
        return found

    def in_mirror(self, revision: str) -> Optional[str]:
        """The whole commit, when it is there with all of its files.

        That it is there does not mean that: a fetch that was killed may have brought it and not its files. So this
        asks as git-fetch itself does (git's connected.c).
        """
        if not os.path.isdir(self.source.mirror):
            return None
        parsed = self._in_mirror("rev-parse", "--quiet", "--verify", revision + "^{commit}", check=False)
        commit = parsed.stdout.strip()
        if parsed.rc != 0:
            return None
        complete = self._in_mirror("rev-list", "--objects", "--quiet", commit, "--not", "--all", check=False)
        return commit if complete.rc == 0 else None

    def _in_mirror(self, *arguments: str, check: bool = True) -> Completed:
        # nothing may go on working on the mirror when we have ended
        quiet = ["-c", "gc.autoDetach=false", "-c", "maintenance.autoDetach=false"]
        return self.run("--git-dir", self.source.mirror, *quiet, *arguments, check=check)

    def fetch(self, revision: str) -> str:
        mirror = self.source.mirror
        depth = [] if self.source.depth is None else ["--depth", str(self.source.depth)]
        # by its hash a commit can be had from most servers, also when no branch or tag leads to it
        attempts = [["+{0}:refs/zerodown/{0}".format(revision)]] if _COMMIT.match(revision) else []
        if not depth:
            attempts.insert(0, ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"])
        elif not attempts:
            raise Pm2Error("With depth the commit must have all of its 40 digits, and {0!r} has not.".format(revision))
        with self._shown():
            if not os.path.isdir(mirror):
                self.run("init", "--quiet", "--bare", mirror)
            for references in attempts:
                # the mirror names no remote: the address may change from one run to the next
                self._in_mirror(
                    "fetch", "--quiet", "--no-tags", "--prune", "--force", *depth, "--", self.address, *references
                )
                found = self.in_mirror(revision)
                if found:
                    return found
        raise Pm2Error("The repository {0} has no commit {1!r}.".format(self.address, revision))

    def check_out(self, revision: str, target: str) -> None:
        """``read-tree -u`` as in git-worktree(1), with an index of its own, so that ``target`` gets no ``.git``. Not
        ``git archive``: that leaves out what .gitattributes marks export-ignore, tests among it."""
        tree = revision + ":" + self._subdirectory()
        if self._in_mirror("cat-file", "-e", tree, check=False).rc != 0:
            raise Pm2Error(
                "Commit {0} of {1} has no directory {2!r}.".format(revision, self.address, self.source.subdirectory)
            )
        index = os.path.join(self.private, "index")
        with self._shown():
            self.run(
                "--git-dir", self.source.mirror, "--work-tree", target, "read-tree", "--reset", "-u", tree,
                cwd=target, GIT_INDEX_FILE=index,
            )  # fmt: skip

    def clone_into(self, revision: str, target: str) -> None:
        """Submodules need a repository around them: one that borrows the mirror's objects, and is thrown away."""
        clone = target + ".clone"
        _tree.remove(clone)
        try:
            with self._shown():
                self.run("clone", "--quiet", "--shared", "--no-checkout", "--", self.source.mirror, clone)
                # relative addresses of submodules are relative to this one
                self.run("config", "remote.origin.url", self.address, cwd=clone)
                self.run("checkout", "--quiet", "--detach", revision, cwd=clone)
                depth = [] if self.source.depth is None else ["--depth", str(self.source.depth)]
                self.run("submodule", "--quiet", "update", "--init", "--recursive", *depth, cwd=clone)
            origin = inside(clone, self._subdirectory() or ".", "subdirectory")
            if not os.path.isdir(origin):
                raise Pm2Error(
                    "Commit {0} of {1} has no directory {2!r}.".format(revision, self.address, self.source.subdirectory)
                )
            _tree.copy(origin, target, [".git"])
        finally:
            _tree.remove(clone)

    def _subdirectory(self) -> str:
        path = os.path.normpath(self.source.subdirectory or ".")
        if os.path.isabs(path) or path.split("/")[0] == "..":
            raise Pm2Error("The subdirectory {0!r} must lie in the repository.".format(self.source.subdirectory))
        return "" if path == "." else path

    @contextlib.contextmanager
    def _shown(self) -> Iterator[None]:
        """git's own last line says more than its return code."""
        try:
            yield
        except CommandError as error:
            raise Pm2Error(
                "git could not get {0} of {1}: {2}.".format(self.source.version, self.address, _reason(error)),
                **error.details,
            ) from error


def _resolve(references: Dict[str, str], version: str) -> Optional[str]:
    """:raises Pm2Error: a branch and a tag of this name are different commits."""
    if version in references:
        return references[version]
    branch, tag = references.get("refs/heads/" + version), references.get("refs/tags/" + version)
    if branch and tag and branch != tag:
        raise Pm2Error("{0!r} is a branch and a tag; write refs/heads/{0} or refs/tags/{0}.".format(version))
    return branch or tag


def _unknown(source: GitSource, references: Dict[str, str]) -> str:
    names = sorted(name[len("refs/heads/") :] for name in references if name.startswith("refs/heads/"))
    return "The repository {0} has no branch, tag or commit {1!r}; its branches are: {2}.".format(
        source.address, source.version, ", ".join(names[:10]) or "none, it is empty"
    )


def _reason(error: CommandError) -> str:
    """The first line that tells something, of ssh or of git; what comes after is advice."""
    lines = [str(line).strip() for line in error.details.get("stderr_tail", []) if str(line).strip()]
    telling = [line for line in lines if _TELLING.search(line)] or lines
    return telling[0].rstrip(".") if telling else error.message.rstrip(".")


def _is_local(address: str) -> bool:
    return address.startswith(("/", "file://"))


def split_credentials(repo: str) -> Tuple[str, Optional[str], Optional[str]]:
    """Address, user, password. The user of ssh is no secret and stays in."""
    if not repo.lower().startswith(("http://", "https://")):
        return repo, None, None
    parts = urllib.parse.urlsplit(repo)
    _login, at, host = parts.netloc.rpartition("@")
    if not at:
        return repo, None, None
    address = urllib.parse.urlunsplit(parts._replace(netloc=host))
    return address, urllib.parse.unquote(parts.username or ""), urllib.parse.unquote(parts.password or "")


def _with_credentials(address: str, user: str, password: str) -> str:
    """A line of git-credential-store(1)."""
    parts = urllib.parse.urlsplit(address)
    login = "{0}:{1}@".format(urllib.parse.quote(user, safe=""), urllib.parse.quote(password, safe=""))
    return urllib.parse.urlunsplit((parts.scheme, login + parts.netloc, "", "", "")) + "\n"


def _write_private(path: str, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
