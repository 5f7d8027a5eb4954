"""Persistence, pipelining and versions (RFC 9112 9.3, 9.6; RFC 9110 6.2)."""

import itertools
import threading

import pytest

from tests.e2e.conftest import Wire
from tests.kit.answers import chunked, dripped, held, last, reply
from tests.kit.client import request
from tests.kit.link import Turn
from tests.kit.upstream import Handler

KEEP = ["Connection: keep-alive"]


def echo(turn: Turn) -> None:
    turn.send(reply(turn.request.method + b" " + turn.request.target + b" " + turn.request.body))


def test_one_connection_serves_many(wire: Wire) -> None:
    wire.upstream.default = echo
    client = wire.client()
    for number in range(50):
        got = client.ask(request(f"/{number}"))
        assert got.body == b"GET /%d " % number
        assert got.persistent
    assert len(wire.upstream.links) == 1
    assert [line["target"] for line in wire.log(client, 50)] == [f"/{number}" for number in range(50)]


def test_close_is_answered_by_close(wire: Wire) -> None:
    client = wire.client()
    got = client.ask(request(fields=["Connection: close"]))
    assert got.get("connection") == b"close"
    assert client.ending() == "fin"


@pytest.mark.parametrize("value", ["Close", "CLOSE", "close, te", "x, close", ",close,", "keep-alive, close"])
def test_close_in_other_words(wire: Wire, value: str) -> None:
    client = wire.client()
    assert not client.ask(request(fields=[f"Connection: {value}"])).persistent
    assert client.ending() == "fin"


def test_pipelined_requests_are_answered_in_order(wire: Wire) -> None:
    wire.upstream.default = echo
    client = wire.client()
    client.send(b"".join(request(f"/{number}") for number in range(30)))
    assert [client.response().body for _ in range(30)] == [b"GET /%d " % number for number in range(30)]


def test_pipelined_in_order_though_the_first_is_slow(wire: Wire) -> None:
    release = threading.Event()
    wire.upstream.on("/slow", held(release, reply(b"slow")))
    client = wire.client()
    client.send(request("/slow") + request("/fast"))
    assert client.quiet(0.2)
    release.set()
    assert client.response().body == b"slow"
    assert client.response().body == b"hello"


def test_pipelined_bodies(wire: Wire) -> None:
    """POSTs with bodies by length and chunked, and GETs, in one segment."""
    wire.upstream.default = echo
    client = wire.client()
    parts = [
        request("/1", method="POST", body=b"one"),
        request("/2"),
        request("/3", method="PUT", fields=["Transfer-Encoding: chunked"]) + b"5\r\nthree\r\n0\r\n\r\n",
        request("/4", method="POST", body=b"four" * 5000),
        request("/5", method="DELETE"),
        request("/6", method="PUT", fields=["Transfer-Encoding: chunked"]) + b"3\r\nsix\r\n0\r\nX: y\r\n\r\n",
        request("/7"),
    ]
    client.send(b"".join(parts))
    bodies = [client.response().body for _ in parts]
    assert bodies == [
        b"POST /1 one",
        b"GET /2 ",
        b"PUT /3 three",
        b"POST /4 " + b"four" * 5000,
        b"DELETE /5 ",
        b"PUT /6 six",
        b"GET /7 ",
    ]


ANSWERS: dict[str, Handler] = {
    "plain": reply(b"plain"),
    "chunked": chunked(b"chu", b"nked"),
    "interim": b"HTTP/1.1 103 X\r\n\r\n" + reply(b"interim"),
    "dripped": dripped(reply(b"dripped"), 9),
    "large": reply(b"L" * 400_000),
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
}


@pytest.mark.parametrize("order", list(itertools.permutations(ANSWERS, 2)), ids="-".join)
def test_pipelined_mixed_answers(wire: Wire, order: tuple[str, str]) -> None:
    """Plain and not plain in one pipeline: the lanes hand over to each other, in order and without a loss."""
    names = [*order, *order]
    wire.upstream.then(*(ANSWERS[name] for name in names))
    client = wire.client()
    client.send(b"".join(request(f"/{name}") for name in names))
    for name in names:
        got = client.response()
        assert got.body == {"large": b"L" * 400_000, "204": b""}.get(name, name.encode())
    assert [r.target.decode()[1:] for r in wire.upstream.wait_requests(4)] == names


@pytest.mark.parametrize("size", [1, 3, 17, 61])
def test_a_pipeline_cut_anywhere(wire: Wire, size: int) -> None:
    """Segments that end in the middle of requests."""
    wire.upstream.default = echo
    client = wire.client()
    data = b"".join(request(f"/{n}", method="POST", body=b"b%d" % n) for n in range(5))
    client.send_pieces([data[at : at + size] for at in range(0, len(data), size)], 0.0003)
    assert [client.response().body for _ in range(5)] == [b"POST /%d b%d" % (n, n) for n in range(5)]


def test_what_follows_a_close_is_not_served(wire: Wire) -> None:
    """RFC 9112 9.6: after close no further request is processed, and the response is whole."""
    wire.upstream.default = reply(b"x" * 60_000)
    client = wire.client(rcvbuf=8192)
    client.send(request("/1", fields=["Connection: close"]) + request("/2") * 50)
    assert client.response().body == b"x" * 60_000
    assert client.ending() == "fin"
    assert [r.target for r in wire.upstream.requests] == [b"/1"]


def test_the_upstream_that_closes_does_not_close_the_client(wire: Wire) -> None:
    """The two connections have lives of their own."""
    wire.upstream.then(*[last(reply(b"one", fields="Connection: close\r\n"))] * 3)
    client = wire.client()
    for _ in range(3):
        got = client.ask(request())
        assert got.body == b"one"
        assert got.persistent
    assert client.ask(request()).body == b"hello"
    assert len(wire.upstream.links) == 4


def test_http_1_0_closes(wire: Wire) -> None:
    client = wire.client()
    got = client.ask(request(version="1.0"))
    assert not got.persistent
    assert got.body == b"hello"
    assert client.ending() == "fin"
    assert wire.upstream.one().version == b"1.1"


@pytest.mark.parametrize("value", ["keep-alive", "Keep-Alive", "KEEP-ALIVE", "keep-alive, te"])
def test_http_1_0_with_keep_alive(wire: Wire, value: str) -> None:
    """Served with keep-alive where the length is known, and told so."""
    client = wire.client()
    for _ in range(3):
        got = client.ask(request(version="1.0", fields=[f"Connection: {value}"]))
        assert got.body == b"hello"
        assert got.get("connection") is not None
        assert got.persistent or b"keep-alive" in (got.get("connection") or b"").lower()
    got = client.ask(request(version="1.0"))
    assert not got.persistent
    assert client.ending() == "fin"


def test_http_1_0_keep_alive_with_posts(wire: Wire) -> None:
    wire.upstream.default = echo
    client = wire.client()
    assert (
        client.ask(request("/1", method="POST", version="1.0", fields=KEEP, body=b"one")).body
        == b"POST /1 one"
    )
    assert (
        client.ask(request("/2", method="POST", version="1.0", fields=KEEP, body=b"two")).body
        == b"POST /2 two"
    )


def test_proxy_connection_is_no_connection(wire: Wire) -> None:
    """The old field of old clients is dropped, and keeps nothing alive (RFC 9112 C.2.2)."""
    client = wire.client()
    client.ask(request(version="1.0", fields=["Proxy-Connection: keep-alive"]))
    assert client.ending() == "fin"
    assert "proxy-connection" not in wire.upstream.one()


@pytest.mark.parametrize(
    ("answer", "closes"),
    [
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", False, id="length"),
        pytest.param(
            b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
            False,
            id="keep-alive",
        ),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nhello", True, id="until close"),
    ],
)
def test_http_1_0_upstreams(wire: Wire, answer: bytes, closes: bool) -> None:
    """Their responses are ours to frame: HTTP/1.1 on the client's side (RFC 9112 2.3)."""
    wire.upstream.then(last(answer))
    client = wire.client()
    got = client.ask(request())
    assert (got.status, got.body, got.version) == (200, b"hello", b"1.1")
    if not closes:
        assert got.persistent
    if got.persistent:
        assert client.ask(request("/again")).body == b"hello"


def test_an_http_1_0_upstream_without_keep_alive_is_not_reused(wire: Wire) -> None:
    """It will close after its response, whenever that is: a request sent meanwhile would be lost."""
    wire.upstream.then(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\none")
    client = wire.client()
    assert client.ask(request("/1")).body == b"one"
    assert client.ask(request("/2")).body == b"hello"
    first, second = wire.upstream.wait_requests(2)
    assert first.connection != second.connection


def test_a_half_closed_client_is_answered(wire: Wire) -> None:
    """A FIN after a whole request is a half-close: answered, then closed."""
    release = threading.Event()
    wire.upstream.then(held(release, reply(b"late")))
    client = wire.client()
    client.send(request()).half_close()
    wire.upstream.one()
    assert client.quiet(0.1)
    release.set()
    assert client.response().body == b"late"
    assert client.ending() == "fin"


def test_a_half_closed_pipeline_is_answered(wire: Wire) -> None:
    wire.upstream.default = echo
    client = wire.client()
    client.send(request("/1") + request("/2", method="POST", body=b"two") + request("/3")).half_close()
    assert [client.response().body for _ in range(3)] == [b"GET /1 ", b"POST /2 two", b"GET /3 "]
    assert client.ending() == "fin"


def test_a_client_that_resets_ends_its_exchange(wire: Wire) -> None:
    """Only a reset aborts; the upstream's connection is not kept for the next client."""
    wire.may_reset = True
    release = threading.Event()
    wire.upstream.then(held(release, reply(b"late")))
    client = wire.client()
    port = client.port
    client.send(request("/a"))
    wire.upstream.one()
    client.reset()
    line = wire.proxy.log_lines(1, port=port)[0]
    assert (line["outcome"], line["by"]) == ("aborted", "client")
    release.set()
    assert wire.client().ask(request("/b")).body == b"hello"
