# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""WebSocket clients over a cutover: they are told to go, come back to the new release, and no message is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from support.pm2_host import pm2_package, wait_for
from support.web import Web

# PM2 depends on it
WS = pm2_package("7").parent / "ws"

# writes down what it is sent, then answers
SERVER = """
const fs = require('fs');
const { WebSocketServer } = require(process.env.WS);
new WebSocketServer({ server }).on('connection', (socket) => {
  socket.on('message', (data) => {
    fs.appendFileSync(process.env.RECEIVED, `${data}\\n`);
    socket.send(how.version);
  });
});
"""

# so many clients that each send a number every few milliseconds, and connect anew when they are told to go
CLIENTS = """
const WebSocket = require(process.env.WS);
const told = { sent: [], codes: [], errors: [], versions: {} };
let ended = false;
let number = 0;
const start = () => {
  const socket = new WebSocket(process.env.URL);
  let timer;
  socket.on('open', () => {
    timer = setInterval(() => {
      if (socket.readyState !== WebSocket.OPEN) return;
      told.sent.push(++number);
      socket.send(String(number));
    }, 10);
  });
  socket.on('message', (data) => { told.versions[data] = (told.versions[data] || 0) + 1; });
  socket.on('error', (error) => told.errors.push(error.message));
  socket.on('close', (code) => {
    clearInterval(timer);
    told.codes.push(code);
    if (!ended) start();
  });
  process.stdin.on('end', () => {
    clearInterval(timer);
    ended = true;
    setTimeout(() => socket.close(1000), 500); // what was sent last is on its way
  });
};
for (let client = 0; client < 10; client++) start();
process.stdin.resume();
process.on('exit', () => console.log(JSON.stringify(told)));
"""


def stage(web: Web, version: str) -> None:
    source = web.directory / "source" / version
    web.stage("good", version)
    script = web.path(version) / "app.js"
    assert source.exists()
    script.write_text(script.read_text() + SERVER)


def test_clients_go_and_come_back(web: Web) -> None:
    received = web.directory / "received"
    web.options["env"] = {"WS": str(WS), "RECEIVED": str(received)}
    for version in ("v1", "v2"):
        stage(web, version)
    web.cutover("v1", min_healthy_time=0.3)
    node = shutil.which("node")
    assert node
    clients = subprocess.Popen(
        [node, "-e", CLIENTS],
        env={"WS": str(WS), "URL": f"ws://127.0.0.1:{web.port}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for(lambda: received.exists() and len(lines(received)) > 100, "no message comes in")
        web.cutover("v2")
        before = len(lines(received))
        wait_for(lambda: len(lines(received)) > before + 100, "no message comes in any more")
        output, _errors = clients.communicate(timeout=30)
    finally:
        clients.kill()
        clients.wait()
    told = json.loads(output)
    assert told["errors"] == []
    assert sorted(told["codes"]) == [1000] * 10 + [1001] * 10
    assert sorted(map(int, lines(received))) == told["sent"]
    assert set(told["versions"]) == {"v1", "v2"}
    web.assert_serves("v2")


def lines(path: Path) -> list[str]:
    return path.read_text().split()
