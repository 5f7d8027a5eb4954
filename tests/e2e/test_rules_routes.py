"""Routes: listen, then host, then the longest path; none is a 404."""

from typing import NamedTuple

import pytest

from tests.e2e.conftest import Bench, Connect
from tests.kit.answers import reply
from tests.kit.client import request
from tests.kit.proxy import Proxy, free_address

ROUTES = [
    {"upstream": "default"},
    {"upstream": "app", "path": "/app"},
    {"upstream": "deep", "path": "/app/deep/down"},
    {"upstream": "exact", "host": "exact.example"},
    {"upstream": "exact-app", "host": "exact.example", "path": "/app"},
    {"upstream": "wild", "host": "*.wild.example"},
    {"upstream": "wilder", "host": "*.sub.wild.example"},
    {"upstream": "named", "host": "a.wild.example"},
]


class Town(NamedTuple):
    """A proxy with two addresses, and an upstream for each route that says its name."""

    proxy: Proxy
    second: str


@pytest.fixture(scope="module")
def town(module_bench: Bench) -> Town:
    """Built once."""
    listen = [free_address(), free_address()]
    own = [
        {"upstream": "second", "listen": listen[1]},
        {"upstream": "second-app", "listen": listen[1], "path": "/app"},
    ]
    routes = [*ROUTES, *own]
    upstreams = {}
    for route in routes:
        server = module_bench.upstream()
        server.default = reply(route["upstream"].encode())
        upstreams[route["upstream"]] = {"servers": [server.address]}
    return Town(module_bench.proxy(upstreams, route=routes, server={"listen": listen}), listen[1])


@pytest.mark.parametrize(
    ("target", "host", "where"),
    [
        ("/", "any.example", "default"),
        ("/application", "any.example", "default"),
        ("/app", "any.example", "app"),
        ("/app/", "any.example", "app"),
        ("/app?x", "any.example", "app"),
        ("/app/deep", "any.example", "app"),
        ("/app/deep/down", "any.example", "deep"),
        ("/app/deep/down/under", "any.example", "deep"),
        ("/app/deep/downtown", "any.example", "app"),
        ("/APP", "any.example", "default"),
        ("/", "exact.example", "exact"),
        ("/", "EXACT.EXAMPLE:8080", "exact"),
        ("/app/x", "exact.example", "exact-app"),
        ("/", "not.exact.example", "default"),
        ("/", "b.wild.example", "wild"),
        ("/app", "b.wild.example", "wild"),
        ("/", "x.y.wild.example", "wild"),
        ("/", "x.sub.wild.example", "wilder"),
        ("/", "a.wild.example", "named"),
        ("/", "wild.example", "default"),
        ("http://exact.example/", "other.example", "exact"),
        ("/", "", "default"),
    ],
)
def test_the_most_specific_wins(town: Town, connect: Connect, target: str, host: str, where: str) -> None:
    version = "1.1" if host else "1.0"
    assert connect(town.proxy).ask(request(target, host=host, version=version)).body == where.encode()


@pytest.mark.parametrize(("target", "where"), [("/", "second"), ("/app/deep/down", "second-app")])
def test_the_listening_address_comes_first(town: Town, connect: Connect, target: str, where: str) -> None:
    assert connect(town.second).ask(request(target, host="exact.example")).body == where.encode()


def test_requests_of_one_connection_go_different_ways(town: Town, connect: Connect) -> None:
    """Also in one pipeline."""
    client = connect(town.proxy)
    client.send(b"".join(request(target) for target in ("/", "/app", "/app/deep/down", "/")))
    assert [client.response().body for _ in range(4)] == [b"default", b"app", b"deep", b"default"]


def test_no_route(bench: Bench, connect: Connect) -> None:
    upstream = bench.upstream()
    proxy = bench.proxy(upstream, route=[{"upstream": "legacy", "host": "a.example", "path": "/app"}])
    for target, host in (("/", "a.example"), ("/app", "b.example"), ("/app2", "a.example")):
        got = connect(proxy).ask(request(target, host=host))
        assert got.status == 404
        assert got.error
    assert connect(proxy).ask(request("/app", host="a.example")).status == 200
    assert len(upstream.requests) == 1
