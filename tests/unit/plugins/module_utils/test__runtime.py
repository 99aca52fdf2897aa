# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs a program, and the port that a server is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.zerodown.pm2.plugins.module_utils._runtime import NODE, PYTHON, port_of, runtime_of

TRAMPOLINE = "#!/bin/sh\n'''exec' {} \"$0\" \"$@\"\n' '''\nimport sys\n"


@pytest.mark.parametrize(
    ("interpreter", "options", "runtime"),
    [
        ("node", [], NODE),
        ("/opt/node-22/bin/node", [], NODE),
        ("python", [], PYTHON),
        ("python3", ["-u", "-X", "dev"], PYTHON),
        ("/srv/web/venv/bin/python3.13", [], PYTHON),
        ("/usr/bin/python3.13t", [], PYTHON),
        ("python3", ["-I"], None),
        ("python3", ["-uE"], None),
        ("python3", ["-S"], None),
        ("python3", ["-s"], PYTHON),
        # what follows a module is its own
        ("python3", ["-m", "web", "-I"], PYTHON),
        ("pythonista", [], None),
        ("bun", [], None),
        ("ruby", [], None),
    ],
)
def test_an_interpreter(interpreter: str, options: list[str], runtime: str | None) -> None:
    assert runtime_of(interpreter, options, "/srv/web/app", [], "/bin") == runtime


@pytest.mark.parametrize(
    ("text", "runtime"),
    [
        ("#!/srv/web/venv/bin/python\nimport sys\n", PYTHON),
        ("#!/usr/bin/env python3\n", PYTHON),
        ("#!/usr/bin/env -S python3 -u\n", PYTHON),
        ("#! /usr/bin/python3 -s\n", PYTHON),
        ("#!/usr/bin/python3 -I\n", None),
        ("#!/usr/bin/env node\n", None),
        (TRAMPOLINE.format("/a/long/path/python3"), PYTHON),
        (TRAMPOLINE.format("'/with a space/python'"), PYTHON),
        (TRAMPOLINE.format("/a/long/path/ruby"), None),
        ("#!/bin/sh\nexec python3 app.py\n", None),
        ("#!'\n", None),
        ("#!", None),
        ("", None),
        ("\x7fELF\0", None),
    ],
)
def test_a_program(tmp_path: Path, text: str, runtime: str | None) -> None:
    script = tmp_path / "uvicorn"
    script.write_text(text)
    script.chmod(0o755)
    assert runtime_of("none", [], str(script), [], "/bin") == runtime
    # PM2's form of a command line
    for line in ("uvicorn main:app --port 8000", "exec uvicorn main:app", f"{script} 'main:app'"):
        assert runtime_of("none", [], "/bin/bash", ["-c", line], f"/bin:{tmp_path}") == runtime


@pytest.mark.parametrize(
    "line",
    [
        "cd web && uvicorn main:app",
        "uvicorn main:app | tee log",
        "uvicorn main:app; true",
        "PORT=8000 uvicorn main:app",
        "uvicorn 'main",
        "nothing-of-this-name main:app",
        "",
    ],
)
def test_a_shell_that_may_not_become_the_program(tmp_path: Path, line: str) -> None:
    script = tmp_path / "uvicorn"
    script.write_text("#!/usr/bin/python3\n")
    script.chmod(0o755)
    assert runtime_of("none", [], "/bin/bash", ["-c", line], str(tmp_path)) is None


def test_python_as_a_program() -> None:
    assert runtime_of("none", [], "/srv/venv/bin/python", ["-m", "uvicorn", "main:app"], "/bin") == PYTHON
    assert runtime_of("none", [], "/srv/venv/bin/python", ["-I", "-m", "uvicorn"], "/bin") is None
    assert runtime_of("none", [], "/no/such/file", [], "/bin") is None


@pytest.mark.parametrize(
    ("args", "port"),
    [
        (["main:app", "--port", "8000"], 8000),
        (["main:app", "--port=8000"], 8000),
        (["-b", "127.0.0.1:8001"], 8001),
        (["--bind", "[::1]:8001"], 8001),
        (["--bind=:8001"], 8001),
        (["-b", "unix:/run/web.sock"], None),
        (["-b", "unix:/run/web.sock:8000x"], None),
        # the last one counts
        (["--port", "1", "--port", "2"], 2),
        (["--port", "8000", "--bind", "unix:/run/web.sock"], None),
        (["--port", "0"], None),
        (["--port", "65536"], None),
        (["--port", "$PORT"], None),
        (["--port"], None),
        (["-p", "8000"], None),
        ([], None),
    ],
)
def test_the_port_in_the_arguments(args: list[str], port: int | None) -> None:
    assert port_of("/srv/venv/bin/uvicorn", args) == port
    assert port_of("/bin/bash", ["-c", " ".join(["uvicorn", *args])]) == port
