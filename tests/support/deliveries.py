# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Webhooks of pushes as GitHub, GitLab and Gitea send them, and what comes back."""

from __future__ import annotations

import hashlib
import hmac
import json
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

SECRET = "correct horse battery staple"
NOTHING = "0" * 40


def commit(number: int) -> str:
    return hashlib.sha1(str(number).encode()).hexdigest()


@dataclass(frozen=True)
class Delivery:
    headers: dict[str, str]
    body: bytes

    def lower(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}


@dataclass(frozen=True)
class Sent:
    """A push.

    :ivar moment: what makes the bodies of two deliveries of a push differ, as the times do that GitHub writes there.
    """

    after: str
    ref: str = "refs/heads/main"
    secret: str = SECRET
    delivery: str = field(default_factory=lambda: str(uuid.uuid4()))
    event: str = "push"
    moment: str = field(default_factory=lambda: str(uuid.uuid4()))

    def github(self, form: bool = False) -> Delivery:
        payload = {
            "ref": self.ref,
            "before": NOTHING,
            "after": self.after,
            "deleted": not self.after.strip("0"),
            "repository": {"full_name": "team/shop", "pushed_at": self.moment},
            "pusher": {"name": "anna"},
        }
        body = urlencode({"payload": json.dumps(payload)}).encode() if form else json.dumps(payload).encode()
        return Delivery({**self._signed(body), "Content-Type": _FORM if form else _JSON}, body)

    def gitea(self) -> Delivery:
        payload = {
            "ref": self.ref,
            "before": NOTHING,
            "after": self.after,
            "repository": {"full_name": "team/shop", "updated_at": self.moment},
            "pusher": {"login": "anna", "full_name": "Anna"},
        }
        body = json.dumps(payload).encode()
        own = {"X-Gitea-Event": self.event, "X-Gitea-Delivery": self.delivery, "Content-Type": _JSON}
        return Delivery({**self._signed(body), **own}, body)

    def gitlab(self) -> Delivery:
        payload = {
            "object_kind": "push",
            "ref": self.ref,
            "before": NOTHING,
            "after": self.after,
            "checkout_sha": self.after if self.after.strip("0") else None,
            "project": {"path_with_namespace": "team/shop"},
            "user_name": "Anna",
            "user_username": "anna",
        }
        headers = {
            "X-Gitlab-Event": {"push": "Push Hook", "tag_push": "Tag Push Hook"}.get(self.event, self.event),
            "X-Gitlab-Token": self.secret,
            "X-Gitlab-Event-UUID": self.delivery,
            "Content-Type": _JSON,
        }
        return Delivery(headers, json.dumps(payload).encode())

    def _signed(self, body: bytes) -> dict[str, str]:
        signature = hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()
        return {
            "X-GitHub-Event": self.event,
            "X-GitHub-Delivery": self.delivery,
            "X-Hub-Signature-256": f"sha256={signature}",
        }


_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"


def post(url: str, delivery: Delivery, **settings: Any) -> tuple[int, str]:
    """The status and the text of the answer."""
    request = urllib.request.Request(url, data=delivery.body, headers=delivery.headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30, **settings) as response:
            return response.status, response.read().decode().strip()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode().strip()
