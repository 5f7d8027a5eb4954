"""Heads whose fields came before: what is looked up as a block says what its lines say."""

import re

import pytest
from hypothesis import assume, event, example, given
from hypothesis import strategies as st

from shieldproxy.core import blocks, fields
from shieldproxy.core.forward import request_head, response_head
from shieldproxy.core.head import (
    CHUNKED,
    UNTIL_CLOSE,
    Fault,
    RequestHead,
    ResponseHead,
    end_of_head,
    read_request,
    read_response,
)
from tests.core.test_head_properties import ROUTE, read, requests, responses

MEANT = (
    {*RequestHead.__slots__, "lines"} - {"_lines", "block", "kin", "news", "own"},
    {*ResponseHead.__slots__} - {"block", "news"},
)


def meaning(read: RequestHead | ResponseHead | Fault) -> object:
    """What a reading says, whichever way it was read."""
    if isinstance(read, Fault):
        return read
    return {name: getattr(read, name) for name in MEANT[isinstance(read, ResponseHead)]}


def forget() -> None:
    """Nothing was read before."""
    fields.REQUEST_LINES.__init__(fields._request_kind)  # type: ignore[misc]
    blocks.REQUEST_BLOCKS.forget()
    blocks.RESPONSE_BLOCKS.forget()


@given(requests())
def test_a_head_reads_the_same_whatever_was_read_before(data: bytes) -> None:
    forget()
    first = meaning(read(data)[0])
    for _ in range(4):
        assert meaning(read(data)[0]) == first
    forget()
    assert meaning(read(data)[0]) == first


COOKIES = st.sampled_from(
    [
        *[b"", b"", b"Cookie: a=1", b"Cookie: b=2; c=3", b"cookie: low", b"Cookie:x", b"Cookie: "],
        *[b"Cookie: a\x00b", b"Cookie: a\rb", b"Cookie: a\nb"],
    ]
)
REFERERS = st.sampled_from(
    [
        *[b"", b"", b"Referer: /a", b"Referer: http://b.example/c?d", b"referer: low"],
        b"Referer: a\x01",
        b"Referer: ",
    ]
)
OTHERS = st.sampled_from(
    [b"Host: a.example", b"Host: b", b"A: b", b"User-Agent: c/1", b"Connection: close", b"Connection: A"]
)
PLAIN = [b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: 67890"]
FRAMINGS = st.sampled_from(
    [
        *[b"", *PLAIN, *PLAIN],
        *[b"Content-Length: 05", b"Content-Length: +5", b"Content-Length: 5 ", b"Content-Length: "],
        *[b"Content-Length:5", b"content-length: 5", b"Content-Length: 5\r\n 6", b"Content-Length: 5\n"],
        *[b"Content-Length: 5\r\nContent-Length: 5", b"Content-Length: 5\r\nTransfer-Encoding: chunked"],
        *[b"Content-Length: 5\r\nExpect: 100-continue", b"Transfer-Encoding: chunked"],
        *[
            b"Content-Length: 999999999999999",
            b"Content-Length: 1000000000000000",
            b"Content-Length: " + b"9" * 19,
        ],
    ]
)
TURNS = st.tuples(
    *(COOKIES, st.integers(0, 4), REFERERS, st.integers(0, 5), FRAMINGS, st.integers(0, 6)),
    st.sampled_from([b"GET", b"POST", b"POST"]),
    st.sampled_from([b"0", b"1", b"1"]),
)
Turn = tuple[bytes, int, bytes, int, bytes, int, bytes, bytes]
GET = (b"", 0, b"GET", b"1")
BODIES = [(b"", 0, b"", 0, b"Content-Length: %d" % n, n % 4, b"POST", b"1") for n in range(8)]


@given(st.lists(OTHERS, max_size=4), st.lists(TURNS, min_size=4, max_size=8))
@example(
    [b"Host: b", b"A: b"],
    [(b"Cookie: a=1", 1, b"", 0, *GET), (b"Cookie: b=2", 1, b"", 0, *GET), (b"", 0, b"", 0, *GET)],
)
@example([b"Host: b", b"A: b"], [(b"Cookie: a=1", 0, b"Referer: /a", n, *GET) for n in (1, 1, 1, 2, 0, 0, 3)])
@example([b"Host: b", b"A: b"], BODIES)
@example([b"Host: b", b"A: b"], [*BODIES, (b"", 0, b"", 0, *GET)])
@example([b"Host: b", b"A: b"], [*[(b"", 0, b"", 0, *GET)] * 3, *BODIES])
def test_a_known_block_says_what_its_lines_say(lines: list[bytes], turns: list[Turn]) -> None:
    """The same lines again and again, with cookie and length here or there, well-formed or not."""
    readings = []
    for known in (True, False):
        forget()
        for cookie, place, referer, other, framing, third, method, minor in turns:
            if not known:
                forget()
            mine = list(lines)
            for line, at in ((cookie, place), (referer, other), (framing, third)):
                mine[at:at] = [line] if line else []
            data = b"%b /p HTTP/1.%b\r\n%b\r\n" % (method, minor, b"".join(line + b"\r\n" for line in mine))
            head, _ = read(data)
            event("known" if isinstance(head, RequestHead) and head.block else "not known")
            written = b"" if isinstance(head, Fault) else request_head(head, ROUTE, b"", head.length)
            if isinstance(head, RequestHead):
                head.pack()
                event("packed" if head.kin and not head.block else "not packed")
                head.unpack()
                assert request_head(head, ROUTE, b"", head.length) == written
                head.pack()  # what it means, and so its lines, is asked of a packed one
            readings.append((meaning(head), written))
    assert readings[: len(turns)] == readings[len(turns) :]


def test_a_length_that_changes_keeps_nobody_from_being_known() -> None:
    forget()
    head = b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nX: y\r\nCookie: %d\r\n\r\n"
    seen = []
    for n in range(5):
        data = head % (n, 1000 + n, n)
        read = read_request(data, len(data))
        assert isinstance(read, RequestHead)
        seen.append((bool(read.block), read.length, read.count))
    assert seen == [(n > 1, 1000 + n, 4) for n in range(5)]
    assert len(blocks.REQUEST_BLOCKS) == 1


@pytest.mark.parametrize(
    "lines", [b"Referer: %d\r\nX: y\r\nCookie: %d\r\n", b"Cookie: %d %d\r\n", b"Z: y\r\n"]
)
def test_a_packed_head_holds_only_what_is_its_own(lines: bytes) -> None:
    forget()
    for n in range(3):
        data = (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n" + lines.replace(b"%d", b"%d" % n) + b"\r\n"
        )
        read = read_request(data, len(data))
        assert isinstance(read, RequestHead)
        whole = read.block
        read.pack()
    assert isinstance(read, RequestHead)
    assert whole
    assert read.block == b""
    assert len(read.own) < len(lines)
    read.unpack()
    assert read.block == whole


@given(responses(), st.sampled_from([b"GET", b"HEAD"]), st.integers(0, 10**6), st.booleans())
@example(b"HTTP/1.1 200 OK\r\nA: b\r\nDate: x\r\nContent-Length: 5\r\n\r\n", b"GET", 7, False)
@example(b"HTTP/1.1 304 OK\r\nContent-Length: 5\r\nA: b\r\n\r\n", b"HEAD", 7, True)
def test_a_known_response_says_what_its_lines_say(data: bytes, method: bytes, length: int, old: bool) -> None:
    end = end_of_head(data, 0)
    assume(end >= 0)
    other = re.sub(rb"(Content-Length: )\d+", rb"\g<1>%d" % length, data[:end])
    forget()
    for _ in range(3):
        read_response(data, end, b"GET")
    readings = []
    for _ in range(2):
        head = read_response(other, len(other), method)
        event("known" if isinstance(head, ResponseHead) and head.block else "not known")
        written = b""
        if isinstance(head, ResponseHead):
            framing = (UNTIL_CLOSE if old else CHUNKED) if head.length < 0 else head.length
            written = response_head(head, ROUTE, minor10=old, framing=framing, connection=b"", date=b"now")
        readings.append((meaning(head), written))
        forget()
    assert readings[0] == readings[1]


def test_blocks_are_kept_at_the_second_sight_within_bounds_and_secrets_never() -> None:
    def see(data: bytes) -> None:
        read_request(data, len(data))

    known = blocks.REQUEST_BLOCKS
    head = b"GET /%d HTTP/1.1\r\nHost: a\r\n%bX: %d\r\n\r\n"
    forget()
    for line in (
        b"Authorization: secret",
        b"If-None-Match: x",
        b"Content-Length: 0",
        b"TE: x",
        b"Connection: x",
    ):
        for n in range(4):
            see(head % (n, line + b"\r\n", 1))
    assert not known.all
    for n in range(3):
        see(head % (n, b"Referer: /%d\r\nCookie: %d\r\n" % (n, n), 2))
        assert len(known) == (n > 0)
    for n in range(3 * known.ROOM):
        see(head % (n, b"", n))
        see(head % (n, b"", n))
        assert 0 < len(known) <= known.ROOM
    forget()
    for n in range(3):
        see(head % (n, b"X: y\r\n" * (known.LONGEST // 6), 3))
    assert not known.all
