"""The examples in the README and the guides: tasks are run, declarations are checked against the role."""

from __future__ import annotations

import json
import os
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


def playbook(directory: Path, plays: list[dict[str, Any]], *arguments: str) -> str:
    file = directory / "play.yml"
    file.write_text(yaml.safe_dump(plays, sort_keys=False))
    process = subprocess.run(
        [str(ANSIBLE / "ansible-playbook"), "-i", "localhost,", "-c", "local", str(file), *arguments],
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
    assert process.returncode == 0, failed("ansible-playbook", process.stdout + process.stderr)
    return process.stdout


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
    output = playbook(tmp_path, [play])
    assert "failed=0" in output
    names = [task["name"] for task in tasks]
    assert [name for name in names if f"TASK [{name}]" not in output] == []


def declarations() -> list[Any]:
    guides = ("releases", "artifacts", "fleet", "cutover", "migrations", "hooks", "python", "proxy")
    pages = [ROOT / "README.md", *(ROOT / "docs" / f"{guide}.md" for guide in guides)]
    return [
        pytest.param(block["pm2_apps"], id=page.stem)
        for page in pages
        for block in examples(page)
        if isinstance(block, dict) and "pm2_apps" in block
    ]


@pytest.mark.parametrize("apps", declarations())
def test_a_declaration_passes_the_role(apps: list[dict[str, Any]], tmp_path: Path) -> None:
    """The role's own check of its arguments; no task of it matches the tag, so nothing is deployed."""
    role = {"ansible.builtin.import_role": {"name": "zerodown.pm2.app"}, "vars": {"app_list": apps}}
    output = playbook(tmp_path, [{"hosts": "all", "gather_facts": False, "tasks": [role]}], "--tags", "none-of-them")
    assert "Validating arguments against arg spec" in output


def settings() -> list[Any]:
    return [
        pytest.param(block, id=f"{guide}-{'-'.join(block)}")
        for guide in ("fleet", "hooks")
        for block in examples(DOCS / f"{guide}.md")
        if isinstance(block, dict) and all(name.startswith("deploy_") for name in block)
    ]


@pytest.mark.parametrize("setting", settings())
def test_a_setting_passes_the_role(setting: dict[str, Any], tmp_path: Path) -> None:
    apps = [{"name": "shop", "source": {"type": "git"}, "processes": [{"script": "a.js"}]}]
    role = {
        "ansible.builtin.import_role": {"name": "zerodown.pm2.app"},
        "vars": {"app_list": apps, **setting, "vault_slack_url": "https://hooks.example.com"},
    }
    output = playbook(tmp_path, [{"hosts": "all", "gather_facts": False, "tasks": [role]}], "--tags", "none-of-them")
    assert "Validating arguments against arg spec" in output


def test_a_declaration_that_does_not_is_refused_by_name(tmp_path: Path) -> None:
    apps = [
        {"name": "shop", "source": {"type": "git", "repro": "x"}, "processes": [{"script": "a.js", "instancse": 2}]}
    ]
    role = {"ansible.builtin.import_role": {"name": "zerodown.pm2.app"}, "vars": {"app_list": apps}}
    with pytest.raises(AssertionError) as refused:
        playbook(tmp_path, [{"hosts": "all", "gather_facts": False, "tasks": [role]}], "--tags", "none-of-them")
    assert "repro" in str(refused.value)
    assert "instancse" in str(refused.value)


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
    assert "changed=1" in playbook(tmp_path, [loaded], "--check")
