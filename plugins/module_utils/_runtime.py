# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs a program: Node, Python or neither; and the port that a Python server is told by its arguments."""

from __future__ import annotations

import os
import re
import shlex
from typing import List, Optional, Sequence

from ansible_collections.zerodown.pm2.plugins.module_utils._executables import which

NODE = "node"
PYTHON = "python"

# what a file says in its first lines, at most
_START = 1024
_PYTHON = re.compile(r"^python[0-9.]*t?$")
_SHELLS = ("bash", "sh", "dash")
# what makes a shell do more than become the program
_NOT_SIMPLE = re.compile(r"[|&;<>()`\n]")
# pip writes this where the path of Python is too long for a first line, or has a space (PEP 397's distlib, pip's own)
_TRAMPOLINE = re.compile(rb"^#! ?/bin/sh\n'''exec' (.+) \"\$0\" \"\$@\"")
_PORT = re.compile(r"^[1-9][0-9]{0,4}$")
# of Python itself: PYTHONPATH is not looked at, or nothing of site
_ISOLATES = re.compile(r"^-[a-zA-Z]*[IES]")


def is_node(interpreter: str) -> bool:
    return re.search(r"(^|/)[^/]*node$", interpreter) is not None


def is_shell(interpreter: str) -> bool:
    return os.path.basename(interpreter) in _SHELLS


def runtime_of(interpreter: str, options: Sequence[str], script: str, args: Sequence[str], path: str) -> Optional[str]:
    """What runs an app, as far as it can take a gate.

    :param options: of the interpreter.
    :param path: where its programs are looked for.
    """
    if is_node(interpreter):
        return NODE
    if interpreter != "none":
        return PYTHON if _is_python([interpreter, *options]) else None
    line = command_line(script, args)
    if line is not None:
        words = _words(line)
        program = which(words[0], path.split(os.pathsep)) if words else None
        return runtime_of("none", [], program, words[1:], path) if program else None
    if _PYTHON.match(os.path.basename(script)):
        return PYTHON if _is_python([script, *args]) else None
    return PYTHON if _is_python(_first_line(script)) else None


def command_line(script: str, args: Sequence[str]) -> Optional[str]:
    """What a shell is given, in PM2's form of an app that is a command line."""
    return args[1] if is_shell(script) and len(args) == 2 and args[0] == "-c" else None


def _words(line: str) -> List[str]:
    """Those of a line after which the shell becomes the program; else none."""
    if _NOT_SIMPLE.search(line):
        return []
    try:
        words = shlex.split(line)
    except ValueError:
        return []
    return words[1:] if words[:1] == ["exec"] else words


def _is_python(command: Sequence[str]) -> bool:
    """Whether the command is a Python that reads PYTHONPATH."""
    if not command or not _PYTHON.match(os.path.basename(command[0])):
        return False
    for option in command[1:]:
        if not option.startswith("-") or option in ("-m", "-c"):
            break
        if _ISOLATES.match(option):
            return False
    return True


def _first_line(script: str) -> List[str]:
    """The command that the file itself names."""
    try:
        with open(script, "rb") as stream:
            start = stream.read(_START)
    except OSError:
        return []
    trampoline = _TRAMPOLINE.match(start)
    if trampoline:
        return _split(trampoline.group(1))
    if not start.startswith(b"#!"):
        return []
    words = _split(start[2:].partition(b"\n")[0])
    if words and os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if word != "-S"]
    return words


def _split(line: bytes) -> List[str]:
    try:
        return shlex.split(line.decode("utf-8", "replace"))
    except ValueError:
        return []


def port_of(script: str, args: Sequence[str]) -> Optional[int]:
    """The port in the arguments of a server: ``--port 8000``, ``--bind 127.0.0.1:8000``, ``-b :8000``."""
    line = command_line(script, args)
    words = _words(line) if line is not None else list(args)
    found = None
    for word, following in zip(words, [*words[1:], ""]):
        name, equals, value = word.partition("=")
        if name in ("--port", "--bind") or word == "-b":
            told = value if equals else following
            digits = told if name == "--port" else told.rpartition(":")[2]
            found = int(digits) if _PORT.match(digits) and int(digits) < 65536 else None
    return found
