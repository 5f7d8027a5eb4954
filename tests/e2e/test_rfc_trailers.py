"""Transfer codings and trailers, by the section (RFC 9112 6 and 7; RFC 9110 6.5, 6.6.2, 7.6.1, 10.1.4)."""

import pytest

from tests.e2e.conftest import Wire
from tests.kit.answers import chunked
from tests.kit.client import request
from tests.kit.judge import refused

TE = ["Transfer-Encoding: chunked"]
TAKES = ["TE: trailers"]
BODY = b"5\r\nhello\r\n0\r\n"


@pytest.mark.parametrize("coding", ["gzip", "identity", "cow", "chunked, gzip", "chunked, chunked"])
def test_a_request_whose_last_coding_is_not_one_chunked(wire: Wire, coding: str) -> None:
    """RFC 9112 6.3, 6.1: nobody can tell where it ends: 400, and the end of the connection."""
    refused(wire, request(method="POST", fields=[f"Transfer-Encoding: {coding}"]) + BODY + b"\r\n", 400)
    assert not wire.upstream.links


@pytest.mark.parametrize("coding", ["gzip, chunked", "cow;a=b, chunked"])
def test_a_coding_that_is_not_known_before_chunked(wire: Wire, coding: str) -> None:
    """RFC 9112 6.1, 7.2: 501."""
    refused(wire, request(method="POST", fields=[f"Transfer-Encoding: {coding}"]) + BODY + b"\r\n", 501)
    assert not wire.upstream.links


@pytest.mark.parametrize("coding", [", chunked", "chunked,", "chunked, ,"])
def test_a_coding_among_empty_elements_is_refused(wire: Wire, coding: str) -> None:
    """RFC 9110 5.6.1.2 would have them ignored; in this field nothing odd goes on."""
    refused(wire, request(method="POST", fields=[f"Transfer-Encoding: {coding}"]) + BODY + b"\r\n", 400)
    assert not wire.upstream.links


@pytest.mark.parametrize("given", ["trailers", "gzip;q=0.5, Trailers"])
def test_a_client_that_takes_trailers_gets_them(wire: Wire, given: str) -> None:
    """RFC 9110 10.1.4, 6.5.2: behind the body, in order, announced as by the server (6.6.2)."""
    wire.upstream.then(chunked(b"hello", fields="Trailer: X-Sum\r\n", trailers="X-Sum: 1\r\nX-More: 2\r\n"))
    got = wire.client().ask(request(fields=[f"TE: {given}", "Connection: TE"]))
    assert got.trailers == [(b"X-Sum", b"1"), (b"X-More", b"2")]
    assert got.get("trailer") == b"X-Sum"


@pytest.mark.parametrize("fields", [[], ["TE: gzip"], ["TE:"]])
def test_a_client_that_does_not_say_so_gets_none(wire: Wire, fields: list[str]) -> None:
    """RFC 9110 6.5.1, 10.1.4; RFC 9112 7.1.2: they are dropped, and none goes into the header."""
    wire.upstream.then(chunked(b"hello", trailers="X-Sum: 1\r\n"))
    client = wire.client()
    got = client.ask(request(fields=fields))
    assert (got.framing, got.body, got.trailers) == ("chunked", b"hello", [])
    assert "x-sum" not in got
    assert client.ask(request("/again")).body == b"hello"


def test_trailers_are_not_merged_into_a_head_without_chunks(wire: Wire) -> None:
    """RFC 9110 6.5.1, RFC 9112 7.1.2: a client of HTTP/1.0 gets the body, and no field of the trailers."""
    wire.upstream.then(chunked(b"hello", trailers="X-Sum: 1\r\n"))
    got = wire.client().ask(request(version="1.0", fields=TAKES))
    assert got.body == b"hello"
    assert "x-sum" not in got


UNBELIEVED = (
    "Content-Length: 9\r\nTransfer-Encoding: x\r\nHost: evil\r\nSet-Cookie: a=b\r\nAuthorization: x\r\n"
)


def test_fields_that_may_not_trail_end_here(wire: Wire) -> None:
    """RFC 9110 6.5.1: framing, routing, credentials and the like, in both directions."""
    wire.upstream.then(chunked(b"hello", trailers=UNBELIEVED + "X-Sum: 1\r\n"))
    data = (
        request("/streamed", method="POST", fields=[*TE, *TAKES])
        + BODY
        + UNBELIEVED.encode()
        + b"X-Sum: 1\r\n\r\n"
    )
    got = wire.client().ask(data)
    assert got.trailers == wire.upstream.one().trailers == [(b"X-Sum", b"1")]


def test_connection_takes_trailers_away(wire: Wire) -> None:
    """RFC 9110 7.6.1: header *or trailer* fields that Connection names are removed, in both directions."""
    trailers = "X-Sum: 1\r\nx-hop: 2\r\nX-More: 3\r\n"
    named = "Connection: X-Hop\r\nX-HOP: 0\r\n"
    wire.upstream.then(chunked(b"hello", fields=named, trailers=trailers))
    fields = [*TE, *TAKES, "Connection: TE, X-Hop", "X-HOP: 0"]
    got = wire.client().ask(
        request("/streamed", method="POST", fields=fields) + BODY + trailers.encode() + b"\r\n"
    )
    seen = wire.upstream.one()
    assert got.trailers == seen.trailers == [(b"X-Sum", b"1"), (b"X-More", b"3")]
    assert "x-hop" not in got
    assert "x-hop" not in seen


def test_te_is_for_one_connection(wire: Wire) -> None:
    """RFC 9110 10.1.4, RFC 9112 7.4: it ends here; what we send up has neither TE nor a Connection for it."""
    wire.client().ask(request(fields=["TE: trailers, deflate;q=0.5", "Connection: TE"]))
    seen = wire.upstream.one()
    assert "te" not in seen
    assert "connection" not in seen


def test_a_chunked_message_is_chunked_once(wire: Wire) -> None:
    """RFC 9112 6.1, 6.2: one coding, and no length beside it; the strict reader of both sides would tell."""
    wire.upstream.then(chunked(b"hel", b"lo"))
    got = wire.client().ask(
        request("/streamed", method="POST", fields=TE) + b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n"
    )
    seen = wire.upstream.one()
    for message in (got, seen):
        assert message.all("transfer-encoding") == [b"chunked"]
        assert "content-length" not in message
        assert message.body == b"hello"


@pytest.mark.parametrize("size", [b"0000000000000005", b'5;ext;q="a;b"', b'5 \t;a="b"'])
def test_sizes_and_extensions_of_chunks(wire: Wire, size: bytes) -> None:
    """RFC 9112 7.1, 7.1.1, RFC 9110 5.6.3: long numerals are read, bad white space and extensions ignored."""
    got = wire.client().ask(request(method="POST", fields=TE) + size + b"\r\nhello\r\n0\r\n\r\n")
    assert got.status == 200
    assert wire.upstream.one().body == b"hello"
