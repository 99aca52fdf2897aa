"""An ES module that cannot be loaded: PM2 leaves its cluster worker online for ever."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.run_module import run_module

pytestmark = pytest.mark.usefixtures("daemon")


@pytest.fixture
def app(pm2_home: Path, pm2_executable: str, tmp_path: Path) -> dict[str, Any]:
    """The arguments of an app whose script the test writes."""
    return {
        "name": "modern",
        "script": str(tmp_path / "app.mjs"),
        "exec_mode": "cluster",
        "pm2_home": str(pm2_home),
        "pm2_executable": pm2_executable,
        "steady_time": 4,
    }


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        pytest.param("throw new Error('boom at boot')", "boom at boot", id="throws"),
        pytest.param("import './nowhere.mjs'", "Cannot find module", id="a module is missing"),
        pytest.param("const = 1", "Unexpected token", id="syntax error"),
    ],
)
def test_it_does_not_count_as_running(app: dict[str, Any], source: str, cause: str) -> None:
    Path(app["script"]).write_text(source)
    result = run_module("app", **app, fails=True)
    assert "could not be loaded" in result["msg"]
    assert cause in result["msg"]
    assert result["failures"][0]["status"] == "online"
    assert any(cause in line for line in result["failures"][0]["log"])


def test_a_rejection_of_the_running_app_is_not_one_of_its_loading(app: dict[str, Any]) -> None:
    Path(app["script"]).write_text(
        "setTimeout(() => Promise.reject(new Error('stray')), 500); setInterval(() => {}, 1000)"
    )
    assert run_module("app", **app)["changed"]


def test_the_one_before_can_be_put_back_at_once(app: dict[str, Any], tmp_path: Path) -> None:
    """PM2's own reload goes on for listen_timeout after the module has seen that it fails."""
    script = Path(app["script"])
    script.write_text("setInterval(() => {}, 1000)")
    run_module("app", **app, listen_timeout=5000)
    bad = tmp_path / "bad.mjs"
    bad.write_text("throw new Error('boom')")
    run_module("app", **{**app, "script": str(bad)}, listen_timeout=5000, fails=True)
    result = run_module("app", **app, listen_timeout=5000)
    assert result["apps"][0]["status"] == "online"
    assert not run_module("app", **app, listen_timeout=5000)["changed"]
