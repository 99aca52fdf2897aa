"""Health checks as they are declared."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.doc_fragments.health import ModuleDocFragment
from ansible_collections.zerodown.pm2.plugins.module_utils._errors import Pm2Error
from ansible_collections.zerodown.pm2.plugins.module_utils._health_spec import (
    OPTIONS,
    REPEATED,
    Check,
    CommandCheck,
    HttpCheck,
    StatusRange,
    TcpCheck,
    health_arguments,
    parse,
    smoke_arguments,
)


def declared(*entries: dict[str, Any]) -> list[Check]:
    """As a module gets them from Ansible."""
    result = ArgumentSpecValidator({"health": health_arguments()}).validate({"health": list(entries)})
    assert not result.error_messages
    return parse(result.validated_parameters["health"])


def http(**options: Any) -> HttpCheck:
    (check,) = declared(options)
    assert isinstance(check, HttpCheck)
    return check


@pytest.mark.parametrize(
    ("name", "text", "argument", "options"),
    [
        ("health", ModuleDocFragment.DOCUMENTATION, health_arguments(), set(OPTIONS)),
        ("smoke", ModuleDocFragment.SMOKE, smoke_arguments(), set(OPTIONS) - set(REPEATED)),
    ],
    ids=["health", "smoke"],
)
def test_argument_specification_and_documentation_agree(
    name: str, text: str, argument: dict[str, Any], options: set[str]
) -> None:
    documented = yaml.safe_load(text)["options"]
    assert set(documented) == {name}
    option = documented[name]
    assert {key: option[key] for key in ("type", "elements")} == {key: argument[key] for key in ("type", "elements")}
    assert set(option["suboptions"]) == set(argument["options"]) == options
    for suboption_name, suboption in argument["options"].items():
        described = option["suboptions"][suboption_name]
        for key in ("type", "elements", "choices"):
            assert described.get(key) == suboption.get(key), (suboption_name, key)
        # told in words, because Ansible must not fill it in
        default = OPTIONS[suboption_name].default
        if isinstance(default, (str, int, float)):
            shown = f"{default:g}" if isinstance(default, float) else default
            assert f"The default is V({shown})" in str(described), suboption_name
    if name == "smoke":
        assert "apps[]" not in text


def test_without_checks() -> None:
    assert parse(None) == parse([]) == []


def test_defaults() -> None:
    check = http()
    assert (check.type, check.scheme, check.host, check.method, check.path) == ("http", "http", "localhost", "GET", "/")
    assert (check.name, check.port, check.headers, check.body, check.json) == (None, None, {}, None, {})
    assert list(map(str, check.status)) == ["200-299"]
    assert (check.timeout, check.interval, check.successes, check.failures) == (5.0, 1.0, 1, None)


def test_everything_that_http_has() -> None:
    check = http(
        name="front page",
        scheme="https",
        host="shop.example.com",
        port=8443,
        method="POST",
        path="/health?deep=1",
        headers={"X-Level": 3, "X-Deep": True, "Authorization": "Bearer s3cr3t!"},
        status=[204, "300-399"],
        body="(?i)ready",
        json={"status": "ok", "checks.db": True, "error": None},
        timeout=2,
        interval=0.5,
        successes=3,
        failures=5,
    )
    assert check.title == "front page (POST /health?deep=1 at port 8443)"
    assert check.headers == {"X-Level": "3", "X-Deep": "true", "Authorization": "Bearer s3cr3t!"}
    assert check.status == (StatusRange(204, 204), StatusRange(300, 399))
    assert check.body == re.compile("(?i)ready")
    assert check.json == {"status": "ok", "checks.db": True, "error": None}
    assert (check.timeout, check.interval, check.successes, check.failures) == (2.0, 0.5, 3, 5)
    assert "s3cr3t" not in repr(check)


def test_the_other_types() -> None:
    tcp, command = declared({"type": "tcp", "port": 25}, {"type": "command", "command": ["bin/check", "--deep", "x"]})
    assert isinstance(tcp, TcpCheck)
    assert (tcp.type, tcp.port, tcp.title) == ("tcp", 25, "TCP connection at port 25")
    assert isinstance(command, CommandCheck)
    assert (command.type, command.port, command.title) == ("command", None, "command bin/check --deep")
    assert command.command == ["bin/check", "--deep", "x"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"type": "udp"}, "Health check 2: type must be one of http, tcp, command"),
        ({"type": "command"}, "Health check 2: a check of type command needs command"),
        ({"command": ["true"]}, "Health check 2: command is no option of a check of type http; leave it out"),
        (
            {"type": "tcp", "name": "db", "body": "x"},
            r"Health check 2 \(db\): body is no option of a check of type tcp",
        ),
        ({"type": "command", "command": ["true"], "port": 1}, "port is no option of a check of type command"),
        ({"type": "tcp", "path": "/"}, "path is no option"),
        ({"pathh": "/"}, "pathh is no option"),
        ({"type": "command", "command": []}, "command must be a list with the program"),
        ({"type": "command", "command": [""]}, "command must be"),
        ({"type": "command", "command": ["a\0b"]}, "command must be"),
        ({"type": "command", "command": "true"}, "command must be a list"),
        ({"name": ""}, "name must be"),
        ({"name": "a\nb"}, "name must be"),
        ({"name": "x" * 81}, "name must be"),
        ({"path": "health"}, "path must be a path that begins with '/'"),
        *(({"path": path}, "path must be") for path in ("", "/a b", "/ä", "/a\r\nX: y", "http://x/", 1)),
        ({"host": "a b"}, "host must be"),
        *(({"host": host}, "host must be") for host in ("", "a..b", "x/y", "a\r\nX: y", "-a", "ä.de", "::1", "a:b", 1)),
        *(({"port": port}, "port must be a port from 1 to 65535") for port in (0, 65536, -1, True, "80")),
        ({"scheme": "ftp"}, "scheme must be one of http, https"),
        ({"method": "get"}, "method must be one of GET, HEAD"),
        ({"method": "HEAD", "body": "x"}, "the answer to HEAD has no body"),
        ({"method": "HEAD", "json": {"a": 1}}, "the answer to HEAD has no body"),
        ({"headers": {"Host": "x"}}, "headers must be without Host, which the check makes itself from the option host"),
        ({"headers": {"content-Length": "1"}}, "headers must be without content-Length"),
        ({"headers": {"a b": "x"}}, "headers must be a mapping of header names, which 'a b' is not"),
        ({"headers": {"X": "s3cr3t\n"}}, "headers must be without line ends and other control characters, and X has"),
        ({"headers": {"X": ["s3cr3t"]}}, "headers must be a mapping to texts, and X is none"),
        ({"headers": {"X": "s3cr3t\u20ac"}}, "and X has"),
        ({"headers": "X"}, "headers must be a mapping"),
        ({"status": []}, "status must be a list of at least one"),
        *(
            ({"status": [status]}, "status must be a list of numbers from 100 to 599 or ranges")
            for status in (99, 600, "300-200", "2xx", "200-", "-200", "200-299-300", "", True, "２00", "200\n1")
        ),
        ({"body": "("}, r"body must be a regular expression of Python \(missing \), unterminated subpattern"),
        ({"body": "a{99999999999999}"}, "body must be a regular expression"),
        ({"body": 1}, "body must be a regular expression"),
        ({"json": ["status"]}, "json must be a mapping"),
        ({"json": {"": 1}}, "json must be a mapping from dotted paths"),
        ({"json": {"a" * 256: 1}}, "json must be a mapping from dotted paths"),
        *(
            ({option: seconds}, option + " must be seconds, more than 0 and at most 3600")
            for option in ("timeout", "interval")
            for seconds in (0, -1, 3601, float("nan"), float("inf"), True, "5")
        ),
        *(
            ({option: count}, option + " must be a whole number from 1")
            for option in ("successes", "failures")
            for count in (0, -1, 1.5, True, "2")
        ),
    ],
)
def test_refused(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(Pm2Error, match=message) as caught:
        parse([{}, entry])
    assert caught.value.message.startswith("Health check 2")
    assert caught.value.message.endswith(".")
    assert "\n" not in caught.value.message
    assert "s3cr3t" not in caught.value.message


@given(st.integers(100, 599), st.integers(100, 599), st.integers(0, 999))
def test_a_range_holds_what_lies_between_its_ends(low: int, high: int, status: int) -> None:
    try:
        (found,) = http(status=[f"{low}-{high}"]).status
    except Pm2Error:
        assert low > high
    else:
        assert (status in found) == (low <= status <= high)
        assert http(status=[str(found)]).status == (found,)


@given(st.lists(st.integers(100, 599), min_size=1), st.integers(100, 599))
def test_numbers_stand_for_themselves(statuses: list[int], status: int) -> None:
    assert any(status in found for found in http(status=statuses).status) == (status in statuses)


# the first text of a process takes hypothesis seconds on a busy machine
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(sorted(OPTIONS)),
        st.one_of(st.none(), st.text(), st.integers(), st.floats(), st.booleans(), st.lists(st.text()), st.just({})),
    )
)
def test_anything_is_taken_or_refused_in_one_sentence(entry: dict[str, Any]) -> None:
    try:
        (check,) = parse([entry])
    except Pm2Error as error:
        told = error.message
    else:
        told = "Health check 1: {0}".format(check.title)
        assert 0 < check.timeout <= 3600
    assert told.startswith("Health check 1")
    assert told.isprintable()
