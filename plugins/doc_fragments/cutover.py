# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

# the argument specification is _cutover_options.cutover_arguments()
CUTOVER = r"""
strategy:
  description:
    - How a new generation takes the place of the old one.
    - V(generation), both listen on the port for a moment, and no request is lost. PM2 can do that in cluster mode.
    - V(restart), the old one lets go of the port before the new one takes it. It is out of service for a moment (some
      milliseconds for a Node app with O(apps[].preload), else as long as the app takes to start).
    - V(auto), V(generation) where it can be done. An app for which it cannot is refused, because an outage is never
      chosen silently. This is the default.
  type: str
  choices: [auto, generation, restart]
preload:
  description:
    - Whether a Node process loads a small script of the collection first (C(node -r)). It keeps the app's ports closed
      until the gate is passed, so that each worker is checked before it takes traffic, and before the process ends it
      lets its connections end, also in an app that does nothing about signals and under C(pm2 restart) by hand.
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
    - Whether an app that listens on nothing may run twice for a moment. With V(false) the old one ends before the new
      one starts, and comes back when the new one fails. For jobs that must never run twice. The default is V(true).
  type: bool
candidate_variable:
  description:
    - The variable by which a candidate that cannot be held at the gate is told a port of its own. Must be in
      O(apps[].env). The default is V(PORT).
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
"""
