# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Building with npm and with commands: what is run, in which environment, what failures tell, what the cache saves."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from releases.conftest import AS_ANYONE, App, Repository, make_repository, snapshot
from support.pm2_host import wait_for

SCRIPTS = {
    "build": "node build.js",
    "env": "node -e 'console.log(JSON.stringify(process.env))'",
    "fail": "node -e 'console.error(process.env.TOKEN); console.error(\"the reason\"); process.exit(3)'",
    "hang": "node -e 'setInterval(() => {}, 1000)'",
}
BUILD_JS = """
const fs = require("fs");
require("ms");
fs.mkdirSync("dist");
fs.writeFileSync("dist/built", require("semver").inc("1.0.0", "major"));
"""


def npm(directory: Path, **package: Any) -> None:
    """A package.json and its lockfile, with one dependency (that has a program) and one for development."""
    content = {
        "name": "shop",
        "version": "1.0.0",
        "private": True,
        "scripts": SCRIPTS,
        "dependencies": {"semver": "7.7.1"},
        "devDependencies": {"ms": "2.1.3"},
        **package,
    }
    (directory / "package.json").write_text(json.dumps(content, indent=2))
    subprocess.run(
        ["npm", "install", "--package-lock-only", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=directory,
        check=True,
        capture_output=True,
    )


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("package")
    npm(directory)
    return directory


@pytest.fixture
def repository(package: Path, tmp_path: Path) -> Repository:
    made = make_repository(tmp_path / "repository")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(package / name, made.path)
    made.write({"build.js": BUILD_JS})
    return made


def stage(app: App, repository: Repository, **options: Any) -> str:
    result = app.stage(repository.source, needs_build=True, prefix=AS_ANYONE, **options)
    assert result["changed"]
    return str(result["release"]["id"])


def names(result: dict[str, Any]) -> list[str]:
    return [step["name"] for step in result["steps"]]


def test_a_build(app: App, repository: Repository) -> None:
    release = stage(app, repository)
    path = app.path(release)
    before = snapshot(app.root)
    planned = app.build(release, scripts=["build"], prune=True, check=True)
    assert snapshot(app.root) == before
    assert planned["changed"]
    assert names(planned) == ["install", "script build", "prune"]
    assert planned["dependencies"]["cache"] == "miss"
    assert [" ".join(step["argv"]) for step in planned["steps"]] == planned["diff"]["after"]["steps"]

    result = app.build(release, scripts=["build"], prune=True)
    assert result["changed"]
    assert [step["argv"] for step in result["steps"]] == [step["argv"] for step in planned["steps"]]
    assert result["dependencies"]["key"] == planned["dependencies"]["key"]
    assert (path / "dist/built").read_text() == "2.0.0"
    # a development dependency was there for the build, and is gone from the production tree
    assert not (path / "node_modules/ms").exists()
    assert (path / "node_modules/.bin/semver").exists()
    log = Path(result["log"])
    assert "=== script build: " in log.read_text()
    assert log.stat().st_mode & 0o077 == 0
    described = app.info()["releases"][0]
    assert described["ready"]
    assert described["build"]["status"] == "done"
    assert described["build"]["dependencies"]["node"].startswith("v")
    assert "spec" not in described["build"]
    app.release(state="live", release=release)


def test_building_again_runs_nothing(app: App, repository: Repository) -> None:
    release = stage(app, repository)
    app.build(release, scripts=["build"])
    before = snapshot(app.root)
    again = app.build(release, scripts=["build"])
    assert not again["changed"]
    assert "diff" not in again
    assert snapshot(app.root) == before
    assert not app.build(release, scripts=["build"], timeout=300, check=True)["changed"]
    others: list[dict[str, Any]] = [
        {},
        {"scripts": ["build"], "prune": True},
        {"scripts": ["build"], "env": {"A": "1"}},
    ]
    for other in others:
        assert "never changed; stage a new one" in app.build(release, **other, fails=True)["msg"]
    assert snapshot(app.root) == before


def test_what_was_live_is_never_built(app: App, repository: Repository) -> None:
    release = app.deploy(repository.source)
    assert "was live already" in app.build(release, fails=True)["msg"]


def test_an_unchanged_lockfile_installs_nothing(app: App, repository: Repository) -> None:
    first = stage(app, repository)
    assert app.build(first, scripts=["build"])["dependencies"]["cache"] == "miss"
    repository.write({"more.js": "// another commit\n"})
    second = stage(app, repository)
    assert names(app.build(second, scripts=["build"], check=True)) == ["script build"]
    result = app.build(second, scripts=["build"])
    assert names(result) == ["script build"]
    assert result["dependencies"]["cache"] == "hit"
    library = "node_modules/semver/package.json"
    assert (app.path(first) / library).samefile(app.path(second) / library)
    assert (app.path(second) / library).stat().st_mode & 0o222 == 0
    assert (app.path(second) / "dist/built").exists()

    # a prune of one release takes nothing from the other
    third = stage(app, repository, variant={"prune": True})
    app.build(third, scripts=["build"], prune=True)
    assert not (app.path(third) / "node_modules/ms").exists()
    assert (app.path(second) / "node_modules/ms/index.js").exists()
    packages = (app.path(second) / "node_modules/.package-lock.json").read_text()
    assert "node_modules/ms" in packages


def test_no_build_can_change_what_another_release_runs(app: App, repository: Repository) -> None:
    first = stage(app, repository)
    app.build(first)
    library = app.path(first) / "node_modules/semver/index.js"
    content = library.read_text()
    writing = {
        "name": "patch",
        "argv": ["node", "-e", "require('fs').writeFileSync('node_modules/semver/index.js', 'patched')"],
    }
    second = stage(app, repository, variant={"patch": True})
    failed = app.build(second, steps=[writing], fails=True)
    assert "set cache to copy" in failed["msg"]
    assert library.read_text() == content
    third = stage(app, repository, variant={"patch": True})
    app.build(third, steps=[writing], cache="copy")
    assert (app.path(third) / "node_modules/semver/index.js").read_text() == "patched"
    assert library.read_text() == content
    fourth = stage(app, repository, variant={"patch": False})
    app.build(fourth)
    assert (app.path(fourth) / "node_modules/semver/index.js").read_text() == content


def test_a_damaged_cache_is_noticed_and_made_anew(app: App, repository: Repository) -> None:
    key = app.build(stage(app, repository))["dependencies"]["key"]
    damaged = app.root / "cache/dependencies" / key / "tree/node_modules/semver/index.js"
    damaged.chmod(0o600)
    damaged.write_text("damaged")
    second = stage(app, repository, variant={"number": 2})
    result = app.build(second)
    assert names(result) == ["install"]
    assert result["dependencies"]["cache"] == "miss"
    assert "semver/index.js changed" in result["dependencies"]["notice"]
    assert "semver/index.js changed" in json.dumps(result["warnings"])
    assert "damaged" not in (app.path(second) / "node_modules/semver/index.js").read_text()
    third = stage(app, repository, variant={"number": 3})
    assert app.build(third)["dependencies"]["cache"] == "hit"


def test_what_no_kept_release_uses_leaves_the_cache(app: App, repository: Repository) -> None:
    old = stage(app, repository)
    key = app.build(old)["dependencies"]["key"]
    npm(repository.path, dependencies={"semver": "7.7.2"})
    repository.write({})
    new = stage(app, repository)
    app.build(new)
    entries = app.root / "cache/dependencies"
    assert len(list(entries.iterdir())) == 2
    app.release(state="live", release=new)
    assert len(list(entries.iterdir())) == 2
    app.release(state="live", release=new, keep=1)
    assert [path.name for path in entries.iterdir()] != [key]
    assert len(list(entries.iterdir())) == 1


def test_without_the_cache(app: App, repository: Repository) -> None:
    for number in range(2):
        release = stage(app, repository, variant={"number": number})
        result = app.build(release, cache="none")
        assert names(result) == ["install"]
        assert (result["dependencies"]["cache"], result["dependencies"]["key"]) == ("none", None)
    assert not (app.root / "cache/dependencies").exists()


def test_install_scripts_of_the_package_run_on_a_hit_too(app: App, repository: Repository) -> None:
    package = json.loads((repository.path / "package.json").read_text())
    package["scripts"]["postinstall"] = "node -e \"require('fs').writeFileSync('generated', 'x')\""
    (repository.path / "package.json").write_text(json.dumps(package))
    repository.write({})
    for number, steps in enumerate((["install"], ["script postinstall"])):
        release = stage(app, repository, variant={"number": number})
        assert names(app.build(release)) == steps
        assert (app.path(release) / "generated").exists()


def test_inputs_of_install_scripts_count(app: App, repository: Repository) -> None:
    keys = []
    for content in ("one", "two"):
        repository.write({"patches-of-ours/x": content})
        release = stage(app, repository)
        keys.append(app.build(release, cache_inputs=["patches-of-ours"], check=True)["dependencies"]["key"])
    assert keys[0] != keys[1]


def test_the_environment_is_what_is_declared(app: App, repository: Repository) -> None:
    release = stage(app, repository)
    session = {**os.environ, "FROM_THE_SESSION": "1", "npm_config_omit": "dev"}
    declared = {"NODE_ENV": "production", "PORT": 3000, "DEBUG": True}
    result = app.build(release, scripts=["build", "env"], env=declared, session=session)
    line = next(line for line in Path(result["log"]).read_text().splitlines() if line.startswith('{"'))
    env = json.loads(line)
    assert "FROM_THE_SESSION" not in env
    assert (env["NODE_ENV"], env["PORT"], env["DEBUG"]) == ("production", "3000", "true")
    assert "CI" not in env
    # the build needs a development dependency, and got it
    assert (app.path(release) / "dist/built").exists()


def test_a_failing_step_ends_the_build_and_tells_why(app: App, repository: Repository) -> None:
    release = stage(app, repository)
    result = app.build(release, scripts=["fail", "build"], env={"TOKEN": "s3cr3t-t0k3n"}, fails=True)
    assert result["step"] == "script fail"
    assert "Step 'script fail' of release" in result["msg"]
    assert result["log"] in result["msg"]
    assert "the reason" in "\n".join(result["output_tail"])
    assert "s3cr3t-t0k3n" not in json.dumps(result)
    assert "s3cr3t-t0k3n" in Path(result["log"]).read_text()
    assert not (app.path(release) / "dist").exists()
    assert not app.info()["releases"][0]["ready"]
    assert "has a build that failed" in app.release(state="live", release=release, fails=True)["msg"]
    # it can be built again as it is, or staged again
    assert app.build(release, scripts=["build"])["changed"]


def test_staging_again_replaces_a_release_whose_build_failed(app: App, repository: Repository) -> None:
    for options in ({}, {"release": "fleet-1", "variant": {"number": 1}}):
        release = stage(app, repository, **options)
        app.build(release, scripts=["fail"], fails=True)
        again = app.stage(repository.source, needs_build=True, **options)
        assert again["changed"]
        assert again["removed"] == [release]
        assert again["release"]["build"] is None
        assert not (app.path(again["release"]["id"]) / "node_modules").exists()
    assert len(app.info()["releases"]) == 2


def test_a_step_that_does_not_end_is_killed_with_all_of_its_processes(app: App, repository: Repository) -> None:
    release = stage(app, repository)
    steps = [{"name": "hang", "argv": ["npm", "run", "hang"], "timeout": 3}]
    result = app.build(release, steps=steps, fails=True)
    assert "did not end within 3 s" in result["msg"]
    directory = str(app.path(release))

    def running() -> list[str]:
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/cwd").startswith(directory):
                    found.append(pid)
        return found

    # who got SIGKILL is gone as soon as the kernel comes to it
    wait_for(lambda: running() == [], "processes of the step are left")


def test_commands(app: App, tmp_path: Path) -> None:
    made = make_repository(tmp_path / "python")
    made.write({"app.py": "print('x')\n", "sub/x": ""})
    release = stage(app, made)
    steps = [
        {"name": "compile", "argv": ["python3", "-m", "py_compile", "app.py"]},
        {
            "name": "where",
            "argv": ["sh", "-c", 'echo "$A $0 $(pwd)"', "$(id);x"],
            "env": {"A": "1"},
            "directory": "sub",
        },
    ]
    result = app.build(release, steps=steps)
    assert names(result) == ["compile", "where"]
    assert result["dependencies"] is None
    assert f"1 $(id);x {app.path(release)}/sub" in Path(result["log"]).read_text()
    app.release(state="live", release=release)


def test_a_program_that_is_missing(app: App, repository: Repository) -> None:
    release = stage(app, repository)
    steps = [{"name": "compile", "argv": ["no-such-compiler"]}]
    result = app.build(release, package_manager="none", steps=steps, fails=True)
    assert "no-such-compiler could not be run" in result["msg"]


def test_a_lockfile_that_does_not_fit(app: App, repository: Repository) -> None:
    package = json.loads((repository.path / "package.json").read_text())
    package["dependencies"]["is-number"] = "7.0.0"
    repository.write({"package.json": json.dumps(package)})
    result = app.build(stage(app, repository), fails=True)
    assert result["step"] == "install"
    assert "in sync" in "\n".join(result["output_tail"])


def test_a_lockfile_that_is_not_there(app: App, repository: Repository) -> None:
    (repository.path / "package-lock.json").unlink()
    repository.write({})
    release = stage(app, repository)
    assert "no lockfile for npm" in app.build(release, fails=True)["msg"]
    assert app.info()["releases"][0]["build"] is None
    result = app.build(release, lockfile_required=False)
    assert result["dependencies"]["notice"] == "there is no lockfile"
    assert (app.path(release) / "node_modules/semver").exists()


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"scripts": ["biuld"]}, "no script 'biuld'"),
        ({"directory": "nowhere"}, "no directory 'nowhere'"),
        ({"directory": "../.."}, "leads out of"),
        ({"steps": [{"name": "x", "argv": ["true"], "directory": "/etc"}]}, "must be relative"),
        ({"steps": [{"name": "x", "argv": []}]}, "empty argv"),
        ({"steps": [{"name": "x", "argv": ["true"], "timeout": 0}]}, "1 s or more"),
        ({"package_manager": "none", "scripts": ["build"]}, "need a package manager"),
        ({"package_manager": "yarn"}, "no lockfile for yarn"),
        ({"node_executable": "/nowhere/node"}, "Node was not found at /nowhere/node"),
        ({"env": {"A B": "1"}}, "'A B' in env is not valid"),
        ({"env": {"A": ["1"]}}, "A in env must be"),
        ({"package_manager": "bun"}, "value of package_manager must be one of"),
        ({"comand": "x"}, "comand"),
    ],
)
def test_arguments_that_are_refused(app: App, repository: Repository, options: dict[str, Any], fault: str) -> None:
    release = stage(app, repository)
    before = snapshot(app.root)
    assert fault in app.build(release, **options, fails=True)["msg"]
    assert snapshot(app.root) == before


def test_a_release_that_is_not_there(app: App) -> None:
    planned = app.build("20260131T140509Z-1f3a9c2e", scripts=["build"], check=True)
    assert planned["changed"]
    assert "its lockfile is unknown" in json.dumps(planned["warnings"])
    assert "There is no complete release" in app.build("20260131T140509Z-1f3a9c2e", fails=True)["msg"]
    assert not app.root.exists()


def test_check_mode_leaves_the_home_alone(app: App, repository: Repository) -> None:
    release = stage(app, repository)
    logs = Path.home() / ".npm/_logs"

    def leaves_a_log() -> bool:
        before = set(logs.iterdir()) if logs.exists() else set()
        app.build(release, scripts=["build"], check=True)
        return bool((set(logs.iterdir()) if logs.exists() else set()) - before)

    # a suite beside this one may run npm, too; check mode would leave one each time
    assert not all(leaves_a_log() for _attempt in range(5))


def test_checks_beside_what_is_declared(app: App, repository: Repository) -> None:
    """What the project says comes first; what is declared has its own order, and nothing is run twice."""
    scripts = dict.fromkeys(("lint", "test", "build", "generate"), "node -e 0")
    package = {"name": "shop", "version": "1.0.0", "scripts": scripts}
    repository.write({"package.json": json.dumps(package), "app.py": "", "test_app.py": ""})
    release = str(app.stage(repository.source, needs_build=True)["release"]["id"])
    planned = app.build(
        release,
        check=True,
        checks=True,
        scripts=["generate", "build"],
        steps=[{"name": "pytest", "argv": ["true"]}],
        lockfile_required=False,
    )
    names = [step["name"] for step in planned["steps"]]
    assert names == ["install", "script lint", "script test", "script generate", "script build", "pytest"]
