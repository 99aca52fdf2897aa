# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

# the argument specification is _cutover_options.cutover_arguments()
CUTOVER = r"""
strategy:
  description:
    - How a new generation takes the place of the old one.
    - V(generation), both listen on the port for a moment, and no request is lost. PM2 can do that in cluster mode, and
      the kernel for Python apps that were started with O(apps[].preload).
    - V(proxy), the new one listens on the spare one of the two addresses of O(apps[].proxy), and the proxy sends the
      requests there when it has proven itself. For any app that listens on a TCP port or a unix socket.
    - V(restart), the old one lets go of the port before the new one takes it. It is out of service for a moment (some
      milliseconds for a Node app with O(apps[].preload), else as long as the app takes to start). Behind a proxy the
      requests wait meanwhile.
    - V(auto), V(proxy) for an app with O(apps[].proxy), else V(generation) where it can be done. An app for which it
      cannot is refused, because an outage is never chosen silently. This is the default.
  type: str
  choices: [auto, generation, proxy, restart]
preload:
  description:
    - Whether a Node process loads a small script of the collection first (C(node -r)). It keeps the app's ports closed
      until the gate is passed, so that each worker is checked before it takes traffic, and before the process ends it
      lets its connections end, also in an app that does nothing about signals and under C(pm2 restart) by hand.
    - A Python process (3.8 or newer) gets a C(sitecustomize.py) for the same purpose. It is known by its
      O(apps[].interpreter), by the first line of a script that runs by itself, or by the first word of a command line.
      It drains in a cutover, not under C(pm2 restart). A port in its arguments (C(--port), C(--bind), C(-b)) counts as
      declared.
    - With V(false) the app is as it is. Its candidate is checked on a port of its own (O(apps[].candidate_variable)),
      and what it does with open connections when it is told to stop is its own affair.
    - The default is V(true), but not for an app with O(apps[].uid), which could not use the directory of the gate.
  type: bool
listens:
  description:
    - Whether a process must listen to be healthy. By default it must when a port is declared (O(apps[].port) or the
      variable E(PORT) in O(apps[].env)) or a check of O(apps[].health) asks over the network.
    - A queue worker listens on nothing. It is healthy while it runs, and is replaced side by side.
  type: bool
overlap:
  description:
    - Whether an app that listens on nothing, or that stands behind a proxy, may run twice for a moment. With V(false)
      the old one ends before the new one starts, and comes back when the new one fails. For jobs that must never run
      twice. Behind a proxy the requests wait meanwhile. The default is V(true).
  type: bool
candidate_variable:
  description:
    - The variable by which a candidate that cannot be held at the gate is told a port of its own. Must be in
      O(apps[].env). The default is V(PORT).
    - Behind a proxy, the variable by which each generation is told its address. There it need not be in
      O(apps[].env).
  type: str
candidate_args:
  description:
    - The arguments by which it is told that instead, with C({port}) where the port goes.
  type: list
  elements: str
drain_timeout:
  description:
    - Seconds that requests and connections of the old generation have to end, while the new one serves already. A
      WebSocket is told to close (code 1001).
    - What is left then has O(apps[].kill_timeout). The default is V(30), the most V(86400).
  type: float
proxy:
  description:
    - For an app behind a proxy, where each of its two colours listens, and how the proxy is told which of them serves.
    - The proxy is HAProxy, set up by the role P(zerodown.pm2.proxy#role), or another one by O(apps[].proxy.command).
    - C({port}) in O(apps[].args) and in the values of O(apps[].env) becomes the address of the colour.
  type: dict
  suboptions:
    ports:
      description:
        - Two ports on 127.0.0.1, of the colours blue and green.
      type: list
      elements: int
    sockets:
      description:
        - Two paths of unix sockets instead.
        - HAProxy opens them from where its C(chroot) is, in Debian V(/var/lib/haproxy).
      type: list
      elements: path
    backend:
      description:
        - The name of the backend in HAProxy, with the servers C(blue) and C(green). The default is C(zerodown_) and the
          name of the app.
      type: str
    socket:
      description:
        - The socket of HAProxy's Runtime API. The default is C(/run/haproxy/zerodown-<user>.sock), for the user who
          runs PM2.
      type: path
    state_file:
      description:
        - The file from which HAProxy learns at its start which colour serves. The default is
          C(/var/lib/zerodown-proxy/<user>/<backend>).
      type: path
    command:
      description:
        - A program, with its first arguments, that speaks to another proxy than HAProxy. It is called with one more
          argument, V(check), V(serve), V(share), V(counters) or V(hold), and one JSON object on standard
          input, see the page on proxies in the documentation of the collection.
      type: list
      elements: str
canary:
  description:
    - The percentages of the traffic that the new generation gets, one step after another, before it gets all of it. In
      each step it is compared with the old one by what the proxy counts of both. When it fails, the old one gets all
      traffic again at once, and the release is rejected.
    - By default it gets all traffic at once. Needs O(apps[].proxy).
  type: list
  elements: int
canary_time:
  description:
    - Seconds that a step lasts at least. The default is V(60).
  type: float
canary_requests:
  description:
    - How many requests the new generation must have answered in a step at least. The default is V(20).
  type: int
canary_deadline:
  description:
    - Seconds that a step may last. When there were too few requests until then, nothing is said about the release, and
      it is taken back. The default is V(3600).
  type: float
canary_errors_max:
  description:
    - How many more of its requests, in percent, may fail than of those of the old generation. A request has failed when
      its answer is 5xx, breaks off or does not come. Three that failed are enough to judge. The default is V(1).
  type: float
canary_slowdown_max:
  description:
    - How many times as long as the old generation the new one may take to answer. By default that is not compared.
  type: float
standby_time:
  description:
    - Seconds that the old generation runs on behind the proxy without traffic. A rollback or a revert within that time
      only turns the traffic back. V(0) ends it at once. The default is V(300), the most V(86400).
  type: float
"""
