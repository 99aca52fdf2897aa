# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The preload that keeps the ports of an app shut until it has proven itself, and its place on the host.

The text of the script is here, because Ansible sends only Python to a host. A process of PM2 runs it with ``node_args:
["-r", install(home), ...]`` and two keys at the top of its ``pm2_env``: ``zerodown_gate`` (``Home.gate``) and
``zerodown_generation`` (``[A-Za-z0-9._-]+``). While ``<generation>.held`` exists in the directory, workers of that
generation that start leave their ports shut. They are spoken to through ``_gate_control.py``.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import List, Sequence

from ansible_collections.zerodown.pm2.plugins.module_utils._gate_directory import make_directory, write_script
from ansible_collections.zerodown.pm2.plugins.module_utils._home import Home

_OURS = re.compile(r"/gate/preload-[0-9a-f]{8}\.cjs$")


def name() -> str:
    """``preload-<first 8 hex digits of its SHA-256>.cjs``: what runs goes on with the one that it was started with."""
    return "preload-{0}.cjs".format(hashlib.sha256(SCRIPT.encode("utf-8")).hexdigest()[:8])


def install(home: Home) -> str:
    """Write the script below ``home`` unless it is there; its path.

    :raises Pm2Error: the directory is not ours alone, or cannot be written.
    """
    make_directory(home.gate)
    path = os.path.join(home.gate, name())
    write_script(path, SCRIPT)
    return path


def strip(node_args: Sequence[str]) -> List[str]:
    """The arguments as they were declared: without our ``-r``."""
    kept: List[str] = []
    for argument in node_args:
        if kept and kept[-1] == "-r" and _OURS.search(argument):
            kept.pop()
        else:
            kept.append(argument)
    return kept


def added(node_args: Sequence[str]) -> List[str]:
    """The paths of our script among the arguments."""
    return [argument for flag, argument in zip(node_args, node_args[1:]) if flag == "-r" and _OURS.search(argument)]


def is_ours(node_args: Sequence[str]) -> bool:
    """Whether a process with these arguments runs the script, of whichever version."""
    return len(strip(node_args)) < len(node_args)


SCRIPT = r"""'use strict'
// Loaded by `node -r` into the processes of an app that PM2 runs. Keeps the app's TCP ports shut until the release has
// proven itself, serves it on private sockets meanwhile, and lets go of its connections before the process ends.

const cluster = require('node:cluster')
const dns = require('node:dns')
const events = require('node:events')
const fs = require('node:fs')
const net = require('node:net')
const path = require('node:path')

const { directory, generation, patience } = takeKeys()
if (!directory || !generation) return

const { address, close, listen, ref, unref } = net.Server.prototype
const SOCKET_PATH_MAX = 107 // bytes: sun_path less its NUL, unix(7)
const STEP = 20 // milliseconds between two looks at what is left
const GOING_AWAY = Buffer.from([0x88, 2, 1001 >> 8, 1001 & 255]) // a WebSocket's close frame, RFC 6455 5.5.1, 7.4.1

const heldFile = path.join(directory, `${generation}.held`)
const gates = new Map() // the app's net.Server -> its gate
const sockets = new Set()
const sessions = new Set() // of HTTP/2
const upgraded = new Map() // WebSocket -> how much had been written before its handshake was answered
let state = fs.existsSync(heldFile) ? 'held' : 'open' // later 'draining'
let stopping = false
let underway = 0 // round trips to PM2
let sequence = 0

// Whatever cannot be done here leaves the app as it would be without us: a gate that nobody can open must not be shut.
const control = net.createServer(serve)
control.on('error', () => {})
if (Buffer.byteLength(controlPath('-9999')) <= SOCKET_PATH_MAX) listenPrivately(control, controlPath(''))
if (!control.listening) return
control.unref()
process.on('exit', removeSockets)

// The gate's key is taken away: children that inherit -r by execArgv stay as they are. In cluster mode PM2 sends the
// environment as JSON and copies it into process.env after us (PM2 lib/ProcessContainer.js).
function takeKeys () {
  let keys = process.env
  try {
    if (process.env.pm2_env) keys = JSON.parse(process.env.pm2_env) ?? keys
  } catch {}
  const { zerodown_gate: directory, zerodown_generation: generation, kill_timeout: killTimeout } = keys
  delete keys.zerodown_gate
  if (directory && keys !== process.env) process.env.pm2_env = JSON.stringify(keys)
  return { directory, generation, patience: (Number(killTimeout) || 1600) * 0.7 } // 1600: PM2 constants.js KILL_TIMEOUT
}

function controlPath (suffix) {
  return path.join(directory, process.pid + suffix)
}

// Exclusive: the socket is of this process, also in cluster mode. So the server listens on return, or it has failed.
function listenPrivately (server, socket, signal) {
  remove(socket) // left by an earlier process with this pid
  listen.call(server, { path: socket, exclusive: true, signal })
}

function remove (file) {
  try {
    fs.rmSync(file, { force: true })
  } catch {}
}

// A crash loop would fill the directory; only what is killed leaves its sockets behind.
function removeSockets () {
  for (; sequence > 0; sequence--) remove(controlPath(`-${sequence}`))
  remove(controlPath(''))
}

// ---- The port -------------------------------------------------------------------------------------------------------
// The app's own server listens on a private socket, from its listen() to its close(). A second server, the front,
// listens on the port while that may be open, and Node takes the front's connections for the app's server.

Object.assign(net.Server.prototype, {
  listen (...args) {
    const target = !this._handle && tcpTarget(args)
    if (!target) return listen.apply(this, args)
    if (typeof args[args.length - 1] === 'function') this.once('listening', args.pop())
    return guard(this, target, args)
  },

  close (...args) {
    const gate = this._handle && gates.get(this)
    if (gate && (closeFront(gate) || underway > 0)) {
      this._connections++ // 'close' waits for what PM2 has already handed over
      roundTrip(() => {
        this._connections--
        this._emitCloseIfDrained()
      })
    }
    return close.apply(this, args)
  },

  address () {
    const gate = this._handle && gates.get(this)
    return gate ? gate.address : address.call(this)
  },

  ref () {
    gates.get(this)?.front?.ref()
    return ref.call(this)
  },

  unref () {
    gates.get(this)?.front?.unref()
    return unref.call(this)
  },

  emit (event, first, second) { // for every request
    const gate = gates.get(this)
    if (gate && notice(this, gate, event, first, second)) return true
    return events.prototype.emit.apply(this, arguments)
  }
})

// The TCP port and host that listen() is asked for, in any of its forms (net.js normalizeArgs). None for a free port, a
// path, a handle, and for what Node refuses.
function tcpTarget ([first, second]) {
  // the primary of a cluster of the app's own listens for its workers, which have no gate
  if (cluster.isPrimary && Object.keys(cluster.workers).length > 0) return null
  const positional = { port: first, host: typeof second === 'string' ? second : null }
  const { port, host, fd, handle, _handle } = first !== null && typeof first === 'object' ? first : positional
  if (_handle || handle || fd >= 0 || !['number', 'string'].includes(typeof port)) return null
  if (!Number.isInteger(Number(port)) || port < 1 || port > 65535 || (host && typeof host !== 'string')) return null
  return { port: Number(port), host: host || null }
}

function guard (server, { host, port }, args) {
  const gate = { host, port, args, front: null, back: null, silenced: null }
  gate.address = { address: host || '::', family: net.isIPv6(host || '::') ? 'IPv6' : 'IPv4', port }
  gate.socket = controlPath(`-${++sequence}`)
  gates.set(server, gate)
  listenPrivately(server, gate.socket, args[0].signal)
  gate.back = server._handle
  delete server._pipeName // address() would tell it after close()
  if (!gate.back) {
    gate.silenced = 'error'
    return listen.apply(server, args)
  }
  const tell = (error) => {
    gate.silenced = null
    if (!error) return server.emit('listening')
    gate.back.close()
    server._handle = null
    gates.delete(server)
    server.emit('error', error)
  }
  if (state === 'held' && !fs.existsSync(heldFile)) state = 'open'
  if (state === 'open') {
    gate.silenced = 'listening'
    openFront(server, gate, tell)
  } else if (host && !net.isIP(host)) {
    gate.silenced = 'listening'
    dns.lookup(host, (error, ip, family) => {
      if (server._handle !== gate.back) return // closed meanwhile
      if (!error) gate.address = { address: ip, family: `IPv${family}`, port }
      tell(error)
    })
  }
  return server
}

function openFront (server, gate, done) {
  const front = gate.front = net.createServer()
  // What Node asks the owner of a handle for (lib/internal/cluster/child.js), the app's server answers.
  for (const name of ['_connections', 'maxConnections', 'dropMaxConnection']) {
    Object.defineProperty(front, name, { get: () => server[name] })
  }
  if (server._getServerData) { // TLS tickets, which the workers of a cluster share
    front._getServerData = () => server._getServerData()
    front._setServerData = (data) => server._setServerData(data)
  }
  front.close = (callback) => server.close(callback) // cluster's disconnect()
  front._listen2 = function (...args) {
    net.Server.prototype._listen2.apply(this, args)
    // as if it had come to the app's server: counted, dropped above maxConnections, with its options
    if (this._handle) this._handle.onconnection = (error, client) => gate.back.onconnection(error, client)
  }
  front.once('error', (error) => {
    if (gate.front !== front) return // closed meanwhile
    gate.front = null
    done(error)
  })
  front.once('listening', () => {
    if (gate.front !== front) return close.call(front)
    gate.address = address.call(front)
    done()
  })
  if (server._unref) unref.call(front)
  const [first, ...rest] = gate.args
  listen.call(front, typeof first === 'object' ? { ...first, signal: undefined } : first, ...rest)
}

// Whether there was one.
function closeFront (gate) {
  const front = gate.front
  if (!front) return false
  gate.front = null
  close.call(front)
  front.emit('close') // for open()
  return true
}

function closeFronts (some) {
  if (some.filter(closeFront).length > 0) roundTrip(() => {})
}

// What PM2, the primary of the cluster, handed to this worker before it heard that a port is closed is still on its way
// and would get lost with the process. PM2's answer to a later request comes after all that; meanwhile Node gives such
// connections back.
function roundTrip (done) {
  if (!cluster.isWorker) return done()
  const probe = net.createServer()
  underway++
  const answered = () => {
    underway--
    done()
  }
  probe.once('error', answered)
  probe.once('listening', () => {
    close.call(probe)
    answered()
  })
  listen.call(probe, { path: controlPath(`-${++sequence}`) })
}

// ---- What servers tell ----------------------------------------------------------------------------------------------

// Sees every event of a gated server; whether the app shall not. An app may emit the same names with what it likes.
function notice (server, gate, event, first, second) {
  if (event === gate.silenced) {
    if (event === 'error') gates.delete(server)
    return true
  }
  switch (event) {
    case 'connection':
    case 'secureConnection':
      if (!(first instanceof net.Socket)) break
      sockets.add(first)
      first.once('close', forget)
      break
    case 'request':
    case 'checkContinue':
    case 'checkExpectation':
      if (state === 'draining' && second) makeLast(second)
      break
    case 'upgrade':
      if (/^websocket$/i.test(first?.headers?.upgrade)) upgraded.set(second, second.bytesWritten)
      break
    case 'session':
      if (!first?.goaway) break
      sessions.add(first)
      first.once('close', () => sessions.delete(first))
      if (state === 'draining') goAway(first)
      break
    case 'close':
      if (!server._handle) gates.delete(server)
  }
  return false
}

function forget () {
  sockets.delete(this)
  upgraded.delete(this)
}

// ---- Draining -------------------------------------------------------------------------------------------------------

function drain () {
  if (state === 'draining') return
  state = 'draining'
  closeFronts([...gates.values()])
  for (const { _httpMessage: response } of sockets) {
    if (response && !response.headersSent) makeLast(response)
  }
  sessions.forEach(goAway)
  leaveWebSockets()
}

// The last response on its connection, and it says so, also when the app writes that header itself, as proxies do.
function makeLast (response) {
  response.shouldKeepAlive = false
  if (!response._storeHeader) return // HTTP/2
  response._storeHeader = function (...args) {
    Object.getPrototypeOf(this)._storeHeader.apply(this, args)
    this._header = this._header.replace(/^Connection: keep-alive(?=\r\n)/im, 'Connection: close')
    this._last = true
  }
}

// First "open no more streams", which still lets those in that are on their way (RFC 9113 6.8), then the end.
function goAway (session) {
  if (session.closed || session.destroyed) return
  session.goaway(0, 2 ** 31 - 1)
  session.ping(() => session.close())
}

function leaveWebSockets () {
  for (const [socket, written] of upgraded) {
    if (socket.bytesWritten === written) continue // its handshake is not answered yet
    upgraded.delete(socket)
    if (socket.writable) socket.write(GOING_AWAY)
  }
}

// Resolves when no connection is left, at the end of the time, or when the ports are opened again. Idle connections are
// not closed before the end: their clients may be sending the next request just then.
async function drained (milliseconds) {
  const end = performance.now() + milliseconds
  while (state === 'draining' && underway + connections() > 0 && performance.now() < end) {
    leaveWebSockets()
    await new Promise((resolve) => setTimeout(resolve, STEP).unref())
  }
  if (state === 'draining') for (const server of gates.keys()) server.closeIdleConnections?.()
}

function connections () {
  let sum = 0
  for (const server of gates.keys()) sum += server._connections
  return sum
}

// ---- Stop signals ---------------------------------------------------------------------------------------------------

// What would have ended the process at once ends it when it is drained, PM2's kill_timeout permitting; an app that
// listens to the signal itself decides itself.
async function stop (signal) {
  const appDecides = process.listeners(signal).length > 0
  stopping = true
  drain()
  await drained(patience)
  if (appDecides) return
  await drained(Infinity)
  removeSockets()
  process.removeListener(signal, stop)
  process.kill(process.pid, signal)
}

for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, stop)

// Libraries end the process when no listener but their own is there (signal-exit): ours does not count. listenerCount()
// stays true, Node goes by it (lib/internal/process/signal.js).
for (const name of ['listeners', 'rawListeners']) {
  const all = process[name]
  process[name] = (event) => all.call(process, event).filter((listener) => listener !== stop)
}

// Not a listener either: one for messages would keep the process alive.
const emit = process.emit
process.emit = function (event, message) {
  if (event === 'message' && message === 'shutdown') { // PM2's shutdown_with_message
    drain()
    drained(patience)
  }
  return emit.apply(this, arguments)
}

// ---- The control socket ---------------------------------------------------------------------------------------------

// One JSON object a line each way.
function serve (socket) {
  let text = ''
  socket.unref()
  socket.on('error', () => {})
  socket.on('data', (data) => {
    const lines = (text + data).split('\n')
    text = lines.pop()
    for (const line of lines) {
      obey(line)
        .then(status, (error) => ({ error: error.message }))
        .then((answer) => socket.write(JSON.stringify(answer) + '\n'))
    }
  })
}

async function obey (line) {
  const request = JSON.parse(line)
  switch (request.do) {
    case 'status':
      return
    case 'open':
      return open()
    case 'close':
      return drain()
    case 'drain':
      drain()
      return drained(request.timeout * 1000)
    default:
      throw new Error(`unknown request ${request.do}`)
  }
}

// All or none.
async function open () {
  const opened = []
  try {
    for (const [server, gate] of gates) { // also those that are added meanwhile
      if (stopping) break
      if (gate.front || !server.listening) continue
      await new Promise((resolve, reject) => {
        openFront(server, gate, (error) => error ? reject(error) : resolve())
        gate.front.once('close', resolve) // by the app
      })
      opened.push(gate)
    }
    if (stopping) throw new Error('the process is stopping')
  } catch (error) {
    closeFronts(opened)
    throw error
  }
  state = 'open'
}

function status () {
  const servers = []
  for (const [server, { host, port, socket, front }] of gates) {
    if (server.listening) servers.push({ host, port, socket, open: Boolean(front?.listening) })
  }
  return { pid: process.pid, generation, state, servers, connections: connections() }
}
"""
