# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a forge says about a commit: GitHub's commit statuses and check runs, GitLab's commit statuses. Which pages are
still to be asked for, and what it all means; without a connection or a clock."""

from __future__ import annotations

import json
import re
import urllib.parse
from dataclasses import dataclass
from typing import Any, Dict, List, Sequence, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error

PER_PAGE = 100
# a commit with more has something wrong with it
PAGES_MAX = 10
BASES = {"github": "https://api.github.com", "gitlab": "https://gitlab.com/api/v4"}

SUCCESS, PENDING, FAILURE, PASSED_OVER = "success", "pending", "failure", "passed over"
# the worst of several of one name counts
_WORST = (PASSED_OVER, SUCCESS, PENDING, FAILURE)
_STATES = {
    # of GitHub's statuses, and of check runs that have ended
    "github": {
        "success": SUCCESS,
        "pending": PENDING,
        "neutral": PASSED_OVER,
        "skipped": PASSED_OVER,
    },
    "gitlab": {
        "success": SUCCESS,
        **dict.fromkeys(("created", "waiting_for_resource", "preparing", "pending", "running", "scheduled"), PENDING),
        "skipped": PASSED_OVER,
        # somebody may start it, or not
        "manual": PASSED_OVER,
    },
}


@dataclass(frozen=True)
class Verdict:
    """
    :ivar ask: addresses to get, before anything can be said.
    :ivar answers: those that this was made from, for the next time.
    :ivar state: asking, success, pending or failure.
    :ivar refusal: why the commit is not taken, in one sentence; empty when it is, or while asking.
    """

    ask: List[str]
    answers: List[Dict[str, Any]]
    state: str
    refusal: str


def judge(answers: Sequence[Dict[str, Any]], declared: Dict[str, Any], commit: str) -> Verdict:
    """
    :param answers: ``item`` (the address), ``status``, and ``json`` or ``content``; of GitLab also ``x_next_page``.
    :param declared: the option ``ci.statuses``.
    :raises Pm2Error: something is missing in it.
    """
    kind = str(declared.get("type"))
    if kind not in BASES or not declared.get("repo"):
        raise Pm2Error("ci.statuses needs type, github or gitlab, and repo.")
    kept = [_answer(answer) for answer in answers]
    for answer in kept:
        if answer["status"] != 200 or answer["json"] is None:
            return Verdict([], kept, FAILURE, _refused(declared, commit, answer))
    first = _first(kind, declared, commit)
    asked = {answer["item"] for answer in kept}
    wanted = first + [url for answer in kept for url in _more(kind, answer)]
    ask = [url for url in dict.fromkeys(wanted) if url not in asked]
    if ask:
        return Verdict(ask, kept, "asking", "")
    states: Dict[str, str] = {}
    for name, state in _github(kept) if kind == "github" else _gitlab(kept):
        states[name] = max(states.get(name, state), state, key=_WORST.index)
    return _verdict(kept, declared, commit, states)


def _answer(answer: Dict[str, Any]) -> Dict[str, Any]:
    body = answer.get("json")
    if body is None and answer.get("content"):
        try:
            body = json.loads(answer["content"])
        except ValueError:
            body = None
    return {
        "item": str(answer["item"]),
        "status": answer.get("status"),
        "json": body,
        "x_next_page": answer.get("x_next_page"),
        "msg": str(answer.get("msg") or ""),
    }


def _first(kind: str, declared: Dict[str, Any], commit: str) -> List[str]:
    base = str(declared.get("url") or BASES[kind]).rstrip("/")
    repo = str(declared["repo"]).strip("/")
    if kind == "github":
        place = "{0}/repos/{1}/commits/{2}".format(base, urllib.parse.quote(repo), commit)
        places = [place + "/status", place + "/check-runs"]
    else:
        project = urllib.parse.quote(repo, safe="")
        places = ["{0}/projects/{1}/repository/commits/{2}/statuses".format(base, project, commit)]
    return ["{0}?per_page={1}&page=1".format(place, PER_PAGE) for place in places]


def _more(kind: str, answer: Dict[str, Any]) -> List[str]:
    """The other pages that an answer tells of."""
    base = re.sub(r"&page=\d+\Z", "", answer["item"])
    if kind == "github":
        pages = -(-int(answer["json"].get("total_count") or 0) // PER_PAGE)
        return ["{0}&page={1}".format(base, page) for page in range(2, min(pages, PAGES_MAX) + 1)]
    following = str(answer["x_next_page"] or "")
    return ["{0}&page={1}".format(base, following)] if following.isdigit() and int(following) <= PAGES_MAX else []


def _github(answers: Sequence[Dict[str, Any]]) -> List[Tuple[str, str]]:
    known = _STATES["github"]
    found = []
    for answer in answers:
        for status in answer["json"].get("statuses") or []:
            found.append((str(status["context"]), known.get(status["state"], FAILURE)))
        for check in answer["json"].get("check_runs") or []:
            state = known.get(check.get("conclusion"), FAILURE) if check["status"] == "completed" else PENDING
            found.append((str(check["name"]), state))
    return found


def _gitlab(answers: Sequence[Dict[str, Any]]) -> List[Tuple[str, str]]:
    newest: Dict[str, Dict[str, Any]] = {}
    for answer in answers:
        for status in answer["json"]:
            name = str(status["name"])
            if name not in newest or status["id"] > newest[name]["id"]:
                newest[name] = status
    found = []
    for name, status in newest.items():
        state = _STATES["gitlab"].get(status["status"], FAILURE)
        if state == FAILURE and status.get("allow_failure"):
            state = PASSED_OVER
        found.append((name, state))
    return found


def _verdict(answers: List[Dict[str, Any]], declared: Dict[str, Any], commit: str, states: Dict[str, str]) -> Verdict:
    """Named ones must have succeeded. Without names there must be one at least, and none may have failed."""
    names = [str(name) for name in declared.get("contexts") or []]
    if names:
        # what was not told yet may still be
        told = {name: states.get(name, "not reported") for name in names}
        short = {name: state for name, state in told.items() if state != SUCCESS}
        waits = all(state in (PENDING, "not reported") for state in short.values())
    else:
        short = {name: state for name, state in states.items() if state in (PENDING, FAILURE)}
        waits = all(state == PENDING for state in short.values())
        if SUCCESS not in states.values() and not short:
            short = {"anything": "not reported"}
    if not short:
        return Verdict([], answers, SUCCESS, "")
    refusal = (
        "Commit {0} is not staged: {1} says of it {2}; correct that, or wait for it with ci.statuses.wait.".format(
            commit, _where(declared), ", ".join("{0}: {1}".format(name, state) for name, state in sorted(short.items()))
        )
    )
    return Verdict([], answers, PENDING if waits else FAILURE, refusal)


def _refused(declared: Dict[str, Any], commit: str, answer: Dict[str, Any]) -> str:
    said = "no JSON" if answer["status"] == 200 else "status {0}".format(answer["status"])
    if not answer["status"] or answer["status"] < 0:
        said = "nothing ({0})".format(answer["msg"])
    return "Commit {0} is not staged: {1} answered {2} to {3}; check url, repo and token of ci.statuses.".format(
        commit, _where(declared), said, urllib.parse.urlsplit(answer["item"]).path
    )


def _where(declared: Dict[str, Any]) -> str:
    return "{0} ({1})".format({"github": "GitHub", "gitlab": "GitLab"}[declared["type"]], declared["repo"])
