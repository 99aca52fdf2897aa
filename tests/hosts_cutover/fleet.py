# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hosts of a scenario that deploys the app ``web``, as a person at the controller has them: playbooks, ssh, and the
app over HTTP."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import signal
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from support.ansible_output import failed
from support.gate_apps import write_release
from support.web import Traffic

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
TOOL = str(ROOT / "tests" / "hosts" / "hosts")
USER = "shop"
HOME = f"/var/lib/{USER}"
APP = f"/srv/{USER}/web"
PORT = 3000
INSTANCES = 2
# requests a second, of all hosts together
RATE = 200.0
# seconds that anything here may take on a busy machine
PATIENCE = 120.0

_RECAP = re.compile(r"^([\w.-]+)\s*: ok=\d+ +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", re.MULTILINE)
_EXECUTION = re.compile(r"^<([\d.]+)> SSH: EXEC ", re.MULTILINE)


@dataclass(frozen=True)
class Recap:
    changed: int
    unreachable: int
    failed: int


@dataclass(frozen=True)
class Run:
    """One ``ansible-playbook`` that has ended.

    :ivar code: -9 when it was killed.
    :ivar recaps: by host; empty when it was killed.
    """

    code: int
    output: str
    seconds: float

    @property
    def recaps(self) -> dict[str, Recap]:
        return {found[0]: Recap(*map(int, found[1:])) for found in _RECAP.findall(self.output)}

    @property
    def text(self) -> str:
        """In one line, because Ansible breaks long ones."""
        return " ".join(self.output.split())

    @property
    def executions(self) -> dict[str, int]:
        """How often ssh was run, by address; of a run with -vvv."""
        addresses = _EXECUTION.findall(self.output)
        return {address: addresses.count(address) for address in addresses}


@dataclass
class Controller:
    """One ``ansible-playbook`` that runs."""

    process: subprocess.Popen[str]
    started: float = field(default_factory=time.monotonic)

    def end(self) -> Run:
        output = self.process.communicate(timeout=5 * PATIENCE)[0]
        return Run(self.process.returncode, output, time.monotonic() - self.started)

    def kill(self) -> Run:
        """It and all that it has started here, ssh too, as when its machine dies."""
        # it leads a process group of its own, and is no zombie before somebody waits for it
        os.killpg(self.process.pid, signal.SIGKILL)
        return self.end()


@dataclass(frozen=True)
class State:
    """What is on one host; see look.py."""

    unit: str
    processes: list[dict[str, Any]]
    daemon: int
    owned: list[list[Any]]
    gate: list[str]
    lock: str
    dump: list[list[str]]
    current: str
    deploys: list[dict[str, Any]]

    @property
    def pids(self) -> list[int]:
        return [process["pid"] for process in self.processes]

    def events(self, release: str) -> list[str]:
        return [event["event"] for event in self.deploys if event["release"] == release]

    def assert_whole(self) -> None:
        """One generation runs, the one that a boot would start."""
        assert [process["name"] for process in self.processes] == ["web"] * INSTANCES
        assert [process["status"] for process in self.processes] == ["online"] * INSTANCES
        assert [process["restarts"] for process in self.processes] == [0] * INSTANCES
        generations = {(process["release"], process["generation"]) for process in self.processes}
        assert len(generations) == 1
        assert [process["instance"] for process in self.processes] == list(range(INSTANCES))
        assert [process["log"] for process in self.processes] == [f"web-out-{n}.log" for n in range(INSTANCES)]
        assert self.dump == [["web", *next(iter(generations)), "online"]] * INSTANCES

    @property
    def others(self) -> list[list[Any]]:
        """Processes of the user, pid and command, beside the daemon and its own."""
        return [[pid, command] for pid, command in self.owned if pid not in (self.daemon, *self.pids)]

    def assert_clean(self) -> None:
        """Nothing is left of a cutover, however it ended."""
        live = list(map(str, self.pids))
        left = [
            name
            for name in self.gate
            if not re.fullmatch(r"preload-[0-9a-f]{8}\.cjs|python-[0-9a-f]{8}", name)
            and not (name == "web.lock" and not self.lock)
            and not (re.fullmatch(r"\d+(-\d+)?", name) and name.split("-")[0] in live)
        ]
        assert left == []
        assert self.others == []


@dataclass(frozen=True)
class Host:
    """:ivar login: the command that runs another one there."""

    name: str
    address: str
    login: list[str]

    @property
    def url(self) -> str:
        return f"http://{self.address}:{PORT}/"

    def run(self, *argv: str, stdin: bytes = b"", as_user: str = "root") -> str:
        command = shlex.join(["sudo", "-Hu", as_user, *argv])
        done = subprocess.run([*self.login, command], input=stdin, capture_output=True, check=False, timeout=PATIENCE)
        assert done.returncode == 0, f"{self.name}: {command}:\n{(done.stdout + done.stderr).decode()}"
        return done.stdout.decode()

    def look(self) -> State:
        text = self.run("python3", "-", APP, stdin=(HERE / "look.py").read_bytes(), as_user=USER)
        return State(**json.loads(text))

    def wait_for_file(self, path: str) -> None:
        """Below the home of the apps' user."""
        script = 'until [ -e "$1" ]; do sleep 0.02; done'
        self.run("timeout", str(PATIENCE), "sh", "-c", script, "sh", f"{HOME}/{path}")

    def wait_for_cutover(self) -> None:
        """Until one is in the middle of its work."""
        self.wait_for_file(".pm2/gate/web.json")

    def answer(self, path: str = "") -> str | None:
        """``None`` when nobody does."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as response:
                return str(response.read().decode())
        except OSError:
            return None

    def kill(self, pid: int) -> None:
        self.run("kill", "-KILL", str(pid))

    def make_stoppable(self) -> None:
        """Its cutovers can be stopped from now on, see halt.py."""
        # ends with 2 as long as the directory is not there
        directory = self.run("sh", "-c", "python3 -m site --user-site || test $? -eq 2", as_user=USER).strip()
        self.run("mkdir", "-p", directory, as_user=USER)
        self.run("tee", f"{directory}/usercustomize.py", stdin=(HERE / "halt.py").read_bytes(), as_user=USER)

    def stop_at(self, point: str) -> None:
        """The next cutover stops there."""
        self.run("rm", "-f", f"{HOME}/halted")
        self.run("tee", f"{HOME}/halt", stdin=point.encode(), as_user=USER)

    def stopped(self) -> int:
        """Wait until it has; the pid of its runner."""
        self.wait_for_file("halted")
        return int(self.run("cat", f"{HOME}/halted"))

    def go_on(self) -> None:
        self.run("kill", "-CONT", str(self.stopped()))

    def stop_no_more(self) -> None:
        """After a test that failed: what still stands ends."""
        self.run("sh", "-c", f'test ! -e {HOME}/halted || kill -KILL "$(cat {HOME}/halted)" || true')
        self.run("rm", "-f", f"{HOME}/halted", f"{HOME}/halt")

    def kill_runner(self) -> None:
        """The process that does the cutover, of which the lock tells."""
        self.kill(json.loads(self.run("cat", f"{HOME}/.pm2/gate/web.lock"))["pid"])

    def kill_daemon(self) -> None:
        self.kill(int(self.run("cat", f"{HOME}/.pm2/pm2.pid")))

    def kill_ssh(self) -> None:
        """Every session of sshd but the one that does this."""
        script = """
            own=$$
            while [ "$own" -gt 1 ]; do
                keep="$keep $own "
                own=$(ps -o ppid= -p "$own" | tr -d ' ')
            done
            for pid in $(pgrep -f '^sshd.*: debian@'); do
                case "$keep" in *" $pid "*) ;; *) kill -KILL "$pid" && echo "$pid" ;; esac
            done
        """
        assert self.run("sh", "-c", script).split(), "no ssh session was there"


class Fleet:
    """All hosts. What is done to them is done to all at once, as a user would.

    :ivar scenario: whose hosts they are.
    :ivar others: those that have no app.
    :ivar ssh_args: of each controller.
    """

    scenario: ClassVar[str] = "cutover"
    others: ClassVar[tuple[str, ...]] = ()
    # no connection that outlives its host, or is shared with another controller
    ssh_args: ClassVar[str] = "-o ControlMaster=no"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        output = subprocess.run([TOOL, "inventory"], check=True, capture_output=True, text=True).stdout
        inventory = json.loads(output)
        common = inventory["testhosts"]["vars"]
        hosts = [
            Host(
                name,
                variables["ansible_host"],
                [
                    *("ssh", *shlex.split(common["ansible_ssh_common_args"])),
                    *("-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-i", common["ansible_ssh_private_key_file"]),
                    *("-p", str(variables["ansible_port"]), f"{common['ansible_user']}@{variables['ansible_host']}"),
                ],
            )
            for name, variables in sorted(inventory["_meta"]["hostvars"].items())
        ]
        assert hosts, f"make the hosts first: molecule converge --scenario-name {self.scenario}"
        self.hosts = [host for host in hosts if host.name not in self.others]
        self.balancers = [host for host in hosts if host.name in self.others]
        self.each(Host.make_stoppable)
        self._released = 0
        self._controllers: list[Controller] = []

    def tidy(self) -> None:
        """After a test, which may have failed anywhere: no controller runs on."""
        running = [controller for controller in self._controllers if controller.process.poll() is None]
        for controller in running:
            controller.kill()
        if running:
            self.each(Host.stop_no_more)
        self._controllers.clear()

    def each(self, do: Callable[[Host], Any]) -> list[Any]:
        """Do something on all hosts, side by side."""
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            return list(pool.map(do, self.hosts))

    # what a user does ------------------------------------------------------------------------------------------

    def put(self, kind: str = "good", **how: Any) -> str:
        """Put the source of a new version onto all hosts; its name, with which it answers."""
        self._released += 1
        # one that no earlier run of the tests on these hosts has used
        version = f"{kind.replace('_', '-')}-{os.getpid()}-{self._released}"
        archive = io.BytesIO()
        with TemporaryDirectory() as name, tarfile.open(fileobj=archive, mode="w") as tar:
            write_release(Path(name), kind, version, **how)
            os.chmod(name, 0o755)
            tar.add(name, version)
        self.each(lambda host: host.run("tar", "-x", "-C", "/srv/source", stdin=archive.getvalue()))
        return version

    def start(self, playbook: str, *arguments: str, **variables: Any) -> Controller:
        """Begin to run a playbook of the collection, with a controller's directory of its own."""
        home = self.directory / f"controller-{time.monotonic_ns()}"
        home.mkdir()
        paths = ["tests/hosts/inventory.sh", f"molecule/{self.scenario}/inventory/hosts.yml"]
        inventories = [f"--inventory={ROOT / path}" for path in paths]
        process = subprocess.Popen(
            ["ansible-playbook", f"zerodown.pm2.{playbook}", *inventories, "-e", json.dumps(variables), *arguments],
            cwd=home,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(ROOT / "tests" / "dev" / "ansible.cfg"),
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".dev" / "collections"),
                "ANSIBLE_HOME": str(home),
                "XDG_STATE_HOME": str(self.directory),
                "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
                "ANSIBLE_SSH_ARGS": self.ssh_args,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._controllers.append(Controller(process))
        return self._controllers[-1]

    def run(self, playbook: str, *arguments: str, **variables: Any) -> Run:
        """Run it to its end, which must be a good one on all hosts."""
        run = self.start(playbook, *arguments, **variables).end()
        assert run.code == 0, failed(f"{playbook} ended with {run.code}", run.output)
        assert sorted(run.recaps) == [host.name for host in self.hosts]
        return run

    def fail(self, playbook: str, *arguments: str, **variables: Any) -> Run:
        """Run it to its end, which must be a failure on all hosts."""
        run = self.start(playbook, *arguments, **variables).end()
        assert run.code == 2, run.output
        assert {host.name: run.recaps[host.name].failed for host in self.hosts} == {host.name: 1 for host in self.hosts}
        return run

    def deploy(self, version: str, *arguments: str, **variables: Any) -> Run:
        return self.run("deploy", *arguments, site_version=version, **variables)

    def start_cutover(self, version: str) -> Controller:
        """A deploy that has come to the middle of its cutover on all hosts."""
        controller = self.start("deploy", site_version=version)
        self.each(Host.wait_for_cutover)
        return controller

    def crash(self, *hosts: Host) -> None:
        subprocess.run([TOOL, "crash", *[host.name for host in hosts]], check=True, timeout=PATIENCE)

    def power_on(self, *hosts: Host) -> None:
        """Until one can log in."""
        subprocess.run([TOOL, "start", *[host.name for host in hosts]], check=True, timeout=PATIENCE)

    @contextlib.contextmanager
    def traffic(self, record: Callable[[str, object], None]) -> Iterator[list[Traffic]]:
        """Requests to all hosts while the block lasts."""
        rate = RATE / len(self.hosts) / 2
        traffics = [Traffic(host.url, record, rate=rate, timeout=PATIENCE / 2) for host in self.hosts]
        with contextlib.ExitStack() as stack:
            for traffic in traffics:
                stack.enter_context(traffic)
            yield traffics

    # what must be ---------------------------------------------------------------------------------------------

    def look(self) -> list[State]:
        return self.each(Host.look)

    def answers(self) -> set[str | None]:
        return {host.answer() for host in self.hosts}

    def live(self) -> str:
        """What all of them answer, before a test begins."""
        answers = self.answers()
        if len(answers) == 1 and None not in answers:
            return str(answers.pop())
        # a test that failed has left them so, which must not make the next one fail
        version = self.put()
        self.deploy(version)
        return version

    def assert_serves(self, version: str) -> list[State]:
        """It is live and proven, whole and alone, and nothing is left of what was before."""
        assert self.answers() == {version}
        states = self.look()
        for state in states:
            state.assert_whole()
            state.assert_clean()
            assert {process["release"] for process in state.processes} == {state.current}
            assert {process["mode"] for process in state.processes} == {"cluster_mode"}
            assert "proven" in state.events(state.current)
        return states

    def settle(self, version: str) -> None:
        """After a fault the next deploy comes to what is wanted, and one more finds nothing to do."""
        self.deploy(version)
        self.assert_serves(version)
        self.assert_nothing_to_do(version)

    def assert_nothing_to_do(self, version: str) -> None:
        again = self.deploy(version)
        assert {name: recap.changed for name, recap in again.recaps.items()} == {host.name: 0 for host in self.hosts}


def wait_for(condition: Callable[[], bool], what: str) -> float:
    """Seconds that it took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() < start + PATIENCE, f"waited {PATIENCE:g} s for {what}"
        time.sleep(0.05)
    return time.monotonic() - start
