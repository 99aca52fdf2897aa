"""From declared apps to what HAProxy needs to know; what contradicts itself is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.zerodown.pm2.plugins.filter.frontends import OPTIONS, FilterModule

frontends = FilterModule().filters()["frontends"]


def app(name: str = "web", ports: Any = (8001, 8002), **front: Any) -> dict[str, Any]:
    return {"name": name, "processes": [{"script": "a", "proxy": {"ports": list(ports)}, "frontend": front}]}


def with_proxy(**proxy: Any) -> dict[str, Any]:
    return {"name": "web", "processes": [{"script": "a", "proxy": proxy, "frontend": {"port": 80}}]}


def plan(*apps: dict[str, Any], **more: Any) -> dict[str, Any]:
    result: dict[str, Any] = frontends(list(apps), "shop", **more)
    return result


def refused(*apps: dict[str, Any], **more: Any) -> str:
    with pytest.raises(AnsibleFilterError) as error:
        frontends(list(apps), "shop", **more)
    return str(error.value)


def test_the_shortest_declaration() -> None:
    assert plan(app(port=80)) == {
        "frontends": [
            {
                "name": "zerodown_shop_all_80",
                "address": "*",
                "port": 80,
                "bind": "*:80",
                "certificates": [],
                "routes": [],
                "default": {"backend": "zerodown_web"},
            }
        ],
        "backends": [
            {
                "name": "zerodown_web",
                "servers": [
                    {"name": "blue", "address": "127.0.0.1:8001"},
                    {"name": "green", "address": "127.0.0.1:8002"},
                ],
                "state_file": "/var/lib/zerodown-proxy/shop/zerodown_web",
                "check": None,
                "retries": 60,
                "server_timeout": 60,
                "tunnel_timeout": 3600,
                "maintenance": "zerodown_web_maintenance",
                "maintenance_state_file": "/var/lib/zerodown-proxy/shop/zerodown_web_maintenance",
                "page": "",
                "status": 503,
                "allow": [],
            }
        ],
    }


def test_every_option() -> None:
    everything: dict[str, Any] = {
        "port": 443,
        "address": "::",
        "hosts": ["Shop.Example.com", "*.example.org"],
        "certificate": "/etc/ssl/private/shop.pem",
        "redirect_port": 80,
        "check": {"path": "/health"},
        "hold_time": 5,
        "server_timeout": 120,
        "tunnel_timeout": 60,
        "maintenance": {"page": "sorry.html", "status": 200, "allow": ["192.0.2.7", "2001:db8::/32"]},
    }
    assert set(everything) == OPTIONS
    found = plan(app(**everything))
    tls, plain = found["frontends"]
    names = {
        "names": ["shop.example.com", "*.example.org"],
        "hosts": ["shop.example.com"],
        "suffixes": [".example.org"],
    }
    assert tls["bind"] == ":::443 v4v6"
    assert tls["certificates"] == ["/etc/ssl/private/shop.pem"]
    assert tls["routes"] == [{"backend": "zerodown_web", **names}]
    assert tls["default"] is None
    assert (plain["bind"], plain["certificates"]) == (":::80 v4v6", [])
    assert plain["routes"] == [{"redirect": 443, **names}]
    (backend,) = found["backends"]
    assert backend["check"] == {"path": "/health", "host": "localhost"}
    assert (backend["retries"], backend["server_timeout"], backend["tunnel_timeout"]) == (10, 120, 60)
    assert (backend["page"], backend["status"]) == ("sorry.html", 200)
    assert backend["allow"] == ["192.0.2.7/32", "2001:db8::/32"]


def test_apps_share_a_port_by_their_names() -> None:
    found = plan(
        app("a", (1, 2), port=443, hosts=["a.example"], certificate="/a.pem"),
        app("b", (3, 4), port=443, hosts=["b.example"], certificate="/b.pem"),
        app("c", (5, 6), port=443),
        app("d", (7, 8), port=80, hosts=["d.example"]),
        app("e", (9, 10), port=8443, certificate="/e.pem", redirect_port=80),
    )
    tls, plain, _other = found["frontends"]
    assert tls["certificates"] == ["/a.pem", "/b.pem"]
    assert [route["backend"] for route in tls["routes"]] == ["zerodown_a", "zerodown_b"]
    assert tls["default"] == {"backend": "zerodown_c"}
    assert [route["backend"] for route in plain["routes"]] == ["zerodown_d"]
    assert plain["default"] == {"redirect": 8443}


def test_processes_without_frontend_are_none_of_its_business() -> None:
    assert plan({"name": "web", "processes": [{"script": "a", "proxy": {"ports": [1, 2]}}]}) == {
        "frontends": [],
        "backends": [],
    }


def test_sockets_are_seen_from_inside_of_the_chroot() -> None:
    sockets = [f"/var/lib/haproxy/zerodown/shop/{colour}.sock" for colour in ("blue", "green")]
    (backend,) = plan(with_proxy(sockets=sockets), chroot="/var/lib/haproxy/")["backends"]
    assert [server["address"] for server in backend["servers"]] == [
        "unix@/zerodown/shop/blue.sock",
        "unix@/zerodown/shop/green.sock",
    ]
    (backend,) = plan(with_proxy(sockets=sockets))["backends"]
    assert backend["servers"][0]["address"] == "unix@" + sockets[0]
    assert "put it below /jail/zerodown/shop" in refused(with_proxy(sockets=sockets), chroot="/jail")


@pytest.mark.parametrize(
    ("apps", "text"),
    [
        ([app("a", (1, 2), port=80), app("b", (3, 4), port=80)], "another app without hosts; say frontend.hosts"),
        (
            [app("a", (1, 2), port=80, hosts=["x"]), app("b", (3, 4), port=80, hosts=["X"])],
            "port 80 has x for another app",
        ),
        ([app("a", (1, 2), port=80), app("b", (2, 3), port=81)], "a and b both have the colour 2"),
        ([app("a", (1, 2), port=80), app("a", (3, 4), port=81)], "Two processes have the backend zerodown_a"),
        (
            [app("a", (1, 2), port=80), app("a_maintenance", (3, 4), port=81)],
            "Two processes have the backend zerodown_a_maintenance",
        ),
        ([app("a", (80, 2), port=80)], "HAProxy is to listen on port 80, where a listens itself"),
        ([app("a", (81, 2), port=443, certificate="/x", redirect_port=81)], "port 81, where a listens itself"),
        (
            [app("a", port=80), {"name": "b", "processes": [{"script": "b", "env": {"PORT": "80"}}]}],
            "port 80, where b listens itself",
        ),
        ([app("a", (1, 1), port=80)], "proxy.ports must be two different ones"),
        ([app("a", (1,), port=80)], "proxy.ports must be two different ones"),
        ([app("a", (), port=80)], "frontend needs either proxy.ports or proxy.sockets"),
        ([app("a")], "frontend.port must be a port from 1 to 65535, not None"),
        ([app("a", port=65536)], "frontend.port must be a port"),
        ([app("a", port=80, prot=1)], "frontend has no option prot"),
        ([app("a", port=443, redirect_port=80)], "needs frontend.certificate"),
        (
            [app("a", port=443, certificate="/x", redirect_port=80), app("b", (3, 4), port=80, certificate="/x")],
            "another app without hosts",
        ),
        (
            [
                app("a", port=443, certificate="/x", redirect_port=80, hosts=["a"]),
                app("b", (3, 4), port=80, certificate="/x", hosts=["b"]),
            ],
            "port 80 has TLS itself",
        ),
        ([app("a", port=80, address="example.com")], "frontend.address must be an IP address"),
        ([app("a", port=80, hosts=["a b"])], "'a b' is no host name"),
        ([app("a", port=80, hosts=["a.*"])], "is no host name"),
        ([app("a", port=80, certificate="x.pem")], "frontend.certificate must be an absolute path"),
        ([app("a", port=80, check={"path": "health"})], "frontend.check has path"),
        ([app("a", port=80, check={"path": "/", "status": 200})], "frontend.check has path"),
        ([app("a", port=80, hold_time=-1)], "frontend.hold_time must be from 0 to 86400"),
        ([app("a", port=80, server_timeout=float("nan"))], "frontend.server_timeout must be from 0"),
        ([app("a", port=80, tunnel_timeout="1h")], "frontend.tunnel_timeout must be from 0"),
        ([app("a", port=80, maintenance={"status": 418})], "frontend.maintenance.status must be one of"),
        ([app("a", port=80, maintenance={"html": ""})], "frontend.maintenance has page, status and allow, not html"),
        ([app("a", port=80, maintenance={"allow": ["home"]})], "'home' is no network"),
        ([with_proxy(ports=[1, 2], command=["x"])], "proxy.command for another one; give one of the two"),
        ([with_proxy(ports=[1, 2], socket="/run/x")], "leave proxy.socket out"),
        ([with_proxy(ports=[1, 2], backend="a b")], "cannot be a name in HAProxy"),
        ([with_proxy(ports=[1, 2], state_file="x")], "proxy.state_file must be an absolute path"),
        ([{"name": "a", "processes": [{"script": "a", "frontend": 80}]}], "frontend must be a dictionary"),
    ],
)
def test_what_contradicts_itself_is_refused(apps: list[dict[str, Any]], text: str) -> None:
    assert text in refused(*apps)


@pytest.mark.parametrize(
    ("line", "port"),
    [
        ("/etc/haproxy/haproxy.cfg:\tbind *:80", 80),
        ("/etc/haproxy/haproxy.cfg:  bind :80 accept-proxy", 80),
        ("/etc/haproxy/haproxy.cfg:bind 192.0.2.1:90,0.0.0.0:80", 80),
        ("/etc/haproxy/haproxy.cfg: bind ipv4@*:79-81", 80),
        ("/etc/haproxy/haproxy.cfg: bind :::80 v4v6", 80),
    ],
)
def test_a_port_that_somebody_else_has_is_refused(line: str, port: int) -> None:
    assert f"/etc/haproxy/haproxy.cfg listens on port {port} already" in refused(app(port=80), foreign=[line])


@pytest.mark.parametrize("line", ["x.cfg: bind *:81", "x.cfg: bind 192.0.2.1:80", "x.cfg: bind unix@/x", "nothing"])
def test_other_ports_of_somebody_else_do_not_matter(line: str) -> None:
    assert plan(app(port=80), foreign=[line])


@given(
    st.fixed_dictionaries(
        {"port": st.integers(1, 65535)},
        optional={
            "address": st.text(),
            "hosts": st.lists(st.text(), max_size=2),
            "certificate": st.text(),
            "check": st.fixed_dictionaries({"path": st.text()}, optional={"host": st.text()}),
            "maintenance": st.fixed_dictionaries({"allow": st.lists(st.text(), max_size=2)}),
        },
    )
)
def test_nothing_gets_into_the_configuration_that_means_something_there(front: dict[str, Any]) -> None:
    """What is accepted consists of words without blanks, quotes, comments and variables."""
    try:
        found = plan(app(ports=(8001, 8002), **front))
    except AnsibleFilterError:
        return
    (tls,) = found["frontends"]
    (backend,) = found["backends"]
    words = [tls["name"], *tls["certificates"], *backend["allow"], *(backend["check"] or {}).values()]
    words += [word for route in tls["routes"] for word in (*route["hosts"], *route["suffixes"])]
    assert all(re.fullmatch(r"[^\s\"'\\#$]+", word) for word in words)
