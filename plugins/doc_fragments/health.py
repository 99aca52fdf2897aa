# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import textwrap

# the argument specifications are _health_spec.health_arguments() and smoke_arguments()
_CHECK = """\
    name:
      description:
        - What messages call the check.
      type: str
    type:
      description:
        - V(http), a request is answered as declared.
        - V(tcp), a connection is taken. A process that hangs may still take it.
        - V(command), a program ends with exit code 0.
        - The default is V(http).
      type: str
      choices: [http, tcp, command]
    port:
      description:
        - The port of the app. By default the one that the app declares.
      type: int
    scheme:
      description:
        - Whether the app speaks V(http) or V(https) at that port. The default is V(http).
        - A certificate is not verified, whatever it is. The process is asked on its own host, which no certificate
          names.
        - The request is HTTP/1.1.
      type: str
      choices: [http, https]
    host:
      description:
        - The name of the site that is asked for, sent as header C(Host) and, with O(apps[].health[].scheme=https), in
          the TLS handshake (SNI). The default is V(localhost).
      type: str
    method:
      description:
        - The method of the request, which has no body. The default is V(GET).
      type: str
      choices: [GET, HEAD, OPTIONS, POST]
    path:
      description:
        - The path of the request, with its query. The default is V(/).
        - Is shown in messages. What is secret belongs into O(apps[].health[].headers).
      type: str
    headers:
      description:
        - More headers of the request. Their values are never shown.
      type: dict
    status:
      description:
        - Which status codes are right. Numbers, or ranges such as V(200-299), which is the default.
        - Redirects are not followed. Where one is the right answer, name its code.
      type: list
      elements: str
    body:
      description:
        - A regular expression of Python that must be found somewhere in the first MiB of the body.
      type: str
    json:
      description:
        - Values that the JSON in the body must have. The key is the way to the value, names of members and positions
          in lists from 0, with dots between them.
        - The type must be the same too. V(true) is neither V(1) nor the text V("true").
      type: dict
    command:
      description:
        - The program and its arguments. No shell sees them. The first two are shown in messages.
        - It runs in the directory of the release with the environment of the app. It is killed when
          O(apps[].health[].timeout) is over, and what it started with it. Nothing that it started is left behind either
          when it ends by itself.
        - When it fails, the last line of its output is shown.
      type: list
      elements: str
    timeout:
      description:
        - Seconds that one attempt may take, from the connection to the end of the body. The default is V(5).
      type: float
"""

HEALTH = (
    """\
health:
  description:
    - Checks that tell whether a process of the app is healthy. Each process is asked by itself, before it takes
      traffic, and all checks must pass. By default there are none.
    - An app that answers wrongly, refuses, breaks off or hangs is unhealthy. When a check itself cannot be made (a
      command that is not there, no right to open a socket), that is told apart and not held against the app.
  type: list
  elements: dict
  suboptions:
"""
    + _CHECK
    + """\
    interval:
      description:
        - Seconds from the end of one attempt to the next. The default is V(1).
      type: float
    successes:
      description:
        - How many attempts in a row must succeed. The default is V(1).
      type: int
    failures:
      description:
        - After how many failed attempts in a row no more are made and the release is refused.
        - By default it may fail until the time for the release to become healthy is over, because many apps answer
          with an error while they warm up.
      type: int
"""
)

SMOKE = """\
smoke:
  description:
    - Checks that are made once, in their order, after the cutover, over the way that traffic takes.
    - One that fails is a breach, as in the bake.
  type: list
  elements: dict
  suboptions:
""" + _CHECK.replace("O(apps[].health[].", "O(smoke[].")


class ModuleDocFragment:
    DOCUMENTATION: str = "options:\n" + textwrap.indent(HEALTH, "  ")
    SMOKE: str = "options:\n" + textwrap.indent(SMOKE, "  ")
