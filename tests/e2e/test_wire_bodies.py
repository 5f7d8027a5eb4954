"""Requests and responses in every framing arrive as they were sent (RFC 9112 6, 7; RFC 9110 6.4, 9.3.2)."""

import hashlib
import random
import threading

import pytest

from shieldproxy.net.downstream import FIRST
from shieldproxy.net.lobby import CHUNK
from tests.e2e.conftest import Wire
from tests.kit.answers import chunked, dripped, held, last, reply
from tests.kit.client import request
from tests.kit.link import Turn

BIG = random.Random(7).randbytes(3 * 1024 * 1024)
TE = ["Transfer-Encoding: chunked"]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS", "PROPFIND", "POST"])
def test_a_request_without_a_body(wire: Wire, method: str) -> None:
    client = wire.client()
    assert client.ask(request("/a?b=c", method=method)).body == b"hello"
    got = wire.upstream.one()
    assert (got.method, got.target, got.body) == (method.encode(), b"/a?b=c", b"")
    assert got.version == b"1.1"


@pytest.mark.parametrize("beyond", [-1, 0, 1])
@pytest.mark.parametrize("read", [FIRST, CHUNK, 2 * CHUNK])
def test_what_comes_at_once_is_as_long_as_a_read(wire: Wire, read: int, beyond: int) -> None:
    """Or a byte more or less; and a request behind it, in the same piece."""
    client = wire.client()
    for _ in range(2):  # also on a connection that was idle
        size = read + beyond - len(request("/a", method="POST", body=BIG[:read])) + read
        data = request("/a", method="POST", body=BIG[:size])
        assert len(data) == read + beyond
        client.send(data + request("/b"))
        assert [client.response("POST").body, client.response().body] == [b"hello", b"hello"]
        *_, first, second = wire.upstream.requests
        assert (first.body, second.target) == (BIG[:size], b"/b")


@pytest.mark.parametrize("size", [1, 100, 65536, 300_000])
@pytest.mark.parametrize("method", ["POST", "PUT", "GET", "DELETE"])
def test_a_request_body_by_length(wire: Wire, method: str, size: int) -> None:
    client = wire.client()
    assert client.ask(request("/a", method=method, body=BIG[:size])).status == 200
    got = wire.upstream.one()
    assert got.framing == "length"
    assert got.body == BIG[:size]


def test_an_empty_request_body_by_length(wire: Wire) -> None:
    client = wire.client()
    assert client.ask(request("/a", method="POST", fields=["Content-Length: 0"])).status == 200
    got = wire.upstream.one()
    assert got.get("content-length") == b"0"
    assert got.body == b""


@pytest.mark.parametrize("pieces", [[b"hello"], [b"a", b"bc", b"d" * 70000], [b"x"] * 300, []])
def test_a_chunked_request_body(wire: Wire, pieces: list[bytes]) -> None:
    client = wire.client()
    body = b"".join(map(chunk, pieces)) + b"0\r\n\r\n"
    assert client.ask(request("/a", method="POST", fields=TE) + body).status == 200
    got = wire.upstream.one()
    assert got.body == b"".join(pieces)
    assert got.framing in ("chunked", "length")


def test_request_trailers_are_forwarded(wire: Wire) -> None:
    client = wire.client()
    body = chunk(b"hello") + b"0\r\nX-Sum: 1\r\nX-More: a b\r\nContent-Length: 9\r\n\r\n"
    fields = [*TE, "Trailer: X-Sum, X-More"]
    assert client.ask(request("/streamed", method="POST", fields=fields) + body).status in (200, 400)
    body = chunk(b"hello") + b"0\r\nX-Sum: 1\r\nX-More: a b\r\n\r\n"
    wire.upstream.reset_scripts()
    assert wire.client().ask(request("/streamed", method="POST", fields=fields) + body).status == 200
    assert wire.upstream.one().trailers == [(b"X-Sum", b"1"), (b"X-More", b"a b")]


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_request_body_in_many_segments(wire: Wire, framing: str) -> None:
    client = wire.client()
    if framing == "length":
        data = request("/a", method="POST", body=BIG[:2000])
    else:
        data = request("/a", method="POST", fields=TE) + chunk(BIG[:2000]) + b"0\r\n\r\n"
    client.send_pieces([data[at : at + 97] for at in range(0, len(data), 97)], 0.0005)
    assert client.response().status == 200
    assert wire.upstream.one().body == BIG[:2000]


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_large_upload_is_streamed(wire: Wire, framing: str) -> None:
    """The upstream has the beginning while the client still holds the end back."""
    begun = threading.Event()

    def story(turn: Turn) -> None:
        turn.link.stream.fill()
        begun.set()
        turn.read_body()
        turn.send(reply(hashlib.sha256(turn.request.body).hexdigest().encode()))

    wire.upstream.then(story, at="head")
    client = wire.client()
    if framing == "length":
        client.send(request("/streamed", method="POST", fields=[f"Content-Length: {len(BIG)}"]))
        client.send(BIG[: 2 << 20])
        assert begun.wait(5)
        client.send(BIG[2 << 20 :])
    else:
        client.send(request("/streamed", method="POST", fields=TE) + chunk(BIG[: 2 << 20]))
        assert begun.wait(5)
        client.send(chunk(BIG[2 << 20 :]) + b"0\r\n\r\n")
    assert client.response().body == hashlib.sha256(BIG).hexdigest().encode()


@pytest.mark.parametrize("size", [0, 1, 1024, 70_000, len(BIG)])
def test_a_response_by_length(wire: Wire, size: int) -> None:
    wire.upstream.then(reply(BIG[:size]))
    client = wire.client()
    got = client.ask(request())
    assert got.framing == "length"
    assert got.body == BIG[:size]
    assert client.ask(request("/again")).body == b"hello"


@pytest.mark.parametrize("pieces", [[b"hello"], [b"a", b"bc", b"d" * 70000], [b"x"] * 300, [BIG], []])
def test_a_chunked_response(wire: Wire, pieces: list[bytes]) -> None:
    wire.upstream.then(chunked(*pieces))
    client = wire.client()
    got = client.ask(request())
    assert got.framing == "chunked"
    assert got.body == b"".join(pieces)
    assert client.ask(request("/again")).body == b"hello"
    assert len(wire.upstream.links) == 1


def test_response_trailers_are_forwarded(wire: Wire) -> None:
    wire.upstream.then(chunked(b"hello", fields="Trailer: X-Sum\r\n", trailers="X-Sum: 1\r\nX-More: a b\r\n"))
    got = wire.client().ask(request(fields=["TE: trailers"]))
    assert got.body == b"hello"
    assert got.trailers == [(b"X-Sum", b"1"), (b"X-More", b"a b")]


def test_chunk_extensions_are_not_forwarded(wire: Wire) -> None:
    """RFC 9112 7.1.1: they are for one connection; the strict client would flag one."""
    wire.upstream.then(
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b;c="d"\r\nhello\r\n0;e\r\n\r\n'
    )
    assert wire.client().ask(request()).body == b"hello"


@pytest.mark.parametrize("size", [0, 5, 100_000])
def test_a_response_until_close(wire: Wire, size: int) -> None:
    """To an HTTP/1.1 client it may be chunked (then the connection lives) or end with the connection."""
    wire.upstream.then(last(b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\n" + BIG[:size]))
    client = wire.client()
    got = client.ask(request())
    assert got.body == BIG[:size]
    if got.persistent:
        assert got.framing == "chunked"
        assert client.ask(request("/again")).body == b"hello"
    else:
        assert client.ending() == "fin"


def test_a_response_until_close_to_http_1_0(wire: Wire) -> None:
    wire.upstream.then(last(b"HTTP/1.1 200 OK\r\n\r\nhello"))
    client = wire.client()
    got = client.ask(request(version="1.0", fields=["Connection: keep-alive"]))
    assert got.framing == "close"
    assert got.body == b"hello"


def test_a_chunked_response_to_http_1_0(wire: Wire) -> None:
    """RFC 9112 6.1: no chunked coding to an HTTP/1.0 client; it ends with the connection."""
    wire.upstream.then(chunked(b"hel", b"lo", trailers="X: y\r\n"))
    client = wire.client()
    got = client.ask(request(version="1.0", fields=["Connection: keep-alive"]))
    assert got.body == b"hello"
    assert got.framing in ("close", "length")
    assert "transfer-encoding" not in got
    assert "trailer" not in got


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", id="length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", id="chunked"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\n", id="no framing"),
        pytest.param(b"HTTP/1.1 404 Not Found\r\nContent-Length: 99999\r\n\r\n", id="404"),
    ],
)
def test_head_has_no_body(wire: Wire, answer: bytes) -> None:
    """RFC 9110 9.3.2: the fields of the GET, without its content; the connection goes on."""
    wire.upstream.then(answer)
    client = wire.client()
    got = client.ask(request(method="HEAD"))
    assert got.body == b""
    if b"Content-Length" in answer:
        assert got.get("content-length") == answer.split(b"Length: ")[1].split(b"\r\n")[0]
    assert client.ask(request("/again")).body == b"hello"
    assert len(wire.upstream.wait_requests(2)) == 2


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", id="204"),
        pytest.param(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", id="204 with a length"),
        pytest.param(b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n', id="304"),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n", id="304 with a length"),
    ],
)
def test_statuses_without_a_body(wire: Wire, answer: bytes) -> None:
    """RFC 9112 6.3: they end with the head, whatever their fields say; no length in a 204 (RFC 9110 8.6)."""
    wire.upstream.then(answer)
    client = wire.client()
    got = client.ask(request())
    assert got.status == int(answer[9:12])
    assert got.body == b""
    assert client.ask(request("/again")).body == b"hello"
    assert len(wire.upstream.links) == 1


@pytest.mark.parametrize("size", [1, 7, 50])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_response_in_small_segments(wire: Wire, framing: str, size: int) -> None:
    answer = (
        reply(b"hello world") if framing == "length" else chunked(b"hello ", b"world", trailers="X: y\r\n")
    )
    wire.upstream.then(dripped(answer, size))
    client = wire.client()
    assert client.ask(request()).body == b"hello world"
    assert client.ask(request("/again")).body == b"hello"


STREAMS = {
    "length": (b"Content-Length: 100000\r\n\r\nfirst", b"later" * 19_999),
    "chunked": (b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"first"), chunk(b"later") + b"0\r\n\r\n"),
    "close": (b"\r\nfirst", b"later"),
}


@pytest.mark.parametrize("framing", list(STREAMS))
def test_a_response_is_streamed(wire: Wire, framing: str) -> None:
    """What has come is passed on while the rest is awaited (short ones by length may be collected)."""
    release = threading.Event()
    first, rest = STREAMS[framing]

    def story(turn: Turn) -> None:
        turn.send(b"HTTP/1.1 200 OK\r\n" + first)
        turn.wait(release)
        turn.send(rest)
        if framing == "close":
            turn.close()

    wire.upstream.then(story)
    client = wire.client()
    client.send(request())
    while b"first" not in client.stream.buffer:
        assert client.stream.fill()
    release.set()
    assert client.response().body.startswith(b"firstlater")


def test_a_slow_reader_does_not_make_the_proxy_swallow_the_response(wire: Wire) -> None:
    """Back-pressure, where the server wants it: while the client reads nothing, not all can be sent."""
    body = BIG * 6
    done = threading.Event()

    def story(turn: Turn) -> None:
        turn.send(reply(body, fields="X-Accel-Buffering: no\r\n"))
        done.set()

    wire.upstream.then(story)
    client = wire.client(rcvbuf=8192)
    client.send(request())
    client.wait_readable()
    assert not done.wait(1.0)
    assert client.response().body == body
    assert done.is_set()


def test_the_status_line_is_passed_on(wire: Wire) -> None:
    wire.upstream.then(reply(status="299 Sure thing \xe4"), reply(status="200 "), reply(status="599 X"))
    client = wire.client()
    got = client.ask(request())
    assert (got.status, got.phrase) == (299, b"Sure thing \xe4")
    assert client.ask(request()).phrase == b""
    assert client.ask(request()).status == 599


def test_two_uploads_at_once(wire: Wire) -> None:
    """Exchanges do not wait for each other."""
    release = threading.Event()
    wire.upstream.on("/slow", held(release, reply(b"slow")))
    slow, fast = wire.client(), wire.client()
    slow.send(request("/slow", method="POST", body=b"a"))
    wire.upstream.one()
    assert fast.ask(request("/fast", method="POST", body=b"b")).body == b"hello"
    release.set()
    assert slow.response().body == b"slow"
