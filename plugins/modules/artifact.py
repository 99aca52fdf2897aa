# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: artifact
short_description: Pack a built release, so that every host gets the same bytes
version_added: 0.1.0
description:
  - Makes one C(.tar.gz) of a release that M(zerodown.pm2.build) has built, below C(cache/artifacts) of the app's root,
    with a manifest in it of what it was made from and for, and the digest of each file.
  - The same files give the same bytes, whoever packs them, where and when. All files have the time of the commit.
  - M(zerodown.pm2.release) makes a release of it with O(zerodown.pm2.release#module:source.type=artifact), and refuses
    it on a host that it was not built for.
  - A virtual environment is never in it, because it names the place where it is. The hosts make theirs from the
    lockfile, with M(zerodown.pm2.build).
  - Left out is what tools leave behind, such as C(__pycache__), C(.git) and caches.
extends_documentation_fragment:
  - zerodown.pm2.attributes
attributes:
  check_mode:
    support: full
    details: What is not packed yet has no checksum.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  path:
    description: The app's root on the host that built it.
    type: path
    required: true
  release:
    description: The id of the release.
    type: str
    required: true
  app:
    description: The name of the app, for the manifest.
    type: str
    required: true
  dependencies:
    description:
      - Whether C(node_modules) is in it, so that nothing is installed on the hosts. Build it with
        O(zerodown.pm2.build#module:prune) then.
    type: bool
    default: false
  exclude:
    description: Shell patterns of names, or of paths in the release, to leave out as well.
    type: list
    elements: str
    default: []
seealso:
  - module: zerodown.pm2.build
  - module: zerodown.pm2.release
author:
  - The zerodown.pm2 contributors (@zerodown)
"""

EXAMPLES = r"""
- name: Pack what was built
  zerodown.pm2.artifact:
    path: /srv/build/shop
    release: "{{ staged.release.id }}"
    app: shop
    dependencies: true
    exclude: [docs, '*.map']
  register: packed
"""

RETURN = r"""
file:
  description: The path of the artifact.
  returned: success
  type: str
  sample: /srv/build/shop/cache/artifacts/20260131T140509Z-1f3a9c2e-5c0d7a0c.tar.gz
checksum:
  description: C(sha256:) and the digits. Empty in check mode when it is not there yet.
  returned: success
  type: str
  sample: sha256:0d5b9f0d0f4c1f7a6e9b2a64a7a1a0f4b3a8f7c2e1d0c9b8a7f6e5d4c3b2a190
size:
  description: Bytes.
  returned: success
  type: int
  sample: 48213
manifest:
  description: What it says of itself, without the files. Empty in check mode when it is not there yet.
  returned: success
  type: dict
  sample:
    format: 1
    app: shop
    revision: 1f3a9c2e7d5b4a39c8e1f0a2b3c4d5e6f7a8b9c0
    time: 1769868309
    lockfiles: {package-lock.json: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}
    runtime: {node: v20.20.2}
    platform: {system: linux, machine: x86_64, libc: glibc 2.36}
    dependencies: [node_modules]
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.zerodown.pm2.plugins.module_utils import _module
from ansible_collections.zerodown.pm2.plugins.module_utils._packed import pack_release
from ansible_collections.zerodown.pm2.plugins.module_utils._release import Layout
from ansible_collections.zerodown.pm2.plugins.module_utils._stage import read


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "release": {"type": "str", "required": True},
            "app": {"type": "str", "required": True},
            "dependencies": {"type": "bool", "default": False},
            "exclude": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    _module.run(module, work)


def work(module: AnsibleModule) -> Dict[str, Any]:
    params = module.params
    layout = Layout.at(params["path"])
    release = read(layout).get(params["release"])
    packed = pack_release(layout, release, params["app"], params["dependencies"], params["exclude"], module.check_mode)
    return {
        "changed": packed.changed,
        "file": packed.file,
        "checksum": packed.checksum,
        "size": packed.size,
        "manifest": packed.manifest,
    }


if __name__ == "__main__":
    main()
