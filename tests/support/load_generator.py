# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The process behind :class:`support.load.Load`: Locust sends, until its standard input has a line or ends, as it
does with whoever started this, or until the limit.

Prints the monotonic clock when it begins and one JSON object at its end. Never import this: Locust replaces parts of
the standard library.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from itertools import count
from typing import Any

import gevent
import geventhttpclient.client
from gevent.event import Event
from gevent.pool import Group
from gevent.socket import wait_read
from locust import FastHttpUser, task
from locust.contrib.fasthttp import LocustUserAgent
from locust.env import Environment

from support.load import Order

BODY = 200


def client_class(order: Order, in_flight: Group) -> type[FastHttpUser]:
    turn = count()

    class Client(FastHttpUser):
        host = order.url
        # connections; one that waits for an answer holds no other request back
        concurrency = 10_000

        def on_start(self) -> None:
            self._waiting = 0
            self._due = time.monotonic() + next(turn) / order.rate
            gevent.sleep(self._due - time.monotonic())

        def wait_time(self) -> float:
            """Seconds until the next turn. What a busy machine let slip is not made up for, or it would stay busy."""
            now = time.monotonic()
            self._due = max(self._due + order.clients / order.rate, now)
            return self._due - now

        @task
        def send(self) -> None:
            in_flight.spawn(self.request)

        def request(self) -> None:
            # what comes beside a slow answer has a connection for itself: kept, it would be idle for so long that its
            # next request might meet a server that just gave it up
            keep = order.keep_alive and not self._waiting
            self._waiting += 1
            with gevent.Timeout(order.timeout, TimeoutError(f"no whole answer within {order.timeout} s")):
                self.client.get(
                    order.url,
                    headers={} if keep else {"Connection": "close"},
                    context={"sent": time.monotonic()},
                )
            self._waiting -= 1

    return Client


def hide_nothing() -> None:
    # a request of these methods would be sent again when its connection breaks: a lost one would not be seen
    geventhttpclient.client.IDEMPOTENT_METHODS = frozenset()
    # an answer is an answer, whatever its status; no redirection is followed
    LocustUserAgent.valid_response_codes = frozenset(range(1000))
    LocustUserAgent.redirect_response_codes = frozenset()


def main(order: Order) -> None:
    hide_nothing()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    samples: list[tuple[float, float, int, str]] = []
    in_flight = Group()
    stop = Event()
    gevent.spawn(lambda: wait_read(sys.stdin.fileno())).link(lambda _: stop.set())
    environment = Environment(user_classes=[client_class(order, in_flight)])

    def record(response: Any, exception: BaseException | None, context: dict[str, float], **_: Any) -> None:
        ended = time.monotonic() - started
        if exception:
            error = getattr(exception, "original", exception)
            status, text = 0, f"{type(error).__name__}: {error}"
        else:
            status, text = response.status_code, response.content[:BODY].decode("utf-8", "replace")
        samples.append((context["sent"] - started, ended, status, text))

    requests: Any = environment.events.request
    requests.add_listener(record)
    runner = environment.create_local_runner()
    started = time.monotonic()
    print(started, flush=True)
    runner.start(order.clients, spawn_rate=order.clients)
    limited = not stop.wait(order.limit)
    runner.stop()
    seconds = time.monotonic() - started
    in_flight.join()
    print(json.dumps({"limited": limited, "seconds": seconds, "samples": samples}))


if __name__ == "__main__":
    main(Order(**json.loads(sys.argv[1])))
