"""Combinations that are legal and rare: each side's framing must not leak into the other's."""

import pytest

from tests.e2e.conftest import Wire
from tests.kit.answers import chunked, last, reply
from tests.kit.client import request
from tests.kit.upstream import Handler

TE = b"Transfer-Encoding: chunked\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
KEEP = ["Connection: keep-alive"]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(OK + TE + b"\r\n", id="chunked"),
        pytest.param(OK + b"\r\n", id="no framing"),
        pytest.param(OK + b"Content-Length: 7\r\n\r\n", id="length"),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\n" + TE + b"\r\n", id="304 chunked"),
        pytest.param(b"HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n", id="204"),
    ],
)
def test_head_of_http_1_0_is_kept_alive(wire: Wire, answer: bytes) -> None:
    """No body, whatever the fields say: the length is known, so the connection may stay."""
    wire.upstream.then(answer)
    client = wire.client()
    got = client.ask(request(method="HEAD", version="1.0", fields=KEEP))
    assert got.body == b""
    assert "transfer-encoding" not in got
    if got.persistent:
        assert client.ask(request("/again")).body == b"hello"
    else:
        assert client.ending() == "fin"


@pytest.mark.parametrize("status", ["304 Not Modified", "204 No Content"])
@pytest.mark.parametrize("fields", [b"Transfer-Encoding: chunked\r\n", b"Content-Length: 9\r\n", b""])
def test_no_body_whatever_the_framing(wire: Wire, status: str, fields: bytes) -> None:
    """RFC 9112 6.3: 204 and 304 end with their heads; 6.1: no Transfer-Encoding in a 204."""
    wire.upstream.then(f"HTTP/1.1 {status}\r\n".encode() + fields + b"\r\n")
    client = wire.client()
    got = client.ask(request())
    assert got.body == b""
    assert client.ask(request("/again")).body == b"hello"


@pytest.mark.parametrize(
    "fields", [b"Content-Length: 5\r\n", TE, b"Connection: close\r\n", b"Connection: X\r\nX: y\r\n"]
)
def test_an_interim_response_has_no_framing(wire: Wire, fields: bytes) -> None:
    """RFC 9110 8.6, RFC 9112 6.1: neither length nor coding in a 1xx, and nothing hop-by-hop."""
    wire.upstream.then(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n" + fields + b"\r\n" + reply())
    client = wire.client()
    got = client.ask(request())
    assert (got.status, got.body) == (200, b"hello")
    assert [part.get("link") for part in got.interims] == [b"a"]
    assert all("connection" not in part and "x" not in part for part in got.interims)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize(
    "answer", [chunked(b"hel", b"lo"), last(OK + b"\r\nhello"), reply()], ids=["te", "fin", "cl"]
)
def test_close_of_the_client_with_every_framing(wire: Wire, version: str, answer: Handler) -> None:
    wire.upstream.then(answer)
    client = wire.client()
    got = client.ask(request(version=version, fields=["Connection: close"]))
    assert got.body == b"hello"
    assert not got.persistent
    assert client.ending() == "fin"


@pytest.mark.parametrize("connection", ["close", "Close", "keep-alive, close", "x, CLOSE"])
def test_a_server_that_says_close_and_waits(wire: Wire, connection: str) -> None:
    """RFC 9112 9.6: after its close no other request is sent to it, though it keeps the connection open."""
    wire.upstream.then(reply(b"one", fields=f"Connection: {connection}\r\n"))
    client = wire.client()
    assert client.ask(request("/1")).persistent
    assert client.ask(request("/2", method="POST", body=b"x")).body == b"hello"
    first, second = wire.upstream.wait_requests(2)
    assert first.connection != second.connection
    assert wire.upstream.links[0].ended.wait(5)
    assert wire.upstream.links[0].end == "fin"


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 131_072, 262_144, 262_145])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_sizes_at_the_buffers_edges(wire: Wire, framing: str, size: int) -> None:
    """Responses that just fit what is read at once, and just do not."""
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    answers: dict[str, Handler] = {
        "length": reply(body),
        "chunked": chunked(body),
        "close": last(OK + b"\r\n" + body),
    }
    wire.upstream.then(answers[framing])
    client = wire.client()
    assert client.ask(request()).body == body
    got = client.ask(request("/again", method="POST", body=body))
    assert got.body == b"hello"
    assert wire.upstream.wait_requests(2)[1].body == body


@pytest.mark.parametrize("head", [65_529, 65_533, 65_536, 65_540])
def test_a_pipeline_that_ends_at_a_buffer_s_edge(wire: Wire, head: int) -> None:
    """A read that ends exactly with a request, while the next one is already in the socket."""
    first = request("/1", method="POST", fields=["X: y"], body=b"x")
    filled = request("/1", method="POST", fields=["X: y"], body=b"x" * (head - len(first) - 3))
    client = wire.client()
    client.send(filled + request("/2") + request("/3"))
    assert [client.response().status for _ in range(3)] == [200] * 3
    assert [seen.target for seen in wire.upstream.wait_requests(3)] == [b"/1", b"/2", b"/3"]


def test_the_same_field_many_times(wire: Wire) -> None:
    """Cookies and others keep their number and their order."""
    fields = [f"X-Same: {number}" for number in range(40)]
    wire.upstream.then(reply(fields="".join(f"Set-Cookie: c{n}=1\r\n" for n in range(40))))
    got = wire.client().ask(request(fields=fields))
    assert got.all("set-cookie") == [b"c%d=1" % n for n in range(40)]
    assert wire.upstream.one().all("x-same") == [b"%d" % n for n in range(40)]
