"""What the role proxy writes, run by a real HAProxy on loopback, and the module proxy."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.guides import DOCS, blocks
from support.playbook import Controller
from support.pm2_host import find_free_port, wait_for
from support.run_module import run_module

from ansible_collections.zerodown.pm2.plugins.filter.frontends import OPTIONS
from ansible_collections.zerodown.pm2.plugins.module_utils._handover import wait_until_idle
from ansible_collections.zerodown.pm2.plugins.module_utils._haproxy import ProxyError, RuntimeApi
from ansible_collections.zerodown.pm2.plugins.module_utils._proxy_options import ProxyOptions
from ansible_collections.zerodown.pm2.plugins.module_utils._switch import HaproxySwitch

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles" / "proxy"
HAPROXY = "/usr/sbin/haproxy"
BACKEND = "zerodown_web"
# says its name and what it was sent; /slow takes its time
APP = """
import http.server, json, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        self.rfile.read(int(self.headers.get('Content-Length') or 0))
        if self.path == '/slow':
            time.sleep(3)
        text = json.dumps({'name': sys.argv[2], 'headers': dict(self.headers)}).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    do_POST = do_GET
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
"""
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.include_vars: {role}/vars/main.yml
    - ansible.builtin.template:
        src: {role}/templates/proxy.cfg.j2
        dest: {directory}/role.cfg
"""


@dataclass
class Site:
    """An app behind what the role writes; its files are below ``directory``, its processes end with the test."""

    directory: Path
    port: int = field(default_factory=find_free_port)
    colours: list[int] = field(default_factory=lambda: [find_free_port(), find_free_port()])
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def socket(self) -> str:
        return str(self.directory / "api.sock")

    @property
    def state_file(self) -> Path:
        return self.directory / "states" / f"{BACKEND}_maintenance"

    @property
    def switch(self) -> HaproxySwitch:
        """As the cutover has it."""
        addresses = dict(zip(("blue", "green"), self.colours, strict=True))
        state_file = str(self.directory / "states" / BACKEND)
        return HaproxySwitch(ProxyOptions(addresses, BACKEND, self.socket, state_file))

    def configure(self, *apps: dict[str, Any], **variables: Any) -> None:
        """What the role writes, with its paths moved below the directory."""
        (self.directory / "states").mkdir(exist_ok=True)
        (self.directory / "pages").mkdir(exist_ok=True)
        for app in apps:
            shutil.copy(ROLE / "files" / "maintenance.html", self.directory / "pages" / f"zerodown_{app['name']}.html")
        play = self.directory / "play.yml"
        play.write_text(PLAY.format(role=ROLE, directory=self.directory))
        user = "proxied"
        Controller(self.directory / "controller").run(
            str(play),
            proxy_apps=list(apps),
            proxy_user=user,
            role_path=str(ROLE),
            **{
                "proxy_config": "-",
                "proxy_chroot": "",
                "proxy_trusted": [],
                "proxy_client_timeout": 60,
                "proxy_keep_alive_timeout": 60,
                **variables,
            },
        )
        text = (self.directory / "role.cfg").read_text()
        for there, here in (
            (f"/run/haproxy/zerodown-{user}.sock user {user}", self.socket),
            (f"/var/lib/zerodown-proxy/{user}/", f"{self.directory}/states/"),
            (f"/etc/haproxy/zerodown/{user}/", f"{self.directory}/pages/"),
        ):
            assert there in text
            text = text.replace(there, here)
        (self.directory / "haproxy.cfg").write_text(text)

    def declared(self, **front: Any) -> dict[str, Any]:
        process = {"script": "a", "proxy": {"ports": self.colours}, "frontend": {"port": self.port, **front}}
        return {"name": "web", "processes": [process]}

    def start_haproxy(self) -> None:
        self._start("haproxy", HAPROXY, "-db", "-f", str(self.directory / "haproxy.cfg"))
        wait_for(self._answers, "HAProxy does not start", 10.0)

    def _answers(self) -> bool:
        try:
            return bool(RuntimeApi(self.socket).servers(BACKEND))
        except ProxyError:
            return False

    def start_app(self, colour: str, name: str = "") -> None:
        port = self.colours[("blue", "green").index(colour)]
        self._start(colour, sys.executable, "-c", APP, str(port), name or colour)

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_for(listens, f"{colour} does not start", 20.0)

    def _start(self, key: str, *command: str) -> None:
        with (self.directory / f"{key}.log").open("ab") as log:
            self.running[key] = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self, key: str) -> None:
        process = self.running.pop(key)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def ask(
        self, path: str = "/", method: str = "GET", source: str = "127.0.0.1", **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """The status, and what the app said (or what else was answered, as ``text``)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=40, source_address=(source, 0))
        with contextlib.closing(connection):
            connection.request(method, path, body=b"x" if method == "POST" else None, headers=headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        return answer.status, json.loads(text) if text.startswith("{") else {"text": text}

    def sessions(self) -> int:
        return RuntimeApi(self.socket).counters(BACKEND)["blue"].sessions

    def module(self, **arguments: Any) -> dict[str, Any]:
        arguments = {"backend": BACKEND, "socket": self.socket, **arguments}
        if "server" not in arguments:
            arguments.setdefault("state_file", str(self.state_file))
        return run_module("proxy", **arguments)


def make_certificate(directory: Path) -> Path:
    """Certificate and key in one file."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", str(directory / "key"), "-out", str(directory / "certificate")),
            *("-subj", "/CN=web.example", "-days", "2"),
        ],
        check=True,
        capture_output=True,
    )
    certificate = directory / "web.pem"
    certificate.write_text((directory / "certificate").read_text() + (directory / "key").read_text())
    return certificate


@pytest.fixture
def site() -> Iterator[Site]:
    # short enough for a socket
    found = Site(Path(tempfile.mkdtemp(prefix="zd-proxy-")))
    try:
        yield found
    finally:
        for key in list(found.running):
            found.kill(key)
        shutil.rmtree(found.directory)


@pytest.fixture
def served(site: Site) -> Site:
    site.configure(site.declared(maintenance={"status": 502, "allow": ["127.0.0.2"]}, check={"path": "/"}))
    site.start_app("blue")
    site.start_haproxy()
    assert site.ask()[1]["name"] == "blue"
    return site


# what the role writes -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def waiting(served: Site, *methods: str) -> Iterator[list[tuple[int, str]]]:
    """One request of each method waits, until what is done meanwhile has ended; the answers."""
    served.switch.hold()
    served.kill("blue")
    answers: list[tuple[int, str]] = []

    def ask(method: str) -> None:
        status, answer = served.ask(method=method)
        answers.append((status, answer["name"]))

    clients = [threading.Thread(target=ask, args=(method,)) for method in methods]
    for client in clients:
        client.start()
    time.sleep(1.5)
    assert answers == []
    yield answers
    for client in clients:
        client.join()


def test_a_request_waits_while_the_app_is_restarted(served: Site) -> None:
    with waiting(served, "GET", "POST", "GET", "POST") as answers:
        served.start_app("blue", "blue again")
        served.switch.serve("blue", is_warm=False)
    assert answers == [(200, "blue again")] * 4


def test_what_waits_goes_along_to_the_other_colour(served: Site) -> None:
    with waiting(served, "POST") as answers:
        served.start_app("green")
        served.switch.serve("green", is_warm=False)
    assert answers == [(200, "green")]


def test_a_kept_connection_waits_too(served: Site) -> None:
    """HAProxy uses what it has to a server for the next request, whatever became of the server's address."""
    stop = threading.Event()
    answered: list[float] = []

    def keep_asking() -> None:
        client = http.client.HTTPConnection("127.0.0.1", served.port)
        while not stop.is_set():
            client.request("GET", "/")
            assert client.getresponse().read()
            answered.append(time.monotonic())

    client = threading.Thread(target=keep_asking)
    client.start()
    wait_for(lambda: len(answered) > 10, "nothing is answered", 10.0)
    served.switch.hold()
    wait_until_idle(served.switch, "blue", 10.0)
    quiet = time.monotonic()
    time.sleep(1.0)
    assert max(answered) <= quiet
    stop.set()
    served.switch.serve("blue", is_warm=False)
    client.join()


def test_an_app_that_is_down_is_told_at_once(served: Site) -> None:
    served.kill("blue")
    wait_for(lambda: served.ask()[0] == 503, "HAProxy does not find it down", 20.0)
    start = time.monotonic()
    assert served.ask()[0] == 503
    assert time.monotonic() - start < 5


def test_nobody_can_say_where_he_comes_from(served: Site) -> None:
    _status, answer = served.ask(**{"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"})
    headers = {name.lower(): value for name, value in answer["headers"].items()}
    assert (headers["x-forwarded-for"], headers["x-forwarded-proto"]) == ("127.0.0.1", "http")


def test_but_a_proxy_that_is_trusted(site: Site) -> None:
    site.configure(site.declared(maintenance={"allow": ["192.0.2.0/24"]}), proxy_trusted=["127.0.0.2"])
    site.start_app("blue")
    site.start_haproxy()
    sent = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}
    _status, answer = site.ask(source="127.0.0.2", **sent)
    # http.client joins what came as two headers
    values = {name.lower(): value for name, value in answer["headers"].items()}
    assert values["x-forwarded-proto"] == "https"
    assert "192.0.2.1" in str(answer["headers"])
    site.module(state="maintenance")
    assert site.ask(source="127.0.0.2", **sent)[0] == 200
    assert site.ask(source="127.0.0.3", **sent)[0] == 503


def test_http_2_without_tls(served: Site) -> None:
    """With prior knowledge: HAProxy answers the preface with its SETTINGS (RFC 9113, 3.4)."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0")
        assert connection.recv(9)[3] == 4


def test_tls_names_and_redirects(site: Site) -> None:
    certificate = make_certificate(site.directory)
    plain = find_free_port()
    site.configure(
        site.declared(certificate=str(certificate), hosts=["web.example", "*.web.example"], redirect_port=plain)
    )
    site.start_app("blue")
    site.start_haproxy()

    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    with context.wrap_socket(
        socket.create_connection(("127.0.0.1", site.port), timeout=10), server_hostname="web.example"
    ) as connection:
        assert connection.selected_alpn_protocol() == "h2"

    context = ssl._create_unverified_context()
    for host, status in (("web.example", 200), ("WEB.example:8443", 200), ("a.web.example", 200), ("example", 404)):
        client = http.client.HTTPSConnection("127.0.0.1", site.port, timeout=10, context=context)
        with contextlib.closing(client):
            client.request("GET", "/", headers={"Host": host})
            answer = client.getresponse()
            text = answer.read().decode()
        assert answer.status == status
        if status == 200:
            assert '"x-forwarded-proto": "https"' in text.lower()

    for host, location in (("web.example", f"https://web.example:{site.port}/a?b=1"), ("example", None)):
        client = http.client.HTTPConnection("127.0.0.1", plain, timeout=10)
        with contextlib.closing(client):
            client.request("GET", "/a?b=1", headers={"Host": host})
            answer = client.getresponse()
        assert (answer.status, answer.getheader("Location")) == (308 if location else 404, location)


# the guide ----------------------------------------------------------------------------------------------------


def guide() -> list[Any]:
    return [yaml.safe_load(text) for text in blocks(DOCS / "proxy.md", "yaml")]


def test_the_declarations_of_the_guide_are_loaded(site: Site) -> None:
    """By HAProxy itself; whether the role app takes them, tests/docs looks."""
    certificate = make_certificate(site.directory)
    (site.directory / "controller").mkdir()
    (site.directory / "controller" / "sorry.html").write_text("<h1>Sorry</h1>")
    used: set[str] = set()
    for declared in [block["pm2_apps"] for block in guide() if isinstance(block, dict)]:
        # what has no frontend is behind another proxy
        apps = [app for app in declared if any("frontend" in process for process in app["processes"])]
        if not apps:
            continue
        text = json.dumps(apps).replace("/etc/ssl/private", str(site.directory))
        shutil.copy(certificate, site.directory / "shop.pem")
        shutil.copy(certificate, site.directory / "blog.pem")
        site.configure(*json.loads(text))
        checked = subprocess.run(
            [HAPROXY, "-c", "-f", str(site.directory / "haproxy.cfg")], check=False, capture_output=True, text=True
        )
        assert checked.returncode == 0, checked.stderr
        used |= {option for app in apps for process in app["processes"] for option in process["frontend"]}
    assert used == OPTIONS


def test_the_tasks_of_the_guide_run(served: Site) -> None:
    tasks = [task["zerodown.pm2.proxy"] for block in guide() if isinstance(block, list) for task in block]
    assert [task["state"] for task in tasks] == ["maintenance", "ready", "drained", "ready"]
    for task in tasks:
        more = {"server": "blue"} if "server" in task else {}
        assert served.module(**{**task, "backend": BACKEND, **more})["changed"]
    assert served.ask()[0] == 200


# the module, one server ---------------------------------------------------------------------------------------


def test_it_tells_without_being_told(served: Site) -> None:
    result = served.module()
    assert not result["changed"]
    assert result["maintenance"] is False
    # a digest
    assert len(result["configuration"]) == 64
    assert [(server["name"], server["state"], server["is_up"]) for server in result["servers"]] == [
        ("blue", "ready", True),
        ("green", "maint", False),
        ("hold", "maint", False),
    ]


def test_a_server_is_drained_when_what_is_under_way_has_ended(served: Site) -> None:
    answers: list[tuple[int, dict[str, Any]]] = []
    client = threading.Thread(target=lambda: answers.append(served.ask("/slow")))
    client.start()
    wait_for(lambda: served.sessions() == 1, "the request does not arrive", 10.0)
    result = served.module(server="blue", state="drained")
    assert result["changed"]
    assert result["diff"] == {"before": {"state": "ready"}, "after": {"state": "drain"}}
    assert result["servers"][0]["sessions"] == 0
    client.join()
    assert answers[0][0] == 200
    assert served.ask()[0] == 503
    assert not served.module(server="blue", state="drained")["changed"]
    assert served.module(server="blue", state="ready")["changed"]
    assert not served.module(server="blue", state="ready")["changed"]
    assert served.ask()[0] == 200


def test_a_server_that_does_not_drain_in_time_is_told(served: Site) -> None:
    client = threading.Thread(target=lambda: served.ask("/slow"))
    client.start()
    wait_for(lambda: served.sessions() == 1, "the request does not arrive", 10.0)
    result = served.module(server="blue", state="drained", drain_timeout=0.1, fails=True)
    assert "gets nothing new, but 1 requests or connections are still under way after 0.1 s" in result["msg"]
    client.join()


def test_a_server_that_is_not_up_in_time_is_told(served: Site) -> None:
    result = served.module(server="green", state="ready", ready_timeout=2.5)
    # out of maintenance it counts as up until its first checks
    assert result["changed"]
    wait_for(lambda: not served.module()["servers"][1]["is_up"], "HAProxy does not find it down", 20.0)
    failed = served.module(server="green", state="ready", ready_timeout=0.3, fails=True)
    assert "did not find it up within 0.3 s" in failed["msg"]


def test_a_server_in_maintenance_gets_nothing(served: Site) -> None:
    assert served.module(server="blue", state="maintenance", check=True)["changed"]
    assert served.ask()[0] == 200
    assert served.module(server="blue", state="maintenance")["changed"]
    assert served.ask()[0] == 503


def test_what_is_not_there_is_named(served: Site) -> None:
    assert (
        "has no server red; it has blue, green, hold" in served.module(server="red", state="ready", fails=True)["msg"]
    )
    assert "no backend other" in served.module(backend="other", fails=True)["msg"]
    assert "Only a server can be drained" in served.module(state="drained", fails=True)["msg"]
    missing = run_module("proxy", backend="a", socket=f"{served.directory}/none", fails=True)
    assert "No HAProxy answers on" in missing["msg"]


# the module, an app -------------------------------------------------------------------------------------------


def test_maintenance_of_an_app(served: Site) -> None:
    assert served.module(state="maintenance", check=True)["changed"]
    assert served.ask()[0] == 200
    assert not served.state_file.exists()

    result = served.module(state="maintenance")
    assert result["changed"]
    assert result["maintenance"]
    assert result["diff"] == {
        "before": {"maintenance": False, "after_restart": False},
        "after": {"maintenance": True, "after_restart": True},
    }
    status, answer = served.ask()
    assert status == 502
    assert "<h1>Maintenance</h1>" in answer["text"]
    assert served.ask(source="127.0.0.2")[1]["name"] == "blue"
    assert not served.module(state="maintenance")["changed"]

    served.kill("haproxy")
    served.start_haproxy()
    assert served.ask()[0] == 502
    assert not served.module(state="maintenance")["changed"]

    result = served.module(state="ready")
    assert result["changed"]
    assert not result["maintenance"]
    assert served.ask()[1]["name"] == "blue"
    served.kill("haproxy")
    served.start_haproxy()
    assert served.ask()[1]["name"] == "blue"
    assert not served.module(state="ready")["changed"]


def test_an_app_without_the_role_has_no_maintenance(served: Site) -> None:
    text = (served.directory / "haproxy.cfg").read_text()
    text += f"\nbackend mine\n\tserver one 127.0.0.1:{served.colours[0]}\n"
    (served.directory / "haproxy.cfg").write_text(text)
    served.kill("haproxy")
    served.start_haproxy()
    assert served.module(backend="mine")["maintenance"] is None
    assert "was not written by the role proxy" in served.module(backend="mine", state="maintenance", fails=True)["msg"]
    unknown = run_module("proxy", backend=BACKEND, socket=served.socket, state="maintenance", fails=True)
    assert "set state_file to server-state-file-name of zerodown_web_maintenance" in unknown["msg"]
