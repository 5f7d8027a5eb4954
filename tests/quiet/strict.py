"""The strict reading of requests, fed with whatever bytes came: ``tests.kit.wire`` without its waiting."""

import socket
import zlib
from collections.abc import Generator
from typing import NamedTuple

from tests.kit.wire import (
    HEAD_LIMIT,
    HEX,
    Request,
    Stream,
    ViolationError,
    lengths,
    read_fields,
    read_request_head,
)


class Whole(NamedTuple):
    """A complete, well-formed request."""

    target: str
    size: int
    sum: int
    """CRC-32 of the body."""


class _Text(Stream):
    """A stream of bytes that are all there."""

    def __init__(self, data: bytes) -> None:
        self.sock: socket.socket
        self.buffer, self.seen, self.end = bytearray(data), bytearray(data), "fin"


Need = Generator[None, None, bytes]


class Reader:
    """The requests of one connection.

    Attributes:
        begun: some of a request is here, not all of it.
        target: of the request that is being read, once its head is whole.
        bytes: of it, so far.
    """

    def __init__(self) -> None:
        self.begun = False
        self.target = ""
        self.whole: list[Whole] = []
        self._buffer = bytearray()
        self._size = self._sum = 0
        self._story = self._read()
        next(self._story)

    def feed(self, data: bytes) -> list[Whole]:
        """Take bytes; the requests that are whole now. ViolationError: what comes is no request."""
        self.whole = []
        self._buffer += data
        next(self._story)
        return self.whole

    def _read(self) -> Generator[None, None, None]:
        while True:
            while not self._buffer:
                yield
            self.begun = True
            head = yield from self._until(b"\r\n\r\n")
            request = read_request_head(_Text(head))
            if request is None:
                raise ViolationError(f"no request: {head!r}")
            self.target = request.target.decode("latin-1")
            self._size = self._sum = 0
            yield from self._body(request)
            self.whole.append(Whole(self.target, self._size, self._sum))
            self.begun, self.target = False, ""

    def _body(self, request: Request) -> Generator[None, None, None]:
        if request.framing == "length":
            yield from self._take(lengths(request) or 0)
        elif request.framing == "chunked":
            while True:
                line = (yield from self._until(b"\r\n"))[:-2]
                if HEX.fullmatch(line) is None:
                    raise ViolationError(f"bad chunk line {line!r}")
                if (size := int(line, 16)) == 0:
                    break
                yield from self._take(size)
                if (end := (yield from self._until(b"\r\n"))) != b"\r\n":
                    raise ViolationError(f"a chunk is longer than it says: {end!r}")
            if not self._buffer.startswith(b"\r\n"):
                while len(self._buffer) < 2:
                    yield
            if self._buffer.startswith(b"\r\n"):
                del self._buffer[:2]
            else:
                read_fields(_Text((yield from self._until(b"\r\n\r\n"))), "trailers")

    def _until(self, mark: bytes) -> Need:
        start = 0
        while (at := self._buffer.find(mark, start)) < 0:
            start = max(0, len(self._buffer) - len(mark))
            if start > HEAD_LIMIT:
                raise ViolationError(f"no end: {bytes(self._buffer[:200])!r}")
            yield
        data = bytes(self._buffer[: at + len(mark)])
        del self._buffer[: len(data)]
        return data

    def _take(self, size: int) -> Generator[None, None, None]:
        while size:
            while not self._buffer:
                yield
            piece = bytes(self._buffer[:size])
            del self._buffer[: len(piece)]
            self._sum = zlib.crc32(piece, self._sum)
            self._size += len(piece)
            size -= len(piece)
