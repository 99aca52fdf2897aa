# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # the argument specification is _module.COMMON_ARGUMENTS; the modules with these options, and no others, are in the
    # action group, because Ansible gives the group's defaults to each of its modules
    DOCUMENTATION = r"""
options:
  pm2_home:
    description:
      - The directory in which the PM2 daemon keeps its sockets, its saved process list and its logs.
      - The default is C(~/.pm2) of the user who runs the task. The environment variable E(PM2_HOME) is not looked at.
      - Must belong to the user who runs the task (see C(become_user)).
    type: path
  pm2_executable:
    description:
      - PM2's own C(bin/pm2), or a symbolic link to it.
      - The default is the first C(pm2) on E(PATH) and in the system's directories.
    type: path
  node_executable:
    description:
      - The Node that runs PM2.
      - The default is the C(node) beside O(pm2_executable), else the first one on E(PATH).
    type: path
attributes:
  action_group:
    description: Use C(group/zerodown.pm2.pm2) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - zerodown.pm2.pm2
"""
