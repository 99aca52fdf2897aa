# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Releases of one small Node app, good ones and every bad kind that a gate must refuse, for PM2's cluster mode.

``PORT`` tells an app where to listen, ``HOST`` on which address (127.0.0.1 without). ``/`` answers the text of its
version, ``/health`` the JSON ``{"status": "ok", "version", "pid", "instance", "greeting"}`` (the last from the variable
``GREETING``), and ``/slow?ms=5000`` the version after a while.

Run in tests/ as ``python -m support.gate_apps DIRECTORY KIND VERSION``.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_SERVER = """\
'use strict';
const http = require('http');
const how = require('./how.json');

// what the bad kinds change
const site = { status: 200, word: 'ok', text: how.version };

const server = http.createServer((request, response) => {
  const url = new URL(request.url, 'http://localhost');
  const end = (type, text) => {
    response.writeHead(site.status, { 'Content-Type': type });
    response.end(text);
  };
  if (url.pathname === '/slow') {
    setTimeout(() => end('text/plain', site.text), Number(url.searchParams.get('ms')));
  } else if (url.pathname === '/health') {
    const { NODE_APP_INSTANCE: instance, GREETING: greeting } = process.env;
    const answer = { status: site.word, version: how.version, pid: process.pid, instance, greeting };
    end('application/json', JSON.stringify(answer));
  } else {
    end('text/plain', site.text);
  }
});

const serve = (port = Number(process.env.PORT)) =>
  typeof port === 'string' ? server.listen(port) : server.listen(port, process.env.HOST || '127.0.0.1');

module.exports = { how, serve, server, site };
"""
_HEAD = "'use strict';\nconst { how, serve, server, site } = require('./server.js');\n"
_MODULE_HEAD = (
    "import { createRequire } from 'module';\nconst { serve } = createRequire(import.meta.url)('./server.js');\n"
)
_FAIL = "Object.assign(site, { status: 500, word: 'failed', text: 'Internal Server Error' });\n"
_STAY = "setInterval(() => {}, 1000);\n"


@dataclass(frozen=True)
class _Kind:
    """:ivar how: what a caller may say, with the defaults; it must say what is ``None`` here."""

    script: str
    how: dict[str, Any] = field(default_factory=dict)
    is_module: bool = False


_KINDS = {
    "good": _Kind("serve();\n"),
    "ignores_signals": _Kind("process.on('SIGINT', () => {});\nprocess.on('SIGTERM', () => {});\nserve();\n"),
    "throws_at_boot": _Kind("throw new Error('boom at boot');\n"),
    # on the host of that name only
    "throws_on": _Kind(
        "if (require('os').hostname() === how.host) throw new Error(`cannot run on ${how.host}`);\nserve();\n",
        {"host": None},
    ),
    "syntax_error": _Kind("serve(;\n"),
    "missing_module": _Kind("require('no-such-module');\nserve();\n"),
    # it ignores PORT
    "wrong_port": _Kind("serve(how.port);\n", {"port": None}),
    # its first argument says where to listen
    "port_argument": _Kind("serve(Number(process.argv[2]));\n"),
    "throws_after": _Kind(
        "serve();\nsetTimeout(() => { throw new Error('boom later'); }, how.seconds * 1000);\n", {"seconds": 2}
    ),
    "answers_500": _Kind(_FAIL + "serve();\n"),
    "wrong_body": _Kind("Object.assign(site, { word: 'wrong', text: 'something else' });\nserve();\n"),
    # it takes requests and never answers
    "hangs": _Kind("server.removeAllListeners('request');\nserve();\n"),
    "never_listens": _Kind(_STAY),
    # PORT is the path of a socket
    "socket": _Kind("serve(process.env.PORT);\n"),
    "answers_500_socket": _Kind(_FAIL + "serve(process.env.PORT);\n"),
    "boots_in": _Kind("setTimeout(() => serve(), how.seconds * 1000);\n", {"seconds": 8}),
    # it grows by so many MiB within so many seconds, and stays so
    "leaks": _Kind(
        "serve();\n"
        "const kept = [];\n"
        "const grow = () => kept.length < how.mib && kept.push(Buffer.alloc(2 ** 20, 1));\n"
        "setInterval(grow, (how.seconds * 1000) / how.mib);\n",
        {"mib": 200, "seconds": 2},
    ),
    "exits_0": _Kind("process.exit(0);\n"),
    # its child outlives it; the pids of all children are in pid_file, one a line
    "forks_child": _Kind(
        "const options = { detached: true, stdio: 'ignore' };\n"
        f"const child = require('child_process').spawn(process.execPath, ['-e', '{_STAY.strip()}'], options);\n"
        "child.unref();\n"
        "require('fs').appendFileSync(how.pid_file, `${child.pid}\\n`);\n"
        "if (how.then === 'throws') throw new Error('boom after fork');\n" + _FAIL + "serve();\n",
        {"pid_file": None, "then": "throws"},
    ),
    # it fails so many seconds after the first request that came over TCP, so not to its gate, or once the file is there
    "fails_later": _Kind(
        "let opened = Infinity;\n"
        "server.prependListener('request', (request) => {\n"
        "  if (request.socket.remoteAddress) opened = Math.min(opened, Date.now());\n"
        "  const late = Date.now() - opened >= how.seconds * 1000;\n"
        f"  if (late || require('fs').existsSync(how.trigger)) {_FAIL.strip()}\n"
        "});\n"
        "serve();\n",
        {"seconds": 3600, "trigger": ""},
    ),
    # it is healthy, and one of so many requests fails
    "fails_some": _Kind(
        "let count = 0;\n"
        "server.prependListener('request', (request) => {\n"
        "  site.status = request.url === '/' && ++count % how.one_of === 0 ? 500 : 200;\n"
        "});\n"
        "serve();\n",
        {"one_of": 5},
    ),
    # it is healthy, and takes so many milliseconds more for each request
    "slow": _Kind(
        "const [answer] = server.listeners('request');\n"
        "server.removeAllListeners('request');\n"
        "server.on('request', (...both) => setTimeout(answer, how.ms, ...both));\n"
        "serve();\n",
        {"ms": 200},
    ),
    # it listens on nothing, and is not meant to
    "worker": _Kind("console.log('working');\n" + _STAY),
    "es_module": _Kind("serve();\n", is_module=True),
    "es_module_throws": _Kind("throw new Error('boom in module');\n", is_module=True),
}
KINDS = sorted(_KINDS)


def write_release(directory: Path, kind: str, version: str | None = None, **how: Any) -> Path:
    """Write the files of a release; its script, which is what PM2 is given.

    :param directory: is made when it is not there.
    :param version: the text; by default the kind.
    :param how: what the kind takes, see ``_KINDS``.
    """
    chosen = _KINDS[kind]
    assert set(how) <= set(chosen.how), f"{kind} takes {sorted(chosen.how)}"
    settings = {"version": version or kind, **chosen.how, **how}
    assert None not in settings.values(), f"{kind} needs {[name for name in settings if settings[name] is None]}"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "server.js").write_text(_SERVER, encoding="utf-8")
    # paths may be given as such
    (directory / "how.json").write_text(json.dumps(settings, default=str), encoding="utf-8")
    script = directory / ("app.mjs" if chosen.is_module else "app.js")
    script.write_text((_MODULE_HEAD if chosen.is_module else _HEAD) + chosen.script, encoding="utf-8")
    return script


if __name__ == "__main__":
    write_release(Path(sys.argv[1]), *sys.argv[2:])
