# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pushes to a real ansible-rulebook: what runs, with what, how often, and what never does."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from support.deliveries import NOTHING, SECRET, Sent, commit
from support.rulebook import RULEBOOK, Rulebook, eda_tools, need_java

CHECK_SCHEMA = """
import sys, yaml
from ansible_rulebook.validators import Validate
Validate.rulebook(yaml.safe_load(open(sys.argv[1])))
"""


@pytest.fixture(autouse=True)
def _java() -> None:
    need_java()


@pytest.fixture
def rulebook(tmp_path: Path) -> Rulebook:
    return Rulebook(tmp_path)


def test_the_rulebook_is_what_ansible_rulebook_calls_valid() -> None:
    process = subprocess.run(
        [str(eda_tools() / "python"), "-c", CHECK_SCHEMA, str(RULEBOOK)], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize(("then", "in_file"), [("deliver", True), ("deploy", False)])
def test_a_push_is_checked_and_then_delivered_or_deployed(tmp_path: Path, then: str, in_file: bool) -> None:
    rulebook = Rulebook(tmp_path, then=then, in_file=in_file)
    with rulebook.running():
        assert rulebook.post(Sent(commit(1)).github()) == (202, "Accepted.")
        rulebook.wait_until_ran(then, "ended", commit(1))
        rulebook.wait_until_idle()
    assert [(line["playbook"], line["moment"]) for line in rulebook.ran()] == [
        ("ci", "began"),
        ("ci", "ended"),
        (then, "began"),
        (then, "ended"),
    ]
    assert {
        "app": "shop",
        "commit": commit(1),
        "branch": "main",
        "repository": "team/shop",
        "by": "anna",
        "reason": f"main was pushed to, {commit(1)[:12]}",
    }.items() <= rulebook.ran()[-1].items()
    # with -vv
    assert SECRET not in rulebook.log.read_text()


def test_what_is_refused_or_ignored_runs_nothing(rulebook: Rulebook) -> None:
    with rulebook.running():
        for wrong in (Sent(commit(1), secret="x" * 20), Sent(commit(1), secret="")):
            for delivery in (wrong.github(), wrong.gitea(), wrong.gitlab()):
                assert rulebook.post(delivery)[0] == 401
        for ignored in (Sent(commit(1), ref="refs/heads/other"), Sent(NOTHING), Sent(commit(1), event="ping")):
            for delivery in (ignored.github(), ignored.gitea(), ignored.gitlab()):
                status, text = rulebook.post(delivery)
                assert (status, text[:7]) == (200, "Ignored")
        assert rulebook.mailbox() == {"seen": [], "waiting": None, "running": None}
        # what comes afterwards is the first that runs
        assert rulebook.post(Sent(commit(2)).gitlab())[0] == 202
        rulebook.wait_until_ran("deploy", "ended", commit(2))
        rulebook.wait_until_idle()
    assert {line["commit"] for line in rulebook.ran()} == {commit(2)}


def test_a_delivery_that_comes_again_runs_nothing(rulebook: Rulebook) -> None:
    first, second = Sent(commit(1)).github(), Sent(commit(2)).gitlab()
    with rulebook.running():
        for delivery, number in ((first, 1), (second, 2)):
            assert rulebook.post(delivery)[0] == 202
            rulebook.wait_until_ran("deploy", "ended", commit(number))
            rulebook.wait_until_idle()
            assert rulebook.post(delivery) == (200, "Ignored: this delivery was seen before.")
    with rulebook.running():
        for delivery in (first, second):
            assert rulebook.post(delivery) == (200, "Ignored: this delivery was seen before.")
        rulebook.post(Sent(commit(3)).github())
        rulebook.wait_until_ran("deploy", "ended", commit(3))
    assert len([line for line in rulebook.ran() if line["playbook"] == "ci" and line["moment"] == "began"]) == 3


def test_pushes_during_a_run_are_one_more_run_with_the_newest(rulebook: Rulebook) -> None:
    rulebook.hold("deploy")
    with rulebook.running():
        rulebook.post(Sent(commit(1)).github())
        rulebook.wait_until_ran("deploy", "began", commit(1))
        for number in range(2, 7):
            assert rulebook.post(Sent(commit(number)).github())[0] == 202
        assert rulebook.mailbox()["waiting"]["commit"] == commit(6)
        rulebook.release("deploy")
        rulebook.wait_until_ran("deploy", "ended", commit(6))
        rulebook.wait_until_idle()
        # had any other run been on its way, it would have come before this one
        rulebook.post(Sent(commit(7)).github())
        rulebook.wait_until_ran("deploy", "ended", commit(7))
    ran = [(line["playbook"], line["moment"], line["commit"]) for line in rulebook.ran()]
    assert ran == [
        (playbook, moment, commit(number))
        for number in (1, 6, 7)
        for playbook in ("ci", "deploy")
        for moment in ("began", "ended")
    ]
    assert "No push waits" not in rulebook.log.read_text()


def test_a_failed_check_deploys_nothing_and_holds_nothing_up(rulebook: Rulebook) -> None:
    rulebook.fail("ci")
    with rulebook.running():
        rulebook.post(Sent(commit(1)).github())
        rulebook.wait_until_ran("ci", "began", commit(1))
        rulebook.post(Sent(commit(2)).github())
        rulebook.wait_until_ran("ci", "began", commit(2))
    assert {line["playbook"] for line in rulebook.ran()} == {"ci"}


def test_what_was_interrupted_runs_again_when_ansible_rulebook_is_back(rulebook: Rulebook) -> None:
    rulebook.hold("deploy")
    with rulebook.running():
        rulebook.post(Sent(commit(1)).github())
        rulebook.wait_until_ran("deploy", "began", commit(1))
    rulebook.release("deploy")
    with rulebook.running():
        rulebook.wait_until_ran("deploy", "ended", commit(1))
        rulebook.wait_until_idle()
    with rulebook.running():
        rulebook.post(Sent(commit(2)).github())
        rulebook.wait_until_ran("deploy", "ended", commit(2))
    assert [
        line["commit"] for line in rulebook.ran() if line["moment"] == "ended" and line["playbook"] == "deploy"
    ] == [
        commit(1),
        commit(2),
    ]


def test_nothing_that_somebody_else_wrote_becomes_a_template(rulebook: Rulebook, tmp_path: Path) -> None:
    """The name of who pushed is in the deploy's reason and in the log: it is text."""
    delivery = Sent(commit(1)).gitlab()
    payload = json.loads(delivery.body)
    payload["user_username"] = f"{{{{ lookup('pipe', 'touch {tmp_path}/owned') }}}}"
    with rulebook.running():
        rulebook.post(type(delivery)(delivery.headers, json.dumps(payload).encode()))
        rulebook.wait_until_ran("deploy", "ended", commit(1))
    assert rulebook.ran()[-1]["by"] == payload["user_username"]
    assert not (tmp_path / "owned").exists()
