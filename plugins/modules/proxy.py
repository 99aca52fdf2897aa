# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxy
short_description: Whether HAProxy sends requests to a server, and the maintenance of an app
version_added: 0.1.0
description:
  - Tells any HAProxy, over its Runtime API, whether a server of a backend takes requests. So a load balancer can be
    drained around what is done with a host.
  - Lets an app that the role P(zerodown.pm2.proxy#role) put behind HAProxy answer with its page of maintenance.
  - Without O(state) it changes nothing and returns what HAProxy says.
extends_documentation_fragment:
  - zerodown.pm2.attributes
attributes:
  check_mode:
    support: full
    details: Nothing is waited for.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  backend:
    description: Name of the backend. Those of the role P(zerodown.pm2.proxy#role) are C(zerodown_<name>).
    type: str
    required: true
  server:
    description:
      - Name of one server of O(backend).
      - Without it O(state) is that of the app as a whole.
    type: str
  state:
    description:
      - V(ready), with O(server), it takes requests, and it is waited until HAProxy counts it as up. Without, the
        maintenance of the app ends.
      - V(drained), needs O(server). It gets no new requests, and it is waited until those under way have ended. It
        lasts until V(ready), or until HAProxy is restarted or reloaded.
      - V(maintenance), with O(server), it gets no requests and is not checked, and what is under way goes on. Without,
        HAProxy answers for the app with its page of maintenance, but for the networks that may see the app. That lasts
        until V(ready), also when HAProxy or the host is restarted.
    type: str
    choices: [ready, drained, maintenance]
  socket:
    description:
      - The socket of HAProxy's Runtime API, with level C(admin).
      - By default C(/run/haproxy/admin.sock), as Debian has it, for root, and for any other user the one that the role
        P(zerodown.pm2.proxy#role) made for him, C(/run/haproxy/zerodown-<user>.sock).
    type: path
  state_file:
    description:
      - Where maintenance is kept over a restart of HAProxy. By default where the role P(zerodown.pm2.proxy#role) lets
        HAProxy look for the user whose O(socket) it is.
    type: path
  drain_timeout:
    description: Seconds to wait for what is under way, with O(state=drained). After that the module fails, and the
      server still gets nothing new.
    type: float
    default: 60
  ready_timeout:
    description: Seconds to wait until HAProxy counts the server as up, with O(state=ready).
    type: float
    default: 60
author:
  - The zerodown.pm2 contributors (@zerodown)
notes:
  - WebSockets and other connections that do not end by themselves keep a server from being drained.
  - Who may use a socket of level C(admin) controls all of that HAProxy.
"""

EXAMPLES = r"""
- name: Show the page of maintenance
  zerodown.pm2.proxy:
    backend: zerodown_shop
    state: maintenance
  become: true
  become_user: pm2

- name: The shop is open again
  zerodown.pm2.proxy:
    backend: zerodown_shop
    state: ready
  become: true
  become_user: pm2

- name: Take this host out of the load balancer
  zerodown.pm2.proxy:
    backend: web
    server: "{{ inventory_hostname }}"
    state: drained
    drain_timeout: 120
  delegate_to: balancer
  become: true
"""

RETURN = r"""
servers:
  description: The servers of the backend as they are at the end.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
    state:
      description: V(ready), V(drain) or V(maint), as HAProxy calls it.
      type: str
    is_up:
      description: Whether its health checks say so, also when it has none.
      type: bool
    weight:
      description: Its share of the requests, from 0 to 256.
      type: int
    sessions:
      description: How many requests and connections are under way.
      type: int
  sample: [{"name": "blue", "state": "ready", "is_up": true, "weight": 100, "sessions": 3}]
maintenance:
  description: Whether the app is in maintenance; V(null) for a backend that the role did not write.
  returned: success
  type: bool
configuration:
  description: What identifies the configuration of the role that HAProxy runs; empty when it did not write this one.
  returned: success
  type: str
"""

import os
import pwd
import time
from typing import Any, Callable, Dict, List

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.zerodown.pm2.plugins.module_utils import _maintenance
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._haproxy import DRAIN, MAINT, READY, RuntimeApi, Server
from ansible_collections.zerodown.pm2.plugins.module_utils._module import run
from ansible_collections.zerodown.pm2.plugins.module_utils._proxy_options import SOCKET

STATES = {"ready": READY, "drained": DRAIN, "maintenance": MAINT}
POLL = 0.1


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "backend": {"type": "str", "required": True},
            "server": {"type": "str"},
            "state": {"type": "str", "choices": list(STATES)},
            "socket": {"type": "path"},
            "state_file": {"type": "path"},
            "drain_timeout": {"type": "float", "default": 60.0},
            "ready_timeout": {"type": "float", "default": 60.0},
        },
        supports_check_mode=True,
    )
    run(module, work)


def work(module: AnsibleModule) -> Dict[str, Any]:
    parameters = module.params
    api = RuntimeApi(parameters["socket"] or default_socket())
    if parameters["server"] is not None:
        diff = of_server(api, parameters, module.check_mode)
    elif parameters["state"] == "drained":
        raise Pm2Error("Only a server can be drained; name one with server, or set state to maintenance.")
    else:
        diff = of_app(api, parameters, module.check_mode)
    before, after = diff["before"], diff["after"]
    return {
        "changed": before != after,
        "diff": diff,
        "servers": servers(api, parameters["backend"]),
        "maintenance": _maintenance.is_on(api, parameters["backend"]),
        "configuration": configuration(api, parameters["backend"]),
    }


def default_socket() -> str:
    user = pwd.getpwuid(os.geteuid()).pw_name
    return "/run/haproxy/admin.sock" if user == "root" else SOCKET.format(user)


def servers(api: RuntimeApi, backend: str) -> List[Dict[str, Any]]:
    counters = api.counters(backend)
    return [
        {
            "name": server.name,
            "state": server.state,
            "is_up": server.is_up,
            "weight": server.weight,
            "sessions": counters[server.name].sessions,
        }
        for server in api.servers(backend).values()
    ]


def configuration(api: RuntimeApi, backend: str) -> str:
    """roles/proxy/templates/proxy.cfg.j2."""
    name = backend + "_configuration"
    return api.ask("show env " + name).strip().partition(name + "=")[2]


# one server ---------------------------------------------------------------------------------------------------


def of_server(api: RuntimeApi, parameters: Dict[str, Any], is_check: bool) -> Dict[str, Any]:
    backend, name = parameters["backend"], parameters["server"]
    before = server_of(api, backend, name).state
    wanted = STATES.get(parameters["state"], before)
    if not is_check:
        if wanted != before:
            api.set_state(backend, name, wanted)
        if parameters["state"] == "ready":
            wait(lambda: server_of(api, backend, name).is_up, parameters["ready_timeout"], not_up(parameters))
        if parameters["state"] == "drained":
            wait(lambda: sessions(api, backend, name) == 0, parameters["drain_timeout"], not_drained(api, parameters))
    return {"before": {"state": before}, "after": {"state": wanted}}


def server_of(api: RuntimeApi, backend: str, name: str) -> Server:
    found = api.servers(backend)
    if name not in found:
        raise Pm2Error(
            "The backend {0} has no server {1}; it has {2}.".format(backend, name, ", ".join(found) or "none")
        )
    return found[name]


def sessions(api: RuntimeApi, backend: str, name: str) -> int:
    return api.counters(backend)[name].sessions


def not_up(parameters: Dict[str, Any]) -> Callable[[], str]:
    return lambda: (
        "The server {server} of {backend} takes requests, but HAProxy did not find it up within {ready_timeout:g} s; "
        "look why its health check fails.".format(**parameters)
    )


def not_drained(api: RuntimeApi, parameters: Dict[str, Any]) -> Callable[[], str]:
    return lambda: (
        "The server {server} of {backend} gets nothing new, but {0} requests or connections are still under way after "
        "{drain_timeout:g} s; raise drain_timeout, or set it to ready again.".format(
            sessions(api, parameters["backend"], parameters["server"]), **parameters
        )
    )


def wait(is_so: Callable[[], bool], timeout: float, otherwise: Callable[[], str]) -> None:
    deadline = time.monotonic() + timeout
    while not is_so():
        if time.monotonic() >= deadline:
            raise Pm2Error(otherwise())
        time.sleep(POLL)


# an app as a whole --------------------------------------------------------------------------------------------


def of_app(api: RuntimeApi, parameters: Dict[str, Any], is_check: bool) -> Dict[str, Any]:
    backend, state = parameters["backend"], parameters["state"]
    is_on = _maintenance.is_on(api, backend)
    if state is None:
        return {"before": {}, "after": {}}
    if is_on is None:
        raise Pm2Error(
            "The backend {0} was not written by the role proxy and has no maintenance; name one of its servers with "
            "server.".format(backend)
        )
    path = parameters["state_file"] or _maintenance.default_state_file(api.path, backend)
    if path is None:
        raise Pm2Error(
            "Where HAProxy looks for the maintenance of {0} cannot be told from the socket {1}; set state_file to "
            "server-state-file-name of {0}_maintenance.".format(backend, api.path)
        )
    wanted = state == "maintenance"
    is_kept = _maintenance.is_kept(path, backend)
    if not is_check:
        # first for a HAProxy that is restarted meanwhile
        if wanted != is_kept:
            _maintenance.keep(path, backend, wanted)
        if wanted != is_on:
            _maintenance.set_on(api, backend, wanted)
    return {
        "before": {"maintenance": is_on, "after_restart": is_kept},
        "after": {"maintenance": wanted, "after_restart": wanted},
    }


if __name__ == "__main__":
    main()
