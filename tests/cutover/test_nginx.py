# Copyright (c) 2026, The zerodown.pm2 contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program for nginx in docs/proxy.md, with a real nginx."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cutover.conftest import proxied
from support.guides import DOCS, block
from support.pm2_host import find_free_port, wait_for
from support.proxied import Haproxy
from support.web import Traffic, Web

ROOT = Path(__file__).resolve().parents[2]
NGINX = "/usr/sbin/nginx"
CONFIGURATION = """\
pid {directory}/nginx.pid;
error_log {directory}/error.log;
worker_processes 2;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {ours}
}}
"""


@dataclass(frozen=True)
class Nginx:
    directory: Path
    port: int
    program: Path

    @property
    def upstream(self) -> Path:
        return self.directory / "zerodown_web.conf"

    def serving(self) -> list[str]:
        """The ports that get requests."""
        return re.findall(r"127\.0\.0\.1:(\d+) weight", self.upstream.read_text())


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    directory = tmp_path / "nginx"
    directory.mkdir()
    port = find_free_port()
    configuration = directory / "nginx.conf"
    ours = (
        block(DOCS / "proxy.md", "nginx")
        .replace("/etc/nginx/zerodown", str(directory))
        .replace("zerodown_api", "zerodown_web")
    )
    ours = ours.replace("*.conf", "zerodown_*.conf").replace("listen 80;", f"listen 127.0.0.1:{port};")
    configuration.write_text(CONFIGURATION.format(directory=directory, ours=ours))
    program = directory / "nginx-switch"
    text = block(DOCS / "proxy.md", "python").replace("/etc/nginx/zerodown", str(directory))
    text = text.replace("/run/nginx.pid", str(directory / "nginx.pid"))
    program.write_text(text.replace(f'["{NGINX}"]', repr([NGINX, "-c", str(configuration)])))
    found = Nginx(directory, port, program)
    found.upstream.write_text("upstream zerodown_web { server 127.0.0.1:9; }\n")
    process = subprocess.Popen([NGINX, "-c", str(configuration), "-g", "daemon off;"])
    try:
        wait_for((directory / "nginx.pid").exists, "nginx does not start", 10.0)
        yield found
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def test_it_serves_and_goes_back(web: Web, haproxy: Haproxy, nginx: Nginx) -> None:
    blue, green = haproxy.addresses
    proxied(web, haproxy)
    web.options["proxy"] = {"ports": [blue, green], "command": [sys.executable, str(nginx.program)]}
    web.go_live()
    assert nginx.serving() == [str(blue)]
    web.stage("good", "v2")
    web.stage("throws_at_boot", "bad")
    with Traffic(f"http://127.0.0.1:{nginx.port}/", web.record) as load:
        web.cutover("v2")
        after = load.mark()
        assert nginx.serving() == [str(green)]
        web.cutover("bad", fails=True)
        assert nginx.serving() == [str(green)]
        web.roll_back()
    assert nginx.serving() == [str(blue)]
    anew = load.results["no keep-alive"].samples
    assert {sample.text for sample in anew} == {"v1", "v2"}
    assert "v2" in {sample.text for sample in anew if sample.sent >= after["no keep-alive"]}
    # kept connections are closed when nginx is reloaded, as the guide says
    kept = load.results["keep-alive"].samples
    lost = [sample for sample in kept if sample.text not in {"v1", "v2"}]
    web.record("lost of those that were kept", f"{len(lost)} of {len(kept)}")
    assert len(lost) < len(kept) / 100


@pytest.mark.parametrize(
    ("missing", "says"), [("upstream", "Write an upstream zerodown_web to"), ("overlap", "nginx has no hold")]
)
def test_it_says_what_it_cannot(web: Web, haproxy: Haproxy, nginx: Nginx, missing: str, says: str) -> None:
    proxied(web, haproxy)
    web.options["proxy"] = {"ports": haproxy.addresses, "command": [sys.executable, str(nginx.program)]}
    if missing == "upstream":
        nginx.upstream.unlink()
        assert says in web.cutover(web.stage("good", "v1"), fails=True)["msg"]
        assert web.pids() == []
        return
    web.go_live()
    web.options["overlap"] = False
    result = web.cutover(web.stage("good", "v2"))
    assert nginx.serving() == [str(haproxy.addresses[1])]
    assert says in str(result["warnings"])
