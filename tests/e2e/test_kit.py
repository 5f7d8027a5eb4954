"""The kit itself: it must see what a relay lets through."""

import sys
import threading

import pytest

from tests.e2e.conftest import Bench, Connect
from tests.kit.answers import last, reply
from tests.kit.client import request
from tests.kit.link import Turn
from tests.kit.wire import ViolationError


@pytest.fixture
def relayed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A plain relay in the product's place."""
    monkeypatch.setenv("SHIELDPROXY_TEST_COMMAND", f"{sys.executable} -m tests.kit.relay")
    return bench


def test_it_reads_and_answers(relayed: Bench, connect: Connect) -> None:
    """Length, chunked with trailers, pieces, holds."""
    upstream = relayed.upstream()
    proxy = relayed.proxy(upstream)
    go = threading.Event()

    def slow(turn: Turn) -> None:
        turn.wait(go)
        turn.pieces(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n")

    upstream.then(reply(b"one"), slow)
    client = connect(proxy)
    assert client.ask(request("/a", method="POST", body=b"xyz")).body == b"one"
    client.send(request("/b"))
    assert client.quiet()
    go.set()
    second = client.response()
    assert second.body == b"abc"
    assert second.trailers == [(b"X-T", b"1")]
    assert [r.target for r in upstream.wait_requests(2)] == [b"/a", b"/b"]
    assert upstream.requests[0].body == b"xyz"


def test_it_flags_what_a_relay_lets_through(relayed: Bench, connect: Connect) -> None:
    """A smuggled length and a bare LF are violations."""
    upstream = relayed.upstream()
    proxy = relayed.proxy(upstream)
    client = connect(proxy)
    client.send(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    )
    upstream.until(lambda: len(upstream.violations) == 1, "a violation")
    other = connect(proxy)
    other.send(b"GET / HTTP/1.1\nHost: a\n\n")
    upstream.until(lambda: len(upstream.violations) == 2, "two violations")


def test_it_tells_fin_from_reset_and_whole_from_truncated(relayed: Bench, connect: Connect) -> None:
    """A response cut off in its length is no response."""
    upstream = relayed.upstream()
    proxy = relayed.proxy(upstream)
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"
    upstream.then(last(cut))
    client = connect(proxy)
    client.send(request())
    assert client.truncated().end == "fin"
    upstream.then(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n")
    other = connect(proxy)
    with pytest.raises(ViolationError):
        other.ask(request())
