"""Requests with two readings: what reaches the upstream is one well-formed request, or nothing.

RFC 9112 2.2, 3, 5, 6, 7.1, 11.2. The payloads are tables in tests.kit; the judge is the recording upstream.
"""

import re

import pytest

from tests.e2e.conftest import Connect, Wire
from tests.kit.client import request
from tests.kit.judge import judge
from tests.kit.payloads import HOST, ONCE, Case, post
from tests.kit.payloads_all import ALL, CLASSES, counts

TE = b"Transfer-Encoding: chunked\r\n"


def test_there_are_enough_payloads_of_every_class() -> None:
    assert len(ALL) >= 500
    assert len({case.name for case in ALL}) == len(ALL)
    assert len({case.data for case in ALL}) >= 0.98 * len(ALL)
    assert not [name for name, count in counts().items() if count < 25]
    unclassed = [c.name for c in ALL if not any(re.search(p, c.name) for p in CLASSES.values())]
    assert len(unclassed) <= 0.05 * len(ALL), unclassed


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_nothing_or_exactly_one_well_formed_request(wire: Wire, case: Case) -> None:
    judge(wire, case)


@pytest.mark.parametrize(
    "case",
    [case for case in ALL if case.allowed == ONCE and b" HTTP/1.0" not in case.data],
    ids=lambda case: case.name,
)
def test_a_sound_request_is_followed_by_the_next(wire: Wire, case: Case) -> None:
    """The message ends where it says: the next request on the connection is read from the right byte."""
    client = wire.client()
    client.send(case.data + request("/next"))
    assert client.response().status == 200
    assert client.response().status == 200
    assert [r.target for r in wire.upstream.wait_requests(2)][1] == b"/next"


@pytest.mark.parametrize(
    "case",
    [case for case in ALL if not case.late and len(case.data) < 400][::6],
    ids=lambda case: case.name,
)
def test_byte_by_byte_is_read_the_same_way(wire: Wire, case: Case) -> None:
    """However a request is cut into segments, the answer is the same."""
    together = judge(wire, case)
    wire.upstream.reset_scripts()
    client = wire.client()
    for at in range(len(case.data)):
        if not client.send_or_fail(case.data[at : at + 1]):
            break
    answer = client.response(case.data.split(b" ", 1)[0].decode("latin-1"))
    assert answer.status == together.status
    assert len(wire.upstream.requests) == (answer.status == 200)


@pytest.mark.parametrize("cut", [1, 30, 60, 90])
def test_a_request_cut_off_in_its_head_is_never_forwarded(wire: Wire, cut: int) -> None:
    """A FIN inside a head ends it (design, "Half-close")."""
    whole = post(b"Content-Length: 5\r\nX-Long-Enough: " + b"a" * 80 + b"\r\n", b"hello")
    client = wire.client()
    client.send(whole[:cut]).half_close()
    client.drain()
    assert client.stream.end == "fin"
    assert not wire.upstream.requests
    assert not wire.upstream.links


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"Content-Length: 50\r\n\r\nhello", id="length"),
        pytest.param(TE + b"\r\n5\r\nhello\r\n", id="chunked"),
        pytest.param(TE + b"\r\n5\r\nhel", id="in a chunk"),
        pytest.param(TE + b"\r\n5\r\nhello\r\n0\r\n", id="before the last line"),
        pytest.param(TE + b"\r\n5\r\nhello\r\n0\r\nX: y\r\n", id="in the trailers"),
    ],
)
def test_a_request_cut_off_in_its_body_is_never_whole(wire: Wire, body: bytes) -> None:
    """RFC 9112 8: an incomplete message is not to be taken for a complete one."""
    wire.may_reset = True
    client = wire.client()
    client.send(b"POST /a HTTP/1.1\r\n" + HOST + body).half_close()
    client.drain()
    assert client.stream.end == "fin"
    for link in wire.upstream.links:
        assert link.ended.wait(5)
    assert not wire.upstream.requests
    assert not wire.upstream.violations


def test_a_refusal_reaches_a_client_that_goes_on_sending(wire: Wire) -> None:
    """400, FIN, and the rest is read and discarded: no reset, although input was unread."""
    client = wire.client(rcvbuf=4096)
    client.send(post(b"Content-Length: x\r\n", b""))
    for _ in range(50):
        assert client.send_or_fail(b"z" * 20_000), "more than one read of the proxy's takes"
    assert client.response().status == 400
    assert client.ending() == "fin"


def test_the_log_names_what_was_wrong(wire: Wire) -> None:
    """A refusal has its reason, phase and outcome in the log."""
    client = wire.client()
    assert client.ask(b"GET /a HTTP/1.1\nHost: test.example\n\n").status == 400
    line = wire.log(client)[0]
    assert (line["status"], line["outcome"]) == (400, "refused")
    assert line["phase"] in ("head", "policy")
    assert line["reason"] == "bare-lf"
    assert line["by"] in ("client", "proxy")


def test_an_unfinished_pipelined_request_does_not_spoil_the_first(wire: Wire, connect: Connect) -> None:
    """The whole request before a broken one is answered, then the broken one is refused, then the end."""
    client = wire.client()
    client.send(request("/good") + b"GET /bad HTTP/1.1\r\nHost : x\r\n\r\n" + request("/never"))
    assert client.response().status == 200
    assert client.response().status == 400
    assert client.ending() == "fin"
    assert [r.target for r in wire.upstream.wait_requests(1)] == [b"/good"]
