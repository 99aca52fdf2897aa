# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hooks of the role app, on several hosts that are all this machine; notifications to real servers."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from aiosmtpd.controller import Controller as SmtpServer
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from support.ansible_output import failed
from support.pm2_host import find_free_port

ROOT = Path(__file__).resolve().parents[2]
SECRET = "s3cret-s3cret"
EVENT = {
    "app": "shop",
    "host": "{{ inventory_hostname }}",
    "release": "r2",
    "previous": "r1",
    "revision": "abc",
    "by": "ann",
    "reason": "new <prices>",
    "error": None,
}


@dataclass
class Fleet:
    """A playbook that runs the hooks of one phase."""

    directory: Path
    hosts: tuple[str, ...] = ("web1", "web2", "web3")
    phase: str = "before_cutover"

    def run(
        self,
        *hooks: dict[str, Any],
        arguments: tuple[str, ...] = (),
        own: tuple[dict[str, Any], ...] = (),
        tasks: list[dict[str, Any]] | None = None,
        fails: bool = False,
        environment: dict[str, str] | None = None,
        **play: Any,
    ) -> str:
        """All output, at -vvv, in which there is no secret.

        :param hooks: those of all apps.
        :param own: those of the app.
        :param tasks: of the play; by default the check, the hooks, and that the deploy goes on.
        """
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "app_user": "",
            "app_root": str(self.directory / "apps"),
            "pm2_apps": [{"name": "shop", "processes": [{"script": "a.js"}], "hooks": {self.phase: list(own)}}],
            "deploy_hooks": {self.phase: list(hooks)},
        }
        inventory = {"all": {"hosts": dict.fromkeys(self.hosts, {}), "vars": variables}}
        (self.directory / "hosts.yml").write_text(yaml.safe_dump(inventory))
        (self.directory / "apps" / "shop" / "releases" / "r2").mkdir(parents=True, exist_ok=True)
        book = [{"hosts": "all", "gather_facts": False, "tasks": tasks or self.tasks(), **play}]
        (self.directory / "play.yml").write_text(yaml.safe_dump(book, sort_keys=False))
        process = subprocess.run(
            [
                *(str(Path(sys.executable).parent / "ansible-playbook"), "-vvv", "-i", "hosts.yml", "play.yml"),
                *arguments,
            ],
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env={
                **os.environ,
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".dev" / "collections"),
                "ANSIBLE_HOME": str(self.directory / "ansible"),
                "ANSIBLE_REMOTE_TMP": str(self.directory / "ansible" / "tmp"),
                "ANSIBLE_PIPELINING": "true",
                **(environment or {}),
            },
        )
        output = process.stdout + process.stderr
        assert SECRET not in output
        assert (process.returncode != 0) is fails, failed("the play", output)
        return output

    def tasks(self, **options: Any) -> list[dict[str, Any]]:
        return [
            self.role("hooks_check"),
            {**self.role("hooks"), **options},
            {"name": "It goes on", "ansible.builtin.debug": {"msg": "{{ inventory_hostname }} goes on"}},
        ]

    def role(self, file: str, phase: str = "", **event: Any) -> dict[str, Any]:
        return {
            "name": file,
            "ansible.builtin.include_role": {"name": "zerodown.pm2.app", "tasks_from": file},
            "vars": {
                "__app_item": "{{ pm2_apps[0] }}",
                "__app_phase": phase or self.phase,
                "__app_event": {**EVENT, **event},
            },
        }


def goes_on(output: str) -> list[str]:
    return sorted(
        line.strip().split('"')[3].split()[0] for line in output.splitlines() if line.strip().endswith(' goes on"')
    )


def write(path: Path) -> list[str]:
    """A command that adds the host of the event to a file."""
    code = "import os, sys; open(sys.argv[1], 'a').write(os.environ['ZERODOWN_HOST'] + '\\n')"
    return [sys.executable, "-c", code, str(path)]


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


# what runs, where, in which order -----------------------------------------------------------------------------


def test_commands_run_on_each_host_with_the_event_and_those_of_the_app_last(fleet: Fleet) -> None:
    order = fleet.directory / "order"
    code = "import os, sys; open(sys.argv[1], 'a').write(os.environ['ZERODOWN_HOST'] + sys.argv[2] + '\\n')"
    output = fleet.run(
        {"name": "general", "argv": [sys.executable, "-c", code, str(order), "general"]},
        own=({"name": "own", "argv": [sys.executable, "-c", code, str(order), "own"]},),
    )
    lines = order.read_text().split()
    assert sorted(lines[:3]) == ["web1general", "web2general", "web3general"]
    assert sorted(lines[3:]) == ["web1own", "web2own", "web3own"]
    assert goes_on(output) == ["web1", "web2", "web3"]


def test_what_a_command_sees(fleet: Fleet) -> None:
    fleet.hosts = ("web1",)
    seen = fleet.directory / "seen"
    code = "import json, os, sys; print(json.dump([os.getcwd(), dict(os.environ)], open(sys.argv[1], 'w')))"
    say = [sys.executable, "-c", code]
    fleet.run(
        {"name": "host", "argv": [*say, f"{seen}-host"], "env": {"API_TOKEN": SECRET}},
        {"name": "below", "argv": [*say, f"{seen}-below"], "chdir": "sub"},
        {"name": "controller", "argv": [*say, f"{seen}-controller"], "where": "controller"},
        environment={"OF_THE_SESSION": "yes"},
        tasks=[
            {"ansible.builtin.file": {"path": "{{ app_root }}/shop/releases/r2/sub", "state": "directory"}},
            *fleet.tasks(),
        ],
        vars={"app_root": str(fleet.directory / "apps")},
    )
    release = fleet.directory / "apps" / "shop" / "releases" / "r2"
    directory, environment = json.loads(Path(f"{seen}-host").read_text())
    assert directory == str(release)
    assert environment["API_TOKEN"] == SECRET
    assert "OF_THE_SESSION" not in environment
    assert {name: value for name, value in environment.items() if name.startswith("ZERODOWN_")} == {
        "ZERODOWN_APP": "shop",
        "ZERODOWN_HOST": "web1",
        "ZERODOWN_PHASE": "before_cutover",
        "ZERODOWN_RELEASE": "r2",
        "ZERODOWN_PREVIOUS": "r1",
        "ZERODOWN_REVISION": "abc",
        "ZERODOWN_BY": "ann",
        "ZERODOWN_REASON": "new <prices>",
        "ZERODOWN_ERROR": "",
    }
    assert json.loads(Path(f"{seen}-below").read_text())[0] == str(release / "sub")
    directory, environment = json.loads(Path(f"{seen}-controller").read_text())
    assert directory == str(fleet.directory)
    assert environment["OF_THE_SESSION"] == "yes"


def test_a_task_file_is_found_beside_the_inventory_and_sees_the_event(fleet: Fleet) -> None:
    (fleet.directory / "hooks").mkdir()
    (fleet.directory / "hooks" / "more.yml").write_text(
        "- ansible.builtin.set_fact: {seen: '{{ deploy_event.phase }} of {{ deploy_event.release }}'}\n"
        "- ansible.builtin.include_tasks: tell.yml\n"
    )
    (fleet.directory / "hooks" / "tell.yml").write_text("- ansible.builtin.debug: {msg: 'seen {{ seen }}'}\n")
    output = fleet.run({"name": "mine", "tasks": "hooks/more.yml"})
    assert output.count('"msg": "seen before_cutover of r2"') == 3


def test_check_mode_names_what_would_run(fleet: Fleet) -> None:
    ran = fleet.directory / "ran"
    output = fleet.run(
        {"name": "warm", "argv": write(ran)}, {"name": "tell", "argv": write(ran)}, arguments=("--check",)
    )
    assert '"msg": "before_cutover would run: warm, tell"' in output
    assert not ran.exists()


# once ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "play",
    [pytest.param({}, marks=pytest.mark.whole), {"serial": 2}, pytest.param({"serial": 1}, marks=pytest.mark.whole)],
    ids=str,
)
def test_once_means_once_in_the_fleet(fleet: Fleet, play: dict[str, Any]) -> None:
    fleet.hosts = ("web1", "web2", "web3", "web4", "web5", "web6", "web7")
    once, each = fleet.directory / "once", fleet.directory / "each"
    output = fleet.run(
        {"name": "once", "argv": write(once), "once": True}, {"name": "each", "argv": write(each)}, **play
    )
    assert len(once.read_text().split()) == 1
    assert sorted(each.read_text().split()) == sorted(fleet.hosts)
    assert goes_on(output) == sorted(fleet.hosts)


@pytest.mark.whole
def test_once_among_those_that_come_by(fleet: Fleet) -> None:
    """The first host of the play has nothing to deploy."""
    once = fleet.directory / "once"
    fleet.run(
        {"name": "once", "argv": write(once), "once": True},
        tasks=fleet.tasks(when="inventory_hostname != 'web1'"),
    )
    (ran,) = once.read_text().split()
    assert ran in ("web2", "web3")


@pytest.mark.whole
def test_once_for_each_phase_and_again_for_another(fleet: Fleet) -> None:
    once = fleet.directory / "once"
    hook = {"name": "once", "argv": write(once), "once": True}
    fleet.run(
        tasks=[fleet.role("hooks"), fleet.role("hooks"), fleet.role("hooks", "after_cutover")],
        vars={"app_hooks": {phase: [hook] for phase in ("before_cutover", "after_cutover")}},
    )  # fmt: skip
    assert len(once.read_text().split()) == 2


@pytest.mark.parametrize("play", [{}, pytest.param({"serial": 1}, marks=pytest.mark.whole)], ids=str)
def test_where_one_that_runs_once_fails_no_host_goes_on(fleet: Fleet, play: dict[str, Any]) -> None:
    output = fleet.run(
        {"name": "approve", "argv": [sys.executable, "-c", "exit('not today')"], "once": True},
        fails=True,
        max_fail_percentage=100,
        **play,
    )
    assert goes_on(output) == []
    assert "The hook approve (shop, before_cutover) failed" in output
    assert "not today" in output


# failures -----------------------------------------------------------------------------------------------------


def test_a_failure_is_told_with_its_last_lines_and_ends_the_deploy_of_its_host(fleet: Fleet) -> None:
    code = (
        "import os, sys; print('first'); sys.exit(os.environ['ZERODOWN_HOST'] == 'web2' "
        "and 'bad thing ' + os.environ['API_TOKEN'])"
    )
    hook = {"name": "look", "argv": [sys.executable, "-c", code], "env": {"API_TOKEN": SECRET}}
    output = fleet.run(hook, fails=True)
    assert goes_on(output) == ["web1", "web3"]
    assert "The hook look (shop, before_cutover) failed" in output
    assert "first" in output
    assert "bad thing" in output


def test_a_failure_that_is_ignored_is_a_warning(fleet: Fleet) -> None:
    output = fleet.run({"name": "look", "argv": [str(fleet.directory / "none")], "ignore_errors": True})
    assert goes_on(output) == ["web1", "web2", "web3"]
    assert "WARNING: The hook look (shop, before_cutover) failed:" in output
    assert "No such file or directory" in output


def test_a_command_that_hangs_is_ended(fleet: Fleet) -> None:
    fleet.hosts = ("web1",)
    pid = fleet.directory / "pid"
    code = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
    hook = {"name": "hang", "argv": [sys.executable, "-c", code, str(pid)], "timeout": 3}
    output = fleet.run(hook, fails=True)
    assert "did not end within 3 s and was killed" in output
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.parametrize("no_log", [False, True], ids=["shown", "no_log"])
def test_a_task_file_that_fails(fleet: Fleet, no_log: bool) -> None:
    task = {"name": "Look twice", "ansible.builtin.fail": {"msg": "so bad"}, "no_log": no_log}
    (fleet.directory / "mine.yml").write_text(yaml.safe_dump([task]))
    output = fleet.run({"name": "mine", "tasks": "mine.yml"}, fails=True)
    assert goes_on(output) == []
    why = "why is hidden by its no_log" if no_log else "so bad"
    assert f"The hook mine (shop, before_cutover) failed: its task 'Look twice' failed: {why}" in output


@pytest.mark.parametrize("phase", ["on_failure", pytest.param("on_rollback", marks=pytest.mark.whole)])
def test_what_is_told_of_a_failure_does_not_take_its_place(fleet: Fleet, phase: str) -> None:
    fleet.phase = phase
    (fleet.directory / "bad.yml").write_text("- ansible.builtin.fail: {msg: 'of the hook'}\n")
    seen = fleet.directory / "seen"
    code = "import os, sys; open(sys.argv[1], 'a').write(os.environ['ZERODOWN_ERROR'])"
    block = {
        "block": [{"ansible.builtin.fail": {"msg": "the original error"}}],
        "rescue": [
            fleet.role("hooks", error="{{ ansible_failed_result.msg }}"),
            {"ansible.builtin.fail": {"msg": "it was {{ deploy_event.error }}"}},
        ],
    }
    fleet.hosts = ("web1",)
    output = fleet.run(
        {"name": "bad", "tasks": "bad.yml"},
        {"name": "see", "argv": [sys.executable, "-c", code, str(seen)]},
        tasks=[block],
        fails=True,
    )
    assert "it was the original error" in output
    assert f"WARNING: The hook bad (shop, {phase}) failed" in output
    assert seen.read_text() == "the original error"


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        ({"name": "a", "tasks": "none.yml"}, "none.yml is no file on the controller, but a hook names it"),
        ({"name": "a", "argv": ["x"], "url": f"https://{SECRET}"}, "has url, which a hook with argv does not take"),
        ({"name": "a", "notify": "slack"}, "needs url"),
    ],
    ids=["missing", "unknown", "incomplete"],
)
def test_what_is_declared_wrong_is_refused_at_the_beginning(fleet: Fleet, hook: dict[str, Any], message: str) -> None:
    output = fleet.run(hook, fails=True, tasks=[fleet.role("hooks_check")])
    assert message in " ".join(output.split())


# notifications ------------------------------------------------------------------------------------------------


@dataclass
class Web:
    """A server that keeps what is posted to it."""

    status: int = 200
    posts: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    def __enter__(self) -> Web:
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                web.posts.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(web.status)
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/services/{SECRET}"


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        yield server


def test_a_webhook_gets_the_event_once_signed(fleet: Fleet, web: Web) -> None:
    fleet.run(
        {
            "name": "tell",
            "notify": "webhook",
            "url": web.url,
            "headers": {"Authorization": f"Bearer {SECRET}"},
            "secret": SECRET,
        }
    )
    ((path, headers, body),) = web.posts
    assert path == f"/services/{SECRET}"
    assert headers["content-type"] == "application/json"
    assert headers["authorization"] == f"Bearer {SECRET}"
    wanted = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert headers["x-zerodown-signature"] == f"sha256={wanted}"
    event = json.loads(body)
    assert event == {**EVENT, "host": event["host"], "phase": "before_cutover"}
    assert event["host"] in fleet.hosts


@pytest.mark.whole
def test_a_webhook_of_each_host(fleet: Fleet, web: Web) -> None:
    fleet.run({"name": "tell", "notify": "webhook", "url": web.url, "once": False})
    assert sorted(json.loads(body)["host"] for _, _, body in web.posts) == list(fleet.hosts)
    assert all("x-zerodown-signature" not in headers for _, headers, _ in web.posts)


def test_a_webhook_that_refuses_or_is_not_there_is_a_warning(fleet: Fleet, web: Web) -> None:
    web.status = 503
    nobody = f"http://127.0.0.1:{find_free_port()}/{SECRET}"
    output = fleet.run(
        {"name": "refuses", "notify": "webhook", "url": web.url},
        {"name": "gone", "notify": "webhook", "url": nobody, "secret": SECRET},
        {"name": "bad", "notify": "slack", "url": f"https://[{SECRET}"},
    )
    assert goes_on(output) == ["web1", "web2", "web3"]
    assert "WARNING: The hook refuses (shop, before_cutover) failed: it answers with status 503" in output
    assert "WARNING: The hook gone (shop, before_cutover) failed: Connection refused" in output
    assert "WARNING: The hook bad (shop, before_cutover) failed: it cannot be reached" in output


@pytest.mark.whole
def test_a_webhook_that_must_be_told(fleet: Fleet) -> None:
    nobody = f"http://127.0.0.1:{find_free_port()}/{SECRET}"
    output = fleet.run({"name": "gone", "notify": "webhook", "url": nobody, "ignore_errors": False}, fails=True)
    assert goes_on(output) == []


@pytest.mark.whole
def test_slack_gets_a_sentence(fleet: Fleet, web: Web) -> None:
    fleet.phase = "after_cutover"
    fleet.run({"name": "tell", "notify": "slack", "url": web.url})
    ((_, _, body),) = web.posts
    (attachment,) = json.loads(body)["attachments"]
    assert attachment["color"] == "good"
    assert attachment["text"].endswith(", release r2 took over from r1 (by ann, new &lt;prices&gt;)")


class Mails:
    """What the server's clients handed over."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        return "250 OK"


def logs_in(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> AuthResult:
    wanted = LoginPassword(b"deploy", SECRET.encode())
    return AuthResult(success=data == wanted, handled=False)


def test_a_mail_goes_over_starttls_after_a_login(fleet: Fleet) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(fleet.directory / "authority.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    mails = Mails()
    server = SmtpServer(
        mails, "127.0.0.1", find_free_port(), tls_context=context, require_starttls=True,
        auth_required=True, authenticator=logs_in,
    )  # fmt: skip
    mail = {
        "name": "tell",
        "notify": "mail",
        "host": "localhost",
        "port": server.port,
        "username": "deploy",
        "password": SECRET,
        "from": "deploy@example.com",
        "to": ["team@example.com", "boss@example.com"],
    }
    trusted = {"SSL_CERT_FILE": str(fleet.directory / "authority.pem")}
    server.start()
    try:
        fleet.run(mail, environment=trusted)
        (envelope,) = mails.envelopes
        assert envelope.mail_from == "deploy@example.com"
        assert envelope.rcpt_tos == ["team@example.com", "boss@example.com"]
        text = str(envelope.content)
        assert "release r2 is about to take over from r1" in text
        assert "revision: abc" in text

        output = fleet.run({**mail, "password": SECRET + SECRET}, environment=trusted)
        assert (
            "WARNING: The hook tell (shop, before_cutover) failed: The mail could not be handed to localhost" in output
        )
        assert "it answers 535" in output
        output = fleet.run(mail)
        assert "certificate verify failed" in output
        assert len(mails.envelopes) == 1
    finally:
        server.stop()
