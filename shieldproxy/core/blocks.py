"""Heads whose fields came before, remembered as one block of bytes.

A browser sends the same fields with request after request; what changes is the target, the cookie, the page
it comes from, and the length of what it sends. A server sends the same fields with page after page; what
changes is the length, and once a second the date. So the head without those lines is looked up as a whole,
byte for byte: one look-up in place of one for each line, and what goes on is ready as one block too.

Only what has nothing special is kept: no line that has to be read each time (a length that is not plain, a
coding, Expect, forwarding fields), no secret, and no line that had not come before by itself. A block is kept
by head and response, which have just read it strictly, line by line; it says nothing that they would not say
again. It is bounded in entries and in bytes an entry, and forgets all when full: what is in use comes back.
"""

import re
from typing import Final, Generic, TypeVar

from shieldproxy.core.request import NO_LINE, RequestHead

Meaning = TypeVar("Meaning")


class KnownBlocks(Generic[Meaning]):
    """What blocks of field lines mean, by their bytes."""

    ROOM: Final = 1024
    LONGEST: Final = 2048

    def __init__(self) -> None:
        self.all: Final[dict[bytes, Meaning]] = {}
        self.get: Final = self.all.get
        """The meaning of a block, if it is known."""

    def keep(self, block: bytes, meaning: Meaning) -> None:
        """Remember a block, unless it is long."""
        if len(block) <= self.LONGEST:
            if len(self.all) >= self.ROOM:
                self.forget()
            self.all[block] = meaning

    def forget(self) -> None:
        """Forget all."""
        self.all.clear()

    def __len__(self) -> int:
        return len(self.all)


RequestBlock = tuple[int, int, bytes, bytes, bytes, int, bytes, bytes, bool]
"""Where two lines were cut out, what goes on around them; then fields, host, User-Agent, persistence."""
ResponseBlock = tuple[int, bytes, list[bytes], bytes, bool, int]
"""Status, phrase, the lines and the whole head that go on (up to the length), persistence, what is odd."""

REQUEST_BLOCKS: Final = KnownBlocks[RequestBlock]()
RESPONSE_BLOCKS: Final = KnownBlocks[ResponseBlock]()

VIA_LINES: Final = (b"Via: 1.0 shieldproxy", b"Via: 1.1 shieldproxy")
"""By the minor version that the message came in (RFC 9110 section 7.6.3)."""


def without_changing(data: bytes, start: int, end: int) -> tuple[bytes, int, bytes, int, bytes]:
    """Cut out the lines that differ from request to request: Referer and Cookie.

    Returns the other lines as they stand in ``data[start:end]``; where the first was cut out and the line
    (NO_LINE and nothing if there was one only); how far behind it the second was, and the line.
    """
    at, then = data.find(b"\r\nReferer: ", start - 2, end), data.find(b"\r\nCookie: ", start - 2, end)
    if then < at:
        at, then = then, at
    if then < 0:
        return data[start:end], NO_LINE, b"", NO_LINE, b""
    stop = data.find(b"\r\n", then + 2)
    second = data[then + 2 : stop]
    if at < 0:
        return data[start:then] + data[stop:end], NO_LINE, b"", then - start, second
    middle = data.find(b"\r\n", at + 2)
    block = data[start:at] + data[middle:then] + data[stop:end]
    return block, at - start, data[at + 2 : middle], then - middle, second


def without_length(data: bytes, start: int, end: int) -> tuple[bytes, bytes]:
    """Cut the length out of the head of a request with a body, which has another one each time.

    Returns the head without that line, and CRLF and the line; nothing where it is not in its plainest form.
    """
    at = data.find(b"\r\nContent-Length: ", start - 2, end)
    length = _plain_length(data, at, end) if at > 0 else None
    if length is None:
        return data, b""
    return data[:at] + data[length.end() : end], length[0]


_plain_length: Final = re.compile(rb"\r\nContent-Length: (?:0|[1-9][0-9]{0,14})(?=\r\n)").match


def keep_request(
    block: bytes, one: int, first: bytes, two: int, second: bytes, head: RequestHead, *, framed: bool
) -> None:
    """Remember what the lines of a head mean, all but those that differ from request to request.

    ``framed``: of these its length is one, and is the last line.
    """
    lines = head.lines[:-1] if framed else head.lines
    before, between, behind = b"", b"\r\n".join(lines), b""
    if second:
        index = lines.index(second)
        behind = b"".join([b"\r\n" + line for line in lines[index + 1 :]])
        other = lines.index(first) if first else -1
        between = b"".join([line + b"\r\n" for line in lines[other + 1 : index]])
        if first:
            between = b"\r\n" + between
            before = b"".join([line + b"\r\n" for line in lines[:other]])
    meaning = (head.count - framed, head.host, head.user_agent, head.persistent)
    REQUEST_BLOCKS.keep(block, (one, two, before, between, behind, *meaning))
