# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The gate of Python apps. Not for import: its text becomes a ``sitecustomize.py`` on the ``PYTHONPATH`` of an app, see
_gate_python.py, and Python runs it before the app.

It keeps the app's TCP ports shut until the release has proven itself, serves it on private ports of the loopback
meanwhile, and has its connections ended before the process ends. Whatever cannot be done here leaves the app as it
would be without us.
"""

from __future__ import annotations

import _socket
import _thread
import array
import atexit
import contextlib
import errno
import json
import mmap
import os
import signal
import socket
import struct
import sys

# gevent replaces sleep() in its module
from time import monotonic, sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator

HELD, OPEN, DRAINING = "held", "open", "draining"
NAME = "sitecustomize"
KEY = "zerodown_gate"
# bytes: sun_path less its NUL, unix(7)
SOCKET_PATH_MAX = 107
# seconds between two looks at what is left
STEP = 0.05
# seconds without a connection: a handshake may be under way
QUIET = 0.5
# seconds for a child to stop
STOP_PATIENCE = 0.5
# seconds for the main thread, which may be inside of a library and not come back
MAIN_PATIENCE = 1.0
# one that nobody uses: the first and the last few are taken by libraries
SIGNAL = signal.SIGRTMAX - 5
# the state of a socket in /proc/net/tcp (include/net/tcp_states.h)
LISTENS = "0A"
# where struct tcp_info of a socket that listens has how many connections wait to be accepted, and how many may
# (net/ipv4/tcp.c tcp_get_info)
WAITING, BACKLOG = 24, 28
TCP_INFO_SIZE = 104
# asm-generic/socket.h
SO_ATTACH_REUSEPORT_CBPF, SO_DETACH_REUSEPORT_BPF = 51, 68

CANNOT_HOLD = (
    "zerodown.pm2 cannot hold {0}; set preload to false, and put the app behind a proxy (option proxy) or set strategy "
    "to restart"
)

original_bind = socket.socket.bind
original_getsockname = socket.socket.getsockname


class Server:
    """One TCP server of the app.

    :ivar address: as the app binds it.
    :ivar private: the host and the port where it listens while it is held.
    :ivar backlog: how many connections may wait, as the app wants it.
    """

    def __init__(self, address: Any, private: Any) -> None:
        self.address = address
        self.private = private
        self.backlog = 0


class Gate:
    """What this process knows.

    :ivar directory: of the control sockets.
    :ivar pid: of the app's main process; 0 in a child that was started anew.
    :ivar shared: the state in one byte, for the main process and all its children.
    :ivar servers: by the inode of their socket.
    :ivar workers: the children that had a server's socket when they were last looked for.
    :ivar ended: how many of those have ended.
    """

    def __init__(self, directory: str, generation: str, pid: int, shared: mmap.mmap) -> None:
        self.directory = directory
        self.generation = generation
        self.pid = pid
        self.shared = shared
        self.servers: dict[int, Server] = {}
        self.workers: set[int] = set()
        self.ended = 0
        self.lock = _thread.allocate_lock()
        self.jobs: list[Callable[[], None]] = []

    @property
    def state(self) -> str:
        return {b"h": HELD, b"d": DRAINING}.get(self.shared[:1], OPEN)

    @state.setter
    def state(self, value: str) -> None:
        self.shared[:1] = value[:1].encode("ascii")

    @property
    def is_draining(self) -> bool:
        return self.shared[:1] == b"d"

    @property
    def is_marked(self) -> bool:
        return os.path.exists(os.path.join(self.directory, self.generation + ".held"))

    @property
    def is_main(self) -> bool:
        return os.getpid() == self.pid

    def path(self, suffix: str = "") -> str:
        return os.path.join(self.directory, str(self.pid) + suffix)


gate: Gate


def start() -> None:
    """In the process that PM2 started; its children, which lack a key, are not it."""
    global gate  # noqa: PLW0603 - one of the process, made once, here
    keys = os.environ
    directory, generation = keys.get(KEY), keys.get("zerodown_generation")
    os.environ.pop(KEY, None)
    if not directory or not generation:
        return
    prefix = os.path.join(directory, str(os.getpid()))
    control = listen_for_control(prefix)
    if control is None:
        # a gate that nobody can open must not be shut
        return
    gate = Gate(directory, generation, os.getpid(), share(prefix + "-0", os.O_CREAT | os.O_TRUNC))
    gate.state = HELD if gate.is_marked else OPEN
    signal.signal(SIGNAL, work)
    os.register_at_fork(after_in_child=control.close)
    atexit.register(remove_files)
    os.execv, os.execve = execv, execve  # type: ignore[assignment]
    patch()
    _thread.start_new_thread(serve, (control,))


def follow(path: str) -> None:
    """In a child that the app's main process starts anew (multiprocessing, *spawn*).

    :param path: of the state that they share.
    """
    global gate  # noqa: PLW0603 - one of the process, made once, here
    gate = Gate(os.path.dirname(path), "", 0, share(path, 0))
    patch()


def here() -> str:
    return os.path.dirname(os.path.abspath(__file__))


def leave_path() -> None:
    """The app and its children see what was declared."""
    rest = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry != here()]
    os.environ.pop("PYTHONPATH", None)
    if any(rest):
        os.environ["PYTHONPATH"] = os.pathsep.join(rest)
    sys.path[:] = [entry for entry in sys.path if entry != here()]


def run_next() -> None:
    """The ``sitecustomize`` that Python would have found without us."""
    ours = sys.modules.pop(NAME, None)
    try:
        __import__(NAME)
    except ImportError as error:
        if error.name != NAME:
            raise
    finally:
        if ours is not None:
            # Python looks for what it has imported under its name
            sys.modules.setdefault(NAME, ours)


def listen_for_control(path: str) -> _socket.socket | None:
    control = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        if len(os.fsencode(path + "-9999")) > SOCKET_PATH_MAX:
            raise OSError(errno.ENAMETOOLONG, path)
        # left by an earlier process with this pid, or by this one before it became another program
        remove(path)
        control.bind(path)
        control.listen(16)
    except OSError:
        control.close()
        return None
    return control


def share(path: str, flags: int) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    try:
        if flags:
            os.ftruncate(descriptor, 1)
        return mmap.mmap(descriptor, 1)
    finally:
        os.close(descriptor)


def remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def remove_files() -> None:
    if gate.is_main:
        remove(gate.path())
        remove(gate.path("-0"))


# The port ------------------------------------------------------------------------------------------------------------
# A held socket listens on a port that the kernel chose; such a one shutdown(2) takes away, and the same open file can
# be bound to the real port. What waits for it in an event loop, and what has inherited it, moves with it.


def bind(self: socket.socket, address: Any) -> None:
    if not is_for_server(self, address):
        return original_bind(self, address)
    if gate.state == HELD and not gate.is_main:
        raise OSError(errno.EADDRINUSE, CANNOT_HOLD.format("a port that a child of the app's main process binds"))
    if gate.state == HELD and not gate.is_marked:
        gate.state = OPEN
    private = None
    if gate.state == HELD:
        try_address(self, address)
    self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if gate.state == HELD:
        private = bind_privately(self)
    else:
        original_bind(self, address)
    if gate.is_main:
        gate.servers[inode_of(self.fileno())] = Server(address, private)
    return None


def is_for_server(sock: socket.socket, address: Any) -> bool:
    return (
        sock.family in (socket.AF_INET, socket.AF_INET6)
        and sock.type == socket.SOCK_STREAM
        and sock.proto in (0, socket.IPPROTO_TCP)
        and isinstance(address, tuple)
        and len(address) >= 2
        and isinstance(address[1], int)
        and 0 < address[1] < 65536
    )


def try_address(sock: socket.socket, address: Any) -> None:
    """What is wrong with an address an app learns at once, except that it is taken, which may change."""
    with socket.socket(sock.family, socket.SOCK_STREAM) as probe:
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            probe.setsockopt(socket.SOL_SOCKET, option, 1)
        if sock.family == socket.AF_INET6:
            only = sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        try:
            original_bind(probe, address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise


def bind_privately(sock: socket.socket) -> Any:
    """The host and the port that it got."""
    if sock.family == socket.AF_INET:
        original_bind(sock, ("127.0.0.1", 0))
    else:
        try:
            original_bind(sock, ("::1", 0))
        except OSError:
            original_bind(sock, ("::ffff:127.0.0.1", 0))
    return original_getsockname(sock)[:2]


def getsockname(self: socket.socket) -> Any:
    """As if it had its port already."""
    address = original_getsockname(self)
    if gate.servers and gate.state == HELD and isinstance(address, tuple):
        server = gate.servers.get(inode_of(self.fileno()))
        if server is not None and server.private == address[:2]:
            host = server.address[0] or ("0.0.0.0" if self.family == socket.AF_INET else "::")
            return (host, server.address[1], *address[2:])
    return address


def inode_of(descriptor: int) -> int:
    return os.fstat(descriptor).st_ino


@contextlib.contextmanager
def borrowed(descriptor: int) -> Iterator[socket.socket]:
    """A descriptor of the app's as a socket, for a moment."""
    sock = socket.socket(fileno=descriptor)
    try:
        yield sock
    finally:
        sock.detach()


def listening() -> list[tuple[int, Server]]:
    """The app's servers, with a descriptor of each; those that were closed are forgotten."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        # the descriptor of the directory itself is gone
        with contextlib.suppress(OSError):
            inode = inode_of(int(name))
            if inode in gate.servers:
                found[inode] = int(name)
    for inode in set(gate.servers) - set(found):
        gate.servers.pop(inode, None)
    return [(descriptor, gate.servers[inode]) for inode, descriptor in found.items() if listens(descriptor)]


def listens(descriptor: int) -> bool:
    with borrowed(descriptor) as sock:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def tcp_info(descriptor: int, offset: int) -> int:
    with borrowed(descriptor) as sock:
        data = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_SIZE)
    return int(struct.unpack_from("I", data, offset)[0])


def move_all(held: list[tuple[int, Server]]) -> None:
    """From their private ports to the real ones: all or none."""
    moved = []
    try:
        for descriptor, server in held:
            moved.append((descriptor, server))
            move(descriptor, server, take_port)
    except OSError:
        for descriptor, server in moved:
            move(descriptor, server, leave_port)
        raise


def move(descriptor: int, server: Server, rebind: Callable[[socket.socket, Server], None]) -> None:
    """In between, accept(2) fails: nobody may call it."""
    with borrowed(descriptor) as sock:
        # one that failed to take its port does not listen; it would be shut down for good (net/ipv4/af_inet.c)
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            server.backlog = tcp_info(descriptor, BACKLOG)
            sock.shutdown(socket.SHUT_RDWR)
        rebind(sock, server)
        sock.listen(server.backlog)


def take_port(sock: socket.socket, server: Server) -> None:
    try:
        original_bind(sock, server.address)
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "error")
        where = "{0}:{1}".format(*server.address[:2])
        raise OSError(error.errno, "listen {0}: {1} {2}".format(name, error.strerror, where)) from error
    server.private = None


def leave_port(sock: socket.socket, server: Server) -> None:
    server.private = bind_privately(sock)


# Opening -------------------------------------------------------------------------------------------------------------


def open_ports() -> None:
    with gate.lock:
        servers = listening()
        held = [(descriptor, server) for descriptor, server in servers if server.private]
        if held:
            with stopped(holders([inode_of(descriptor) for descriptor, _server in held])):
                in_main_thread(lambda: move_all(held))
        gate.state = OPEN
        for descriptor, _server in servers:
            spread_evenly(descriptor)


@contextlib.contextmanager
def stopped(pids: set[int]) -> Iterator[None]:
    """Children that may accept from the same socket do nothing for a moment."""
    try:
        for pid in pids:
            send(pid, signal.SIGSTOP)
        end = monotonic() + STOP_PATIENCE
        while not all(map(is_stopped, pids)) and monotonic() < end:
            sleep(0.001)
        yield
    finally:
        for pid in pids:
            send(pid, signal.SIGCONT)


def send(pid: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def is_stopped(pid: int) -> bool:
    """All of its threads; also when it is gone."""
    with contextlib.suppress(OSError):
        for thread in os.listdir("/proc/{0}/task".format(pid)):
            with open("/proc/{0}/task/{1}/stat".format(pid, thread), "rb") as stream:
                # the state follows the name in parentheses, which may hold anything (proc_pid_stat(5))
                if stream.read().rpartition(b")")[2].split()[0] not in (b"T", b"t", b"Z", b"X"):
                    return False
    return True


def in_main_thread(action: Callable[[], None]) -> None:
    """There an event loop is, which cannot accept meanwhile. A loop that is in a library for good is not waited for."""
    turn = _thread.allocate_lock()
    done = _thread.allocate_lock()
    done.acquire()
    errors: list[BaseException] = []

    def job() -> None:
        if not turn.acquire(False):
            return
        try:
            action()
        except OSError as error:
            errors.append(error)
        finally:
            done.release()

    gate.jobs.append(job)
    signal.pthread_kill(MAIN_THREAD, SIGNAL)
    if not done.acquire(True, MAIN_PATIENCE):
        job()
        done.acquire()
    gate.jobs.remove(job)
    if errors:
        raise errors[0]


def work(_number: int, _frame: Any) -> None:
    for job in list(gate.jobs):
        job()


# Who gets new connections --------------------------------------------------------------------------------------------
# All sockets that listen on one address of one port with SO_REUSEPORT are a group, in the order in which they began to.
# A small program in the kernel says who of them gets a connection; a number that nobody has means whoever.


def prefer(count: int, newest: bool) -> None:
    """New connections go to some of those that listen.

    :param count: how many sockets on each port.
    :param newest: whether the last that began to listen, or the first.
    """
    with gate.lock:
        for descriptor, server in listening():
            if server.private:
                continue
            first = listeners_beside(descriptor) - count if newest else 0
            choose(descriptor, max(first, 0), count)


def listeners_beside(descriptor: int) -> int:
    """How many sockets listen on the address of this one."""
    with borrowed(descriptor) as sock:
        table = "tcp" if sock.family == socket.AF_INET else "tcp6"
    rows = [row for row in connections_in(table) if row[3] == LISTENS]
    own = [row[1] for row in rows if row[9] == str(inode_of(descriptor))]
    return sum(1 for row in rows if row[1] in own)


def choose(descriptor: int, first: int, count: int) -> None:
    """bpf(4): a random number modulo ``count``, plus ``first``."""
    program = [
        # LD W ABS, SKF_AD_OFF + SKF_AD_RANDOM (linux/filter.h)
        (0x20, 0xFFFFF000 + 56),
        # ALU MOD K, ALU ADD K, RET A
        (0x94, count),
        (0x04, first),
        (0x16, 0),
    ]
    code = array.array("B", b"".join(struct.pack("=HBBI", operation, 0, 0, value) for operation, value in program))
    with borrowed(descriptor) as sock:
        sock.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, struct.pack("HP", len(program), code.buffer_info()[0])
        )


def spread_evenly(descriptor: int) -> None:
    # there may be no program
    with contextlib.suppress(OSError), borrowed(descriptor) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0)


# Draining ------------------------------------------------------------------------------------------------------------


def drain(seconds: float) -> None:
    """Until no connection is left, for a moment, or the time is over."""
    gate.state = DRAINING
    end = monotonic() + seconds
    # from a look that saw none to another, however long the looks take
    quiet_since: float | None = None
    while gate.is_draining and monotonic() < end:
        if count_connections():
            quiet_since = None
        elif quiet_since is None:
            quiet_since = monotonic()
        elif monotonic() - quiet_since >= QUIET:
            return
        sleep(STEP)


def count_connections() -> int:
    """Those of the app's servers, whichever of its processes has them, and those that nobody has accepted yet."""
    servers = list(listening())
    waiting = sum(tcp_info(descriptor, WAITING) for descriptor, _server in servers)
    ports = {"{0:04X}".format(port) for _descriptor, server in servers for port in ports_of(server)}
    inodes = {
        row[9]
        for table in ("tcp", "tcp6")
        for row in connections_in(table)
        if row[3] != LISTENS and row[1].rpartition(":")[2] in ports and row[9] != "0"
    }
    if not inodes:
        return waiting
    found: set[str] = set()
    for pid in (os.getpid(), *descendants()):
        found |= inodes & open_sockets(pid)
    return waiting + len(found)


def ports_of(server: Server) -> list[int]:
    return [server.address[1], *([server.private[1]] if server.private else [])]


def connections_in(table: str) -> list[list[str]]:
    """proc_net(5): local address at 1, state at 3, inode at 9."""
    try:
        with open("/proc/net/" + table, encoding="ascii") as stream:
            return [line.split() for line in stream][1:]
    except OSError:
        return []


def descendants() -> set[int]:
    found: set[int] = set()
    todo = [os.getpid()]
    while todo:
        pid = todo.pop()
        with contextlib.suppress(OSError):
            for thread in os.listdir("/proc/{0}/task".format(pid)):
                with open("/proc/{0}/task/{1}/children".format(pid, thread), encoding="ascii") as stream:
                    children = set(map(int, stream.read().split())) - found
                found |= children
                todo.extend(children)
    return found


def open_sockets(pid: int) -> set[str]:
    """The inodes of its sockets."""
    found = set()
    directory = "/proc/{0}/fd".format(pid)
    with contextlib.suppress(OSError):
        for name in os.listdir(directory):
            with contextlib.suppress(OSError):
                link = os.readlink(os.path.join(directory, name))
                if link.startswith("socket:["):
                    found.add(link[8:-1])
    return found


def holders(inodes: list[int]) -> set[int]:
    """The children that have one of these sockets."""
    wanted = set(map(str, inodes))
    return {pid for pid in descendants() if wanted & open_sockets(pid)}


def loose_ports() -> list[int]:
    """Where this app listens although it is held: by sockets that were not made by Python."""
    if gate.state != HELD:
        return []
    own: set[str] = set()
    for pid in (os.getpid(), *descendants()):
        own |= open_sockets(pid)
    own -= {str(inode) for inode in gate.servers}
    rows = [row for table in ("tcp", "tcp6") for row in connections_in(table)]
    return sorted({int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == LISTENS and row[9] in own})


def count_ended() -> int:
    """How many children that serve have ended: one that starts them again and again looks fine itself."""
    now = holders(list(gate.servers)) if gate.servers else set()
    gate.ended += len(gate.workers - now)
    gate.workers = now
    return gate.ended


# The control socket --------------------------------------------------------------------------------------------------
# One JSON object a line each way.


def serve(control: _socket.socket) -> None:
    while True:
        try:
            descriptor, _address = control._accept()  # type: ignore[attr-defined]
        except OSError:
            return
        _thread.start_new_thread(converse, (_socket.socket(fileno=descriptor),))


def converse(connection: _socket.socket) -> None:
    text = b""
    with contextlib.suppress(OSError):
        connection.setblocking(True)
        while True:
            data = connection.recv(65536)
            if not data:
                break
            *lines, text = (text + data).split(b"\n")
            for line in lines:
                connection.sendall(json.dumps(answer(line)).encode("ascii") + b"\n")
    connection.close()


def answer(line: bytes) -> dict[str, Any]:
    try:
        obey(json.loads(line))
        return status()
    except Exception as error:
        return {"error": getattr(error, "strerror", None) or str(error) or type(error).__name__}


def obey(request: dict[str, Any]) -> None:
    verb = request["do"]
    if verb == "open":
        open_ports()
    elif verb == "prefer":
        prefer(request["count"], request["newest"])
    elif verb == "close":
        gate.state = DRAINING
    elif verb == "drain":
        drain(request["timeout"])
    elif verb != "status":
        raise ValueError("unknown request {0}".format(verb))


def status() -> dict[str, Any]:
    with gate.lock:
        servers = [server for _descriptor, server in listening()]
        ended = count_ended()
    return {
        "pid": gate.pid,
        "generation": gate.generation,
        "state": gate.state,
        "servers": [
            {
                "host": server.address[0] or None,
                "port": server.address[1],
                "socket": server.private,
                "open": server.private is None,
            }
            for server in servers
        ],
        "connections": count_connections(),
        "ended": ended,
        "loose": loose_ports(),
    }


# Libraries -----------------------------------------------------------------------------------------------------------
# While an app drains, its server says in each answer that it is the last on its connection: a client then sends its
# next request on another one, to the new generation.


def after_uvicorn(module: Any) -> None:
    cycle = module.RequestResponseCycle
    name = "default_headers"

    def headers(self: Any) -> Any:
        own = vars(self)[name]
        return [*own, (b"connection", b"close")] if gate.is_draining else own

    setattr(cycle, name, property(headers, lambda self, value: vars(self).update({name: value})))


def after_gunicorn(module: Any) -> None:
    says_no(module.Response, "should_close")


def after_gunicorn_asgi(module: Any) -> None:
    says_no(module.ASGIProtocol, "_will_close")


def says_no(owner: Any, name: str) -> None:
    """A method that tells whether a connection ends says so."""
    original = getattr(owner, name)
    setattr(owner, name, lambda self, *args: gate.is_draining or original(self, *args))


def after_hypercorn(module: Any) -> None:
    def count(self: Any) -> Any:
        # it may serve so many more requests on one connection
        return sys.maxsize if gate.is_draining else vars(self).get("keep_alive_requests", 0)

    module.H11Protocol.keep_alive_requests = property(
        count, lambda self, value: vars(self).update(keep_alive_requests=value)
    )


def after_aiohttp(module: Any) -> None:
    original = module.StreamResponse.prepare

    async def prepare(self: Any, request: Any) -> Any:
        if gate.is_draining:
            self.force_close()
        return await original(self, request)

    module.StreamResponse.prepare = prepare


def after_granian(module: Any) -> None:
    """Its sockets share their port with whatever is there: users would reach what is to be held."""
    original = module.SocketSpec

    def spec(*args: Any, **keys: Any) -> Any:
        if gate.state == HELD:
            raise OSError(errno.EADDRINUSE, CANNOT_HOLD.format("a server whose sockets are not made by Python"))
        return original(*args, **keys)

    module.SocketSpec = spec


def after_spawn(module: Any) -> None:
    """A child that multiprocessing starts anew inherits the server's socket, and drains like the others."""
    original = module.get_command_line

    def get_command_line(**keys: Any) -> Any:
        command = original(**keys)
        if "-c" in command:
            where = command.index("-c") + 1
            command[where] = FOLLOW.format(os.path.abspath(__file__), gate_path()) + command[where]
        return command

    module.get_command_line = get_command_line


FOLLOW = """\
try:
    with open({0!r}) as stream:
        exec(stream.read(), {{"__name__": "zerodown_gate", "__file__": {0!r}, "FOLLOWS": {1!r}}})
except Exception:
    pass
"""


def gate_path() -> str:
    return gate.path("-0") if gate.pid else str(globals()["FOLLOWS"])


AFTER: dict[str, Callable[[Any], None]] = {
    "uvicorn.protocols.http.h11_impl": after_uvicorn,
    "uvicorn.protocols.http.httptools_impl": after_uvicorn,
    "uvicorn.protocols.http.zttp_impl": after_uvicorn,
    "gunicorn.http.wsgi": after_gunicorn,
    "gunicorn.asgi.protocol": after_gunicorn_asgi,
    "hypercorn.protocol.h11": after_hypercorn,
    "aiohttp.web_response": after_aiohttp,
    "granian.net": after_granian,
    "multiprocessing.spawn": after_spawn,
}


class Finder:
    """Changes a module of ``AFTER`` right after it was imported."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> Any:
        if name not in AFTER:
            return None
        for finder in sys.meta_path:
            find = None if finder is cls else getattr(finder, "find_spec", None)
            spec = find(name, path, target) if find else None
            if spec is not None:
                watch(spec.loader, AFTER[name])
                return spec
        return None


def watch(loader: Any, change: Callable[[Any], None]) -> None:
    execute = loader.exec_module

    def exec_module(module: Any) -> None:
        execute(module)
        # a version that looks different stays as it is
        with contextlib.suppress(Exception):
            change(module)

    loader.exec_module = exec_module


def patch() -> None:
    socket.socket.bind = bind  # type: ignore[assignment,method-assign]
    socket.socket.getsockname = getsockname  # type: ignore[assignment,method-assign]
    for name, change in AFTER.items():
        if name in sys.modules:
            change(sys.modules[name])
    sys.meta_path.insert(0, Finder)


# A program that only prepares another one and then becomes it (opentelemetry-instrument, ddtrace-run) hands the gate
# on.

original_execve = os.execve


def execv(path: Any, argv: Any) -> None:
    execve(path, argv, os.environ)


def execve(path: Any, argv: Any, env: Any) -> None:
    if gate.is_main:
        paths = [here(), *filter(None, [env.get("PYTHONPATH")])]
        env = {**env, KEY: gate.directory, "PYTHONPATH": os.pathsep.join(paths)}
    original_execve(path, argv, env)


MAIN_THREAD = _thread.get_ident()

if __name__ == NAME:
    with contextlib.suppress(Exception):
        leave_path()
        start()
    if here() not in sys.path:
        run_next()
elif "FOLLOWS" in globals():
    follow(globals()["FOLLOWS"])
