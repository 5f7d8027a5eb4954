"""Whichever way a head is read, it says the same: quickly, thoroughly, or from memory.

A head is read by a pattern and line by line; what that does not take, by `diagnose`; and what came before is
remembered, by lines and by blocks of lines. What is refused must be refused for a reason that stands in the
bytes.
"""

import re
from typing import Final

from shieldproxy.core import blocks, fields
from shieldproxy.core import head as head_module
from shieldproxy.core import response as response_module
from shieldproxy.core.fields import UNTIL_CLOSE, Fault
from shieldproxy.core.forward import request_head, response_head
from shieldproxy.core.head import RequestHead, ResponseHead, end_of_head, read_request, read_response
from tests.fuzz.messages import METHODS, ROUTE

Head = RequestHead | ResponseHead | Fault

_NAMES: Final = (
    sorted({*RequestHead.__slots__, "lines"} - {"_lines", "block", "kin", "news", "own"}),
    sorted({*ResponseHead.__slots__} - {"block", "news"}),
)
"""What a head says; the rest is how it came to say it."""


def meaning(head: Head) -> object:
    """What a reading says, for comparison."""
    if isinstance(head, Fault):
        return head
    return [(name, getattr(head, name)) for name in _NAMES[isinstance(head, ResponseHead)]]


SHOWN: Final = {
    "bare-lf": re.compile(rb"(?<!\r)\n").search,
    "bare-cr": re.compile(rb"\r(?!\n)").search,
    "obs-fold": re.compile(rb"\n[ \t]").search,
    "space-before-colon": re.compile(rb"[ \t]:").search,
    "host-many": re.compile(rb"(?i)\nhost:[^\n]*\n(?:.*\n)?host:", re.DOTALL).search,
    "length-and-coding": re.compile(
        rb"(?is)content-length[ \t]*:.*transfer-encoding[ \t]*:|coding[ \t]*:.*-length[ \t]*:"
    ).search,
    "length-many": re.compile(rb"(?is)content-length[ \t]*:.*(?:content-length[ \t]*:|,)").search,
}
"""What must stand in a head that is refused for this reason; in a response, spaces may precede a colon."""


def check_readers(choice: int, data: bytes) -> None:
    """The quick reader and the thorough one never differ, and a fault is there where it is said to be."""
    end = end_of_head(data, 0)
    if end < 0:
        return
    slow: Head
    if choice & 1:
        slow = response_module._read_slowly(data[:end], METHODS[choice >> 1 & 3], response_module.USUAL)
    else:
        slow = head_module._read_slowly(data[:end])
    for _ in range(4):  # from the second sight on, from memory
        assert meaning(_read(choice, data, end)) == meaning(slow)
    if isinstance(slow, Fault):
        shown = SHOWN.get(slow.reason)
        assert shown is None or shown(data[:end]), slow


def _read(choice: int, data: bytes, end: int) -> Head:
    return read_response(data, end, METHODS[choice >> 1 & 3]) if choice & 1 else read_request(data, end)


# memory


def check_memory(choice: int, data: bytes) -> None:
    """A head much like one that came before says what it would say if nothing had."""
    end = end_of_head(data, 0)
    if end < 0:
        return
    for _ in range(3):
        _read(choice & 1, data, end)
    other = _varied(data[:end], choice >> 3)
    end = end_of_head(other, 0)
    if end < 0:
        return
    remembered = _said(choice, other, end)
    for known in (fields.REQUEST_LINES._lines, fields.RESPONSE_LINES._lines):
        known.clear()
    blocks.REQUEST_BLOCKS.forget()
    blocks.RESPONSE_BLOCKS.forget()
    assert remembered == _said(choice, other, end)


def _said(choice: int, data: bytes, end: int) -> object:
    head = _read(choice, data, end)
    written = b""
    if isinstance(head, RequestHead):
        written = request_head(head, ROUTE, b"", head.length)
    elif isinstance(head, ResponseHead):
        framing = head.length if head.length >= 0 else UNTIL_CLOSE
        written = response_head(head, ROUTE, framing, b"", b"now", minor10=bool(choice & 8))
    return written, meaning(head)


def _varied(head: bytes, how: int) -> bytes:
    """Change one line of a head: take it away, double it, move it, or change its first digit or its value."""
    lines = head.split(b"\r\n")
    at = how % len(lines)
    line = lines[at]
    changed = (
        [],
        [line, line],
        [re.sub(rb"\d+", rb"7", line, count=1)],
        [line + b"x"],
        [line, b"Cookie: a=%d" % how],
    )[how // len(lines) % 5]
    return b"\r\n".join([*lines[:at], *changed, *lines[at + 1 :]])
