# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: build
short_description: Build a staged release
version_added: 0.1.0
description:
  - Installs the dependencies of a release from its lockfile, for Node, for Python or for both, runs scripts and
    commands in it, and seals it. M(zerodown.pm2.release) lets it go live only then.
  - The order is O(python), install of Node's packages, O(scripts), O(steps), O(prune). The first one that fails ends
    the build, and the release stays not built.
  - Everything runs with a clean environment, a base (E(PATH), E(HOME), E(USER), E(LOGNAME), E(SHELL), E(LANG)) and
    O(env), not what the ssh session had. The user's own C(.npmrc) counts.
  - All output goes to C(.zerodown/build.log) in the release, mode 0600.
  - A release that was built already with the same arguments is left alone and nothing is run. One that was built with
    others is refused, because a built release is never changed; see O(zerodown.pm2.release#module:variant).
  - B(Python). Each release has a virtual environment of its own, made by uv where it is there, else by C(venv) and pip,
    from C(uv.lock), C(requirements.txt), C(poetry.lock) or C(Pipfile.lock), whichever is found first. Steps have its
    programs first on E(PATH). A release with a C(package.json) gets one only when O(python) is given, for such files
    may be there for something else; an empty one is enough.
  - B(Dependency cache). An installed C(node_modules) is kept in C(cache/dependencies) under a key made of lockfile,
    C(package.json), package manager and its version, Node's version, platform, O(install_args) and O(cache_inputs).
    The next release with the same key installs nothing. An entry with a file that is missing, or whose size, time or
    mode changed, is thrown away and made anew.
    The package's own install scripts (C(postinstall), C(prepare) and so on) are run then as well, because they may
    write anywhere in the release.
    A virtual environment is kept in the same way, its key made of the lockfile or the requirements files, the installer
    and its version, the Python and its version, platform, the suboptions of O(python) and O(cache_inputs). What names
    its path in it is rewritten for each release. The release's own packages are not kept, but installed each time.
  - Run it as the app's user. It needs no privileges.
extends_documentation_fragment:
  - zerodown.pm2.attributes
attributes:
  check_mode:
    support: full
    details: On a release that only check mode has staged the package manager cannot be told yet.
  diff_mode:
    support: full
    details: Shows the steps.
  idempotent:
    support: full
options:
  path:
    description: The app's root.
    type: path
    required: true
  release:
    description: The id of the staged release.
    type: str
    required: true
  directory:
    description: The directory in the release that everything runs in, relative to it. The C(package.json) is there.
    type: str
    default: .
  package_manager:
    description:
      - Which one installs. V(auto) tells by the lockfile, C(package-lock.json) or C(npm-shrinkwrap.json),
        C(pnpm-lock.yaml), C(yarn.lock). When there are several, C(packageManager) in C(package.json) decides. Without
        a C(package.json) nothing is installed for Node, and O(python) is told by its lockfile.
      - This is Node's; what installs for Python is O(python.installer). An app can have both.
      - The program must be beside Node or on E(PATH). A Yarn that the repository brings along (C(yarnPath) in
        C(.yarnrc.yml)) is used as it is. Shims of Corepack work when the version they want is there already.
      - npm 7 or newer; pnpm 8 or newer; Yarn 1, and Yarn 2 or newer with any C(nodeLinker).
    type: str
    choices: [auto, npm, pnpm, yarn, none]
    default: auto
  lockfile_required:
    description: Whether a missing lockfile is refused. With V(false) versions are then resolved anew, and nothing is
      cached.
    type: bool
    default: true
  install_args:
    description: More arguments for the install of Node's packages, such as V(--legacy-peer-deps).
    type: list
    elements: str
    default: []
  scripts:
    description: Scripts of C(package.json) to run with the package manager, in this order.
    type: list
    elements: str
    default: []
  steps:
    description: Commands to run, in this order.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What the step is called in errors and in the log.
        type: str
        required: true
      argv:
        description: The program and its arguments. No shell sees them.
        type: list
        elements: str
        required: true
      env:
        description: More variables, for this step.
        type: dict
      directory:
        description: Where to run it, relative to the release. By default O(directory).
        type: str
      timeout:
        description: Seconds. By default O(timeout).
        type: int
  checks:
    description:
      - Whether what the project says itself about its checks is run, in this order, before O(scripts) and O(steps).
        What these name is run in their place.
      - From C(package.json) the scripts C(lint), C(typecheck), C(test) and C(build) that it has.
      - For Python ruff, flake8, mypy and pytest, each where the project has settings for it; without pytest's settings
        C(manage.py test), or pytest where there are tests. They come from the groups of the lockfile for development
        (C(dev), C(development), C(lint), C(test), C(tests), C(typing)), or from files such as
        C(requirements-dev.txt), which are installed, too, unless O(python) names groups or files.
    type: bool
    default: false
  prune:
    description: Whether to remove Node's development dependencies at the end.
    type: bool
    default: false
  env:
    description:
      - Variables for everything that is run. E(NODE_ENV=production) does not keep development dependencies from being
        installed.
    type: dict
    default: {}
  node_executable:
    description: The Node to build with. Its directory comes first on E(PATH). By default the first one on E(PATH).
    type: path
  python:
    description:
      - The virtual environment of the release. By default there is one when O(package_manager=auto), there is no
        C(package.json), and one of the files named above is found. Given, also empty, there is always one.
      - Nothing is installed from an index but what the lockfile names, except by a C(requirements.txt) without exact
        versions, of which a warning tells. Indexes, mirrors and their credentials are those of the host's own
        settings of pip (C(pip.conf)) and uv (C(uv.toml)).
    type: dict
    suboptions:
      installer:
        description:
          - V(auto) is uv when it is on E(PATH) or in C(~/.local/bin), else pip. C(uv.lock) needs uv, 0.5.20 or newer.
          - V(pip) is C(python -m venv), and the pip that comes with it.
          - With V(none) there is no virtual environment, whatever is found.
        type: str
        choices: [auto, uv, pip, none]
        default: auto
      directory:
        description: The directory in the release that has the lockfile, relative to it. By default O(directory).
        type: str
      venv:
        description: The virtual environment, relative to O(python.directory).
        type: str
        default: .venv
      executable:
        description:
          - The Python to make it with, a path, or a name such as V(python3.12) that is looked for on E(PATH).
          - By default the one that C(.python-version) asks for, also one that uv has installed, else C(python3). None
            is downloaded.
        type: str
      requirements:
        description:
          - Requirements files to install from, relative to O(python.directory), such as V(requirements/production.txt).
            By default C(requirements.txt), unless there is a C(uv.lock).
          - When there is a hash in one of them, all that is installed must have one.
        type: list
        elements: str
        default: []
      extras:
        description: Extras of the project to install, with C(uv.lock), C(poetry.lock) or C(pyproject.toml).
        type: list
        elements: str
        default: []
      groups:
        description: Dependency groups to install; of Pipenv, categories. By default none, not those for development
          either.
        type: list
        elements: str
        default: []
      project:
        description:
          - Whether to install the project of C(pyproject.toml) itself, editable, which means from the release where it
            is. By default with C(uv.lock) as that says, else only when there is no lockfile.
          - It is built anew for each release, so an app that runs from its directory is faster without.
        type: bool
      install_args:
        description:
          - More arguments for the install, of C(uv sync), C(uv pip install) or C(pip install), such as
            V(--no-binary=psycopg).
        type: list
        elements: str
        default: []
  cache:
    description:
      - V(link), files of the dependency cache are hard links, read-only so that nothing can change them in place for
        other releases. Takes no space and little time. Falls back to V(copy) for root, whom no mode keeps from
        writing, and when the cache is on another file system.
      - V(copy), each release has files of its own. For builds that write into C(node_modules), such as
        C(patch-package) run as a script.
      - V(none), install each time. For installs whose scripts depend on more than O(cache_inputs) can name, and for
        workspaces that link to sources outside of O(directory).
    type: str
    choices: [link, copy, none]
    default: link
  cache_inputs:
    description:
      - More files or directories whose content belongs to the key, relative to O(directory), because scripts read
        them during the install, such as V(patches) or V(prisma/schema.prisma).
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds that each step may take. Then all of its processes are killed.
    type: int
    default: 900
seealso:
  - module: zerodown.pm2.release
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: Install from the lockfile, test and build, leave only what production needs
  zerodown.pm2.build:
    path: /srv/shop
    release: "{{ staged.release.id }}"
    scripts: [lint, test, build]
    prune: true

- name: Make the virtual environment of a Python app from its uv.lock or requirements.txt
  zerodown.pm2.build:
    path: /srv/api
    release: "{{ staged.release.id }}"

- name: Build a Django app with a frontend
  zerodown.pm2.build:
    path: /srv/portal
    release: "{{ staged.release.id }}"
    directory: frontend
    scripts: [build]
    python:
      directory: .
      executable: python3.12
      groups: [production]
    steps:
      - name: static files
        argv: [python, manage.py, collectstatic, --noinput]
        directory: .

- name: Build with commands only
  zerodown.pm2.build:
    path: /srv/tool
    release: "{{ staged.release.id }}"
    package_manager: none
    steps:
      - name: compile
        argv: [make, release]
        timeout: 300
"""

RETURN = r"""
release:
  description: The id of the release.
  returned: success
  type: str
steps:
  description: What was run, or would be.
  returned: success
  type: list
  elements: dict
  sample:
    - {name: install, argv: [/usr/bin/npm, ci, --include=dev], seconds: 6.1}
    - {name: script build, argv: [/usr/bin/npm, run, build], seconds: 2.4}
dependencies:
  description: How the dependencies for Node got there. Null without a package manager.
  returned: success, and when a step failed
  type: dict
  sample:
    package_manager: npm
    version: 10.8.2
    node: v20.20.2
    lockfile: package-lock.json
    key: 5c0d7a0c8d6e4f21a3b4c5d6e7f80912a3b4c5d6
    cache: hit
    seconds: 0.4
    files: 9876
    notice: null
  contains:
    cache:
      description: V(hit), V(miss) or V(none).
      type: str
    notice:
      description: Why nothing was cached, or that an entry was damaged; else null.
      type: str
python:
  description: How the virtual environment got there. Null without one.
  returned: success, and when a step failed
  type: dict
  sample:
    installer: uv
    version: 0.9.5
    python: 3.12.11
    executable: /usr/bin/python3.12
    venv: /srv/api/releases/20260131T140509Z-1f3a9c2e/.venv
    lockfile: uv.lock
    key: 0b9d3f7c8d6e4f21a3b4c5d6e7f80912a3b4c5d6
    cache: hit
    seconds: 0.2
    files: 1875
    notice: null
  contains:
    installer:
      description: V(uv) or V(pip).
      type: str
    version:
      description: Of uv; null with pip, which comes with Python.
      type: str
    cache:
      description: V(hit), V(miss) or V(none).
      type: str
    notice:
      description: Why nothing was cached, or that an entry was damaged; else null.
      type: str
log:
  description: The file with the output of all steps.
  returned: success
  type: str
step:
  description: The step that failed.
  returned: when a step failed
  type: str
output_tail:
  description: The last lines that the step printed, after its first ones when there are many.
  returned: when a step failed
  type: list
  elements: str
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.zerodown.pm2.plugins.module_utils import _build, _module
from ansible_collections.zerodown.pm2.plugins.module_utils._build_spec import Command, PythonSpec, Spec
from ansible_collections.zerodown.pm2.plugins.module_utils._environment import declared
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._release import Layout


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "directory": {"type": "str", "default": "."},
            "package_manager": {"type": "str", "choices": ["auto", "npm", "pnpm", "yarn", "none"], "default": "auto"},
            "lockfile_required": {"type": "bool", "default": True},
            "install_args": {"type": "list", "elements": "str", "default": []},
            "scripts": {"type": "list", "elements": "str", "default": []},
            "steps": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "argv": {"type": "list", "elements": "str", "required": True},
                    "env": {"type": "dict", "no_log": True},
                    "directory": {"type": "str"},
                    "timeout": {"type": "int"},
                },
            },
            "checks": {"type": "bool", "default": False},
            "prune": {"type": "bool", "default": False},
            "env": {"type": "dict", "default": {}, "no_log": True},
            "node_executable": {"type": "path"},
            "python": {
                "type": "dict",
                "options": {
                    "installer": {"type": "str", "choices": ["auto", "uv", "pip", "none"], "default": "auto"},
                    "directory": {"type": "str"},
                    "venv": {"type": "str", "default": ".venv"},
                    "executable": {"type": "str"},
                    "requirements": {"type": "list", "elements": "str", "default": []},
                    "extras": {"type": "list", "elements": "str", "default": []},
                    "groups": {"type": "list", "elements": "str", "default": []},
                    "project": {"type": "bool"},
                    "install_args": {"type": "list", "elements": "str", "default": []},
                },
            },
            "cache": {"type": "str", "choices": ["link", "copy", "none"], "default": "link"},
            "cache_inputs": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 900},
        },
        supports_check_mode=True,
    )
    _module.narrow_no_log(module, [module.params["env"], *(step["env"] or {} for step in module.params["steps"])])
    _module.run(module, work, hidden=["env"])


def work(module: AnsibleModule) -> Dict[str, Any]:
    layout = Layout.at(module.params["path"])
    built = _build.build(layout, module.params["release"], _spec(module.params), module.check_mode)
    for notice in built.notices:
        module.warn(notice)
    result = {
        "changed": built.changed,
        "release": module.params["release"],
        "steps": built.steps,
        "dependencies": built.dependencies,
        "python": built.python,
        "log": built.log,
    }
    if built.changed:
        planned = [" ".join(step["argv"]) or step["name"] for step in built.steps]
        result["diff"] = {"before": {"built": False, "steps": []}, "after": {"built": True, "steps": planned}}
    return result


def _spec(params: Dict[str, Any]) -> Spec:
    """:raises Pm2Error: a value that makes no sense."""
    timeouts = [params["timeout"]] + [step["timeout"] for step in params["steps"] if step["timeout"] is not None]
    if min(timeouts) < 1:
        raise Pm2Error("timeout must be 1 s or more.")
    return Spec(
        directory=params["directory"],
        package_manager=params["package_manager"],
        lockfile_required=params["lockfile_required"],
        install_args=params["install_args"],
        scripts=params["scripts"],
        steps=[
            Command(
                name=step["name"],
                argv=step["argv"],
                env=declared(step["env"] or {}, "steps"),
                directory=step["directory"],
                timeout=step["timeout"],
            )
            for step in params["steps"]
        ],
        prune=params["prune"],
        env=declared(params["env"], "env"),
        node_executable=params["node_executable"],
        python=PythonSpec(**params["python"]) if params["python"] is not None else None,
        cache=params["cache"],
        cache_inputs=params["cache_inputs"],
        timeout=params["timeout"],
        checks=params["checks"],
    )


if __name__ == "__main__":
    main()
