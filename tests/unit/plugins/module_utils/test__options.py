# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.pm2_host import ROOT, pm2_package
from support.process_options import process_options

from ansible_collections.zerodown.pm2.plugins.doc_fragments.process import ModuleDocFragment
from ansible_collections.zerodown.pm2.plugins.module_utils import _options
from ansible_collections.zerodown.pm2.plugins.module_utils._app import STATES, apps_argument
from ansible_collections.zerodown.pm2.plugins.module_utils._cutover_options import cutover_arguments
from ansible_collections.zerodown.pm2.plugins.module_utils._options import (
    BY_FIELD,
    BY_NAME,
    LEFT_OUT,
    OPTIONS,
    is_field,
    process_arguments,
)


def documented() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    return loaded


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_table_and_documentation_agree(option: _options.Option) -> None:
    text = documented()[option.name]
    argument = option.argument()
    for key in ("type", "choices", "elements"):
        assert text.get(key) == argument.get(key), key
    assert sorted(text.get("aliases", [])) == sorted(argument.get("aliases", []))


def test_nothing_else_is_documented() -> None:
    assert set(documented()) == {*BY_NAME, *cutover_arguments()}
    assert set(BY_NAME) == set(process_arguments())


def test_a_list_has_the_same_options_and_a_state() -> None:
    apps = yaml.safe_load(ModuleDocFragment.APPS)["options"]["apps"]
    assert set(apps["suboptions"]) == set(apps_argument()["options"]) == {*BY_NAME, *cutover_arguments(), "state"}
    assert apps["suboptions"]["state"]["choices"] == list(STATES)
    assert {name: option for name, option in apps["suboptions"].items() if name != "state"} == documented()


def test_the_role_takes_the_same_options() -> None:
    specification = yaml.safe_load((ROOT / "roles" / "app" / "meta" / "argument_specs.yml").read_text())

    def found(node: Any) -> Any:
        if isinstance(node, dict):
            for name, value in node.items():
                if name == "processes":
                    yield value["options"]
                else:
                    yield from found(value)

    blocks = list(found(specification))
    assert blocks
    for block in blocks:
        # of the role proxy alone
        assert {name: option for name, option in block.items() if name != "frontend"} == process_options()


@pytest.mark.parametrize("version", ["7", "6", "5"])
def test_every_key_of_pm2s_schema_is_an_option_or_left_out_for_a_reason(version: str) -> None:
    schema = json.loads((pm2_package(version) / "lib" / "API" / "schema.json").read_text())
    names = {name: option.name for option in OPTIONS for name in (option.name, *option.all_aliases)}
    for key, entry in schema.items():
        if key in LEFT_OUT:
            assert key not in names, key
            continue
        assert key in names, f"{key} is neither an option nor in LEFT_OUT"
        aliases = entry.get("alias", [])
        for alias in [aliases] if isinstance(aliases, str) else aliases:
            assert names.get(alias) == names[key], f"{alias} is no alias of {key}"
    # what PM2 takes beside its schema (lib/Common.js verifyConfs)
    assert names["cmd"] == names["command"] == "script"
    assert set(LEFT_OUT) <= set(schema)


def test_names_are_unique() -> None:
    names = [name for option in OPTIONS for name in (option.name, *option.all_aliases)]
    assert len(names) == len(set(names))
    assert len(BY_FIELD) == len([option for option in OPTIONS if option.field])


@pytest.mark.parametrize(
    ("parse", "value", "expected"),
    [
        (_options.parse_bytes, "300M", 314572800),
        (_options.parse_bytes, "1G", 1073741824),
        (_options.parse_bytes, "10K", 10240),
        (_options.parse_bytes, 1234, 1234),
        (_options.parse_bytes, 1234.0, 1234),
        (_options.parse_milliseconds, "8000", 8000),
        (_options.parse_milliseconds, "250ms", 250),
        (_options.parse_milliseconds, "8s", 8000),
        (_options.parse_milliseconds, "5m", 300000),
        (_options.parse_milliseconds, "1h", 3600000),
        (_options.parse_whole, "3", 3),
        (_options.parse_instances, "max", 0),
        (_options.parse_instances, "-1", -1),
        (_options.parse_instances, 4, 4),
        (_options.parse_exec_mode, "cluster", "cluster_mode"),
        (_options.parse_exec_mode, "fork_mode", "fork_mode"),
        (_options.parse_flag, "yes", True),
        (_options.parse_flag, "False", False),
        (_options.parse_words, ["a", 1, True, 1.5], ["a", "1", "true", "1.5"]),
        (_options.parse_words, "", []),
        (_options.parse_words, 8080, ["8080"]),
        (_options.parse_words, "--a 'b c' \"d e\" f=g", ["--a", "b c", "d e", "f=g"]),
        (_options.parse_words, "--port=1 -x", ["--port=1", "-x"]),
        (_options.parse_exit_codes, 3, [3]),
        (_options.parse_exit_codes, ["3", 4], [3, 4]),
        (_options.parse_log_file, True, True),
        (_options.parse_log_file, "yes", True),
        (_options.parse_log_file, "/var/log/x.log", "/var/log/x.log"),
        (_options.parse_log_type, "raw", None),
        (_options.parse_log_type, "json", "json"),
        (_options.parse_watch, "true", True),
        (_options.parse_watch, [], True),
        (_options.parse_watch, "src", ["src"]),
        (_options.parse_watch, ["src", "lib"], ["src", "lib"]),
        (_options.parse_watch_options, {"depth": "2", "ignored": "*.tmp"}, {"depth": 2, "ignored": ["*.tmp"]}),
        (
            _options.parse_watch_options,
            {"awaitWriteFinish": {"pollInterval": 5}, "atomic": 100, "usePolling": "yes"},
            {"awaitWriteFinish": {"pollInterval": 5}, "atomic": 100, "usePolling": True},
        ),
        (_options.parse_cron, " 0   3 * * * ", "0 3 * * *"),
        (_options.parse_cron, "*/5 * * * * *", "*/5 * * * * *"),
        (_options.parse_cron, "0 0 L JAN-MAR sun,WED", "0 0 L JAN-MAR sun,WED"),
        (_options.parse_cron, "0 8-18/2 * * 1-5", "0 8-18/2 * * 1-5"),
        (_options.parse_cron, "0", None),
        (_options.parse_cron, 0, None),
        (_options.parse_name, "web-1.api_x", "web-1.api_x"),
    ],
)
def test_values(parse: Callable[[Any], Any], value: Any, expected: Any) -> None:
    assert parse(value) == expected


@pytest.mark.parametrize(
    ("parse", "value"),
    [
        *((_options.parse_bytes, value) for value in ("300MB", "300m", "-1", "1.5G", "", True, "M")),
        *((_options.parse_milliseconds, value) for value in ("-1", "8 s", "1d", "", True, "s", "600h")),
        *((_options.parse_whole, value) for value in ("-1", "1.5", True, "x", "1\n", "²", "٣")),
        *((_options.parse_instances, value) for value in ("many", "1.5", True, "")),
        *((_options.parse_exec_mode, value) for value in ("clusters", "", "mode")),
        *((_options.parse_text, value) for value in ("", "null", "a\0b")),
        *((_options.parse_words, value) for value in ("null", ["null"], ["a\0"], [{"a": 1}], [None])),
        *((_options.parse_watch, value) for value in ("", [""], ["null"], ["!"])),
        *((_options.parse_patterns, value) for value in ([""], ["a", "!"], "!!", ["x" * 5000])),
        (_options.parse_watch_options, {"nosuch": 1}),
        (_options.parse_watch_options, {"ignored": [""]}),
        (_options.parse_watch_options, {"depth": "x"}),
        (_options.parse_watch_options, {"awaitWriteFinish": {"a": 1}}),
        (_options.parse_watch_options, []),
        *(
            (_options.parse_name, value)
            for value in ("", "a b", "a/b", "-x", ".x", "all", "12", "a\n", "ä", "null", "$(id)")
        ),
        *(
            (_options.parse_cron, value)
            for value in (
                *("* * * *", "* * * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *"),
                *("* * * * 8", "5-1 * * * *", "*/0 * * * *", "*/61 * * * *", "a * * * *", "1,2-3 * * * *"),
                *("1- * * * *", "-1 * * * *", "1//2 * * * *", ", * * * *", "@daily", "L * * * *", "* * * * L", ""),
                *("? * * * *", "0 0 31 2 *", "0 0 31 4,6 *", "0 0 30-31 2 mon"),
            )
        ),
    ],
)
def test_values_that_are_refused(parse: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse(value)


@given(st.text())
def test_a_name_never_holds_what_a_shell_or_a_path_would_take_apart(text: str) -> None:
    try:
        name = _options.parse_name(text)
    except ValueError:
        return
    assert name.isascii()
    assert not set(name) & set(" \t\n/\\'\"$`;&|<>(){}[]*?!~#")


@given(st.one_of(st.text(), st.integers(), st.lists(st.text()), st.booleans(), st.floats()))
def test_what_was_parsed_once_is_parsed_to_itself(value: Any) -> None:
    """What PM2 gives back is compared in the same form as what is declared."""
    for option in OPTIONS:
        try:
            once = option.parse(value)
        except ValueError:
            continue
        if once is not None:
            assert option.parse(once) == once, option.name


@given(st.one_of(st.text(), st.lists(st.text())))
def test_nothing_that_pm2_takes_for_removal_gets_through(value: Any) -> None:
    """PM2 compares with ``== 'null'``, which is true for a list with that text too (lib/Utility.js extendMix)."""
    for option in OPTIONS:
        for tried in (value, "null", ["null"]):
            try:
                parsed = option.parse(tried)
            except ValueError:
                continue
            assert parsed not in ("null", ["null"]), option.name


def test_names_that_no_variable_may_have() -> None:
    for name in ("name", "args", "watch", "instances", "status", "pm_id", "axm_monitor", "exec_mode", "uid", "env"):
        assert is_field(name)
    for name in ("PORT", "NODE_ENV", "HOME", "PATH", "version", "NAME"):
        assert not is_field(name)
