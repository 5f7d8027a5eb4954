"""Faulty responses: mended, refused or aborted as the switches say, and counted by upstream."""

import json
from typing import Any

import pytest

from tests.e2e.conftest import Connect, MakeProxy
from tests.kit.answers import chunked, last, reply
from tests.kit.client import request
from tests.kit.proxy import Proxy
from tests.kit.upstream import Upstream

DATE = "Date: Sun, 22 Nov 2026 12:00:00 GMT\r\n"
CLEAN = reply(fields=DATE)
OLD = reply(fields=DATE, version="1.0")
OFF = dict.fromkeys(("bare_lf", "folds", "date", "connection", "length_with_coding", "wrong_length"), False)


def repairs(proxy: Proxy) -> dict[str, Any]:
    """What was counted, once the proxy has ended."""
    assert proxy.terminate() == 0
    (counters,) = [json.loads(line) for line in proxy.stderr().splitlines() if '"kind":"counters"' in line]
    found: dict[str, Any] = counters["repairs"]
    return found


def table(upstream: Upstream, **repair: bool) -> dict[str, Any]:
    """Two upstreams at one server: the switches are of one of them."""
    return {
        "legacy": {"servers": [upstream.address], "repair": repair},
        "other": {"servers": [upstream.address]},
    }


ROUTES = [{"upstream": "legacy"}, {"path": "/other", "upstream": "other"}]
BARE = CLEAN.replace(b"\r\n", b"\n")
FOLDED = reply(fields=DATE + "X-Long: a\r\n  b\r\n")
DATELESS = reply()
BOTH = reply(fields=DATE + "Connection: close, keep-alive\r\n")
TWO = chunked(b"hello", fields=DATE + "Content-Length: 5\r\n")


@pytest.mark.parametrize(
    ("answer", "name", "on", "off"),
    [
        (BARE, "bare_lf", 200, 502),
        (FOLDED, "folds", 200, 502),
        (DATELESS, "date", 200, 200),
        (OLD, "connection", 200, 200),
        (BOTH, "connection", 200, 502),
        (TWO, "length_with_coding", 502, 200),
    ],
)
def test_a_switch(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect, answer: bytes, name: str, on: int, off: int
) -> None:
    """On and off side by side: what the client gets, and what is counted, for the one where it is on."""
    proxy = make_proxy(table(upstream, **{name: False}), route=ROUTES)
    client = connect(proxy)
    for _ in range(3):
        upstream.then(answer)
        got = client.ask(request("/other"))
        assert got.status == on
        assert got.get("date")
        upstream.then(answer)
        got = client.ask(request("/x"))
        assert got.status == off
        if off == 200:
            assert got.body == b"hello"
            assert ("date" in got) == (name != "date")
    assert repairs(proxy) == {"other": {name: 3}}


def test_a_clean_response_counts_nothing(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    upstream.default = CLEAN
    proxy = make_proxy(upstream)
    client = connect(proxy)
    for _ in range(5):
        assert client.ask(request()).status == 200
    assert repairs(proxy) == {}


def test_a_length_beside_a_coding_is_the_connection_s_end(
    make_proxy: MakeProxy, upstream: Upstream, connect: Connect
) -> None:
    """Even where the coding counts: who reads it by the length sees another response behind it."""
    upstream.default = TWO
    client = connect(make_proxy(table(upstream, **OFF)))
    for _ in range(3):
        got = client.ask(request())
        assert (got.body, got.framing) == (b"hello", "chunked")
    assert len(upstream.links) == 3


@pytest.mark.parametrize("size", [100, 200_000])
def test_a_short_response(make_proxy: MakeProxy, upstream: Upstream, connect: Connect, size: int) -> None:
    """A small one is a 502, a large one breaks off; both are counted, at most once."""
    upstream.default = last(reply(b"x" * size, fields=DATE)[:-1])
    proxy = make_proxy(upstream)
    client = connect(proxy)
    if size == 100:
        assert client.ask(request()).status == 502
    else:
        client.send(request())
        assert client.truncated().end == "rst"
    upstream.default = last(b"HTTP/1.1 200 OK\r\nContent-Le")  # in its head: it has no length to be short of
    assert connect(proxy).ask(request()).status == 502
    assert repairs(proxy) == {"legacy": {"wrong_length": 1}}


@pytest.mark.parametrize("size", [100, 200_000])
def test_a_long_response(make_proxy: MakeProxy, upstream: Upstream, connect: Connect, size: int) -> None:
    """The client gets what was announced; the connection, of which nobody knows what comes next, ends."""
    upstream.default = reply(b"x" * size, fields=DATE) + b"HTTP/1.1 200 forged\r\nContent-Length: 0\r\n\r\n"
    proxy = make_proxy(upstream)
    client = connect(proxy)
    for _ in range(2):
        assert client.ask(request()).body == b"x" * size
    assert len(upstream.links) == 2
    assert repairs(proxy) == {"legacy": {"wrong_length": 2}}


def test_blank_lines_behind_a_response(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    """Some old servers add one: with the switch off that is dropped with no word, and nothing else is."""
    proxy = make_proxy(table(upstream, wrong_length=False))
    client = connect(proxy)
    upstream.default = CLEAN + b"\r\n"
    for _ in range(3):
        assert client.ask(request()).body == b"hello"
    assert len(upstream.links) == 1
    upstream.default = CLEAN + b"x"
    for _ in range(2):
        assert client.ask(request()).body == b"hello"
    assert len(upstream.links) == 2
    assert repairs(proxy) == {}


def test_a_426_says_what_to_upgrade_to(make_proxy: MakeProxy, upstream: Upstream, connect: Connect) -> None:
    """RFC 9110 15.5.22, 7.8: Upgrade goes on with a 426, and our Connection names it."""
    fields = DATE + "Upgrade: HTTP/2.0\r\nConnection: Upgrade\r\n"
    client = connect(make_proxy(upstream))
    for _ in range(4):
        upstream.then(reply(status="426 Upgrade Required", fields=fields), reply(fields=fields))
        got = client.ask(request())
        assert (got.status, got.all("upgrade"), got.all("connection")) == (426, [b"HTTP/2.0"], [b"upgrade"])
        got = client.ask(request())
        assert (got.status, got.all("upgrade"), got.all("connection")) == (200, [], [])
    upstream.then(reply(status="426 Upgrade Required", fields=fields))
    got = client.ask(request(fields=["Connection: close"]))
    assert got.all("connection") == [b"close, upgrade"]
