"""Requests made plain, for each route: what the server sees of them, and what it does not."""

from typing import Any

import pytest

from tests.e2e.conftest import Connect, MakeProxy
from tests.kit.client import request
from tests.kit.upstream import Upstream


def routes(**keys: Any) -> list[dict[str, Any]]:
    """One route that cleans, and one that does not."""
    return [{"upstream": "legacy", **keys}, {"path": "/raw", "upstream": "legacy"}]


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        ("/a/../b?x=/../y", "/b?x=/../y"),
        ("//a//b", "/a/b"),
        ("/a/%2e%2e/%62", "/b"),
        ("/a%c3%a9", "/a%C3%A9"),
        ("http://test.example/a/../b", "/b"),
        ("/raw/../raw/x//y%2fz", "/raw/../raw/x//y%2fz"),
        (
            "/x/%2e%2e/raw/y",
            "/x/%2e%2e/raw/y",
        ),  # that is where it leads, so that route says what becomes of it
        ("/raw/../y", "/y"),
    ],
)
def test_normalise_path(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect, target: str, sent: str
) -> None:
    client = connect(make_proxy(upstream, route=routes(normalise_path=True)))
    assert client.ask(request(target)).status == 200
    assert upstream.one().target == sent.encode()


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/a%2fb", "path-encoded"),
        ("/a%5Cb", "path-encoded"),
        ("/a%00", "path-encoded"),
        ("/a\\b", "path-encoded"),
        ("/a%zz", "path-encoding"),
        ("/a/..;/b", "path-dots"),
    ],
)
def test_paths_that_are_refused(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect, target: str, reason: str
) -> None:
    """The client keeps its connection; the server hears nothing."""
    proxy = make_proxy(upstream, route=routes(normalise_path=True))
    client = connect(proxy)
    got = client.ask(request(target))
    assert (got.status, got.persistent) == (400, True)
    assert client.ask(request("/after")).status == 200
    assert upstream.one().target == b"/after"
    assert [line["reason"] for line in proxy.log_lines(2, port=client.port)] == [reason, "done"]


def test_rules_hold_for_the_path_that_is_sent(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect
) -> None:
    """What a rule denies is not to be had by another spelling."""
    rules = [
        {"name": "secret", "path": "/admin", "deny": 403},
        {"name": "slow", "path": "/closing", "keep_alive": False},
    ]
    proxy = make_proxy(upstream, route=routes(normalise_path=True), rule=rules)
    client = connect(proxy)
    for target in ("/admin", "/a/../admin/x", "//admin", "/%61dmin", "/./admin"):
        assert client.ask(request(target)).status == 403
    got = client.ask(request("//closing"))
    assert (got.status, got.get("connection")) == (200, b"close")
    assert upstream.one().target == b"/closing"
    lines = proxy.log_lines(6, port=client.port)
    assert [line["rules"] for line in lines] == [["secret"]] * 5 + [["slow"]]


def test_max_ranges(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    proxy = make_proxy(upstream, route=routes(max_ranges=2))
    client = connect(proxy)
    few, many = "Range: bytes=0-1,3-4", "Range: bytes=" + ",".join(f"{n}-" for n in range(1000))
    for target, field in (("/1", few), ("/2", many), ("/raw", many)):
        assert client.ask(request(target, fields=[field, "If-Range: x"])).status == 200
    seen = upstream.wait_requests(3)
    assert seen[0].get("range") == few[7:].encode()
    assert [seen[1].get("range"), seen[1].get("if-range")] == [None, None]
    assert seen[2].get("range") == many[7:].encode()
    lines = proxy.log_lines(3, port=client.port)
    assert [line.get("detail") for line in lines] == [None, "ranges-dropped", None]


def test_query_duplicates(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    proxy = make_proxy(upstream, route=routes(max_query_duplicates=2))
    client = connect(proxy)
    assert client.ask(request("/?a=1&a=2&b=3&b=4")).status == 200
    assert client.ask(request("/?a=1&%61=2&b=3&a")).status == 400
    assert client.ask(request("/raw?a&a&a")).status == 200
    assert [message.target for message in upstream.wait_requests(2)] == [b"/?a=1&a=2&b=3&b=4", b"/raw?a&a&a"]
    assert [line["reason"] for line in proxy.log_lines(3, port=client.port)] == [
        "done",
        "query-duplicates",
        "done",
    ]
