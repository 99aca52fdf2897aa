# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: delivery
short_description: What a delivery would change on a host, and the plan that a go is bound to
version_added: 0.1.0
description:
  - Compares a staged release with the one that is live, and tells the commits, dependencies and settings that differ.
  - Keeps the plan of a whole delivery, of all hosts, in C(delivery.json) below the app's root, mode 0600, until a
    person says go. The playbook C(zerodown.pm2.deploy) refuses a go when anything is different by then.
  - Nothing that serves is touched.
  - Values of variables are told nowhere. The plan has digests of them, made with a key that does not leave the host.
extends_documentation_fragment:
  - zerodown.pm2.attributes
  - zerodown.pm2.process.apps
attributes:
  check_mode:
    support: full
    details: On a host without a delivery the digests of variables are other ones each time.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  path:
    description: The app's root.
    type: path
    required: true
  state:
    description:
      - V(planned), compare and return it.
      - V(recorded), keep O(plan).
    type: str
    choices: [planned, recorded]
    default: planned
  release:
    description: The id of the release that would go live. Required with O(state=planned).
    type: str
  revision:
    description: Its commit, for one that only check mode has staged.
    type: str
    default: ''
  directories:
    description: The directories in the release that have lockfiles, relative to it.
    type: list
    elements: str
    default: [.]
  env_file:
    description: The variables in its C(.env), as O(zerodown.pm2.release#module:env_file) takes them.
    type: dict
    default: {}
  migrations:
    description: What would be run before the cutover, each with C(name) and C(class).
    type: list
    elements: dict
    default: []
  plan:
    description:
      - What this module returned for all hosts, by host and app. What a go is bound to is kept of it.
      - Required with O(state=recorded).
    type: dict
  digest:
    description: Its digest, see P(zerodown.pm2.plan_digest#filter). Required with O(state=recorded).
    type: str
  by:
    description: Who delivers. By default the user who runs it.
    type: str
seealso:
  - plugin: zerodown.pm2.plan_digest
    plugin_type: filter
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: See what would change
  zerodown.pm2.delivery:
    path: /srv/shop
    release: 20260131T140509Z-1f3a9c2e
  register: shop
"""

RETURN = r"""
changes:
  description: Whether a deploy would change anything.
  returned: with O(state=planned)
  type: bool
bound:
  description: What a go is bound to. Values of variables are digests.
  returned: with O(state=planned)
  type: dict
  sample:
    live: 20260130T101500Z-77ab01c9
    release: 20260131T140509Z-1f3a9c2e
    revision: 1f3a9c2e7d5b4a39c8e1f0a2b3c4d5e6f7a8b9c0
    settings: {web.instances: "2", web.env.PORT: "sealed:0d5b9f0d0f4c1f7a"}
    migrations: {add-column: expand}
live_revision:
  description: The commit of the live release, or empty.
  returned: with O(state=planned)
  type: str
commits:
  description: The commits that only the new release has, C(new), and those that only the live one has, C(gone), newest
    first, at most 50 of each. Null where this host does not know, as for an artifact, or when nothing is live.
  returned: with O(state=planned)
  type: dict
  sample: {new: [{commit: 1f3a9c2e7d5b4a39c8e1f0a2b3c4d5e6f7a8b9c0, author: Ann, subject: Mend the cart}], gone: []}
dependencies:
  description: The packages whose versions differ between the two lockfiles.
  returned: with O(state=planned)
  type: list
  elements: dict
  sample: [{name: express, before: ["4.18.2"], after: ["4.19.0"]}]
settings:
  description: The options of processes and the variables that differ, without the values of variables.
  returned: with O(state=planned)
  type: list
  elements: dict
  sample: [{option: web.instances, change: "2 -> 4"}, {option: web.env.API_TOKEN, change: changed}]
recorded:
  description: The delivery that is kept here, C(digest), C(plan), C(by) and C(at), or null.
  returned: success
  type: dict
"""

from typing import Any, Dict, Optional

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.zerodown.pm2.plugins.module_utils import _deploy_log, _dotenv
from ansible_collections.zerodown.pm2.plugins.module_utils._app import apps_argument
from ansible_collections.zerodown.pm2.plugins.module_utils._cutover_options import header_secrets
from ansible_collections.zerodown.pm2.plugins.module_utils._delivered import (
    Candidate,
    Delivered,
    keep,
    load,
    new_key,
    plan,
)
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._module import narrow_no_log, run
from ansible_collections.zerodown.pm2.plugins.module_utils._release import Layout
from ansible_collections.zerodown.pm2.plugins.module_utils._stage import read


def work(module: AnsibleModule) -> Dict[str, Any]:
    layout = Layout.at(module.params["path"])
    known = load(layout)
    if module.params["state"] == "recorded":
        return _record(module, layout, known)
    if known is None:
        known = Delivered(new_key())
        if not module.check_mode:
            keep(layout, known)
    parameters = module.params
    found = read(layout).find(parameters["release"])
    # as the cutover writes them down when they go live
    apps = [{name: value for name, value in app.items() if value is not None} for app in parameters["apps"] or []]
    candidate = Candidate(
        release=parameters["release"],
        revision=found.revision if found else parameters["revision"],
        apps=apps,
        directories=parameters["directories"],
        env_file=_dotenv.encode(parameters["env_file"]).decode("utf-8"),
        migrations=parameters["migrations"],
    )
    return {"changed": False, **plan(layout, candidate, known.key), "recorded": _told(known)}


def _record(module: AnsibleModule, layout: Layout, known: Optional[Delivered]) -> Dict[str, Any]:
    parameters = module.params
    try:
        whole = {host: {app: item["bound"] for app, item in apps.items()} for host, apps in parameters["plan"].items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise Pm2Error("plan must hold what this module returned, by host and app.") from error
    if known and (known.digest, known.plan) == (parameters["digest"], whole):
        return {"changed": False, "recorded": _told(known)}
    delivered = Delivered(
        known.key if known else new_key(),
        parameters["digest"],
        whole,
        parameters["by"] or _deploy_log.who(),
        _deploy_log.now(),
    )
    if not module.check_mode:
        keep(layout, delivered)
    return {"changed": True, "recorded": _told(delivered)}


def _told(delivered: Delivered) -> Optional[Dict[str, Any]]:
    if not delivered.digest:
        return None
    return {name: getattr(delivered, name) for name in ("digest", "plan", "by", "at")}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["planned", "recorded"], "default": "planned"},
            "release": {"type": "str"},
            "revision": {"type": "str", "default": ""},
            "apps": apps_argument(),
            "directories": {"type": "list", "elements": "str", "default": ["."]},
            "env_file": {"type": "dict", "default": {}, "no_log": True},
            "migrations": {"type": "list", "elements": "dict", "default": []},
            "plan": {"type": "dict"},
            "digest": {"type": "str"},
            "by": {"type": "str"},
        },
        required_if=[("state", "planned", ("release",)), ("state", "recorded", ("plan", "digest"))],
        supports_check_mode=True,
    )
    apps = module.params["apps"] or []
    narrow_no_log(module, [*(app["env"] or {} for app in apps), module.params["env_file"]])
    module.no_log_values |= header_secrets(apps)
    run(module, work, hidden=("env", "env_file", "headers"))


if __name__ == "__main__":
    main()
