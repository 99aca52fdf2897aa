# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Event source of ansible-rulebook: pushes to a repository, the newest at a time. One file, because ansible-rulebook
runs it as one."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import hmac
import json
import logging
import os
import re
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from aiohttp import web

DOCUMENTATION = r"""
short_description: Tell when somebody pushed
description:
  - Receives the push webhooks of GitHub, GitLab, Gitea and Forgejo, and keeps the newest push until a playbook takes
    it.
  - The event says only that a push waits. The playbook P(zerodown.pm2.push) takes it when it begins, so that what was
    pushed while it waited is what it deploys, and says when it has ended.
  - C(POST /take) and C(POST /done) are for the playbook, on the socket C(push.sock) in O(state), which only the user
    that ansible-rulebook runs as can open.
options:
  secret:
    description:
      - What the webhook was set up with, of at least 16 characters. By default that of the environment variable
        E(ZERODOWN_PUSH_SECRET).
      - GitHub, Gitea and Forgejo sign with it. GitLab sends it, so it needs TLS on the way.
    type: str
  branches:
    description: The names of the branches whose pushes are told. Others, tags and deletions are ignored.
    type: list
    elements: str
    required: true
  state:
    description:
      - A directory of its own, made if it is not there, for the push that waits and the deliveries that were seen.
      - A push that waited, or whose playbook did not come to its end, is told again at the next start.
    type: path
    required: true
  host:
    description: The address to listen on.
    type: str
    default: 127.0.0.1
  port:
    description: The port to listen on. Any path is taken.
    type: int
    required: true
  certfile:
    description: A certificate, to listen with TLS.
    type: path
  keyfile:
    description: Its private key.
    type: path
"""

EXAMPLES = r"""
- zerodown.pm2.push:
    port: 8080
    branches: [main]
    state: /var/lib/deploy-on-push
"""

# ansible-rulebook gives the module no name
logger = logging.getLogger("zerodown.pm2.push")

SECRET_VARIABLE = "ZERODOWN_PUSH_SECRET"
SECRET_MIN = 16
# GitHub sends no more
BODY_MAX = 25 * 1024 * 1024
# each is a line of 64 characters
SEEN_MAX = 1000
# sun_path, with its end
SOCKET_PATH_MAX = 107
# a playbook that finds nothing ends at once, so that it may be less than a playbook takes
TELL_AGAIN = 600.0
EVENT = {"push": "waits"}


class Refused(Exception):
    """A delivery that is answered with an error."""


# what a delivery says: no effects


@dataclass(frozen=True)
class Push:
    """What the playbook gets. All of it is text of somebody else: it reaches Ansible as the result of a module, which
    is no template there, and never in an event, which would become extra variables, which are."""

    repository: str
    branch: str
    commit: str
    by: str


def is_authentic(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    """:param headers: with names in lower case, as everywhere here."""
    if "x-hub-signature-256" in headers:
        expected = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        return _equal(headers["x-hub-signature-256"], expected)
    return _equal(headers.get("x-gitlab-token", ""), secret)


def _equal(one: str, other: str) -> bool:
    """In a time that tells nothing of where they differ."""
    return hmac.compare_digest(one.encode("utf-8", "surrogateescape"), other.encode("utf-8", "surrogateescape"))


def push_of(headers: Mapping[str, str], body: bytes) -> Push | str:
    """The push, or why there is none to deploy in an authentic delivery."""
    event = headers.get("x-github-event") or headers.get("x-gitlab-event")
    if event not in ("push", "Push Hook"):
        return f"the event {event} is no push"
    payload = _payload(headers, body)
    ref, commit = payload.get("ref"), payload.get("after")
    if (
        not isinstance(ref, str)
        or not isinstance(commit, str)
        or not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", commit)
    ):
        raise Refused("The delivery has no ref and commit: it is no push of GitHub, GitLab, Gitea or Forgejo.")
    if not ref.startswith("refs/heads/"):
        return f"{ref} is no branch"
    if not commit.strip("0"):
        return f"{ref} was deleted"
    pusher = payload.get("pusher")
    return Push(
        repository=_text(payload.get("repository"), "full_name")
        or _text(payload.get("project"), "path_with_namespace"),
        branch=ref[len("refs/heads/") :],
        commit=commit,
        by=_text(payload, "user_username") or _text(pusher, "login") or _text(pusher, "name"),
    )


def _payload(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """JSON, or JSON in a form, which is what GitHub sends unless it is told otherwise."""
    try:
        text = body.decode()
        if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            text = parse_qs(text, strict_parsing=True)["payload"][0]
        payload = json.loads(text)
    except (ValueError, KeyError, RecursionError) as error:
        raise Refused("The delivery is no JSON.") from error
    if not isinstance(payload, dict):
        raise Refused("The delivery is no JSON object.")
    return payload


def _text(holder: Any, key: str) -> str:
    value = holder.get(key) if isinstance(holder, dict) else None
    return value if isinstance(value, str) else ""


def marks_of(headers: Mapping[str, str], body: bytes, push: Push) -> tuple[str, ...]:
    """By what the same delivery is known when it comes again.

    GitLab gives one id to all branches of a ``git push``. A signature does not cover the id, so a signed body that
    comes again with another id is known by itself.
    """
    delivery = headers.get("x-github-delivery") or headers.get("x-gitlab-event-uuid")
    told = [f"{delivery} {push.branch} {push.commit}".encode("utf-8", "surrogateescape")] if delivery else []
    if "x-hub-signature-256" in headers:
        told.append(body)
    return tuple(hashlib.sha256(each).hexdigest() for each in told)


# what waits: no effects


@dataclass(frozen=True)
class Mailbox:
    """What is known of pushes, as it is on disk.

    :ivar seen: marks of deliveries, the newest last.
    :ivar waiting: the newest push that no playbook has taken.
    :ivar running: the one that a playbook has taken and not ended with.
    """

    seen: tuple[str, ...] = ()
    waiting: Push | None = None
    running: Push | None = None

    def knows(self, marks: tuple[str, ...]) -> bool:
        return any(mark in self.seen for mark in marks)

    def accept(self, marks: tuple[str, ...], push: Push) -> Mailbox:
        return replace(self, seen=(*self.seen, *marks)[-SEEN_MAX:], waiting=push)

    def must_be_told(self, seconds: float) -> bool:
        """Whether a push that comes now needs an event: not while the event of one that waits is on its way, which may
        have been lost when its playbook could not even begin.

        :param seconds: how long ago the last event was sent.
        """
        return self.waiting is None or seconds >= TELL_AGAIN

    def take(self) -> Mailbox:
        return replace(self, waiting=None, running=self.waiting)

    def done(self) -> Mailbox:
        return replace(self, running=None)

    def started_anew(self) -> Mailbox:
        return replace(self, waiting=self.waiting or self.running, running=None)


def dumped(mailbox: Mailbox) -> str:
    return json.dumps(asdict(mailbox))


def loaded(text: str) -> Mailbox:
    content = json.loads(text)
    pushes = {name: Push(**content[name]) if content[name] else None for name in ("waiting", "running")}
    return Mailbox(tuple(content["seen"]), **pushes)


# options


@dataclass(frozen=True)
class Options:
    secret: str
    branches: tuple[str, ...]
    state: Path
    host: str
    port: int
    tls: ssl.SSLContext | None

    @property
    def socket(self) -> Path:
        return self.state / "push.sock"


def options_of(args: Mapping[str, Any], environment: Mapping[str, str]) -> Options:
    secret = args.get("secret") or environment.get(SECRET_VARIABLE, "")
    # ansible-rulebook makes numbers and lists of what looks like one
    if not isinstance(secret, str):
        raise ValueError("The secret looks like a number or a list: use one with letters.")
    if len(secret) < SECRET_MIN:
        raise ValueError(
            f"The secret has less than {SECRET_MIN} characters: set the variable push_secret, or {SECRET_VARIABLE} in"
            " the environment, to that of the webhook."
        )
    branches = args.get("branches")
    if not isinstance(branches, list) or not branches or not all(isinstance(name, str) for name in branches):
        raise ValueError("branches is no list of names: say, for example, push_branches: [main].")
    state = args.get("state")
    if not isinstance(state, str) or not os.path.isabs(state):
        raise ValueError("state is no absolute path: set push_state to a directory of its own.")
    port = args.get("port")
    if not isinstance(port, int) or not 0 < port < 65536:
        raise ValueError(f"The port {port} is no number from 1 to 65535: set push_port.")
    tls = None
    if args.get("certfile"):
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(args["certfile"], args.get("keyfile") or None)
    options = Options(secret, tuple(branches), Path(state), args.get("host") or "127.0.0.1", port, tls)
    if len(str(options.socket)) > SOCKET_PATH_MAX:
        raise ValueError(f"The path {options.socket} is too long for a socket: set push_state to a shorter one.")
    return options


# effects


class Store:
    """The mailbox on disk, ours alone."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat()
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise ValueError(f"Others may use {directory}: set push_state to a directory of its own, with mode 0700.")
        self._lock = _locked(directory)
        self._file = directory / "push.json"
        self.mailbox = loaded(self._file.read_text()) if self._file.exists() else Mailbox()

    def keep(self, mailbox: Mailbox) -> None:
        with tempfile.NamedTemporaryFile("w", dir=self._file.parent, prefix=".push.json-", delete=False) as file:
            try:
                file.write(dumped(mailbox))
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, self._file)
            except BaseException:
                os.unlink(file.name)
                raise
        self.mailbox = mailbox

    def close(self) -> None:
        self._lock.close()


def _locked(directory: Path) -> IO[str]:
    lock = (directory / "push.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise ValueError(f"{directory} is used by another ansible-rulebook: set push_state to another one.") from error
    return lock


class Source:
    """No await stands between reading the mailbox and keeping it: each answer is one step for all others."""

    def __init__(self, queue: asyncio.Queue[Any], options: Options, store: Store) -> None:
        self._queue = queue
        self._options = options
        self._store = store
        self._told = 0.0

    async def start(self) -> None:
        self._store.keep(self._store.mailbox.started_anew())
        if self._store.mailbox.waiting:
            await self._tell()

    async def _tell(self) -> None:
        self._told = time.monotonic()
        await self._queue.put(dict(EVENT))

    async def deliver(self, request: web.Request) -> web.Response:
        """A webhook."""
        from aiohttp import web

        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        if not is_authentic(headers, body, self._options.secret):
            logger.warning("refused a delivery from %s without a valid signature or token", request.remote)
            return web.Response(status=401, text="The signature or token is not valid.\n")
        try:
            push = push_of(headers, body)
        except Refused as error:
            return web.Response(status=400, text=f"{error}\n")
        if isinstance(push, str):
            return web.Response(text=f"Ignored: {push}.\n")
        if push.branch not in self._options.branches:
            return web.Response(text=f"Ignored: {push.branch} is not among the declared branches.\n")
        marks = marks_of(headers, body, push)
        mailbox = self._store.mailbox
        if mailbox.knows(marks):
            return web.Response(text="Ignored: this delivery was seen before.\n")
        self._store.keep(mailbox.accept(marks, push))
        logger.info("%s of %s waits", push.commit, push.branch)
        if mailbox.must_be_told(time.monotonic() - self._told):
            await self._tell()
        return web.Response(status=202, text="Accepted.\n")

    async def take(self, _request: web.Request) -> web.Response:
        """The playbook begins."""
        from aiohttp import web

        push = self._store.mailbox.waiting
        if push is None:
            return web.Response(status=404, reason="No push waits: an earlier run has taken it")
        self._store.keep(self._store.mailbox.take())
        return web.json_response(asdict(push))

    async def done(self, _request: web.Request) -> web.Response:
        """The playbook has come to its end."""
        from aiohttp import web

        self._store.keep(self._store.mailbox.done())
        return web.Response()


async def main(queue: asyncio.Queue[Any], args: dict[str, Any]) -> None:
    """Called by ansible-rulebook."""
    from aiohttp import web

    options = options_of(args, os.environ)
    with contextlib.closing(Store(options.state)) as store:
        source = Source(queue, options, store)
        inside = web.Application()
        inside.router.add_post("/take", source.take)
        inside.router.add_post("/done", source.done)
        outside = web.Application(client_max_size=BODY_MAX)
        outside.router.add_post("/{path:.*}", source.deliver)
        async with running(inside) as playbooks:
            await web.UnixSite(playbooks, str(options.socket)).start()
            options.socket.chmod(0o600)
            # before the first delivery: what is left from before is told once
            await source.start()
            async with running(outside) as forges:
                await web.TCPSite(forges, options.host, options.port, ssl_context=options.tls).start()
                await asyncio.Future()


@contextlib.asynccontextmanager
async def running(application: web.Application) -> AsyncIterator[web.AppRunner]:
    from aiohttp import web

    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        yield runner
    finally:
        await runner.cleanup()
