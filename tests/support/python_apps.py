# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Releases of one small Python app, for FastAPI (``app:app``) and for Django (``site_app:app``), good ones and every
bad kind that a gate must refuse. What they answer is what the Node app of gate_apps.py answers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_HOW = """\
import json, os, subprocess, sys, threading, time

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "how.json")) as stream:
    how = json.load(stream)
# what the bad kinds change
site = {"status": 200, "word": "ok", "text": how["version"], "hangs": False}


def die(seconds, text):
    def now():
        print("RuntimeError: " + text, file=sys.stderr, flush=True)
        os._exit(1)
    threading.Timer(seconds, now).start()


def health():
    return {"status": site["word"], "version": how["version"], "pid": os.getpid(),
            "instance": os.environ.get("NODE_APP_INSTANCE"), "greeting": os.environ.get("GREETING")}


"""
_FASTAPI = """
import asyncio
from fastapi import FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse

app = FastAPI()


@app.middleware("http")
async def hang(request, go_on):
    if site["hangs"]:
        await asyncio.sleep(3600)
    return await go_on(request)


@app.get("/")
async def index():
    return PlainTextResponse(site["text"], site["status"])


@app.get("/slow")
async def slow(ms: int):
    await asyncio.sleep(ms / 1000)
    return PlainTextResponse(site["text"], site["status"])


@app.get("/health")
async def check():
    return JSONResponse(health(), site["status"])
"""
_DJANGO = """
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.urls import path


def answer(make):
    def view(request):
        if site["hangs"]:
            time.sleep(3600)
        return make(request)
    return view


def slow(request):
    time.sleep(int(request.GET["ms"]) / 1000)
    return HttpResponse(site["text"], status=site["status"])


urlpatterns = [
    path("", answer(lambda request: HttpResponse(site["text"], status=site["status"]))),
    path("slow", slow),
    path("health", answer(lambda request: JsonResponse(health(), status=site["status"]))),
]
settings.configure(DEBUG=False, ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="x")
app = get_wsgi_application()
"""
_FAIL = 'site.update(status=500, word="failed", text="Internal Server Error")\n'


@dataclass(frozen=True)
class _Kind:
    """:ivar how: what a caller may say, with the defaults; it must say what is ``None`` here."""

    code: str = ""
    how: dict[str, Any] = field(default_factory=dict)


_KINDS = {
    "good": _Kind(),
    "throws_at_boot": _Kind('raise RuntimeError("boom at boot")\n'),
    "syntax_error": _Kind("def (:\n"),
    "missing_module": _Kind("import no_such_module\n"),
    # whoever declares it lets it listen elsewhere
    "wrong_port": _Kind("", {"port": None}),
    "throws_after": _Kind('die(how["seconds"], "boom later")\n', {"seconds": 2}),
    "answers_500": _Kind(_FAIL),
    "wrong_body": _Kind('site.update(word="wrong", text="something else")\n'),
    "hangs": _Kind("site.update(hangs=True)\n"),
    "never_listens": _Kind("time.sleep(3600)\n"),
    "boots_in": _Kind('time.sleep(how["seconds"])\n', {"seconds": 8}),
    "exits_0": _Kind("os._exit(0)\n"),
    # its child outlives it; the pids of all children are in pid_file, one a line
    "leaves_child": _Kind(
        'child = subprocess.Popen(["sleep", "3600"], start_new_session=True)\n'
        'with open(how["pid_file"], "a") as stream:\n'
        '    stream.write("%d\\n" % child.pid)\n' + _FAIL,
        {"pid_file": None},
    ),
}
KINDS = sorted(_KINDS)


def write_python_release(directory: Path, kind: str, version: str | None = None, **how: Any) -> Path:
    """Write the files of a release; the one for FastAPI.

    :param version: the text; by default the kind.
    :param how: what the kind takes, see ``_KINDS``.
    """
    chosen = _KINDS[kind]
    settings = {"version": version or kind, **chosen.how, **how}
    assert None not in settings.values(), f"{kind} needs {[name for name in settings if settings[name] is None]}"
    directory.mkdir(parents=True, exist_ok=True)
    # paths may be given as such
    (directory / "how.json").write_text(json.dumps(settings, default=str), encoding="utf-8")
    for name, text in (("app", _FASTAPI), ("site_app", _DJANGO)):
        (directory / f"{name}.py").write_text(_HOW + chosen.code + text, encoding="utf-8")
    return directory / "app.py"
