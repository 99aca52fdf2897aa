"""What is wrong with an HTTP answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.module_utils._health_answer import Answer, excerpt, fault, find, is_same
from ansible_collections.zerodown.pm2.plugins.module_utils._health_spec import HttpCheck, parse

DOCUMENT = {"status": "ok", "checks": {"db": False, "node.js": 20, "a.b": {"c.d": 1}}, "list": [{"n": 5}], "none": None}


def wrong(answer: Answer, **options: Any) -> str | None:
    (check,) = parse([options])
    assert isinstance(check, HttpCheck)
    return fault(check, answer, ["hunter22"])


@pytest.mark.parametrize("status", [200, 204, 299])
def test_right_by_default(status: int) -> None:
    assert wrong(Answer(status, "")) is None


@pytest.mark.parametrize(
    ("answer", "options", "expected"),
    [
        (Answer(500, "Internal\n Server  Error\n"), {}, "answered 500, expected 200-299: Internal Server Error"),
        (Answer(404, ""), {"status": [200, "300-399"]}, "answered 404, expected 200, 300-399"),
        (Answer(302, "", "/login"), {}, "answered 302 (to /login), expected 200-299"),
        (
            Answer(200, "starting with hunter22"),
            {"body": "ready|done"},
            "answered 200, but nothing in its body matches 'ready|done': starting with <hidden>",
        ),
        (
            Answer(200, "x" * 300, is_cut=True),
            {"body": "ready"},
            f"answered 200, but nothing in the first MiB of its body matches 'ready': {'x' * 200}...",
        ),
        (Answer(200, "<p>"), {"json": {"a": 1}}, "answered 200, but its body is not JSON: <p>"),
        (Answer(200, "[" * 100_000), {"json": {"a": 1}}, f"answered 200, but its body is not JSON: {'[' * 200}..."),
        (
            Answer(200, '{"a": 1', is_cut=True),
            {"json": {"a": 1}},
            "answered 200, but its body is longer than the 1 MiB that JSON may have here",
        ),
        (Answer(200, '{"b": 1}'), {"json": {"a.c": 1}}, 'answered 200, but its JSON has no a.c: {"b": 1}'),
        (
            Answer(200, json.dumps(DOCUMENT)),
            {"json": {"status": "ok", "checks.db": True}},
            "answered 200, but checks.db is false, expected true",
        ),
        (
            Answer(200, '{"dsn": "pg://hunter22"}'),
            {"json": {"dsn": "none"}},
            'answered 200, but dsn is "pg://<hidden>", expected "none"',
        ),
    ],
)
def test_wrong(answer: Answer, options: dict[str, Any], expected: str) -> None:
    assert wrong(answer, **options) == expected


def test_all_that_is_declared_is_right() -> None:
    options = {"status": [503], "body": "(?m)^  .status", "json": {"status": "ok", "list.0": {"n": 5}, "none": None}}
    assert wrong(Answer(503, json.dumps(DOCUMENT, indent=2)), **options) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("status", "ok"),
        ("checks.db", False),
        ("checks.node.js", 20),
        ("checks.a.b.c.d", 1),
        ("list.0.n", 5),
        ("list.0", {"n": 5}),
        ("none", None),
    ],
)
def test_paths(path: str, expected: Any) -> None:
    assert is_same(find(DOCUMENT, path), expected)


@pytest.mark.parametrize("path", ["x", "status.x", "checks.", "list.1", "list.-1", "list.n", "list.²", "none.x", "."])
def test_paths_that_lead_nowhere(path: str) -> None:
    answer = Answer(200, json.dumps(DOCUMENT))
    assert str(wrong(answer, json={path: None})).startswith(f"answered 200, but its JSON has no {path}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
)


@given(JSON)
def test_a_value_is_the_same_after_a_trip(value: Any) -> None:
    assert is_same(value, json.loads(json.dumps(value)))


@given(JSON, JSON)
def test_sameness_has_no_direction_and_never_goes_beyond_equality(left: Any, right: Any) -> None:
    assert is_same(left, right) == is_same(right, left)
    assert not is_same(left, right) or left == right


def test_true_is_not_one() -> None:
    assert not is_same(True, 1)
    assert not is_same(0, False)
    assert is_same(1, 1.0)
    assert not is_same("1", 1)
    assert not is_same([1], [True])


@given(st.data())
def test_each_value_is_found_at_its_path(data: st.DataObject) -> None:
    keys = st.text("abc", min_size=1)

    def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.lists(inner, min_size=1) | st.dictionaries(keys, inner, min_size=1)

    document = data.draw(st.recursive(st.integers(), containers))
    value: Any = document
    path = []
    while isinstance(value, (list, dict)):
        path.append(data.draw(st.sampled_from(range(len(value)) if isinstance(value, list) else sorted(value))))
        value = value[path[-1]]
    if path:
        assert find(document, ".".join(map(str, path))) == value


@given(st.text(), st.text())
def test_an_excerpt_is_one_short_printable_line(before: str, after: str) -> None:
    shown = excerpt(f"{before}hunter22{after}", ["hunter22"])
    assert shown.isprintable()
    assert len(shown) <= 203
    assert "hunter22" not in shown
