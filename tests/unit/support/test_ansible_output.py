# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The few lines that say why a playbook or a scenario failed."""

from __future__ import annotations

from support.ansible_output import why

RECAP = "web1                       : ok=1    changed=0    unreachable=0    failed={}    skipped=0    rescued=1\n"
EXPECTED = """
TASK [Refuse] ******************************************************************
[ERROR]: Task failed: Action failed: expected
Origin: /play.yml:7:11

fatal: [web1]: FAILED! =>
    changed: false
    msg: expected
"""
REAL = """
TASK [Loop over things] ********************************************************
ok: [web1] => (item=a)
[ERROR]: Task failed: Action failed: Assertion failed
Origin: /play.yml:12:7

failed: [web1] (item=b) =>
    assertion: item != 'b'
    changed: false
    msg: Assertion failed
skipping: [web2] => (item=a)

TASK [The others go on] ********************************************************
ok: [web2]
"""


def test_the_failure_that_ended_a_host_and_none_that_was_expected() -> None:
    assert why(EXPECTED + REAL + RECAP.format(1)) == [
        "TASK [Loop over things]",
        "[ERROR]: Task failed: Action failed: Assertion failed",
        "failed: [web1] (item=b) =>",
        "    msg: Assertion failed",
    ]


def test_what_molecule_itself_complains_about() -> None:
    usual = "CRITICAL 'molecule/default/molecule.yml' glob failed.  Exiting.\n"
    complaint = "CRITICAL Idempotence test failed because of the following tasks:\n*  => pm2 : Install\n"
    assert why(usual + EXPECTED.replace("[ERROR]", "(error)") + RECAP.format(0) + complaint) == [
        "CRITICAL Idempotence test failed because of the following tasks:",
        "*  => pm2 : Install",
    ]


def test_otherwise_the_end() -> None:
    assert why("".join(f"line {number}\n" for number in range(100)))[-1] == "line 99"
