"""Response heads as the upstream sends them: read, and made fit to be forwarded (RFC 9112 sections 4 to 6).

It decides where the body ends and what of the head the client may see. Lenient where leniency changes nothing
(bare LF, folds, space before a colon, a missing phrase), strict where two readers could see two messages:
such a response is a fault, and the client gets a 502 in its place. ``read_response`` is called for every
response.
"""

import re
from typing import Final

from shieldproxy.core import fields
from shieldproxy.core.blocks import RESPONSE_BLOCKS, VIA_LINES, ResponseBlock
from shieldproxy.core.diagnose import fields_of, split_lines
from shieldproxy.core.fields import (
    NO_OPTIONS,
    PLAIN_FIELD,
    UNTIL_CLOSE,
    Fault,
    OddLine,
    Options,
    read_connection,
)
from shieldproxy.core.framing import response_length
from shieldproxy.core.request import NO_NAMES
from shieldproxy.core.upstreams import Repair

_STATUS: Final = rb"HTTP/1\.([0-9]) ([1-5][0-9][0-9])(?: (" + fields.VALUE + rb"))?+"
_plain: Final = re.compile(_STATUS + rb"\r\n").match
_digits: Final = re.compile(rb"[0-9]{1,15}+(?=\r\n)").match
_known_block: Final = RESPONSE_BLOCKS.get
_status_line: Final = re.compile(_STATUS).fullmatch
_blank_line: Final = re.compile(rb"\n\r?\n").search

USUAL: Final = Repair()
DATELESS: Final = 4
"""Oddity, beside BARE_LF and FOLDS: no Date."""
CONNECTION: Final = 8
"""Oddity: Connection says nothing where it should, or two things at once."""
UPGRADE: Final = 16
"""Oddity: a 426 with its Upgrade."""
STREAM: Final = 32
"""Oddity: the server wants it not to be buffered (``X-Accel-Buffering: no``)."""

NO_LENGTH: Final = frozenset((*range(100, 200), 204))
"""Statuses that have neither a body nor a Content-Length (RFC 9110 section 8.6)."""


class ResponseHead:
    """A response that may be forwarded."""

    __slots__ = (
        "block",
        "content_length",
        "length",
        "lines",
        "minor",
        "named",
        "news",
        "odd",
        "persistent",
        "phrase",
        "size",
        "status",
    )

    def __init__(self, minor: int, status: int, phrase: bytes, lines: list[bytes], size: int) -> None:
        self.minor = minor
        """0 or 1, of the upstream."""
        self.status = status
        self.phrase = phrase
        self.lines = lines
        """Field lines without CRLF: nothing hop-by-hop, no Content-Length."""
        self.size = size
        """Bytes of the head, the blank line included: where the body begins."""
        self.length = UNTIL_CLOSE
        """Bytes of the body that follows, CHUNKED or UNTIL_CLOSE; 0 where there can be none."""
        self.content_length: int | None = None
        """What Content-Length announced: also of a HEAD or a 304, where no body follows."""
        self.persistent = minor == 1
        """Whether the upstream connection may be used again after this response."""
        self.named = NO_NAMES
        """Lower-case names that Connection gave; not in the lines, and to be kept out of trailers."""
        self.odd = DATELESS
        """BARE_LF, FOLDS and those above: what is not as it should be, or is to be seen to."""
        self.block = b""
        """The head as it goes on in HTTP/1.1, up to its length, where that is known."""
        self.news = -1
        """Lines that were not known before; -1: the head has what is to be looked at each time."""

    @property
    def date(self) -> bool:
        """Whether it carries a Date."""
        return not self.odd & DATELESS

    @property
    def stream(self) -> bool:
        """Whether the server wants it not to be buffered."""
        return bool(self.odd & STREAM)


def read_response(data: bytes, end: int, method: bytes, repair: Repair = USUAL) -> ResponseHead | Fault:
    """Read the head ``data[:end]``, blank line included, of the response to ``method``; faults are 502.

    A head of mixed line ends may be shorter than ``end``: ``size`` says where it ended. ``repair``: which of
    its faults are mended; what was found is in ``odd``.
    """
    block = b""
    at = data.find(b"\r\nContent-Length: ", 0, end)
    digits = _digits(data, at + 18, end) if at > 0 else None
    if digits is not None:
        block = data[:at] + data[digits.end() : end]
        known = _known_block(block)
        if known is not None:
            return _known_head(known, int(digits[0]), end, method)
    match = _plain(data, 0, end)
    if match is not None and data[end - 4 : end] == b"\r\n\r\n":
        minor, status, phrase = match.groups()
        lines = data[match.end() : end - 4].split(b"\r\n")
        try:
            read = _build(
                ResponseHead(0 if minor == b"0" else 1, int(status), phrase or b"", lines, end),
                method,
                repair,
            )
        except OddLine:
            pass
        else:
            if block and isinstance(read, ResponseHead) and not read.news and read.minor:
                _keep_block(block, read)
            return read
    return _read_slowly(bytes(data[:end]), method, repair)


def _known_head(known: ResponseBlock, length: int, end: int, method: bytes) -> ResponseHead:
    status, phrase, lines, block, persistent, odd = known
    head = ResponseHead(1, status, phrase, lines, end)
    head.content_length = length
    head.length = 0 if status == 304 or method == b"HEAD" else length
    head.persistent = persistent
    head.odd = odd
    head.block = block
    return head


def _keep_block(block: bytes, head: ResponseHead) -> None:
    """Remember what the lines of a head mean, all but its length."""
    lines = (b"HTTP/1.1 %d %b" % (head.status, head.phrase), *head.lines, VIA_LINES[1], b"")
    known = (head.status, head.phrase, head.lines, b"\r\n".join(lines), head.persistent, head.odd)
    RESPONSE_BLOCKS.keep(block, known)


def _read_slowly(data: bytes, method: bytes, repair: Repair) -> ResponseHead | Fault:
    blank = _blank_line(data)  # of bare LFs perhaps, and with CRLFs in the body behind it
    if blank is not None:
        data = data[: blank.end()]
    cut = split_lines(data, 502)
    if isinstance(cut, Fault):
        return cut
    raw, oddities = cut
    if oddities and not repair.bare_lf:
        return Fault(502, "bare-lf", "the upstream sent a line that ends with LF alone")
    match = _status_line(raw[0]) if raw else None
    if match is None:
        return Fault(502, "status-line", "the upstream sent a malformed status line")
    read = fields_of(raw[1:], 502, spaced=True)
    if isinstance(read, Fault):
        return read
    lines, folds = read
    if folds and not repair.folds:
        return Fault(502, "obs-fold", "the upstream sent a field that is continued on a second line")
    head = ResponseHead(0 if match[1] == b"0" else 1, int(match[2]), match[3] or b"", lines, len(data))
    head.odd |= oddities | folds
    return _build(head, method, repair)


def _build(head: ResponseHead, method: bytes, repair: Repair) -> ResponseHead | Fault:
    """Give each field its meaning and drop what is not to be forwarded."""
    lengths: list[bytes] = []
    codings: list[bytes] = []
    connection: bytes | None = None
    kept: list[bytes] = []
    known = fields.RESPONSE_LINES.get
    news = 0
    for line in head.lines:
        field = known(line)
        if field is None:
            field = fields.RESPONSE_LINES.learn(line)
            news += 1
        if field is PLAIN_FIELD:
            kept.append(line)
            continue
        kind, _, value = field
        if kind == fields.DATE:
            head.odd &= ~DATELESS
            kept.append(line)
        elif kind == fields.LENGTH:
            lengths.append(value)
        elif kind == fields.CONNECTION:
            connection = value if connection is None else connection + b"," + value
        elif kind == fields.CODING:
            codings.append(value)
        elif kind == fields.UPGRADE and head.status == 426:  # the one that says what to do: RFC 9110 15.5.22
            head.odd |= UPGRADE
            kept.append(line)
        elif kind == fields.ACCEL and value.lower() == b"no":
            head.odd |= STREAM
    head.lines = kept
    options = NO_OPTIONS
    if connection is not None or head.minor == 0:
        options = read_connection(connection or b"")
        head.persistent = not options.close and (head.persistent or options.keep_alive)
        if options.named:
            head.named = options.named
            head.lines = fields.without(kept, options.named)
            news = -1
    if lengths and codings and not repair.length_with_coding:
        lengths = []
        head.persistent = False  # who reads it by the length sees another response behind it
    fault = _read_length(head, method, lengths, codings)
    if not fault and (
        head.length == UNTIL_CLOSE or head.minor == 0 or (options.close and options.keep_alive)
    ):
        fault = _read_end(head, options, repair)
    if head.content_length is not None and len(lengths) == 1 and not head.odd & CONNECTION:
        head.news = news
    return fault or head


def _read_length(
    head: ResponseHead, method: bytes, lengths: list[bytes], codings: list[bytes]
) -> Fault | None:
    """Find where the body ends (RFC 9112 section 6.3)."""
    if head.status in NO_LENGTH:
        head.length = 0
        head.persistent = head.persistent and head.status != 101
        return None
    length = response_length(lengths, codings, head.minor)
    if isinstance(length, Fault):
        return length
    if length >= 0:
        head.content_length = length
    head.length = 0 if head.status == 304 or method == b"HEAD" else length
    return None


def _read_end(head: ResponseHead, options: Options, repair: Repair) -> Fault | None:
    """See whether the connection ends as Connection says (RFC 9112 section 9.3): the safe reading counts."""
    until_close = head.length == UNTIL_CLOSE
    if options.keep_alive:
        contradicts = options.close or until_close
        if contradicts and not repair.connection:
            return Fault(502, "connection-contradicts", "the upstream keeps and ends its connection at once")
        head.odd |= CONNECTION if contradicts else 0
    elif not options.close:
        head.odd |= CONNECTION  # HTTP/1.0, or until its end: and not a word of it
    if until_close:
        head.persistent = False
    return None
