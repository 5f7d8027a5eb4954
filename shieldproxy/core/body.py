"""Chunked bodies (RFC 9112 section 7.1), of requests and of responses: read strictly, and written anew.

It decides where each chunk and the body as a whole ends, and refuses what two readers could see differently:
a bare LF or CR, a sign or a space in a size, sizes of more than 16 digits, control characters in extensions.
It never keeps data: pieces go out as they come in, extensions are dropped, and what is forwarded is framed by
``chunk``. Only an unfinished chunk line (256 bytes) or trailer section is held between two calls.
"""

import re
import sys
from collections.abc import Iterable
from typing import Final

from shieldproxy.core.fields import field_fault, is_field

_LONGEST_LINE: Final = 256
_size_line: Final = re.compile(
    rb"([0-9A-Fa-f]{1,16}+)(?:[ \t]*+;" rb"[\t\x20-\x7e\x80-\xff]*+)?+\r\n"
).fullmatch
_padded_line: Final = re.compile(rb"([0-9A-Fa-f]{1,16}+)[ \t]*+(?:;[\t\x20-\x7e\x80-\xff]*+)?+\r\n").fullmatch
_plain_line: Final = re.compile(rb"([0-9A-Fa-f]{1,16}+)\r\n").match
_unfinished: Final = re.compile(
    rb"[0-9A-Fa-f]{1,16}+(?:[ \t]*+(?:;[\t\x20-\x7e\x80-\xff]*+)?+)?+\r?+"
).fullmatch

# Framing may cost this much in all, beyond 16 bytes and twice the data of each chunk: nobody sends a byte
# of data with 250 bytes of extension, but to keep us busy (CVE-2023-39326).
_EXCESS: Final = 16 * 1024
TINY: Final = 64
"""Bytes; chunks of fewer, with their lines, are more than copying: their number costs, not their size."""
FEW: Final = 16 * 1024
"""Bytes to look through at once: thousands of chunks may be in them, about 2 ms of work."""
FEWER: Final = 4 * 1024
"""The same where they have turned out to be tiny."""

# Fields that must not be believed when they come behind the body (RFC 9110 section 6.5.1).
_NOT_IN_TRAILERS: Final = frozenset(
    b"transfer-encoding content-length host connection keep-alive proxy-connection te trailer upgrade "
    b"http2-settings content-encoding content-type content-range authorization proxy-authorization "
    b"proxy-authenticate www-authenticate cookie set-cookie cache-control expect max-forwards pragma range "
    b"if-match if-none-match if-modified-since if-unmodified-since if-range age date expires location "
    b"retry-after vary warning via forwarded x-real-ip proxy".split()
)


class BodyFault(Exception):
    """A body at fault; ``status`` (400, 413, 431: as a client's), ``reason`` and ``detail`` as in Fault."""

    def __init__(self, reason: str, detail: str = "", status: int = 400) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.status = status


class ChunkedReader:
    """Takes the bytes of one chunked body, in pieces of any size, and gives its data back.

    ``limit``: bytes of data at most (``sys.maxsize``: off); a chunk that would exceed it is refused by its
    size line. ``padded``: spaces behind a size are ignored, as old servers pad it. For responses only.
    """

    __slots__ = (
        "_buffer",
        "_excess",
        "_in_trailers",
        "_left",
        "_limit",
        "_line",
        "_scanned",
        "_trailers_limit",
        "dense",
        "done",
        "received",
        "rest",
        "trailers",
    )

    def __init__(self, limit: int = sys.maxsize, *, trailers_limit: int = 8192, padded: bool = False) -> None:
        self.done = False
        """Whether the body, its trailers included, has been read to the end."""
        self.dense = False
        """Whether the last bytes held many tiny chunks: whoever reads shall let others go before."""
        self.received = 0
        """Bytes of data so far."""
        self.trailers: list[tuple[bytes, bytes]] = []
        """Names as written and values, once done."""
        self.rest = b""
        """What came behind the body, once done."""
        self._limit = limit
        self._trailers_limit = trailers_limit
        self._line = _padded_line if padded else _size_line
        self._buffer = b""
        self._left = 0  # of the chunk and its CRLF; 0: a chunk line is next
        self._excess = 0
        self._scanned = 0
        self._in_trailers = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the data in them, as pieces.

        Raises:     BodyFault: the body is malformed or too long; nothing that follows on this connection can
        be trusted.
        """
        if self.done:
            self.rest += data
            return []
        if self._left - 2 >= len(data):  # all of it belongs to one chunk
            self._left -= len(data)
            self.received += len(data)
            self.dense = False
            return [data] if data else []
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        pieces: list[bytes] = []
        at = 0
        while at < len(data):
            if self._in_trailers:
                self._read_trailers(data[at:])
                break
            if not self._left:
                at = self._whole_chunks(data, at, pieces)
                if at == len(data):
                    break
            at, more = self._chunk_data(data, at, pieces) if self._left else self._chunk_line(data, at)
            if not more:
                break
        self.dense = len(pieces) > TINY and len(pieces) * TINY > len(data)
        return pieces

    @property
    def share(self) -> int:
        """Bytes to feed at once, so that others need not wait: those of this chunk, and few more."""
        return self._left + (FEWER if self.dense else FEW)

    def _whole_chunks(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Take chunks that are here in full behind a plain line, as most are: one may hold 10,000 of them."""
        excess, received, limit = self._excess, self.received, self._limit
        while (line := _plain_line(data, at)) is not None:
            start, size = line.end(), int(line[1], 16)
            end = start + size
            if size == 0 or received + size > limit or data[end : end + 2] != b"\r\n":
                break
            pieces.append(data[start:end])
            received += size
            excess += start - at - 16 - 2 * size  # which is never above 0
            at = end + 2
        self._excess, self.received = max(0, excess), received
        return at

    def _chunk_line(self, data: bytes, at: int) -> tuple[int, bool]:
        end = data.find(b"\n", at, at + _LONGEST_LINE) + 1
        if not end:
            if len(data) - at >= _LONGEST_LINE:
                raise BodyFault("chunk-line", "a chunk line is too long")
            self._buffer = data[at:]
            if not _unfinished(self._buffer):
                raise BodyFault("chunk-line", "a malformed chunk line")
            return at, False
        line = data[at:end]
        match = self._line(line)
        if match is None:
            raise BodyFault(*_line_fault(line))
        size = int(match[1], 16)
        self._excess = max(0, self._excess + len(line) - 16 - 2 * size)
        if self._excess > _EXCESS:
            raise BodyFault("chunk-overhead", "too much framing for too little data")
        if size == 0:
            self._in_trailers = True
            if end == len(data):
                return end, False
        elif self.received + size > self._limit:
            raise BodyFault("body-long", f"longer than limits.body, {self._limit} bytes", 413)
        else:
            self._left = size + 2
        return end, True

    def _chunk_data(self, data: bytes, at: int, pieces: list[bytes]) -> tuple[int, bool]:
        if self._left > 2:
            piece = data[at : at + self._left - 2]
            pieces.append(piece)
            self.received += len(piece)
            self._left -= len(piece)
            at += len(piece)
        if self._left <= 2:
            end = data[at : at + self._left]
            if end != b"\r\n"[2 - self._left :][: len(end)]:
                raise BodyFault("chunk-end", "a chunk is not as long as it says")
            self._left -= len(end)
            at += len(end)
        return at, True

    def _read_trailers(self, data: bytes) -> None:
        if data[:2] == b"\r\n":
            end = 0
        else:
            end = data.find(b"\r\n\r\n", self._scanned) + 2
            if end < 2:
                if len(data) > self._trailers_limit + 1:  # the CR of the blank line may be there, and no LF
                    raise BodyFault("trailers-long", "the trailers are too long", 431)
                if data.count(b"\n") != data.count(b"\r\n"):
                    raise BodyFault("bare-lf", "a line of the trailers that ends with LF alone")
                self._scanned = max(0, len(data) - 3)
                self._buffer = data
                return
        if end > self._trailers_limit:
            raise BodyFault("trailers-long", "the trailers are too long", 431)
        for line in data[:end].split(b"\r\n")[:-1]:
            if not is_field(line):
                if b"\n" in line:
                    raise BodyFault("bare-lf", "a line of the trailers that ends with LF alone")
                if line[:1] in {b" ", b"\t"}:
                    raise BodyFault("obs-fold", "a trailer that is continued on a second line")
                raise BodyFault(*field_fault(line, 400)[1:])
            name, _, value = line.partition(b":")
            self.trailers.append((name, value.strip(b" \t")))
        self.done = True
        self.rest = data[end + 2 :]


def _line_fault(line: bytes) -> tuple[str, str]:
    if not line.endswith(b"\r\n"):
        return "bare-lf", "a chunk line that ends with LF alone"
    if b"\r" in line[:-2]:
        return "bare-cr", "a CR that is not part of a line end"
    return "chunk-line", "a malformed chunk line"


def chunk(piece: bytes) -> bytes:
    """Frame a piece of data, which must not be empty: an empty chunk would end the body."""
    if not piece:
        raise ValueError("an empty chunk ends the body")
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def last_chunk(trailers: Iterable[tuple[bytes, bytes]] = (), named: frozenset[bytes] = frozenset()) -> bytes:
    """Return the end of a chunked body, with the trailers that may be forwarded (RFC 9110 section 6.5.1).

    ``named``: lower-case names that Connection gave; such a trailer ends here (RFC 9110 section 7.6.1).
    """
    lines = [
        b"%b: %b\r\n" % pair for pair in trailers if _may_trail(pair[0]) and pair[0].lower() not in named
    ]
    return b"0\r\n%b\r\n" % b"".join(lines)


def _may_trail(name: bytes) -> bool:
    lower = name.lower().replace(b"_", b"-")
    return lower not in _NOT_IN_TRAILERS and not lower.startswith(b"x-forwarded-")
