# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checked before it goes anywhere: what is declared about it, what the record of a commit says, and what a host then
stages and builds."""

from __future__ import annotations

import datetime
import json
import re
import urllib.parse
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._release import identity
from ansible_collections.zerodown.pm2.plugins.module_utils._secrets import blank_out, secret_parts, secret_values
from ansible_collections.zerodown.pm2.plugins.module_utils._source_git import split_credentials

FORMAT = 1
REMEDY = "run ansible-playbook zerodown.pm2.ci"

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}\Z")
_COMMIT = re.compile(r"[0-9a-f]{40,128}\Z")
# how it is got, and which one: neither says anything about what one commit is
_WAY = ("version", "depth", "key", "key_file", "known_hosts", "host_key_checking", "headers", "timeout")
# how long something takes, not what comes of it
_SPEED = ("cache", "cache_inputs", "timeout")
# what a host that gets built files still needs to know to install dependencies
_INSTALL = ("directory", "package_manager", "lockfile_required", "install_args", "prune")
_EITHER = ("env", *_SPEED)
# of the artifact of a commit in the store, and of its record
_STORED = re.compile(r"([0-9a-f]{40,128})(?:-[0-9a-f]{12}\.tar\.gz|(\.json))\Z")


def check_name(app: Dict[str, Any]) -> None:
    """:raises Pm2Error: the app's name cannot be that of a directory."""
    if not _NAME.match(str(app["name"])):
        raise Pm2Error("App {0!r}: a name has letters, digits, '.', '_' and '-' only; use another.".format(app["name"]))


def check_commit(app: str, commit: str) -> None:
    """:raises Pm2Error: it is a part of one only, which another may begin with as well."""
    if not _COMMIT.match(commit):
        raise Pm2Error(
            "App {0}: the commit {1!r} is not known on the build host; write all of its digits, or name a branch or "
            "tag, in source.version.".format(app, commit)
        )


def build_options(app: Dict[str, Any]) -> Dict[str, Any]:
    """The options of the module build with which an app is checked: what is declared in ``ci``, then what its build
    runs beside that.

    Without ``ci`` it is only built.
    """
    build = dict(app.get("build") or {})
    ci = app.get("ci")
    if ci is None:
        return {**build, "checks": False}
    scripts, steps = ci.get("scripts") or [], ci.get("steps") or []
    names = [step["name"] for step in steps]
    declared = bool(scripts or steps)
    return {
        **build,
        "checks": not declared if ci.get("checks") is None else ci["checks"],
        "scripts": [*scripts, *(name for name in build.get("scripts") or [] if name not in scripts)],
        "steps": [*steps, *(step for step in build.get("steps") or [] if step["name"] not in names)],
    }


def declaration(app: Dict[str, Any]) -> Dict[str, str]:
    """A digest of each part of a declaration that shapes what is checked and packed. No secret is in them."""
    source = {name: value for name, value in (app.get("source") or {}).items() if name not in _WAY}
    if "repo" in source:
        source["repo"] = split_credentials(str(source["repo"]))[0]
    if "url" in source:
        source["url"] = urllib.parse.urlsplit(str(source["url"]))._replace(query="").geturl()
    build = {name: value for name, value in (app.get("build") or {}).items() if name not in _SPEED}
    ci, artifact = app.get("ci"), app.get("artifact")
    parts = {
        "source": source,
        "build": build,
        "ci": None if ci is None else {name: ci.get(name) for name in ("checks", "scripts", "steps")},
        "artifact": None
        if artifact is None
        else {"dependencies": bool(artifact.get("dependencies")), "exclude": artifact.get("exclude") or []},
    }
    secrets = {json.dumps(value)[1:-1] for value in secrets_of(app)}
    return {
        name: identity({name: blank_out(json.dumps(part, sort_keys=True), secrets)}) for name, part in parts.items()
    }


def secrets_of(app: Dict[str, Any]) -> Set[str]:
    """What no record may have in it."""
    build, ci, source = app.get("build") or {}, app.get("ci") or {}, app.get("source") or {}
    steps = [*(build.get("steps") or []), *(ci.get("steps") or [])]
    environments = [build.get("env"), app.get("env"), app.get("env_file"), *(step.get("env") for step in steps)]
    headers = [str(value) for value in (source.get("headers") or {}).values()]
    password = split_credentials(str(source.get("repo") or ""))[2]
    token = (ci.get("statuses") or {}).get("token")
    return secret_values(env for env in environments if env) | secret_parts(
        str(value) for value in (*headers, password, token, source.get("key")) if value
    )


def owners(declared: Dict[str, Dict[str, Dict[str, str]]]) -> Dict[str, str]:
    """By app the host that has it checked: the first one that declares it.

    :param declared: by host, in order, the declarations by app.
    :raises Pm2Error: two hosts declare one app differently.
    """
    found: Dict[str, str] = {}
    for host, apps in declared.items():
        for app, parts in apps.items():
            first = found.setdefault(app, host)
            differ = _differences(declared[first][app], parts)
            if differ:
                raise Pm2Error(
                    "App {0} is declared with one {1} for {2} and with another for {3}; an app is checked and built "
                    "once, so make them equal, or give one of them another name.".format(
                        app, " and ".join(differ), first, host
                    )
                )
    return found


def record(
    app: Dict[str, Any],
    commit: str,
    built: Optional[Dict[str, Any]],
    failed: Optional[Dict[str, Any]],
    packed: Optional[Dict[str, Any]],
    versions: Sequence[Dict[str, Any]],
    who: str,
    when: str,
    until: str,
) -> Dict[str, Any]:
    """What is written down about one run.

    :param built: what the module build returned; None when it failed.
    :param failed: what the module that failed returned, build or artifact; None when all went well.
    :param packed: what the module artifact returned; None without an artifact.
    :param versions: what programs say of themselves: ``item``, a list that begins with the name, and ``stdout``.
    :param when: begun, ``2026-01-31T14:05:09.123456Z``.
    :param until: the same; ended.
    """
    secrets = secrets_of(app)
    told = built or failed or {}
    step = None
    if failed is not None:
        # the module names a step that was run and failed; anything else was found before, or while packing
        step = str(failed.get("step") or ("pack" if built else "build"))
    manifest = (packed or {}).get("manifest") or {}
    tools = _tools(versions, told)
    system, _blank, machine = tools.pop("uname", "").partition(" ")
    return {
        "format": FORMAT,
        "app": app["name"],
        "commit": commit,
        "result": "green" if failed is None else "red",
        "declaration": declaration(app),
        "steps": [
            {"name": done["name"], "seconds": done.get("seconds"), "ok": done["name"] != step}
            for done in told.get("steps") or []
        ],
        "failed": None
        if failed is None
        else {
            "step": step,
            "message": blank_out(str(failed.get("msg") or ""), secrets),
            "lines": [blank_out(str(line), secrets) for line in failed.get("output_tail") or []],
        },
        "tools": tools,
        "platform": manifest.get("platform") or {"system": system.lower(), "machine": machine},
        "artifact": {
            "name": stored_name(commit, packed["checksum"]),
            "checksum": packed["checksum"],
            "size": packed["size"],
            "manifest": manifest,
        }
        if packed and failed is None
        else None,
        "who": who,
        "when": when,
        "seconds": round((_moment(until) - _moment(when)).total_seconds(), 1),
    }


def stored_name(commit: str, checksum: str) -> str:
    """What an artifact is called in the store: other bytes have another name."""
    return "{0}-{1}.tar.gz".format(commit, checksum.partition(":")[2][:12])


def _tools(versions: Sequence[Dict[str, Any]], built: Dict[str, Any]) -> Dict[str, str]:
    """By name the version.

    :param built: or failed: the module tells what it used all the same.
    """
    found = {}
    for told in versions:
        words = str(told.get("stdout") or "").strip()
        if told.get("rc") == 0 and words:
            name = str(told["item"][0])
            match = re.search(r"v?\d+(\.\d+)+\S*", words)
            found[name] = match.group() if match and name != "uname" else words
    node, python = built.get("dependencies") or {}, built.get("python") or {}
    if node:
        found.update({"node": node["node"], node["package_manager"]: node["version"]})
    if python:
        found.update({"python": python["python"]})
        found.update({python["installer"]: python["version"]} if python["version"] else {})
    return found


def _moment(text: str) -> datetime.datetime:
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True)
class Tested:
    """What a host stages.

    :ivar green: whether it passed the checks as they are declared now.
    :ivar refusal: why it must not be staged, in one sentence; empty when it may.
    :ivar lines: the last lines of the step that failed.
    :ivar source: for the module release; its file or address is still to be put before the artifact's name.
    :ivar build: options for the module build on the host; None when nothing is left to be done there.
    :ivar built: commit and record in short.
    """

    green: bool
    refusal: str
    lines: List[str]
    source: Dict[str, Any]
    build: Optional[Dict[str, Any]]
    built: Dict[str, Any]


def read(text: str) -> Dict[str, Any]:
    """A record as the store has it; empty when there is none.

    :raises Pm2Error: it is damaged, or of another time.
    """
    if not text.strip():
        return {}
    try:
        content = json.loads(text)
        known = content["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise Pm2Error("what is recorded cannot be read ({0!r})".format(error)) from error
    if known != FORMAT:
        raise Pm2Error("what is recorded has format {0}, and format {1} is known".format(known, FORMAT))
    found: Dict[str, Any] = content
    return found


def tested(app: Dict[str, Any], commit: str, text: str) -> Tested:
    """What a host stages of ``commit``, and whether it may.

    :param commit: empty for an app that is neither checked nor packed.
    :param text: of its record; empty for none.
    """
    name, ci, artifact = app["name"], app.get("ci"), app.get("artifact")
    source = dict(app["source"])
    build = dict(app.get("build") or {}) if app.get("needs_build", True) else None
    if ci is None and artifact is None:
        return Tested(False, "", [], source, build, {"commit": None, "record": None})
    found: Dict[str, Any] = {}
    try:
        found = read(text)
        if found and (found.get("app"), found.get("commit")) != (name, commit):
            raise Pm2Error("what is recorded is about something else")
        why, lines = _not_green(app, found)
    except Pm2Error as error:
        why, lines = "{0}; {1}".format(error.message, REMEDY), []
    green = not why
    if artifact is None and not (ci or {}).get("required", True):
        why, lines = "", []
    elif green and artifact is None and source["type"] == "directory":
        why = "a directory on the host may have something else than the one that was checked; declare artifact"
    refusal = "App {0}: commit {1} is not staged: {2}.".format(name, commit, why) if why else ""
    if source["type"] == "git":
        source["version"] = commit
    if artifact is not None and green:
        stored = found["artifact"]
        source = {"type": "artifact", "name": stored["name"], "checksum": stored["checksum"], "commit": commit}
        if artifact.get("any_platform"):
            source["any_platform"] = True
        build = build if build is None else host_build(build, stored["manifest"])
    return Tested(green, refusal, lines, source, build, {"commit": commit, "record": _summary(found)})


def _not_green(app: Dict[str, Any], found: Dict[str, Any]) -> Tuple[str, List[str]]:
    if not found:
        return "nothing is recorded of it; {0}".format(REMEDY), []
    differ = _differences(found.get("declaration") or {}, declaration(app))
    if differ:
        return "it was checked with another {0} than is declared now; {1}".format(" and ".join(differ), REMEDY), []
    if found["result"] != "green":
        failed = found["failed"]
        sentence = "its step {0!r} failed on {1}; correct it and deliver that, or {2} again".format(
            failed["step"], found["when"], REMEDY
        )
        return sentence, failed["lines"] or [failed["message"]]
    if app.get("artifact") is not None and not found.get("artifact"):
        return "its record has no artifact; {0}".format(REMEDY), []
    return "", []


def host_build(build: Dict[str, Any], manifest: Dict[str, Any]) -> Optional[Dict[str, Any]]:
    """What is left to do on a host that gets built files: install what is not in the artifact. A virtual environment
    never is. The scripts and steps were run.

    :param build: as it is declared.
    """
    node = "node" in manifest["runtime"] and not manifest["dependencies"]
    python = "python" in manifest["runtime"]
    if not node and not python:
        return None
    names = (*(_INSTALL if node else ("directory",)), *_EITHER)
    options = {name: build[name] for name in names if name in build}
    if not node:
        options["package_manager"] = "none"
    options["python"] = (build.get("python") or {}) if python else {"installer": "none"}
    return options


def _differences(one: Dict[str, str], other: Dict[str, str]) -> List[str]:
    return [name for name in ("source", "build", "ci", "artifact") if one.get(name) != other.get(name)]


def _summary(found: Dict[str, Any]) -> Optional[Dict[str, Any]]:
    if not found:
        return None
    short = {name: found.get(name) for name in ("result", "who", "when", "seconds")}
    artifact = found.get("artifact")
    return {**short, "artifact": artifact and {name: artifact[name] for name in ("name", "checksum", "size")}}


def expired(files: Sequence[Dict[str, Any]], keep: int) -> List[str]:
    """The paths in an app's directory of the store that may go: those of all commits but the ``keep`` that were
    recorded last, and the ``keep`` that were packed last.

    :param files: ``path`` and ``mtime``.
    :raises Pm2Error: ``keep`` leaves nothing.
    """
    if keep < 1:
        raise Pm2Error("artifact.keep must be 1 or more.")
    known = [
        (float(file["mtime"]), str(file["path"]), _STORED.match(str(file["path"]).rpartition("/")[2])) for file in files
    ]
    kept: Set[str] = set()
    for recorded in (True, False):
        newest: List[str] = []
        for _mtime, _path, match in sorted(known, key=lambda item: item[:2], reverse=True):
            if match and bool(match.group(2)) == recorded and match.group(1) not in newest:
                newest.append(match.group(1))
        kept.update(newest[:keep])
    return sorted(path for _mtime, path, match in known if match and match.group(1) not in kept)
