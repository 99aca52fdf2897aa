# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The preload that holds the ports of real apps under real PM2s, and stays unseen by them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.gate import TIMEOUT, Site, client, get, is_refused
from support.pm2_host import wait_for

from ansible_collections.zerodown.pm2.plugins.module_utils._gate_control import GateError, sweep
from ansible_collections.zerodown.pm2.plugins.module_utils._rpc import Rpc

ONE_PM2 = pytest.mark.parametrize("pm2_version", ["7"], indirect=True)
BOTH_MODES = pytest.mark.parametrize("mode", ["cluster", "fork"])

WEB = """
const server = require('http').createServer((request, response) => response.end(`${process.pid}`))
server.listen(process.env.PORT, '127.0.0.1', () => console.log('listening', JSON.stringify(server.address())))
"""


@pytest.fixture
def site(pm2_home: Path, daemon: Rpc, tmp_path: Path) -> Site:
    return Site(pm2_home, daemon, tmp_path / "app")


@pytest.mark.parametrize(("mode", "instances"), [("cluster", 2), ("fork", 1)])
def test_a_worker_is_held_checked_and_let_through(site: Site, mode: str, instances: int) -> None:
    site.start(WEB, mode=mode, instances=instances, held=True)
    pids = site.pids()
    assert len(pids) == instances
    for pid, status in zip(pids, site.status(), strict=True):
        assert (status.pid, status.generation, status.state) == (pid, "one", "held")
        [server] = status.servers
        assert (server.host, server.port, server.open) == ("127.0.0.1", site.port, False)
        # each worker by itself, before it takes any traffic
        assert get(str(server.socket)) == str(pid)
    assert is_refused(site.port)
    # for the app its port is open: what it does when it listens is done now
    expected = {"address": "127.0.0.1", "family": "IPv4", "port": site.port}
    announced = [json.loads(line) for line in re.findall("listening (.*)", site.read_log())]
    assert announced == [expected] * instances

    for status in site.open():
        assert status.state == "open"
        assert status.servers[0].open
    served = {get(site.port) for _turn in range(20)}
    assert served == set(map(str, pids))
    assert site.pids() == pids


def test_what_starts_while_the_mark_is_there_is_held(site: Site) -> None:
    """A worker that crashes at the gate must not slip through it."""
    site.start(WEB, held=True)
    [before] = site.pids()
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: before not in site.pids() and bool(site.pids()[0]), "PM2 did not restart it")
    site.wait_until_listening()
    assert site.status()[0].state == "held"
    assert is_refused(site.port)
    sweep(site.home)
    assert not Path(site.home.gate, str(before)).exists()
    assert Path(site.home.gate, str(site.pids()[0])).exists()

    site.mark("one").unlink()
    [held] = site.pids()
    os.kill(held, signal.SIGKILL)
    wait_for(lambda: not is_refused(site.port), "without the mark it must open by itself")
    assert site.status()[0].state == "open"


@BOTH_MODES
def test_by_hand_pm2_does_what_it_always_did(site: Site, pm2: Callable[..., str], mode: str) -> None:
    site.start(WEB, mode=mode)
    for verb in ("restart", "reload"):
        before = site.pids()
        pm2(verb, "site")
        site.wait_until_listening()
        assert not set(site.pids()) & set(before)
        assert get(site.port) == str(site.pids()[0])
    if mode == "cluster":
        pm2("scale", "site", "3")
        assert len(site.pids()) == 3
        site.wait_until_listening()
        assert {get(site.port) for _turn in range(20)} == set(map(str, site.pids()))
        pm2("scale", "site", "1")
    pm2("stop", "site")
    assert is_refused(site.port)
    pm2("start", "site")
    site.wait_until_listening()
    assert get(site.port) == str(site.pids()[0])


def test_all_ports_open_or_none(site: Site) -> None:
    """The second port is taken."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        site.start(WEB + WEB.replace("process.env.PORT", str(taken)).replace("server", "second"), held=True)
        [worker] = site.workers()
        with pytest.raises(GateError, match="EADDRINUSE.*") as failure:
            worker.open(TIMEOUT)
        assert str(taken) in failure.value.message
        assert [server.open for server in worker.status(TIMEOUT).servers] == [False, False]
        assert worker.status(TIMEOUT).state == "held"
        assert is_refused(site.port)
    assert all(server.open for server in worker.open(TIMEOUT).servers)
    assert get(site.port) == get(taken) == str(site.pids()[0])


@ONE_PM2
def test_what_does_not_open_can_be_opened_later(site: Site) -> None:
    """Close and open again: a swap that is taken back."""
    site.start(WEB, instances=2)
    for worker in site.workers():
        assert worker.close(TIMEOUT).state == "draining"
    wait_for(lambda: is_refused(site.port), "PM2 still listens for nobody")
    for status in site.open():
        assert status.state == "open"
    with client(site.port) as connection:
        connection.request("GET", "/")
        assert connection.getresponse().headers["Connection"] == "keep-alive"


# One app after the other, plain and with the preload, tells the same about its servers.
OBSERVE = """
const http = require('http')
const net = require('net')
const { once } = require('events')
const { setTimeout: sleep } = require('timers/promises')
const port = Number(process.env.PORT)
const seen = []
const tell = (what, value) => seen.push([what, value])
const plain = (address) => JSON.stringify(address).replaceAll(String(port), 'PORT')
const connect = async (target = port) => {
  const socket = net.connect(target, '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}
const attempt = (what, action) => {
  try { action(); tell(what, 'nothing thrown') } catch (error) { tell(what, error.code) }
}
const closed = (server) => new Promise((resolve) => server.close((error) => resolve(error ? error.code : 'closed')))
const watch = (server, name) => {
  for (const event of ['listening', 'close']) server.on(event, () => tell(name, event))
  server.on('error', (error) => tell(name, [error.code, error.syscall, error.port === port]))
}

async function forms () {
  const all = {
    port: [port], text: [String(port)], host: [port, '127.0.0.1'], name: [port, 'localhost'], backlog: [port, 10],
    all: [port, '127.0.0.1', 10], options: [{ port, host: '127.0.0.1' }], six: [{ port, ipv6Only: true }],
    more: [{ port: String(port), exclusive: true }]
  }
  for (const [name, form] of Object.entries(all)) {
    const server = net.createServer()
    watch(server, name)
    tell(name, server.listening)
    const called = new Promise((resolve) => tell(name, server.listen(...form, resolve) === server))
    await called
    tell(name, [server.listening, plain(server.address())])
    attempt(name, () => server.listen(...form))
    tell(name, await closed(server))
    tell(name, [server.listening, server.address(), await closed(server)])
    await sleep(20)
  }
}

async function others () {
  for (const target of [0, `/tmp/observe-${process.pid}`, null, undefined, { host: '127.0.0.1', port: 0 }]) {
    const server = net.createServer()
    watch(server, 'other')
    server.listen(target)
    await once(server, 'listening')
    tell('other', typeof server.address() === 'string' ? server.address() === target : server.address().port > 0)
    await closed(server)
  }
  for (const bad of [65536, -5, 1.5, {}, { port: 'x' }, { port: true }]) {
    attempt(JSON.stringify(bad), () => net.createServer().on('error', () => {}).listen(bad))
  }
}

async function lives () {
  const server = net.createServer((socket) => {
    socket.on('error', () => {})
    tell('server', [socket.server === server, socket.remoteAddress, server.listenerCount('connection')])
  })
  watch(server, 'lives')
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const second = net.createServer()
  watch(second, 'second')
  second.listen(port, '127.0.0.1')
  await once(second, 'error')
  tell('second', [second.listening, second.address(), await closed(second)])
  await sleep(20)

  const [a, b] = [await connect(), await connect()]
  await sleep(50)
  server.getConnections((error, count) => tell('connections', [error, count]))
  let done = 'waits'
  closed(server).then((how) => { done = how })
  await sleep(200)
  tell('close', done)
  server.listen(port, '127.0.0.1') // again, while the first two are still there
  await once(server, 'listening')
  const c = await connect()
  await sleep(50)
  tell('connections', server._connections)
  for (const socket of [a, b, c]) socket.destroy()
  await sleep(50)
  tell('connections', server._connections)
  tell('close', await closed(server))

  const controller = new AbortController()
  server.listen({ port, host: '127.0.0.1', signal: controller.signal })
  await once(server, 'listening')
  controller.abort()
  await once(server, 'close')
  tell('aborted', [server.listening, server.address()])

  const first = net.createServer().listen(port, '127.0.0.1')
  await once(first, 'listening')
  const retry = http.createServer((request, response) => response.end('retried'))
  retry.once('error', async (error) => { // as Node's documentation has it
    tell('retry', error.code)
    await closed(first)
    await sleep(100) // the primary of a cluster hears of it later
    retry.close()
    retry.listen(port, '127.0.0.1')
  })
  retry.listen(port, '127.0.0.1')
  await new Promise((resolve) => retry.once('listening', resolve))
  tell('retry', await (await fetch(`http://127.0.0.1:${port}/`)).text())
  retry.closeAllConnections()
  await closed(retry)
}

async function limits () {
  const server = net.createServer((socket) => socket.on('error', () => {}))
  server.maxConnections = 1
  server.on('drop', (data) => tell('drop', data.remoteAddress))
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const first = await connect()
  const second = await connect()
  await once(second, 'close')
  tell('drop', server._connections)
  first.destroy()
  await sleep(50)
  tell('drop', await closed(server))
}

async function main () {
  await forms()
  await others()
  await lives()
  if (!process.env.NODE_APP_CLUSTER) await limits() // a cluster offers such a connection to its workers for ever
  await sleep(50)
  console.log('OBSERVED ' + JSON.stringify(seen))
  net.createServer().listen(port, '127.0.0.1') // for the test to know that it is over
}
main().catch((error) => console.log('OBSERVED ' + JSON.stringify(String(error.stack))))
"""


@ONE_PM2
@BOTH_MODES
def test_an_app_sees_the_same_with_and_without(site: Site, mode: str) -> None:
    env = {"NODE_APP_CLUSTER": "yes"} if mode == "cluster" else {}
    observed = []
    for generation, gated in (("plain", False), ("gated", True)):
        site.start(OBSERVE, generation, mode=mode, gated=gated, env=env, name=generation)
        log = site.log(generation)
        wait_for(lambda log=log: log.exists() and "OBSERVED" in log.read_text(), "no observation")  # type: ignore[misc]
        observed.append(json.loads(log.read_text().split("OBSERVED ")[1].splitlines()[0]))
        wait_for(lambda: not is_refused(site.port), "it has not ended")
        for process in site.rpc.processes():
            site.rpc.delete(process["pm_id"], TIMEOUT)
    plain, gated = observed
    assert isinstance(plain, list), plain
    assert len(plain) > 90
    assert gated == plain


@ONE_PM2
def test_a_server_that_is_unreferenced_keeps_no_process_alive(site: Site) -> None:
    """Nor do we: the process comes to its end, as it would without us."""
    source = "const server = require('net').createServer()\nserver.unref().listen(process.env.PORT)"
    listening = "server.once('listening', () => setTimeout(() => console.log('over'), 300))"
    # without PM2's own channel, which keeps any process of its alive
    script = site.scripts / "unref.js"
    script.parent.mkdir(parents=True)
    script.write_text(f"{source}\n{listening}\nprocess.on('exit', (code) => console.log('exit', code))")
    environment = {**os.environ, "PORT": str(site.port), "zerodown_gate": site.home.gate, "zerodown_generation": "one"}
    ended = subprocess.run(
        ["node", "-r", site.preload, str(script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert ended.stdout.split() == ["over", "exit", "0"]
    script.write_text("setTimeout(() => {}, 200)")
    subprocess.run(["node", "-r", site.preload, str(script)], env=environment, timeout=30, check=True)


@ONE_PM2
@BOTH_MODES
def test_processes_and_threads_of_the_app_stay_as_they_are(site: Site, free_port: Callable[[], int], mode: str) -> None:
    """They inherit the preload by execArgv, and open their ports at once."""
    ports = [free_port(), free_port(), free_port()]
    listen = "require('http').createServer((q, s) => s.end('{0}')).listen({1}, '127.0.0.1')"
    site.scripts.mkdir(parents=True)
    for name, port in zip(["forked", "spawned", "thread"], ports, strict=True):
        (site.scripts / f"{name}.js").write_text(listen.format(name, port))
    source = f"""
    const files = {json.dumps(str(site.scripts))} + '/'
    console.log('keys', JSON.stringify([process.env.zerodown_gate, process.env.zerodown_generation]))
    require('child_process').fork(files + 'forked.js')
    require('child_process').spawn(process.execPath, [...process.execArgv, files + 'spawned.js'])
    new (require('worker_threads').Worker)(files + 'thread.js')
    {WEB}"""
    site.start(source, held=True, mode=mode)
    for name, port in zip(["forked", "spawned", "thread"], ports, strict=True):
        wait_for(lambda port=port: not is_refused(port), f"{name} does not listen: {site.read_log()}")  # type: ignore[misc]
        assert get(port) == name
    assert is_refused(site.port)
    [status] = site.status()
    assert [server.port for server in status.servers] == [site.port]
    [pid] = site.pids()
    files = sorted(name for name in os.listdir(site.home.gate) if name[0].isdigit())
    assert files == [str(pid), os.path.basename(str(status.servers[0].socket))]
    # in cluster mode PM2 copies the generation, by which its processes are found, into the environment afterwards
    assert '[null,"one"]' in site.read_log()


@ONE_PM2
def test_an_app_with_a_cluster_of_its_own_is_not_held(site: Site) -> None:
    """Its workers are none of PM2's, and nobody could check them one by one: they listen as without us."""
    source = f"""
    const cluster = require('cluster')
    if (cluster.isPrimary) for (const _ of 'ab') cluster.fork()
    else {{ {WEB} }}"""
    site.mark("one").touch()
    site.start(source, mode="fork", gated=False, node_args=["-r", site.preload], **gate_keys(site))
    wait_for(
        lambda: len({get(site.port) for _turn in range(10)} if not is_refused(site.port) else set()) == 2, "no answers"
    )
    assert site.status()[0].servers == []
    address = re.findall("listening (.*)", site.read_log())[0]
    assert json.loads(address) == {"address": "127.0.0.1", "family": "IPv4", "port": site.port}


def gate_keys(site: Site, generation: str = "one", gate: str | None = None) -> dict[str, Any]:
    return {"zerodown_generation": generation, "zerodown_gate": gate or site.home.gate}


@ONE_PM2
@BOTH_MODES
@pytest.mark.parametrize("wrong", ["missing", "too long", "a file", "gone before it listens"])
def test_a_gate_that_nobody_could_open_is_open(site: Site, tmp_path: Path, mode: str, wrong: str) -> None:
    gate = tmp_path / ("long" * 30 if wrong == "too long" else "gate")
    if wrong == "a file":
        gate.touch()
    elif wrong != "missing":
        gate.mkdir()
        (gate / "one.held").touch()
    source = WEB
    if wrong.startswith("gone"):
        source = f"require('fs').rmSync({json.dumps(str(gate))}, {{ recursive: true }})\n{WEB}"
    site.start(source, mode=mode, gated=False, node_args=["-r", site.preload], **gate_keys(site, gate=str(gate)))
    wait_for(lambda: not is_refused(site.port), f"it does not listen: {site.read_log()}")
    [process] = site.rpc.processes()
    assert get(site.port) == str(process["pid"])
    assert site.read_log().count("listening") == 1
    assert "rror" not in site.read_log()
