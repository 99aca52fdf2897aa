# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migration
short_description: Run a migration of an app once, for a new release
version_added: 0.1.0
description:
  - Runs a command that changes what the app's releases share, most often the schema of a database. It runs in the
    directory of the new release and before that goes live, while the release before serves.
  - Run it on one host of a fleet, and on the others with O(state=noted), so that these know of it when somebody wants
    to go back there.
  - What ended well is written down in C(.zerodown/migrations.json) of the release, and as V(migrated) in the deploy
    log, and is not run again for this release. One that failed, ran out of time or was interrupted is run again by the
    next run, also when it had done everything but to say so. A migration must bear that. Tools that keep a table of
    what they have done (Django, Prisma, Knex, Alembic and others) do.
  - One migration of an app runs at a time. It is run by a process of its own, which a cut SSH session or a dead
    controller does not stop. When that process is killed the migration goes on, and the next run waits for its end.
  - It has a clean environment, a base (E(PATH), E(HOME), E(USER), E(LOGNAME), E(SHELL), E(LANG)) and O(env), not what
    the ssh session had. The programs of the release's virtual environment come first on E(PATH), then Node.
  - All output goes to C(.zerodown/migrations.log) in the release, mode 0600.
extends_documentation_fragment:
  - zerodown.pm2.attributes
attributes:
  check_mode:
    support: full
    details: On a release that only check mode has staged it cannot be told whether its directory is there.
  diff_mode:
    support: full
    details: Shows the migrations of the release.
  idempotent:
    support: full
options:
  state:
    description:
      - V(done), it is run, unless it was.
      - V(noted), it is written down as done, because another host ran it.
    type: str
    choices: [done, noted]
    default: done
  path:
    description: The app's root.
    type: path
    required: true
  release:
    description: The id of the staged and built release.
    type: str
    required: true
  name:
    description: What the migration is called. It is known by this name within the release.
    type: str
    required: true
  class:
    description:
      - What it means for the way back.
      - V(expand), the release before works after it as well as before, such as after a new table or a new column that
        may be empty. The new release may be reverted automatically.
      - V(contract), a release that was live before may not work any more, such as after a column was removed. Nothing
        goes back over it automatically, and a rollback by hand warns.
      - V(irreversible), data is not as before and cannot be had back. A rollback by hand is refused as well, unless
        O(zerodown.pm2.cutover#module:past_migrations=true).
      - Declared anew with another class, what is written down is corrected.
    type: str
    choices: [expand, contract, irreversible]
    required: true
  argv:
    description:
      - The program and its arguments. No shell sees them. Required with O(state=done).
      - Other users of the host see them while it runs. A secret belongs into O(env).
    type: list
    elements: str
  env:
    description: Variables for it, those of the app.
    type: dict
    default: {}
  directory:
    description: The directory to run it in, relative to the release.
    type: str
    default: .
  timeout:
    description: Seconds that it may take. Then all of its processes are killed.
    type: int
    default: 900
  node_executable:
    description: The Node whose directory is on E(PATH). By default the first one on E(PATH).
    type: path
  by:
    description: Who did this, for the deploy log. By default the user who ran the module.
    type: str
seealso:
  - module: zerodown.pm2.cutover
  - module: zerodown.pm2.release_info
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: Add a column, on one host
  zerodown.pm2.migration:
    path: /srv/shop
    release: 20260131T140509Z-1f3a9c2e
    name: add full_name
    class: expand
    argv: [npx, prisma, migrate, deploy]
    env:
      DATABASE_URL: "{{ database_url }}"

- name: Let the other hosts know
  zerodown.pm2.migration:
    path: /srv/shop
    release: 20260131T140509Z-1f3a9c2e
    state: noted
    name: add full_name
    class: expand

- name: Migrate a Django app
  zerodown.pm2.migration:
    path: /srv/portal
    release: "{{ staged.release.id }}"
    name: migrate
    class: contract
    argv: [python, manage.py, migrate, --noinput]
    timeout: 3600
"""

RETURN = r"""
run:
  description: Whether the command was run, or in check mode would be.
  returned: success
  type: bool
done:
  description: All migrations that were run for the release, in check mode those until now.
  returned: success, and when it failed
  type: list
  elements: dict
  sample:
    - {name: add full_name, class: expand, time: '2026-01-31T14:05:30Z', seconds: 2.1}
  contains:
    name:
      description: Its name.
      type: str
    class:
      description: Its class.
      type: str
    time:
      description: When it ended, in UTC; or when it was noted.
      type: str
    seconds:
      description: How long it took. Null when another host ran it.
      type: float
log:
  description: The file with the output.
  returned: success, and when it failed
  type: str
migration:
  description: The migration that failed.
  returned: when it failed
  type: str
output_tail:
  description: The last lines that it printed, after its first ones when there are many.
  returned: when it failed
  type: list
  elements: str
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.zerodown.pm2.plugins.module_utils import _deploy_log, _migrate, _module, _runner
from ansible_collections.zerodown.pm2.plugins.module_utils._environment import declared
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._migrate import Migration
from ansible_collections.zerodown.pm2.plugins.module_utils._migrations import CLASSES
from ansible_collections.zerodown.pm2.plugins.module_utils._release import Layout
from ansible_collections.zerodown.pm2.plugins.module_utils._stage import read


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["done", "noted"], "default": "done"},
            "path": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "class": {"type": "str", "choices": list(CLASSES), "required": True},
            "argv": {"type": "list", "elements": "str"},
            "env": {"type": "dict", "default": {}, "no_log": True},
            "directory": {"type": "str", "default": "."},
            "timeout": {"type": "int", "default": 900},
            "node_executable": {"type": "path"},
            "by": {"type": "str"},
        },
        required_if=[["state", "done", ["argv"]]],
        supports_check_mode=True,
    )
    _module.narrow_no_log(module, [module.params["env"]])
    _module.run(module, work, hidden=["env"])


def work(module: AnsibleModule) -> Dict[str, Any]:
    layout = Layout.at(module.params["path"])
    release_id = module.params["release"]
    migration = _migration(module.params)
    now = read(layout)
    if module.check_mode and now.find(release_id) is None:
        module.warn("Release {0} is not there yet; it is taken for one that an earlier task stages.".format(release_id))
        return {"changed": True, "run": not migration.noted, "done": [], **_diff([], migration)}
    release = _migrate.find_release(now, release_id, migration.noted)
    done = _migrate.read_done(release)
    told = {"log": _migrate.log_of(release)}
    if _migrate.is_done(now, release, migration):
        return {"changed": False, "run": False, "done": done, **told}
    runs = _migrate.will_run(done, migration)
    if runs:
        # what cannot be run is refused here
        _migrate.command_of(release, migration)
        module.no_log_values |= set(_migrate.secrets_of(release))
    if module.check_mode:
        return {"changed": True, "run": runs, "done": done, **told, **_diff(done, migration)}
    by = module.params["by"] or _deploy_log.who()
    result = _runner.run(
        lambda _aside: _migrate.migrate(layout, release_id, migration, by),
        "migration {0!r} of {1}".format(migration.name, layout.root),
        lambda _aside: None,
        again="it waits until the migration has ended, and runs it again",
    )
    return {**result, **told, **(_diff(done, migration) if result["changed"] else {})}


def _migration(params: Dict[str, Any]) -> Migration:
    """:raises Pm2Error: a value that makes no sense."""
    if params["timeout"] < 1:
        raise Pm2Error("timeout must be 1 s or more.")
    if not params["name"].strip():
        raise Pm2Error("name must say what the migration is called.")
    if params["state"] == "done" and not (params["argv"] and params["argv"][0]):
        raise Pm2Error("The migration {0!r} has an empty argv; name the program to run.".format(params["name"]))
    return Migration(
        name=params["name"],
        kind=params["class"],
        noted=params["state"] == "noted",
        argv=params["argv"] or [],
        env=declared(params["env"], "env"),
        directory=params["directory"],
        timeout=params["timeout"],
        node_executable=params["node_executable"],
    )


def _diff(done: "list[Dict[str, Any]]", migration: Migration) -> Dict[str, Any]:
    before = {entry["name"]: entry["class"] for entry in done}
    return {"diff": {"before": before, "after": {**before, migration.name: migration.kind}}}


if __name__ == "__main__":
    main()
