# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An artifact store at an address, as a plain file server with PUT is one; and the APIs of GitHub and GitLab, as far as
they tell of a commit, in the shapes that their documentation has."""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "s3cret-t0ken-of-the-store"


@dataclass
class Store:
    """:ivar url: of the store.
    :ivar files: what was uploaded, by path.
    :ivar status: answered to each PUT.
    """

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    status: int = 201


@dataclass
class Forge:
    """What the API answers.

    :ivar url: its base.
    :ivar statuses: of GitHub, each with context and state; of GitLab with id, name and status.
    :ivar checks: check runs of GitHub, each with name, status and conclusion.
    :ivar asked: the paths, with queries.
    :ivar token: that it wants.
    :ivar then: the check runs from the second round on.
    """

    url: str
    statuses: list[dict[str, Any]] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    token: str = ""
    then: list[dict[str, Any]] | None = None


class _Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments: Any) -> None:
        """Nothing on the terminal."""

    def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def _served(handler: type[_Quiet]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serve_store() -> Iterator[Store]:
    store = Store("")

    class Handler(_Quiet):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self.answer(401)
            elif self.path not in store.files:
                self.answer(404)
            else:
                self.answer(200, store.files[self.path], {"Content-Type": "application/octet-stream"})

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            authorized = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            if authorized and store.status < 300:
                store.files[self.path] = body
            self.answer(store.status if authorized else 401)

    with _served(Handler) as url:
        store.url = f"{url}/artifacts"
        # the path of what is stored begins with that of the store
        yield store


@contextmanager
def serve_forge(kind: str) -> Iterator[Forge]:
    forge = Forge("")

    class Handler(_Quiet):
        def do_GET(self) -> None:
            forge.asked.append(self.path)
            parts = urllib.parse.urlsplit(self.path)
            query = dict(urllib.parse.parse_qsl(parts.query))
            page, size = int(query.get("page", 1)), int(query.get("per_page", 30))
            given = {"github": f"Bearer {forge.token}", "gitlab": forge.token}[kind]
            if self.headers.get({"github": "Authorization", "gitlab": "PRIVATE-TOKEN"}[kind]) != given:
                self.answer(401, json.dumps({"message": "Bad credentials"}).encode(), {"Content-Type": "text/json"})
                return
            rows = forge.checks if parts.path.endswith("/check-runs") else forge.statuses
            if parts.path.endswith("/check-runs") and forge.then is not None:
                forge.checks, forge.then = forge.then, None
            some = rows[(page - 1) * size : page * size]
            headers = {"Content-Type": "application/json; charset=utf-8"}
            body: Any = some
            if kind == "gitlab":
                headers["X-Next-Page"] = str(page + 1) if page * size < len(rows) else ""
            elif parts.path.endswith("/check-runs"):
                body = {"total_count": len(rows), "check_runs": some}
            else:
                body = {"state": "pending", "total_count": len(rows), "statuses": some}
            self.answer(200, json.dumps(body).encode(), headers)

    with _served(Handler) as url:
        forge.url = url if kind == "github" else f"{url}/api/v4"
        yield forge
