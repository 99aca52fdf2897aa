# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the event source makes of a delivery, and what it keeps; nothing runs here."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.deliveries import NOTHING, SECRET, Delivery, Sent, commit
from support.guides import DOCS, blocks

from ansible_collections.zerodown.pm2.extensions.eda.plugins.event_source.push import (
    SEEN_MAX,
    TELL_AGAIN,
    Mailbox,
    Push,
    Refused,
    dumped,
    is_authentic,
    loaded,
    marks_of,
    options_of,
    push_of,
)

PUSH = Push("team/shop", "main", commit(1), "anna")
FORGES = ["github", "gitea", "gitlab"]


def delivered(sent: Sent, forge: str) -> Delivery:
    delivery: Delivery = getattr(sent, forge)()
    return delivery


@pytest.mark.parametrize("forge", FORGES)
def test_a_push(forge: str) -> None:
    delivery = delivered(Sent(commit(1)), forge)
    assert is_authentic(delivery.lower(), delivery.body, SECRET)
    assert push_of(delivery.lower(), delivery.body) == PUSH


def test_a_push_in_a_form_as_github_sends_it_unless_told_otherwise() -> None:
    delivery = Sent(commit(1)).github(form=True)
    assert is_authentic(delivery.lower(), delivery.body, SECRET)
    assert push_of(delivery.lower(), delivery.body) == PUSH


@pytest.mark.parametrize("forge", FORGES)
@pytest.mark.parametrize("secret", ["", "x", SECRET + "x", SECRET[:-1], "ü" * 20])
def test_another_secret_is_not_authentic(forge: str, secret: str) -> None:
    delivery = delivered(Sent(commit(1), secret=secret), forge)
    assert not is_authentic(delivery.lower(), delivery.body, SECRET)


@pytest.mark.parametrize("forge", ["github", "gitea"])
def test_a_signature_is_of_the_body(forge: str) -> None:
    delivery = delivered(Sent(commit(1)), forge)
    assert not is_authentic(delivery.lower(), delivery.body + b" ", SECRET)


@pytest.mark.parametrize("signature", ["", "sha256=", "sha1=abc", "sha256=\udcff"])
def test_something_else_is_no_signature(signature: str) -> None:
    assert not is_authentic({"x-hub-signature-256": signature}, b"", SECRET)


def test_nothing_is_not_authentic() -> None:
    assert not is_authentic({}, b"{}", SECRET)
    # of GitHub's older signature no notice is taken
    assert not is_authentic({"x-hub-signature": "sha1=0"}, b"{}", SECRET)


@pytest.mark.parametrize("forge", FORGES)
@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (Sent(NOTHING), "refs/heads/main was deleted"),
        (Sent("0" * 64), "refs/heads/main was deleted"),
        (Sent(commit(1), ref="refs/tags/v1"), "refs/tags/v1 is no branch"),
        (Sent(commit(1), event="ping"), "the event ping is no push"),
    ],
)
def test_what_is_no_push_to_a_branch(forge: str, sent: Sent, why: str) -> None:
    delivery = delivered(sent, forge)
    assert push_of(delivery.lower(), delivery.body) == why


def test_a_tag_of_gitlab() -> None:
    delivery = Sent(commit(1), event="tag_push").gitlab()
    assert push_of(delivery.lower(), delivery.body) == "the event Tag Push Hook is no push"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"1",
        b"[" * 100_000,
        b'{"ref": 1, "after": 2}',
        b'{"ref": "refs/heads/main"}',
        b'{"ref": "refs/heads/main", "after": "--upload-pack=x"}',
        b'{"ref": "refs/heads/main", "after": "ABCDEF"}',
    ],
)
def test_what_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        push_of({"x-github-event": "push"}, body)


@given(
    payload=st.dictionaries(
        st.sampled_from(["repository", "pusher", "project", "user_username"]), st.none() | st.text(max_size=9)
    )
)
def test_what_does_not_decide_may_be_anything(payload: dict[str, Any]) -> None:
    body = json.dumps({**payload, "ref": "refs/heads/main", "after": commit(1)}).encode()
    push = push_of({"x-github-event": "push"}, body)
    assert isinstance(push, Push)
    assert (push.branch, push.commit) == ("main", commit(1))


@pytest.mark.parametrize("forge", FORGES)
def test_a_delivery_is_known_again(forge: str) -> None:
    sent = Sent(commit(1))
    first, again, other = (
        delivered(each, forge) for each in (sent, sent, replace(sent, delivery="other", moment="later"))
    )
    mailbox = Mailbox().accept(marks_of(first.lower(), first.body, PUSH), PUSH)
    assert mailbox.knows(marks_of(again.lower(), again.body, PUSH))
    assert not mailbox.knows(marks_of(other.lower(), other.body, PUSH))


def test_a_signed_body_is_known_again_whatever_its_id_is_now() -> None:
    sent = Sent(commit(1))
    first, forged = sent.github(), replace(sent, delivery="forged").github()
    mailbox = Mailbox().accept(marks_of(first.lower(), first.body, PUSH), PUSH)
    assert mailbox.knows(marks_of(forged.lower(), forged.body, PUSH))


def test_branches_pushed_at_once_have_one_id_in_gitlab() -> None:
    one, two = (Sent(commit(1), ref=f"refs/heads/{name}", delivery="same").gitlab() for name in ("main", "release"))
    mailbox = Mailbox().accept(marks_of(one.lower(), one.body, PUSH), PUSH)
    assert not mailbox.knows(marks_of(two.lower(), two.body, replace(PUSH, branch="release")))


def test_only_so_many_are_remembered() -> None:
    mailbox = Mailbox()
    for number in range(SEEN_MAX + 1):
        mailbox = mailbox.accept((str(number),), PUSH)
    assert len(mailbox.seen) == SEEN_MAX
    assert mailbox.knows((str(SEEN_MAX),))
    assert not mailbox.knows(("0",))


# "lost": ansible-rulebook could not start the playbook of an event; "fail": a playbook did not come to its end
STEPS = st.lists(st.sampled_from(["push", "begin", "end", "fail", "lost", "restart"]), max_size=40)


class Engine:
    """ansible-rulebook: a queue of events, whose playbooks run one after another."""

    def __init__(self) -> None:
        self.mailbox = Mailbox()
        self.events = self.pushed = self.taken = 0
        self.running = False

    def push(self, seconds: float = 0.0) -> None:
        self.pushed += 1
        self.events += self.mailbox.must_be_told(seconds)
        self.mailbox = self.mailbox.accept((), replace(PUSH, by=str(self.pushed)))

    def begin(self) -> None:
        if self.events and not self.running:
            self.events -= 1
            assert self.mailbox.waiting
            self.running, self.taken = True, int(self.mailbox.waiting.by)
            self.mailbox = self.mailbox.take()

    def end(self) -> None:
        if self.running:
            self.running, self.mailbox = False, self.mailbox.done()

    def fail(self) -> None:
        self.running = False

    def lost(self) -> None:
        if not self.running:
            self.events = 0

    def restart(self) -> None:
        self.mailbox, self.running = self.mailbox.started_anew(), False
        self.events = int(self.mailbox.waiting is not None)


@given(steps=STEPS)
def test_one_run_is_on_its_way_at_most_and_the_newest_push_is_never_forgotten(steps: list[str]) -> None:
    engine = Engine()
    for step in steps:
        getattr(engine, step)()
        assert engine.events <= 1
    # with the next push all is well again, whatever was lost
    engine.push(TELL_AGAIN)
    engine.end()
    while engine.events and engine.mailbox.waiting:
        engine.begin()
        engine.end()
    assert engine.taken == engine.pushed
    assert engine.mailbox == Mailbox()


@given(
    seen=st.lists(st.text(max_size=3), max_size=3),
    waiting=st.none() | st.builds(Push, *[st.text(max_size=9)] * 4),
    running=st.none() | st.just(PUSH),
)
def test_what_is_kept_is_read_back(seen: list[str], waiting: Push | None, running: Push | None) -> None:
    mailbox = Mailbox(tuple(seen), waiting, running)
    assert loaded(dumped(mailbox)) == mailbox


OPTIONS = {"secret": SECRET, "branches": ["main"], "state": "/var/lib/push", "host": "", "port": 8080, "certfile": ""}


def test_options() -> None:
    options = options_of(OPTIONS, {})
    assert (options.branches, options.host, options.port, options.tls) == (("main",), "127.0.0.1", 8080, None)
    assert options_of({**OPTIONS, "secret": ""}, {"ZERODOWN_PUSH_SECRET": SECRET}) == options
    # the variable comes before the environment
    assert options_of(OPTIONS, {"ZERODOWN_PUSH_SECRET": "of something else, perhaps"}).secret == SECRET


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"secret": ""}, "less than 16 characters"),
        ({"secret": "short"}, "less than 16 characters"),
        ({"secret": 1234567890123456}, "looks like a number"),
        ({"branches": "main"}, "no list of names"),
        ({"branches": []}, "no list of names"),
        ({"branches": [1.0]}, "no list of names"),
        ({"state": "state"}, "no absolute path"),
        ({"state": None}, "no absolute path"),
        ({"state": "/" + "x" * 120}, "too long for a socket"),
        ({"port": 0}, "no number from 1 to 65535"),
        ({"port": "http"}, "no number from 1 to 65535"),
    ],
)
def test_options_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        options_of({**OPTIONS, **changes}, {})
    assert "short" not in str(refused.value).replace("shorter", "")


def test_the_example_of_the_guide() -> None:
    """Its variables are those that the rulebook has, and what it says is accepted."""
    (text,) = blocks(DOCS / "eda.md", "yaml")
    variables = yaml.safe_load(text)
    rulebook = (DOCS.parent / "extensions/eda/rulebooks/deploy_on_push.yml").read_text()
    assert set(variables) <= set(re.findall(r"push_[a-z]+", rulebook))
    assert set(re.findall(r"{{ (push_[a-z]+)", rulebook)) == set(re.findall(r"`(push_[a-z]+)`", _table("eda.md")))
    args = {name.partition("_")[2]: value for name, value in variables.items()}
    assert options_of(args, {"ZERODOWN_PUSH_SECRET": SECRET}).branches == ("main",)


def _table(page: str) -> str:
    """The first columns of its first table."""
    lines = (DOCS / page).read_text().split("| variable |")[1].split("\n\n")[0].splitlines()
    return "\n".join(line.split("|")[1] for line in lines[2:])
