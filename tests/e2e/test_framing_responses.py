"""Bad messages of the upstream: a 502 while nothing has gone out, an abort that looks like one afterwards."""

import threading
from collections.abc import Callable

import pytest

from tests.e2e.conftest import Wire
from tests.kit.answers import Story, broken, chunked, last, reply
from tests.kit.client import request
from tests.kit.link import Turn
from tests.kit.payloads_responses import (
    BAD_CHUNKS,
    BAD_HEADS,
    BAD_LINES,
    CHUNKED,
    CUTS,
    HEAD_REASONS,
    HELLO,
    LINE_REASONS,
    OK,
    TE,
    UNSOLICITED,
)


def bad_gateway(wire: Wire, answer: bytes, reasons: set[str]) -> None:
    """A 502 for the client, and the connection of the upstream is not used again."""
    wire.may_reset = True
    wire.upstream.then(answer)
    client = wire.client()
    got = client.ask(request("/bad"))
    assert got.status == 502, got.raw
    assert got.error.startswith(("http_", "connection_terminated")), got.raw
    assert b"hello" not in got.body
    line = wire.log(client)[0]
    assert (line["status"], line["outcome"], line["by"]) == (502, "failed", "upstream")
    assert (line["phase"], line["reason"] in reasons) == ("upstream", True), line
    after = wire.client().ask(request("/after"))
    assert after.body == b"hello"
    links = {seen.connection for seen in wire.upstream.requests}
    assert len(links) == len(wire.upstream.requests), "a connection was used after a bad response"


@pytest.mark.parametrize("line", list(BAD_LINES.values()), ids=list(BAD_LINES))
def test_a_bad_status_line(wire: Wire, line: bytes) -> None:
    bad_gateway(wire, line + b"\r\nContent-Length: 5\r\n\r\nhello", LINE_REASONS)


@pytest.mark.parametrize("name", list(BAD_HEADS))
def test_a_bad_head(wire: Wire, name: str) -> None:
    answer = OK + BAD_HEADS[name] if BAD_HEADS[name] else b"HTTP/1.0 200 OK\r\n" + TE + b"\r\n" + HELLO
    bad_gateway(wire, answer, HEAD_REASONS)


@pytest.mark.parametrize("cut", [0, 1, 8, 15, 17, 30, 36])
@pytest.mark.parametrize("how", [last, broken], ids=["fin", "rst"])
def test_cut_off_in_the_head(wire: Wire, cut: int, how: Callable[[bytes], Story]) -> None:
    """A POST, which is never sent twice: one 502, one request."""
    wire.may_reset = True
    data = (OK + b"Content-Length: 5\r\n\r\n")[:cut]
    wire.upstream.then(how(data))
    got = wire.client().ask(request(method="POST", body=b"x"))
    assert got.status == 502
    assert got.error in ("http_response_incomplete", "connection_terminated", "http_protocol_error")
    assert len(wire.upstream.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", id="bare LF"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\nX: y\r\n\r\nhello", id="one bare LF"),
        pytest.param(OK + b"X: a\r\n b\r\nContent-Length: 5\r\n\r\nhello", id="fold"),
        pytest.param(OK + b"Content-Length : 5\r\n\r\nhello", id="blank before colon"),
        pytest.param(b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", id="no phrase and no blank"),
        pytest.param(OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", id="two equal lengths"),
    ],
)
def test_harmless_faults_are_repaired(wire: Wire, answer: bytes) -> None:
    """Lenient where there is one reading (RFC 9112 5.1, 5.2): what the client gets is strict."""
    wire.upstream.then(answer)
    got = wire.client().ask(request())
    if got.status == 502:
        wire.may_reset = True
        assert b"Content-Length: 5\r\nContent-Length" in answer
    else:
        assert got.body == b"hello"


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("name", list(CUTS))
def test_a_truncated_response_looks_truncated(wire: Wire, name: str, how: str) -> None:
    """RFC 9112 8: never a clean end; a 502 is as good while nothing has gone out."""
    wire.may_reset = True
    wire.upstream.then(last(CUTS[name]) if how == "fin" else broken(CUTS[name]))
    client = wire.client()
    client.send(request(method="POST", body=b"x"))
    head = client.response_head()
    if head.status == 200:
        assert client.truncated(head=head).end in ("fin", "rst")
    else:
        assert head.status == 502
    line = wire.log(client)[0]
    assert line["by"] == "upstream"
    assert line["outcome"] in ("aborted", "failed")
    assert len(wire.upstream.requests) == 1


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_truncated_response_to_http_1_0_is_not_ended_cleanly(wire: Wire, how: str) -> None:
    """Without chunks and without a length only a reset can tell."""
    wire.may_reset = True
    data = CUTS["chunked, after a chunk"]
    wire.upstream.then(last(data) if how == "fin" else broken(data))
    client = wire.client()
    client.send(request(version="1.0"))
    client.drain()
    assert client.stream.end == "rst" or b" 502 " in client.stream.seen


def test_a_reset_in_a_response_until_close_is_not_ended_cleanly(wire: Wire) -> None:
    """The end of the connection ends the response: a reset is no end."""
    wire.may_reset = True
    wire.upstream.then(broken(OK + b"\r\nhello"))
    client = wire.client()
    client.send(request(method="POST", body=b"x"))
    assert client.truncated().partial is not None


@pytest.mark.parametrize("name", list(BAD_CHUNKS))
@pytest.mark.parametrize("before", [b"", b"3\r\nabc\r\n"], ids=["at once", "later"])
def test_a_bad_chunk_is_never_a_whole_response(wire: Wire, name: str, before: bytes) -> None:
    wire.may_reset = True
    wire.upstream.then(CHUNKED + before + BAD_CHUNKS[name])
    client = wire.client()
    client.send(request(method="POST", body=b"x"))
    head = client.response_head()
    if head.status == 200:
        assert client.truncated(head=head).end in ("fin", "rst")
    else:
        assert head.status == 502
    assert wire.client().ask(request("/after")).body == b"hello"


@pytest.mark.parametrize("poison", list(UNSOLICITED.values()), ids=list(UNSOLICITED))
def test_a_poisoned_idle_connection_is_dropped(wire: Wire, poison: bytes) -> None:
    """RFC 9112 9.3: what comes unasked is never given to the next client."""
    wire.may_reset = True
    client = wire.client()
    assert client.ask(request("/1")).body == b"hello"
    link = wire.upstream.links[0]
    link.send(poison)
    assert link.ended.wait(5), "a poisoned connection stays in the pool"
    got = client.ask(request("/2", method="POST", body=b"x"))
    assert (got.status, got.body) == (200, b"hello")
    first, second = wire.upstream.wait_requests(2)
    assert first.connection != second.connection


@pytest.mark.parametrize(
    "extra", [reply(b"poison"), b"x", b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"]
)
@pytest.mark.parametrize("answer", [reply(b"first"), chunked(b"first")], ids=["length", "chunked"])
def test_more_than_one_response_to_a_request(wire: Wire, answer: bytes, extra: bytes) -> None:
    """The surplus is dropped with the connection, though a GET goes out on any that is idle."""
    wire.may_reset = True
    wire.upstream.then(answer + extra)
    client = wire.client()
    assert client.ask(request("/1")).body == b"first"
    got = client.ask(request("/2"))
    assert (got.status, got.body) == (200, b"hello")
    first, second = wire.upstream.wait_requests(2)
    assert first.connection != second.connection


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_body_where_none_may_be(wire: Wire, status: str) -> None:
    """Its bytes are no part of this response, nor of the next."""
    wire.may_reset = True
    wire.upstream.then(f"HTTP/1.1 {status}\r\nContent-Length: 6\r\n\r\npoison".encode())
    client = wire.client()
    assert client.ask(request("/1")).body == b""
    assert client.ask(request("/2", method="POST", body=b"x")).body == b"hello"


def test_a_body_in_answer_to_head(wire: Wire) -> None:
    wire.may_reset = True
    wire.upstream.then(reply(b"poison"))
    client = wire.client()
    assert client.ask(request("/1", method="HEAD")).body == b""
    assert client.ask(request("/2", method="POST", body=b"x")).body == b"hello"


def test_a_response_before_the_request_is_whole(wire: Wire) -> None:
    """An early final response is passed on; the connection, with a request half sent, is not reused."""
    wire.may_reset = True
    gone = threading.Event()

    def story(turn: Turn) -> None:
        turn.send(reply(b"early", status="401 Unauthorized"))
        turn.gone()
        gone.set()

    wire.upstream.then(story, at="head")
    client = wire.client()
    client.send(request("/streamed", method="POST", fields=["Content-Length: 1000000"]) + b"x" * 1000)
    got = client.response()
    assert (got.status, got.body) == (401, b"early")
    client.send_or_fail(b"x" * 999_000)
    client.close()
    assert gone.wait(8)
