"""Where an answer ends, by its length or by its chunks: for clients that are fed with whatever bytes came."""

from collections.abc import Generator


class Answer:
    """The body of one answer.

    Attributes:
        body: what has come of it.
        done: it is whole.
        rest: bytes behind it, once it is whole.
    """

    def __init__(self, head: bytes) -> None:
        """A head in lower case, to its empty line; ValueError: it tells neither a length nor chunks."""
        self.body = bytearray()
        self.done = False
        self.rest = b""
        self._buffer = bytearray()
        if b"\r\ntransfer-encoding: chunked\r\n" in head:
            self._story = self._chunks()
        elif (text := head.partition(b"\r\ncontent-length:")[2]).strip():
            self._story = self._take(int(text.split(b"\r\n")[0]))
        else:
            raise ValueError("an answer without an end")
        self.feed(b"")

    def feed(self, data: bytes | bytearray) -> None:
        """Take bytes. ValueError: they are no chunks."""
        self._buffer += data
        if not self.done:
            self.done = next(self._story, self) is self
        if self.done:
            self.rest = bytes(self._buffer)

    def _take(self, left: int) -> Generator[None, None, None]:
        while left:
            while not self._buffer:
                yield
            piece = self._buffer[:left]
            del self._buffer[:left]
            self.body += piece
            left -= len(piece)

    def _chunks(self) -> Generator[None, None, None]:
        while True:
            while (end := self._buffer.find(b"\r\n")) < 0:
                yield
            size = int(self._buffer[:end], 16)
            del self._buffer[: end + 2]
            yield from self._take(size)
            while len(self._buffer) < len(b"\r\n"):
                yield
            if self._buffer[:2] != b"\r\n":
                raise ValueError(f"a chunk is longer than it says: {bytes(self._buffer[:20])!r}")
            del self._buffer[:2]
            if not size:
                return
