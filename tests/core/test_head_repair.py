"""What is odd about a response: found, and mended or refused as the upstream's switches say."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shieldproxy.core.diagnose import BARE_LF, FOLDS
from shieldproxy.core.forward import response_head
from shieldproxy.core.head import CHUNKED, UNTIL_CLOSE, Fault, ResponseHead, end_of_head, read_response
from shieldproxy.core.response import CONNECTION, DATELESS, UPGRADE
from shieldproxy.core.routes import Route
from shieldproxy.core.upstreams import Repair

OFF = Repair(**dict.fromkeys((each.name for each in fields(Repair)), False))
ON = Repair()
DATE = b"Date: Sun, 22 Nov 2026 12:00:00 GMT"


def read(
    *lines: bytes, repair: Repair = ON, method: bytes = b"GET", end: bytes = b"\r\n"
) -> ResponseHead | Fault:
    data = end.join((*lines, b"", b""))
    return read_response(data, end_of_head(data, 0), method, repair)


def good(*lines: bytes, repair: Repair = ON, end: bytes = b"\r\n") -> ResponseHead:
    head = read(*lines, repair=repair, end=end)
    assert isinstance(head, ResponseHead), head
    return head


def refused(*lines: bytes, repair: Repair, end: bytes = b"\r\n") -> str:
    fault = read(*lines, repair=repair, end=end)
    assert isinstance(fault, Fault), fault
    assert fault.status == 502
    return fault.reason


OK, OLD, LENGTH = b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"Content-Length: 5"
KEEP, CLOSE = b"Connection: keep-alive", b"Connection: close"


def test_a_clean_response_is_not_odd() -> None:
    for _ in range(4):  # from the third time on as a known block
        for repair in (ON, OFF):
            assert good(OK, DATE, LENGTH, repair=repair).odd == 0
            assert good(OK, DATE, LENGTH, CLOSE, repair=repair).odd == 0
            assert good(OK, DATE, LENGTH, b"Connection: x", repair=repair).odd == 0
            assert good(OLD, DATE, LENGTH, KEEP, repair=repair).odd == 0
            assert good(OLD, DATE, CLOSE, repair=repair).odd == 0
            assert good(OK, DATE, CLOSE, repair=repair).odd == 0
            assert good(OK, DATE, b"Transfer-Encoding: chunked", repair=repair).odd == 0


def test_bare_line_feeds() -> None:
    assert good(OK, DATE, LENGTH, end=b"\n").odd == BARE_LF
    assert refused(OK, DATE, LENGTH, end=b"\n", repair=OFF) == "bare-lf"


def test_folds() -> None:
    head = good(OK, DATE, LENGTH, b"X: a\r\n  b")
    assert head.odd == FOLDS
    assert b"X: a b" in head.lines
    assert refused(OK, DATE, LENGTH, b"X: a\r\n  b", repair=OFF) == "obs-fold"
    both = good(OK, LENGTH, b"X: a\n\tb", end=b"\n")
    assert both.odd == BARE_LF | FOLDS | DATELESS


def test_no_date() -> None:
    for _ in range(4):
        for repair in (ON, OFF):
            head = good(OK, b"Content-Type: a/b", LENGTH, repair=repair)
            assert head.odd == DATELESS
            assert b"Date: now\r\n" in response_head(head, Route("l"), 5, b"", b"now")
            assert b"Date" not in response_head(head, Route("l"), 5, b"", b"")


@pytest.mark.parametrize(
    ("lines", "odd", "contradicts"),
    [
        ((OLD, DATE, LENGTH), CONNECTION, False),
        ((OLD, DATE), CONNECTION, False),
        ((OK, DATE), CONNECTION, False),
        ((OK, DATE, KEEP), CONNECTION, True),
        ((OLD, DATE, KEEP), CONNECTION, True),
        ((OK, DATE, LENGTH, KEEP, CLOSE), CONNECTION, True),
        ((OK, DATE, LENGTH, b"Connection: close, keep-alive"), CONNECTION, True),
        ((OLD, DATE, LENGTH, KEEP, CLOSE), CONNECTION, True),
    ],
)
def test_connection(lines: tuple[bytes, ...], odd: int, contradicts: bool) -> None:
    for _ in range(4):
        head = good(*lines)
        assert (head.odd, head.persistent) == (odd, False)
        if contradicts:
            assert refused(*lines, repair=OFF) == "connection-contradicts"
        else:
            assert not good(*lines, repair=OFF).persistent


def test_length_with_coding() -> None:
    lines = (OK, DATE, LENGTH, b"Transfer-Encoding: chunked")
    assert refused(*lines, repair=ON) == "length-and-coding"
    head = good(*lines, repair=OFF)
    assert (head.length, head.content_length, head.persistent) == (CHUNKED, None, False)
    out = response_head(head, Route("l"), CHUNKED, b"", b"")
    assert b"Content-Length" not in out
    assert b"Transfer-Encoding: chunked\r\n" in out
    assert refused(OK, LENGTH, b"Transfer-Encoding: gzip", repair=OFF) == "coding-unknown"


def test_a_426_keeps_its_upgrade() -> None:
    lines = (
        b"HTTP/1.1 426 Upgrade Required",
        DATE,
        LENGTH,
        b"Upgrade: HTTP/2.0, x/1",
        b"Connection: upgrade",
    )
    for _ in range(4):
        head = good(*lines)
        assert head.odd == UPGRADE
        assert b"Upgrade: HTTP/2.0, x/1" in head.lines
    other = good(b"HTTP/1.1 200 OK", *lines[1:])
    assert other.odd == 0
    assert not [line for line in other.lines if b"pgrade" in line]


LINES = st.lists(
    st.sampled_from(
        [
            DATE,
            LENGTH,
            KEEP,
            CLOSE,
            b"Transfer-Encoding: chunked",
            b"X: a\r\n b",
            b"X: a\n\tb",
            b"Y: 1",
            b"Upgrade: x",
        ]
    ),
    max_size=5,
)


@given(
    st.sampled_from([OK, OLD, b"HTTP/1.1 426 x", b"HTTP/1.1 304 x"]), LINES, st.sampled_from([b"\r\n", b"\n"])
)
def test_what_is_off_is_never_taken_for_more(first: bytes, lines: list[bytes], end: bytes) -> None:
    """Switches refuse what was mended; but for the coding they let nothing through that was refused."""
    on, off = (read(first, *lines, repair=repair, end=end) for repair in (ON, OFF))
    if isinstance(on, Fault):
        assert isinstance(off, Fault) or on.reason == "length-and-coding"
    elif isinstance(off, ResponseHead):
        assert (on.length, on.persistent, on.lines, on.odd) == (
            off.length,
            off.persistent,
            off.lines,
            off.odd,
        )
        assert not off.odd & (BARE_LF | FOLDS)
    else:
        assert on.odd & (BARE_LF | FOLDS | CONNECTION)
    if isinstance(on, ResponseHead):
        assert not (on.persistent and on.odd & CONNECTION)
        assert not (on.persistent and on.length == UNTIL_CLOSE)
