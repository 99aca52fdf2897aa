"""The examples in the README and the guides: tasks are run, declarations are checked against the role."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.ansible_output import failed
from support.guides import DOCS, block, blocks
from support.pm2_host import pm2_package, private_home
from support.python_servers import python_servers

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = ROOT / ".dev" / "collections"
ANSIBLE = Path(sys.executable).parent
# needs root and systemd, or the npm registry: shown by the host scenarios and the tests of the module
ELSEWHERE = ("zerodown.pm2.startup", "zerodown.pm2.plugin")
# what the examples of a guide find on their host, below /srv
FILES = {
    "shop/server.js": "require('http').createServer((q, s) => s.end()).listen(process.env.PORT)",
    "shop/import.js": "console.log('imported')",
    "slow/server.js": "setTimeout(() => setInterval(() => {}, 1000), 500)",
    "api/api.py": "import time\nwhile True: time.sleep(1)",
    "api/mailer.py": "import time\nwhile True: time.sleep(1)",
    "ticker/bin/ticker": "#!/bin/sh\nwhile true; do sleep 1; done",
    "site/main.py": """
import asyncio


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = await receive()
            print(event["type"])
            await send({"type": event["type"] + ".complete"})
            if event["type"] == "lifespan.shutdown":
                return
    if scope["path"] == "/slow":
        print("slow")
        await asyncio.sleep(3)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
""",
    "site/wsgi.py": """
import time


def application(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        print("slow")
        time.sleep(3)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
""",
    "site/manage.py": """
import time

print("up")
try:
    while True:
        time.sleep(1)
except KeyboardInterrupt:
    time.sleep(2)
    print("ended what it had in hand")
""",
    "checkout/server.js": (
        "require('http').createServer((q, s) => s.end(JSON.stringify({status: 'ok'}))).listen(process.env.PORT)"
    ),
    "checkout/migrate.js": "require('node:assert').ok(process.env.DATABASE_URL)",
}


def examples(page: Path) -> list[Any]:
    """What the YAML examples of a page say."""
    return [yaml.safe_load(text) for text in blocks(page, "yaml")]


def tasks_of(path: Path) -> list[dict[str, Any]]:
    tasks = [task for example in examples(path) if isinstance(example, list) for task in example if "hosts" not in task]
    return [task for task in tasks if not set(task) & set(ELSEWHERE)]


def run(directory: Path, plays: list[dict[str, Any]], *arguments: str) -> subprocess.CompletedProcess[str]:
    file = directory / "play.yml"
    file.write_text(yaml.safe_dump(plays, sort_keys=False))
    return subprocess.run(
        [str(ANSIBLE / "ansible-playbook"), "-c", "local", str(file), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_HOME": str(directory / "ansible"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
        },
    )


@pytest.fixture
def srv(tmp_path: Path) -> Path:
    """What is /srv in the examples."""
    for name, text in FILES.items():
        file = tmp_path / "srv" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    (tmp_path / "srv/site/.venv").symlink_to(python_servers().parent)
    (tmp_path / "srv/site/gunicorn.conf.py").write_text(block(DOCS / "python.md", "python"))
    return tmp_path / "srv"


@pytest.fixture
def home() -> Iterator[Path]:
    with private_home() as path:
        yield path


@pytest.mark.parametrize("guide", ["processes", "releases", "cutover", "migrations", "boot", "python"])
def test_the_tasks_of_a_guide_run(guide: str, srv: Path, home: Path, tmp_path: Path) -> None:
    tasks = tasks_of(ROOT / "docs" / f"{guide}.md")
    assert tasks
    text = json.dumps(tasks).replace('"/srv/', f'"{srv}/')
    common = {
        "pm2_home": str(home),
        "pm2_executable": str(pm2_package("7") / "bin" / "pm2"),
        "node_executable": shutil.which("node"),
    }
    play = {
        "hosts": "all",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable},
        "module_defaults": {"group/zerodown.pm2.pm2": common},
        "pre_tasks": [{"name": "What provision leaves", "zerodown.pm2.daemon": {"state": "running"}}],
        "tasks": json.loads(text),
    }
    process = run(tmp_path, [play], "--inventory=localhost,")
    output = process.stdout
    assert process.returncode == 0, failed("ansible-playbook", output + process.stderr)
    names = [task["name"] for task in tasks]
    assert [name for name in names if f"TASK [{name}]" not in output] == []


def declarations() -> list[Any]:
    guides = ("releases", "artifacts", "fleet", "cutover", "migrations", "hooks", "python", "proxy")
    pages = [ROOT / "README.md", *(ROOT / "docs" / f"{guide}.md" for guide in guides)]
    return [
        pytest.param({"app_list": block["pm2_apps"]}, id=f"{page.stem}-{number}")
        for page in pages
        for number, block in enumerate(examples(page))
        if isinstance(block, dict) and "pm2_apps" in block
    ]


def settings() -> list[Any]:
    apps = [{"name": "shop", "source": {"type": "git"}, "processes": [{"script": "a.js"}]}]
    return [
        pytest.param({"app_list": apps, **block}, id=f"{guide}-{'-'.join(block)}")
        for guide in ("fleet", "hooks")
        for block in examples(DOCS / f"{guide}.md")
        if isinstance(block, dict) and all(name.startswith("deploy_") for name in block)
    ]


EXAMPLES = {str(example.id): example.values[0] for example in [*declarations(), *settings()]}
WRONG = {"name": "shop", "source": {"type": "git", "repro": "x"}, "processes": [{"script": "a.js", "instancse": 2}]}


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the role's own check of its arguments says of each example, as if each were of a host by that name; no task
    of the role matches the tag, so nothing is deployed."""
    directory = tmp_path_factory.mktemp("checked")
    hosts = {**EXAMPLES, "wrong": {"app_list": [WRONG]}}
    (directory / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    role = {
        "ansible.builtin.import_role": {"name": "zerodown.pm2.app"},
        "vars": {"vault_slack_url": "https://hooks.example.com"},
    }
    plays = [{"hosts": "all", "gather_facts": False, "tasks": [role]}]
    process = run(directory, plays, f"--inventory={directory / 'hosts.json'}", "--tags", "none-of-them")
    # the one that is wrong has failed
    assert process.returncode == 2, process.stdout + process.stderr
    return process.stdout


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_declaration_passes_the_role(example: str, checked: str) -> None:
    assert re.search(rf"^{example} +: ok=1 .* failed=0 ", checked, re.MULTILINE), checked


def test_a_declaration_that_does_not_is_refused_by_name(checked: str) -> None:
    assert re.search(r"^wrong +: ok=0 .* failed=1 ", checked, re.MULTILINE)
    assert "repro" in checked
    assert "instancse" in checked


def test_readme_task_examples_name_what_exists(srv: Path, tmp_path: Path) -> None:
    """The one play of the README, in check mode against a host that has nothing."""
    plays = [block for block in examples(ROOT / "README.md") if isinstance(block, list)]
    assert len(plays) == 1
    (play,) = plays[0]
    text = json.dumps(play).replace('"/opt/mailer"', f'"{srv}/api"')
    loaded = json.loads(text)
    loaded.update(
        hosts="all", gather_facts=False, vars={"queue_url": "amqp://q", "ansible_python_interpreter": sys.executable}
    )
    loaded["module_defaults"] = {"group/zerodown.pm2.pm2": {"pm2_home": str(tmp_path / "none")}}
    loaded["tasks"] = loaded["tasks"][:1]
    assert "changed=1" in run(tmp_path, [loaded], "--inventory=localhost,", "--check").stdout
