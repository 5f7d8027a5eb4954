"""Messages and connections on the wire, by the section of RFC 9112 (and of RFC 9110 where it is named)."""

import threading

import pytest

from tests.e2e.conftest import Wire
from tests.kit.answers import held, last, reply
from tests.kit.client import request
from tests.kit.judge import refused
from tests.kit.link import Turn

OK = b"HTTP/1.1 200 OK\r\n"
HOST = b"Host: test.example\r\n"


@pytest.mark.parametrize("first", [b" X: y\r\n", b"\tContent-Length: 5\r\n", b" \r\n"])
def test_white_space_before_the_first_field_of_a_response(wire: Wire, first: bytes) -> None:
    """RFC 9112 2.2: not forwarded, not guessed at."""
    wire.may_reset = True
    wire.upstream.then(OK + first + b"Content-Length: 5\r\n\r\nhello")
    assert wire.client().ask(request()).status == 502


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00\r\n\r\n", b"hello\r\n\r\n", b"<a/>\r\n\r\n"])
def test_what_is_no_http_at_all(wire: Wire, garbage: bytes) -> None:
    """RFC 9112 2.2: 400, and the connection is closed."""
    refused(wire, garbage, 400)
    assert not wire.upstream.links


def test_no_bare_cr_or_lf_goes_out(wire: Wire) -> None:
    """RFC 9112 2.2: the strict readers of both sides fail at one; a phrase and a value with one are a 502."""
    wire.may_reset = True
    for head in (b"HTTP/1.1 200 O\rK\r\n", OK + b"X: a\rb\r\n"):
        wire.upstream.then(head + b"Content-Length: 5\r\n\r\nhello")
        got = wire.client().ask(request())
        assert got.status == 502
        assert b"\r" not in got.raw.replace(b"\r\n", b"")


def test_octets_beyond_ascii_are_passed_on(wire: Wire) -> None:
    """RFC 9112 2.2, RFC 9110 5.5: opaque data, in values and in the phrase."""
    wire.upstream.then(reply(status="200 \xdcberall", fields="X-A: \xc3\xa4\xff\r\n"))
    got = wire.client().ask(request(fields=["X-B: \xe4\x80"]))
    assert (got.phrase, got.get("x-a")) == (b"\xdcberall", b"\xc3\xa4\xff")
    assert wire.upstream.one().get("x-b") == b"\xe4\x80"


def test_a_higher_minor_version_counts_as_1_1(wire: Wire) -> None:
    """RFC 9110 6.2, RFC 9112 2.3: processed as the highest that is known, and our own is sent, both ways."""
    wire.upstream.then(reply(version="1.2"), reply(version="1.0"))
    client = wire.client()
    got = client.ask(request(version="1.9"))
    assert (got.status, got.version, got.persistent) == (200, b"1.1", True)
    assert client.ask(request(version="1.0")).version == b"1.1"
    assert [seen.version for seen in wire.upstream.wait_requests(2)] == [b"1.1", b"1.1"]
    assert [seen.all("via") for seen in wire.upstream.requests] == [
        [b"1.1 shieldproxy"],
        [b"1.0 shieldproxy"],
    ]


@pytest.mark.parametrize(
    ("target", "sent"),
    [("http://test.example", b"*"), ("http://test.example/", b"/"), ("http://test.example?a", b"/?a")],
)
def test_options_of_a_whole_server(wire: Wire, target: str, sent: bytes) -> None:
    """RFC 9112 3.2.4: the last proxy sends ``*`` where path and query are missing, and only there."""
    assert wire.client().ask(request(target, method="OPTIONS")).status == 200
    assert wire.upstream.one().target == sent


@pytest.mark.parametrize(
    "target",
    ["http:///a", "https:///a", "http://:80/a", "http://u:p@test.example/", "http://u@test.example/"],
)
def test_an_authority_that_is_empty_or_names_a_user(wire: Wire, target: str) -> None:
    """RFC 9110 4.2.1, 4.2.2, 4.2.4: such a URI is an error."""
    refused(wire, request(target), 400)
    assert not wire.upstream.links


def test_a_request_line_of_8000_octets(wire: Wire) -> None:
    """RFC 9112 3, RFC 9110 4.1: supported at least."""
    line = b"POST /" + b"a" * (8000 - len(b"POST / HTTP/1.1")) + b" HTTP/1.1"
    assert len(line) == 8000
    client = wire.client()
    assert client.ask(line + b"\r\n" + HOST + b"Content-Length: 1\r\n\r\nx").status == 200
    assert wire.upstream.one().target == line.split()[1]


@pytest.mark.parametrize("name", [b"X-Pad ", b"X-Pad\t", b"X-Pad \t "])
def test_white_space_before_a_colon_of_a_response_is_removed(wire: Wire, name: bytes) -> None:
    """RFC 9112 5.1: a proxy removes it before it forwards."""
    wire.upstream.then(OK + name + b": 1\r\nContent-Length: 5\r\n\r\nhello")
    got = wire.client().ask(request())
    assert (got.get("x-pad"), got.body) == (b"1", b"hello")


def test_a_fold_of_a_response_becomes_a_blank(wire: Wire) -> None:
    """RFC 9112 5.2: replaced by SP; the strict client would fail at a fold."""
    wire.upstream.then(OK + b"X-Long: one\r\n  two\r\n\tthree\r\nContent-Length: 5\r\n\r\nhello")
    got = wire.client().ask(request())
    assert (got.get("x-long"), got.body) == (b"one two three", b"hello")


@pytest.mark.parametrize(
    "lengths", [b"Content-Length: 5, 5\r\n", b"Content-Length: 5\r\nContent-Length: 5\r\n"]
)
def test_one_length_said_twice_by_a_server(wire: Wire, lengths: bytes) -> None:
    """RFC 9110 8.6, RFC 9112 6.3: the same decimal repeated is forwarded once."""
    wire.upstream.then(OK + lengths + b"\r\nhello")
    client = wire.client()
    got = client.ask(request())
    assert (got.all("content-length"), got.body) == ([b"5"], b"hello")
    assert client.ask(request("/again")).status == 200


@pytest.mark.parametrize("status", ["600 X", "999 X", "000 X", "099 X"])
def test_a_status_of_no_class(wire: Wire, status: str) -> None:
    """RFC 9110 15: an invalid status counts as a 5xx: a 502, whatever its body says."""
    wire.may_reset = True
    wire.upstream.then(reply(status=status))
    got = wire.client().ask(request())
    assert (got.status, got.error) == (502, "http_protocol_error")


@pytest.mark.parametrize("status", ["299 A", "399 B", "499 C", "599 D", "418 Teapot", "205 Reset Content"])
def test_a_status_that_nobody_knows(wire: Wire, status: str) -> None:
    """RFC 9110 15: its class is understood, and it is passed on as it is."""
    wire.upstream.then(reply(b"", status=status))
    client = wire.client()
    got = client.ask(request())
    assert f"{got.status} {got.phrase.decode()}" == status
    assert client.ask(request("/again")).status == 200


def test_nothing_goes_up_but_the_request(wire: Wire) -> None:
    """RFC 9112 2.2, 9.6: no CRLF before or behind it; no close that we would have to keep to."""
    client = wire.client()
    client.ask(request("/1", method="POST", body=b"one"))
    client.ask(request("/2"))
    first, second = wire.upstream.wait_requests(2)
    (link,) = wire.upstream.links
    assert link.received == first.raw + second.raw
    assert "connection" not in first
    assert "connection" not in second


def test_one_request_at_a_time_goes_up(wire: Wire) -> None:
    """RFC 9112 9.2, 9.3.2: a pipeline ends here, so each response has the one request that it answers."""
    release = threading.Event()
    wire.upstream.then(held(release, reply(b"first")))
    client = wire.client()
    client.send(request("/1") + request("/2"))
    wire.upstream.one()
    assert client.quiet(0.2)
    assert len(wire.upstream.requests) == 1
    release.set()
    assert [client.response().body for _ in range(2)] == [b"first", b"hello"]


@pytest.mark.parametrize("part", [b"Content-Length: 100000\r\n\r\nfirst", b"\r\nfirst"])
def test_a_response_that_is_not_read_to_its_end_frees_no_connection(wire: Wire, part: bytes) -> None:
    """RFC 9112 9.3: the client of it is gone; the rest must not be taken for the next response."""
    wire.may_reset = True
    gone = threading.Event()

    def story(turn: Turn) -> None:
        turn.send(OK + part)
        turn.wait(gone)
        turn.close()

    wire.upstream.then(story)
    client = wire.client()
    client.send(request("/1"))
    wire.upstream.one()
    client.reset()
    gone.set()
    assert wire.client().ask(request("/2", method="POST", body=b"x")).body == b"hello"
    one, two = wire.upstream.wait_requests(2)
    assert one.connection != two.connection


def test_what_comes_until_close_is_framed_for_the_client(wire: Wire) -> None:
    """RFC 9112 6.3: delimited by an encoding, so that it can be told from a response that broke off."""
    wire.upstream.then(last(b"HTTP/1.0 200 OK\r\n\r\nhello"))
    client = wire.client()
    got = client.ask(request())
    assert (got.framing, got.body, got.persistent) == ("chunked", b"hello", True)
    assert client.ask(request("/again")).body == b"hello"


def test_an_answer_before_the_body_is_there_says_that_the_end_comes(wire: Wire) -> None:
    """RFC 9110 10.1.1, RFC 9112 9.3, 9.6: close is announced, the rest of the body is no request."""
    wire.may_reset = True
    wire.upstream.then(lambda turn: turn.send(reply(b"no", status="403 Forbidden")), at="head")
    client = wire.client()
    client.send(request("/streamed", method="POST", fields=["Content-Length: 400000"]) + request("/smuggled"))
    got = client.response()
    assert (got.status, got.get("connection")) == (403, b"close")
    client.send_or_fail(request("/smuggled"))
    assert client.ending() == "fin"
    assert len(wire.upstream.links) == 1
    assert all(b"/streamed" in link.received[:16] for link in wire.upstream.links)


def test_a_refused_upload_is_broken_off(wire: Wire) -> None:
    """RFC 9112 9.5: told that the server wants no more of a body, we stop sending it and close our side.

    At once, while the rest of the refusal is still to come; what the client goes on sending is thrown away.
    """
    wire.may_reset = True
    sent, over = threading.Event(), threading.Event()
    head = b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n"

    def story(turn: Turn) -> None:
        turn.send(head + b"x" * 1000)
        turn.wait(sent)
        turn.send(b"x" * 99_000)
        turn.gone()
        over.set()

    wire.upstream.then(story, at="head")
    client = wire.client()
    client.send(request("/streamed", method="POST", fields=["Content-Length: 3000000"]) + b"y" * 50_000)
    assert client.response_head().status == 403
    assert client.stream.exactly(1000, "the refusal") == b"x" * 1000
    client.send(b"y" * 1_000_000)
    assert client.quiet(0.2)
    sent.set()
    assert over.wait(5)
    assert client.drain() == b"x" * 99_000
    assert len(wire.upstream.links[0].received) < 500_000


def test_an_upload_goes_on_after_an_early_success(wire: Wire) -> None:
    """RFC 9110 7.5: the response has begun, no word of an end: the rest of the body is still brought up."""
    begun = threading.Event()

    def story(turn: Turn) -> None:
        turn.send(OK + b"Content-Length: 10\r\n\r\nhello")
        begun.set()
        turn.send(b"%05d" % len(turn.read_body()))

    wire.upstream.then(story, at="head")
    client = wire.client()
    client.send(request("/streamed", method="POST", fields=["Content-Length: 70000"]) + b"x" * 100)
    assert begun.wait(5)
    client.send(b"x" * 69_900)
    assert client.response().body == b"hello70000"
