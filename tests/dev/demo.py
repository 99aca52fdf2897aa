# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``make demo`` and ``make demo-clean``: what a user of the collection does, on this machine, all of it below .demo/.

tests/dev/demo.sh calls this with the tools of .dev on PATH.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / ".demo"
REPOSITORY = DEMO / "repository"
PM2_HOME = DEMO / "pm2"
PM2 = ROOT / ".dev" / "pm2" / "7" / "node_modules" / "pm2" / "bin" / "pm2"
VARIABLES = DEMO / "inventory" / "group_vars" / "all.yml"
FIRST_PORT = 8300
# seconds
PATIENCE = 60.0
# unix(7): sun_path is 108 bytes with its final zero
SOCKET_PATH_MAX = 107
# a build starts from a clean environment; these say how this machine reaches its package registry
REGISTRY_VARIABLES = (
    "NODE_EXTRA_CA_CERTS",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)


def main(arguments: list[str]) -> int:
    longest = len(os.fsencode(PM2_HOME / "rpc.sock"))
    if longest > SOCKET_PATH_MAX:
        print(
            f"ERROR: the path of PM2's socket, {PM2_HOME}/rpc.sock, has {longest} bytes and Linux allows "
            f"{SOCKET_PATH_MAX}; move the checkout to a shorter path.",
            file=sys.stderr,
        )
        return 1
    try:
        {"run": run, "clean": clean}[arguments[0]]()
    except subprocess.CalledProcessError as error:
        print(f"ERROR: this failed (return code {error.returncode}): {' '.join(error.cmd)}", file=sys.stderr)
        return 1
    return 0


def run() -> None:
    start = time.monotonic()
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    say("A git repository of the sample app with the tags v1, v2 and v3")
    make_repository()
    write_configuration(port)

    say("Deploy version 1")
    playbook("deploy", sample_version="v1")
    expect(url, "1.0.0")
    say("Deploy version 1 again: nothing to do, and the same processes")
    before = processes_answering(url)
    playbook("deploy", sample_version="v1")
    if processes_answering(url) != before:
        sys.exit("ERROR: the processes changed.")
    say("Deploy version 2 over it")
    # an earlier demo rolled it back, and what was rolled back is not deployed again without being told to
    playbook("deploy", sample_version="v2", app_retry_bad="true")
    expect(url, "2.0.0")
    say("Deploy version 3, which throws when it starts: it is refused, and version 2 was never touched")
    before = processes_answering(url)
    if playbook_fails("deploy", sample_version="v3", app_retry_bad="true"):
        expect(url, "2.0.0")
    if processes_answering(url) != before:
        sys.exit("ERROR: the processes changed.")
    say("Roll back")
    playbook("rollback", reason="demo")
    expect(url, "1.0.0")
    say("Status")
    playbook("status")

    say(f"Done in {time.monotonic() - start:.0f} s")
    node = Path(shutil.which("node") or "")
    interpreter = f"{node} " if node.is_relative_to(ROOT) else ""
    print(
        f"""
The sample app runs at {url} as two cluster workers of a PM2 of its own.

  what it did        made the repository .demo/repository, deployed v1 and v2 from it, refused v3, went back to v1
  where it runs      .demo/apps/sample-app (releases, current), PM2_HOME .demo/pm2
  its declaration    .demo/inventory/group_vars/all.yml

Look at it:

  curl {url}
  PM2_HOME={PM2_HOME} {interpreter}{PM2} ls
  ANSIBLE_CONFIG={DEMO}/ansible.cfg {ROOT}/.dev/venv/bin/ansible-playbook zerodown.pm2.status

make demo-clean stops it and removes .demo."""
    )


def clean() -> None:
    if PM2_HOME.is_dir():
        say("Stop PM2")
        arguments = json.dumps({"state": "stopped", "pm2_home": str(PM2_HOME), "pm2_executable": str(PM2)})
        command("ansible", "localhost", "-m", "zerodown.pm2.daemon", "-a", arguments)
    shutil.rmtree(DEMO, ignore_errors=True)
    say("The demo is gone")


def make_repository() -> None:
    """v1 is the fixture, v2 another version, v3 one that builds and throws when it starts; the revisions are the same
    every time."""
    if REPOSITORY.is_dir():
        return
    unfinished = REPOSITORY.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(
        ROOT / "tests" / "fixtures" / "sample-app", unfinished, ignore=shutil.ignore_patterns("node_modules", "dist")
    )
    who = {"NAME": "Demo", "EMAIL": "demo@example.com", "DATE": "2026-01-01T00:00:00Z"}
    # neither the user's settings (signing, hooks) nor a git that calls us may have a say
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment.update({f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()})
    environment.update(GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_NOSYSTEM="1")

    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=unfinished, env=environment, check=True, stdout=subprocess.DEVNULL)

    git("init", "--quiet", "--initial-branch=main")
    for tag, version in (("v1", "1.0.0"), ("v2", "2.0.0"), ("v3", "3.0.0")):
        (unfinished / "src" / "version.ts").write_text(f"export const version = '{version}';\n")
        if tag == "v3":
            with (unfinished / "src" / "server.ts").open("a") as server:
                server.write("\nthrow new Error('version 3 is broken');\n")
        git("add", "--all")
        git("commit", "--quiet", f"--message=Version {version}")
        git("tag", tag)
    unfinished.rename(REPOSITORY)


def write_configuration(port: int) -> None:
    """What a user keeps in a repository of their own. JSON strings are YAML strings, whatever is in the path."""
    VARIABLES.parent.mkdir(parents=True, exist_ok=True)
    build_environment = {name: os.environ[name] for name in REGISTRY_VARIABLES if os.environ.get(name)}
    # npm's would be in the directory for temporary files, where nobody removes it
    build_environment["NODE_COMPILE_CACHE"] = str(DEMO / "node-compile-cache")
    (DEMO / "ansible.cfg").write_text(
        f"""[defaults]
inventory = {DEMO}/inventory/hosts.yml
collections_path = {ROOT}/.dev/collections
home = {DEMO}/ansible
remote_tmp = {DEMO}/ansible/tmp
callback_result_format = yaml
display_skipped_hosts = false
"""
    )
    (DEMO / "inventory" / "hosts.yml").write_text(
        """---
all:
  hosts:
    localhost:
      ansible_connection: local
      ansible_python_interpreter: "{{ ansible_playbook_python }}"
"""
    )
    VARIABLES.write_text(
        f"""---
# everything as the user who runs Ansible
pm2_scope: user
pm2_home: {json.dumps(str(PM2_HOME))}
pm2_executable: {json.dumps(str(PM2))}
node_executable: {json.dumps(shutil.which("node"))}
pm2_apps_root: {json.dumps(str(DEMO / "apps"))}

pm2_apps:
  - name: sample-app
    source:
      type: git
      repo: {json.dumps(str(REPOSITORY))}
      version: "{{{{ sample_version | default('v1') }}}}"
    build:
      scripts: [lint, build, test]
      prune: true
      env: {json.dumps(build_environment)}
    processes:
      - script: dist/server.js
        exec_mode: cluster
        instances: 2
        env:
          NODE_ENV: production
          PORT: "{port}"
        health:
          - path: /healthz
    min_healthy_time: 3
    bake_time: 2
"""
    )


def free_port() -> int:
    """The port of the demo that is there already, else the first that nothing listens on."""
    if VARIABLES.is_file():
        for line in VARIABLES.read_text().splitlines():
            if line.strip().startswith("PORT: "):
                return int(line.split('"')[1])
    for port in range(FIRST_PORT, FIRST_PORT + 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SystemExit(f"ERROR: no free port between {FIRST_PORT} and {FIRST_PORT + 99}.")


def playbook(name: str, **variables: str) -> None:
    extra = [argument for key, value in variables.items() for argument in ("--extra-vars", f"{key}={value}")]
    command("ansible-playbook", f"zerodown.pm2.{name}", *extra)


def playbook_fails(name: str, **variables: str) -> bool:
    try:
        playbook(name, **variables)
    except subprocess.CalledProcessError:
        return True
    sys.exit(f"ERROR: {name} should have failed.")


def command(*argv: str) -> None:
    print(f"\n$ {' '.join(argv)}", flush=True)
    subprocess.run(argv, cwd=DEMO, env={**os.environ, "ANSIBLE_CONFIG": str(DEMO / "ansible.cfg")}, check=True)


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as response:
        return json.load(response)


def wait_for_answer(url: str) -> Any:
    """PM2 calls a worker online before it listens."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            return get(url)
        time.sleep(0.1)
    sys.exit(f"ERROR: nothing answers at {url}.")


def expect(url: str, version: str) -> None:
    """Every worker must answer with this version; each request is a connection of its own."""
    wait_for_answer(url)
    for path in ("", "healthz"):
        print(f"$ curl {url}{path}\n  {json.dumps(get(url + path))}", flush=True)
    answers = {get(url)["version"] for _attempt in range(10)}
    if answers != {version}:
        sys.exit(f"ERROR: version {version} should answer at {url}, not {', '.join(sorted(answers))}.")


def processes_answering(url: str) -> set[int]:
    return {get(url)["pid"] for _attempt in range(20)}


def say(text: str) -> None:
    print(f"\n==> {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
