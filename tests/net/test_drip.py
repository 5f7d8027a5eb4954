"""A head that drips in byte by byte costs in proportion to its length: work is counted, not time.

The lobby's own code collects it, from a socket that is a list of pieces. Counted are the bytes that are
looked at for the end of the head, and the calls into Python and C; for n bytes and for four times as many.
"""

import sys
from types import FrameType

import pytest

from shieldproxy.core.head import end_of_head
from shieldproxy.core.policy import Policy
from shieldproxy.net import downstream
from tests.fuzz.pieces import Drip

SIZES = (1000, 4000)


class Counted(bytearray):
    """A head so far that knows how much of it was searched."""

    looked_at = 0

    def find(self, what: bytes, start: int = 0, end: int = sys.maxsize) -> int:  # type: ignore[override]
        found = super().find(what, start, end)
        stop = min(end, len(self)) if found < 0 else found + len(what)
        self.looked_at += max(0, stop - start)
        return found


def head_of(size: int, line_end: bytes = b"\r\n") -> bytes:
    """A head of many fields without its last line end."""
    lines = [b"GET / HTTP/1.1", b"Host: a"]
    while sum(map(len, lines)) < size:
        lines.append(b"X-%d: %b" % (len(lines), b"y" * 20))
    return line_end.join(lines)[:size]


def looked_at(data: bytes) -> int:
    """Bytes that are searched for the end of a head while it drips."""
    drip = Drip(Policy())
    assert drip.feed([data[:1]]) is None
    counted = drip.rec.buf = Counted(drip.rec.buf)
    assert drip.feed([data[at : at + 1] for at in range(1, len(data))]) is None
    assert drip.rec.buf is counted, "the head is copied"
    assert bytes(counted) == data
    return counted.looked_at


def calls(data: bytes) -> int:
    """Calls of functions while a head drips."""
    drip = Drip(Policy())
    count = 0

    def on_call(_frame: FrameType, what: str, _arg: object) -> None:
        nonlocal count
        count += what in {"call", "c_call"}

    drip.pieces = [data[at : at + 1] for at in range(len(data))]
    sys.setprofile(on_call)
    try:
        for _ in range(len(data)):
            drip.clients.on_waiting(drip.rec, 1)
    finally:
        sys.setprofile(None)
    assert not drip.heads
    assert not drip.faults
    return count


@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"], ids=["CRLF", "LF"])
def test_each_byte_is_looked_at_a_few_times_whatever_the_length(line_end: bytes) -> None:
    few, many = (looked_at(head_of(size, line_end)) for size in SIZES)
    assert few <= 16 * SIZES[0]
    assert many <= 4.1 * few


def test_the_calls_are_the_same_for_each_byte() -> None:
    few, many = (calls(head_of(size)) for size in SIZES)
    assert few <= 40 * SIZES[0]
    assert many <= 4.1 * few


def test_a_search_from_the_start_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the count is for: without `start`, four times the bytes are sixteen times the work."""
    monkeypatch.setattr(downstream, "end_of_head", lambda buf, _start: end_of_head(buf, 0))
    few, many = (looked_at(head_of(size)) for size in SIZES)
    assert many > 12 * few
