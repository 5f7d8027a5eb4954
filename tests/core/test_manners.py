"""What an upstream of other manners is sent: each key, and all of them read back as the same request."""

from dataclasses import replace
from sys import maxsize
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shieldproxy.core.forward import forwarded_block
from shieldproxy.core.head import CHUNKED, RequestHead, read_request
from shieldproxy.core.manners import Manners, Unsendable, manners_of
from shieldproxy.core.routes import Route
from shieldproxy.core.upstreams import UpstreamSpec

ROUTE = Route("legacy")
USUAL = UpstreamSpec("legacy", ())


def manners(**keys: Any) -> Manners:
    made = manners_of(replace(USUAL, **keys))
    assert made is not None
    return made


def request(lines: bytes = b"Host: a\r\n", line: bytes = b"GET /a?b HTTP/1.1") -> RequestHead:
    data = line + b"\r\n" + lines + b"\r\n"
    head = read_request(data, len(data))
    assert isinstance(head, RequestHead), head
    return head


def test_the_usual_upstream_has_none() -> None:
    assert manners_of(USUAL) is None
    assert manners_of(replace(USUAL, max_connections=1, source="127.0.0.1")) is None


def test_http_10() -> None:
    lines = (
        b"Host: a\r\nTE: trailers\r\nTrailer: X\r\nExpect: 100-continue\r\nContent-Length: 5\r\nUpgrade: x"
    )
    head = request(lines + b"\r\n", b"POST /a HTTP/1.1")
    assert manners(http_version="1.0").request_head(head, ROUTE, b"", 5) == (
        b"POST /a HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\nVia: 1.1 shieldproxy\r\n"
        b"Connection: keep-alive\r\n\r\n"
    )
    close = manners(http_version="1.0", keep_alive=False).request_head(request(), ROUTE, b"", 0)
    assert close == b"GET /a?b HTTP/1.0\r\nHost: a\r\nVia: 1.1 shieldproxy\r\nConnection: close\r\n\r\n"


def test_http_10_has_no_chunks() -> None:
    head = request(b"Host: a\r\nTransfer-Encoding: chunked\r\n", b"POST /a HTTP/1.1")
    with pytest.raises(Unsendable) as raised:
        manners(http_version="1.0").request_head(head, ROUTE, b"", CHUNKED)
    assert raised.value.fault[:2] == (411, "length-required")
    collected = manners(http_version="1.0").request_head(head, ROUTE, b"", 7)
    assert b"\r\nContent-Length: 7\r\n" in collected
    assert b"chunked" not in collected


def test_connections_that_end() -> None:
    once = manners(keep_alive=False)
    out = once.request_head(request(), ROUTE, b"", 0)
    assert out == b"GET /a?b HTTP/1.1\r\nHost: a\r\nVia: 1.1 shieldproxy\r\nConnection: close\r\n\r\n"
    assert once.is_last(1)
    assert once.last(out) == out
    thrice = manners(max_requests=3)
    out = thrice.request_head(request(), ROUTE, b"", 0)
    assert b"Connection" not in out
    assert [thrice.is_last(uses) for uses in (1, 2, 3, 4)] == [False, False, True, True]
    body = b"\r\n\r\nConnection: keep-alive\r\n\r\n"
    assert thrice.last(out + body) == out[:-2] + b"Connection: close\r\n\r\n" + body
    old = manners(max_requests=3, http_version="1.0")
    out = old.request_head(request(), ROUTE, b"", 0)
    assert out.endswith(b"\r\nConnection: keep-alive\r\n\r\n")
    assert old.last(out + body) == out.replace(b"keep-alive", b"close") + body
    assert not manners(http_version="1.0").is_last(maxsize - 1)


def test_host() -> None:
    head = request(b"X: y\r\nHost: Client.example\r\n")
    block = forwarded_block("192.0.2.1", "http", head, trusted=False)
    out = manners(host=b"legacy.internal:8080").request_head(head, ROUTE, block, 0)
    assert out.startswith(b"GET /a?b HTTP/1.1\r\nHost: legacy.internal:8080\r\nX: y\r\nVia: ")
    assert out.count(b"Host: ") == 2
    assert b"\r\nX-Forwarded-Host: client.example\r\n" in out
    without = request(b"", b"GET / HTTP/1.0")
    assert b"Host: l\r\n" in manners(host=b"l").request_head(without, ROUTE, b"", 0)
    assert b"Host: localhost\r\n" in manners(header_case="title").request_head(without, ROUTE, b"", 0)


def test_header_case() -> None:
    head = request(b"host: a\r\ncontent-length: 3\r\nx-own: 1\r\nDNT: 1\r\netag: x-y\r\n", b"POST / HTTP/1.1")
    route = Route("legacy", request_set=((b"x-edge", b"1"),))
    out = manners(header_case="title").request_head(head, route, b"", 3)
    assert out == (
        b"POST / HTTP/1.1\r\nHost: a\r\nX-Own: 1\r\nDNT: 1\r\nETag: x-y\r\nContent-Length: 3\r\n"
        b"x-edge: 1\r\nVia: 1.1 shieldproxy\r\n\r\n"  # what a route sets is written as it says
    )


@pytest.mark.parametrize("keys", [{}, {"max_requests": 5}, {"keep_alive": False}, {"http_version": "1.0"}])
def test_max_head(keys: dict[str, Any]) -> None:
    """The longest that may be sent counts: with the Connection of a last request."""
    head = request()
    free = manners(max_head=maxsize - 1, **keys)
    out = (
        free.last(free.request_head(head, ROUTE, b"", 0)) if keys else free.request_head(head, ROUTE, b"", 0)
    )
    longest = max(len(out), len(free.request_head(head, ROUTE, b"", 0)))
    assert manners(max_head=longest, **keys).request_head(head, ROUTE, b"", 0)
    with pytest.raises(Unsendable) as raised:
        manners(max_head=longest - 1, **keys).request_head(head, ROUTE, b"", 0)
    assert raised.value.fault[:2] == (431, "upstream-head-large")


NAMES = st.sampled_from([b"x-a", b"X-B", b"accept", b"COOKIE", b"etag", b"range", b"x-mixedCase"])
LINES = st.lists(st.tuples(NAMES, st.text("az-;= ,", max_size=12).map(str.encode)), max_size=6)
KEYS = st.fixed_dictionaries(
    {},
    optional={
        "http_version": st.just("1.0"),
        "keep_alive": st.just(False),
        "max_requests": st.integers(1, 3),
        "host": st.just(b"legacy.internal"),
        "header_case": st.just("title"),
        "max_head": st.just(4096),
    },
)


@given(KEYS, LINES, st.sampled_from([0, 3, CHUNKED]), st.booleans(), st.integers(1, 4))
def test_what_is_sent_reads_as_the_same_request(
    keys: dict[str, Any], lines: list[tuple[bytes, bytes]], length: int, collected: bool, uses: int
) -> None:
    made = manners_of(replace(USUAL, **keys))
    if made is None:
        return
    framing = b"transfer-encoding: chunked\r\n" if length == CHUNKED else b"content-length: %d\r\n" % length
    head = request(
        b"host: client.example\r\n" + b"".join(b"%b: %b\r\n" % line for line in lines) + framing,
        b"POST /a?b HTTP/1.1",
    )
    before = [(name.lower(), value.strip(b" ")) for name, value in lines]
    sent = 3 if length == CHUNKED and collected else length
    if sent == CHUNKED and keys.get("http_version"):
        with pytest.raises(Unsendable):
            made.request_head(head, ROUTE, b"", sent)
        return
    out = made.request_head(head, ROUTE, b"", sent)
    if made.is_last(uses):
        out = made.last(out)
    again = read_request(out, len(out))
    assert isinstance(again, RequestHead), out
    assert (again.method, again.target, again.length) == (b"POST", b"/a?b", sent)
    assert again.host == keys.get("host", b"client.example")
    assert again.minor == (0 if keys.get("http_version") == "1.0" else 1)
    assert again.persistent == (keys.get("keep_alive", True) and uses < keys.get("max_requests", maxsize))
    after = [
        (name.lower(), value.strip(b" ")) for name, _, value in (line.partition(b":") for line in again.lines)
    ]
    ours = {b"host", b"content-length", b"via"}
    assert [pair for pair in after if pair[0] not in ours] == before
