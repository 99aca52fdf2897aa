# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Stage a release of an app, make it live, give a verdict on it, remove it
version_added: 0.1.0
description:
  - A release is a directory C(releases/<id>) below the app's root, made from one revision of a git repository, an
    archive or a directory. It is staged beside the one that serves and nothing that serves is touched.
  - A release is made whole or not at all. It is written to C(releases/.<id>.partial) and gets its name when it is
    complete. What a crash or a full disk left behind is removed by the next staging.
  - Staging what is staged already changes nothing and returns the release that is there. Two releases are the same
    when revision, O(source.subdirectory), O(source.submodules), O(source.strip_components), O(shared), O(env_file),
    O(variant) and O(needs_build) are. One whose build failed is replaced.
  - C(current) names the live release. It is switched by rename(2), so that there is no moment without it. Processes
    are not touched, that is the work of M(zerodown.pm2.app).
  - Whatever happens to a release is written to C(deploys.jsonl), which is only ever appended to.
  - Run it as the app's user. It needs no privileges.
extends_documentation_fragment:
  - zerodown.pm2.attributes
attributes:
  check_mode:
    support: full
    details:
      - Which commit would be staged is asked of the repository with C(git ls-remote). An abbreviated commit that is
        not in the host's mirror yet is taken at its word, with a warning.
      - A release that is not there is taken for one that an earlier task has staged in check mode, with a warning; what
        O(keep) would remove is not told then.
  diff_mode:
    support: full
    details: Shows the names of O(env_file), never the values.
  idempotent:
    support: partial
    details: With O(rollback=true) and no O(release) each run goes one release further back.
options:
  path:
    description:
      - The app's root. Holds C(releases), C(shared), C(cache), C(current) and C(deploys.jsonl), and is created when
        it is missing.
    type: path
    required: true
  state:
    description:
      - V(staged), the release is on disk, complete. Nothing that serves is touched.
      - V(live), C(current) names the release, and old releases are removed as O(keep) says. Refused for a release
        that is missing, was marked bad, or still needs M(zerodown.pm2.build).
      - V(proven), the release served well. It is one to roll back to. Refused for a release that never was live.
      - V(bad), the release must not go live again.
      - V(absent), the release is removed. Refused for the live release, the one before it, the last proven one, and
        one that a process runs from.
    type: str
    choices: [staged, live, proven, bad, absent]
    default: staged
  release:
    description:
      - The id of the release. Required unless O(state=staged) or O(rollback=true).
      - With O(state=staged), the id to use when a release has to be made, say the same one on every host of a fleet.
        By default the time in UTC and the first 8 characters of the revision, as in V(20260131T140509Z-1f3a9c2e).
        When the same release is staged already under another id, that one is returned.
      - Letters, digits, V(.), V(_) and V(-), at most 100 of them, not V(.) first.
    type: str
  source:
    description: Where the release is made from. Required with O(state=staged), and only for it.
    type: dict
    suboptions:
      type:
        description:
          - V(git), a commit of a repository. A bare mirror in C(cache) makes every fetch but the first a small one.
          - V(archive), a tar (plain, gz, bz2, xz) or zip file. For zstd the host needs the program C(zstd).
          - V(artifact), what M(zerodown.pm2.artifact) packed, on this or another host. It is refused where the system,
            the machine, the C library, Node's major version or Python's minor version is another one.
          - V(directory), a directory on the host, copied.
        type: str
        choices: [git, archive, artifact, directory]
        required: true
      repo:
        description:
          - For V(git), the repository, an address (https, ssh, C(user@host:path)) or a path on the host.
          - A user and password in the address never reach the manifest, the output or the process list.
        type: str
      version:
        description:
          - For V(git), a branch, a tag, a commit, or a whole reference such as V(refs/heads/main).
          - By default V(HEAD), the remote's default branch.
        type: str
      depth:
        description: For V(git), fetch only so many commits of the history. By default all of it, once.
        type: int
      submodules:
        description: For V(git), whether to check submodules out, recursively. They are cloned anew for each release.
        type: bool
      subdirectory:
        description: For V(git), the directory of the repository that becomes the release.
        type: str
      key:
        description:
          - For V(git), the private key of a deploy key. It lies in a private temporary file while git runs.
        type: str
      key_file:
        description: For V(git), the path of a private key on the host.
        type: path
      known_hosts:
        description:
          - For V(git), lines in the format of C(known_hosts). Only these host keys are trusted then.
          - By default those the app's user and the host know.
        type: str
      host_key_checking:
        description:
          - For V(git). With V(strict), the default, the key of an unknown host is refused.
          - With V(accept_new) it is trusted and stored at the first contact; a changed one is refused.
        type: str
        choices: [strict, accept_new]
      url:
        description: For V(archive) and V(artifact), an http or https address.
        type: str
      headers:
        description:
          - For V(archive) and V(artifact), headers of the request, such as a token.
          - They are not sent on to another host.
        type: dict
      file:
        description: For V(archive) and V(artifact), its path on the host.
        type: path
      checksum:
        description:
          - For V(archive) and V(artifact), C(<algorithm>:<hex digits>) with V(sha256), V(sha384) or V(sha512). Required
            with V(artifact) and with O(source.url), also because it tells without a download whether the release is
            there.
        type: str
      commit:
        description: For V(artifact), the commit that it must be of, RV(zerodown.pm2.artifact#module:manifest).
        type: str
      any_platform:
        description: For V(artifact), whether it is taken wherever it was built.
        type: bool
      node_executable:
        description: For V(artifact), the Node that will run it. By default the first one on E(PATH).
        type: path
      strip_components:
        description: For V(archive), how many leading directories to take off each name. By default V(0).
        type: int
      directory:
        description: For V(directory), the directory on the host.
        type: path
      exclude:
        description:
          - For V(directory), shell patterns of names or relative paths to leave out. By default V(.git) and
            V(node_modules).
        type: list
        elements: str
      timeout:
        description: Seconds that one fetch, download or check-out may take. By default V(600).
        type: int
  shared:
    description: What outlives a release. Lies below C(shared) and is linked into each release. Paths are relative.
    type: dict
    suboptions:
      directories:
        description:
          - Directories. A missing one is created. What the source has at that path is copied into a newly created
            one, and is otherwise left out of the release.
        type: list
        elements: str
      files:
        description:
          - Files. A missing one is an error before anything changes, because only you can know its content.
        type: list
        elements: str
  env_file:
    description:
      - Variables for the C(.env) of the release, in the syntax of dotenv, mode 0600. It belongs to the release, so a
        change of a variable makes a new release, and a rollback brings the old values back.
      - Without it no C(.env) is written, and one that the source has is left alone.
    type: dict
  variant:
    description:
      - Anything else that makes two releases of one revision different, such as the build steps or the version of Node.
        It is compared, and kept as a digest only.
    type: dict
  needs_build:
    description: Whether the release may go live only after M(zerodown.pm2.build).
    type: bool
    default: true
  retry_bad:
    description:
      - Staging what was marked V(bad) is refused, so that no one deploys it again by accident. With V(true) a new
        release is made of it.
    type: bool
    default: false
  rollback:
    description:
      - With O(state=live), this is a way back and not a deploy. Without O(release) it goes to the last proven release
        before the live one; one that is named must be proven. See also
        RV(zerodown.pm2.release_info#module:rollback_target).
    type: bool
    default: false
  keep:
    description:
      - With O(state=live), how many releases to keep. Never removed are the live one, the one before it, the last
        proven one, those in O(protect), and any that a process of this user runs from.
      - Trees in the dependency cache that no kept release uses are removed with them.
    type: int
    default: 5
  protect:
    description: With O(state=live) and O(state=absent), ids of releases that must stay.
    type: list
    elements: str
    default: []
  by:
    description: Who did this, for the manifest and the log. By default the user who ran the module.
    type: str
  reason:
    description: Why, for the log. Required with O(state=bad).
    type: str
seealso:
  - module: zerodown.pm2.release_info
  - module: zerodown.pm2.build
  - module: zerodown.pm2.app
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: Stage the main branch
  zerodown.pm2.release:
    path: /srv/shop
    source:
      type: git
      repo: git@git.example.com:team/shop.git
      version: main
      key: "{{ shop_deploy_key }}"
      known_hosts: "{{ shop_known_hosts }}"
    shared:
      directories: [uploads]
    env_file:
      DATABASE_URL: "{{ shop_database_url }}"
  register: staged

- name: Build it
  zerodown.pm2.build:
    path: /srv/shop
    release: "{{ staged.release.id }}"
    scripts: [lint, test, build]
    prune: true

- name: Let current name it
  zerodown.pm2.release:
    path: /srv/shop
    release: "{{ staged.release.id }}"
    state: live

- name: It held
  zerodown.pm2.release:
    path: /srv/shop
    release: "{{ staged.release.id }}"
    state: proven

- name: Stage a built artifact
  zerodown.pm2.release:
    path: /srv/shop
    source:
      type: archive
      url: https://artifacts.example.com/shop-2.4.0.tar.gz
      checksum: sha256:0d5b9f0d0f4c1f7a6e9b2a64a7a1a0f4b3a8f7c2e1d0c9b8a7f6e5d4c3b2a190
      strip_components: 1
    needs_build: false

- name: Back to the last proven release
  zerodown.pm2.release:
    path: /srv/shop
    state: live
    rollback: true
    reason: checkout page fails
"""

RETURN = r"""
release:
  description: The release. Null after O(state=absent), and in check mode for one that is not there yet.
  returned: success
  type: dict
  sample:
    id: 20260131T140509Z-1f3a9c2e
    path: /srv/shop/releases/20260131T140509Z-1f3a9c2e
    revision: 1f3a9c2e7d5b4a39c8e1f0a2b3c4d5e6f7a8b9c0
    source: {type: git, repo: git@git.example.com:team/shop.git, version: main}
    created: '2026-01-31T14:05:09Z'
    created_by: deploy
    needs_build: true
    build: null
    ready: false
    live: false
    previous: false
    proven: false
    bad: false
    reason: null
    migrations: []
  contains:
    id:
      description: Its id. In check mode the one it would get if it were staged now.
      type: str
    path:
      description: Its directory.
      type: str
    revision:
      description: The commit, or the digest of the archive or directory.
      type: str
    source:
      description: Where it came from, without credentials.
      type: dict
    created:
      description: When, in UTC.
      type: str
    created_by:
      description: By whom.
      type: str
    needs_build:
      description: Whether it may go live only after a build.
      type: bool
    build:
      description: What M(zerodown.pm2.build) did, or null.
      type: dict
      contains:
        status:
          description: V(running), V(failed) or V(done). A build that was killed stays V(running).
          type: str
        started:
          description: When, in UTC.
          type: str
        seconds:
          description: How long it took.
          type: float
        steps:
          description: What was run, as RV(zerodown.pm2.build#module:steps).
          type: list
          elements: dict
        dependencies:
          description: How the dependencies got there, as RV(zerodown.pm2.build#module:dependencies).
          type: dict
    ready:
      description: Whether it may go live as far as building goes.
      type: bool
    live:
      description: Whether C(current) names it.
      type: bool
    previous:
      description: Whether it was live before the live one.
      type: bool
    proven:
      description: Whether it was marked V(proven).
      type: bool
    bad:
      description: Whether it was marked V(bad).
      type: bool
    reason:
      description: The reason given with the verdict, or null.
      type: str
    migrations:
      description: What M(zerodown.pm2.migration) ran for it, or another host.
      type: list
      elements: dict
      contains:
        name:
          description: Its name.
          type: str
        class:
          description: V(expand), V(contract) or V(irreversible).
          type: str
        time:
          description: When, in UTC.
          type: str
        seconds:
          description: How long it took. Null when another host ran it.
          type: float
live:
  description: The id of the live release afterwards, or null.
  returned: success
  type: str
previous:
  description: The id of the release that was live before the live one, or null.
  returned: success
  type: str
removed:
  description: The ids of the releases that were removed.
  returned: success
  type: list
  elements: str
"""

import os
from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.zerodown.pm2.plugins.module_utils import _activate, _deploy_log, _module, _stage
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._release import Layout, Overview
from ansible_collections.zerodown.pm2.plugins.module_utils._source_archive import ArchiveSource
from ansible_collections.zerodown.pm2.plugins.module_utils._source_artifact import ArtifactSource
from ansible_collections.zerodown.pm2.plugins.module_utils._source_directory import DirectorySource
from ansible_collections.zerodown.pm2.plugins.module_utils._source_git import GitSource, split_credentials

HIDDEN = ["env_file", "key", "headers", "variant"]

SOURCE_OPTIONS = {
    "git": [
        "repo", "version", "depth", "submodules", "subdirectory", "key", "key_file", "known_hosts", "host_key_checking",
    ],
    "archive": ["url", "headers", "file", "checksum", "strip_components"],
    "artifact": ["url", "headers", "file", "checksum", "commit", "any_platform", "node_executable"],
    "directory": ["directory", "exclude"],
}  # fmt: skip

# the options that say nothing in other states
STATE_OPTIONS = {
    "source": ["staged"],
    "shared": ["staged"],
    "env_file": ["staged"],
    "variant": ["staged"],
    "reason": ["live", "proven", "bad", "absent"],
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["staged", "live", "proven", "bad", "absent"], "default": "staged"},
            "release": {"type": "str"},
            "source": {
                "type": "dict",
                "options": {
                    "type": {"type": "str", "choices": ["git", "archive", "artifact", "directory"], "required": True},
                    "repo": {"type": "str"},
                    "version": {"type": "str"},
                    "depth": {"type": "int"},
                    "submodules": {"type": "bool"},
                    "subdirectory": {"type": "str"},
                    "key": {"type": "str", "no_log": True},
                    "key_file": {"type": "path", "no_log": False},
                    "known_hosts": {"type": "str"},
                    "host_key_checking": {"type": "str", "choices": ["strict", "accept_new"]},
                    "url": {"type": "str"},
                    "headers": {"type": "dict", "no_log": True},
                    "file": {"type": "path"},
                    "checksum": {"type": "str"},
                    "commit": {"type": "str"},
                    "any_platform": {"type": "bool"},
                    "node_executable": {"type": "path"},
                    "strip_components": {"type": "int"},
                    "directory": {"type": "path"},
                    "exclude": {"type": "list", "elements": "str"},
                    "timeout": {"type": "int"},
                },
                "required_if": [["type", "git", ["repo"]], ["type", "directory", ["directory"]]],
                "mutually_exclusive": [["key", "key_file"]],
            },
            "shared": {
                "type": "dict",
                "options": {
                    "directories": {"type": "list", "elements": "str"},
                    "files": {"type": "list", "elements": "str"},
                },
            },
            "env_file": {"type": "dict", "no_log": True},
            "variant": {"type": "dict", "no_log": True},
            "needs_build": {"type": "bool", "default": True},
            "retry_bad": {"type": "bool", "default": False},
            "rollback": {"type": "bool", "default": False},
            "keep": {"type": "int", "default": 5},
            "protect": {"type": "list", "elements": "str", "default": []},
            "by": {"type": "str"},
            "reason": {"type": "str"},
        },
        required_if=[
            ["state", "staged", ["source"]],
            ["state", "proven", ["release"]],
            ["state", "bad", ["release", "reason"]],
            ["state", "absent", ["release"]],
        ],
        supports_check_mode=True,
    )
    _module.narrow_no_log(module, [module.params["env_file"] or {}, *_secrets(module.params["source"] or {})])
    _module.run(module, work, hidden=HIDDEN)


def work(module: AnsibleModule) -> Dict[str, Any]:
    params = module.params
    state = params["state"]
    for option, states in STATE_OPTIONS.items():
        if params[option] is not None and state not in states:
            raise Pm2Error("{0} has no meaning with state={1}; leave it out.".format(option, state))
    layout = Layout.at(params["path"])
    by = params["by"] or _deploy_log.who()
    if state == "staged":
        return _staged(module, layout, by)
    if module.check_mode and state != "absent" and params["release"]:
        now = _stage.read(layout)
        if now.find(params["release"]) is None:
            return _predicted(module, now)
    if state == "live":
        fate = _activate.go_live(
            layout, params["release"], params["rollback"], params["keep"], params["protect"], by, params["reason"],
            module.check_mode,
        )  # fmt: skip
    elif state == "absent":
        fate = _activate.remove(layout, params["release"], params["protect"], by, params["reason"], module.check_mode)
    else:
        fate = _activate.judge(layout, params["release"], state, by, params["reason"], module.check_mode)
    for notice in fate.notices:
        module.warn(notice)
    release = fate.after.find(fate.release)
    return {
        "changed": fate.changed,
        "release": release and fate.after.describe(release),
        "live": fate.after.live,
        "previous": fate.after.previous,
        "removed": fate.removed,
        "diff": {"before": _summary(fate.before, fate.release), "after": _summary(fate.after, fate.release)},
    }


def _predicted(module: AnsibleModule, now: Overview) -> Dict[str, Any]:
    """Of a release that only check mode has staged, a task before this one."""
    release_id, state = module.params["release"], module.params["state"]
    module.warn("Release {0} is not there yet; check mode takes it that an earlier task stages it.".format(release_id))
    before = _summary(now, release_id)
    live = state == "live"
    return {
        "changed": True,
        "release": None,
        "live": release_id if live else now.live,
        "previous": now.live if live else now.previous,
        "removed": [],
        "diff": {"before": before, "after": {**before, **({"live": release_id} if live else {"verdict": state})}},
    }


def _summary(overview: Overview, release_id: str) -> Dict[str, Any]:
    verdict = "proven" if release_id in overview.history.proven else None
    return {
        "live": overview.live,
        "releases": [release.id for release in overview.releases],
        "verdict": "bad" if release_id in overview.history.bad else verdict,
    }


def _staged(module: AnsibleModule, layout: Layout, by: str) -> Dict[str, Any]:
    params = module.params
    shared = params["shared"] or {}
    wanted = _stage.Wanted(
        source=_source(params["source"], layout, module.check_mode),
        directories=shared.get("directories") or [],
        files=shared.get("files") or [],
        env=params["env_file"],
        variant=params["variant"] or {},
        needs_build=params["needs_build"],
        retry_bad=params["retry_bad"],
        release=params["release"],
        by=by,
    )
    before = _stage.read(layout)
    names = _stage.env_names(layout, before.live)
    staged = _stage.stage(layout, wanted, module.check_mode)
    for notice in staged.notices:
        module.warn(notice)
    after = _stage.read(layout)
    result = {
        "changed": staged.changed,
        "release": after.describe(staged.release),
        "live": after.live,
        "previous": after.previous,
        "removed": staged.replaced,
    }
    if staged.changed:
        live = before.find(before.live) if before.live else None
        result["diff"] = {
            "before_header": "live release",
            "after_header": "staged release",
            "before": {"id": live.id, "revision": live.revision, "env_file": names} if live else {},
            "after": {
                "id": staged.release.id,
                "revision": staged.release.revision,
                "env_file": sorted(params["env_file"] or {}),
            },
        }
    return result


def _source(options: Dict[str, Any], layout: Layout, check: bool) -> _stage.Source:
    """:raises Pm2Error: an option of another type of source is set, or one is not valid."""
    kind = options["type"]
    for name, value in options.items():
        if value is not None and name not in ["type", "timeout"] + SOURCE_OPTIONS[kind]:
            raise Pm2Error("source.{0} has no meaning with source.type={1}; leave it out.".format(name, kind))
    given = {name: options[name] for name in SOURCE_OPTIONS[kind] if options[name] is not None}
    if options["depth"] is not None and options["depth"] < 1:
        raise Pm2Error("source.depth must be 1 or more; leave it out for the whole history.")
    if options["timeout"] is not None:
        if options["timeout"] < 1:
            raise Pm2Error("source.timeout must be 1 s or more.")
        given["timeout"] = float(options["timeout"])
    if kind == "git":
        given["accept_new_host"] = given.pop("host_key_checking", "strict") == "accept_new"
        return GitSource(mirror=os.path.join(layout.cache, "repository.git"), check=check, **given)
    if kind == "archive":
        return ArchiveSource(download=os.path.join(layout.cache, "download.partial"), **given)
    if kind == "artifact":
        if "commit" not in given:
            raise Pm2Error("source.type=artifact needs source.commit, the commit that it is of.")
        own = {
            "commit": given.pop("commit"),
            "any_platform": given.pop("any_platform", False),
            "node": given.pop("node_executable", None),
        }
        return ArtifactSource(ArchiveSource(download=os.path.join(layout.cache, "download.partial"), **given), **own)
    given.pop("timeout", None)
    return DirectorySource(root=layout.root, **{"exclude": [".git", "node_modules"], **given})


def _secrets(source: Dict[str, Any]) -> List[Dict[str, Any]]:
    """What must be blanked out wherever it turns up: the key, the headers, a password in the address."""
    repo = source.get("repo") or ""
    return [
        {"key": source.get("key") or "", "repo": repo, "password": split_credentials(repo)[2] or ""},
        {"token " + name: value for name, value in (source.get("headers") or {}).items()},
    ]


if __name__ == "__main__":
    main()
