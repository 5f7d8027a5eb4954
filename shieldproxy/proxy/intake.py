"""A request's body on its way in, as `collect` keeps it."""

from dataclasses import dataclass
from typing import Final

from shieldproxy.core.body import ChunkedReader
from shieldproxy.core.pace import Pace
from shieldproxy.net.lobby import CHUNK
from shieldproxy.proxy.state import Bytes

PIECES: Final = 8
"""So many are held beside one another before small ones are made one."""


@dataclass(slots=True)
class Intake(Pace):
    """A body as far as it has come, and how fast."""

    chunks: ChunkedReader | None = None
    length: int = 0
    """Bytes in all; of a body by length."""
    held: bytes | tuple[bytes, ...] = b""
    """What has come, while it fits into memory; then the exchange has a spool. Pieces stay where they are: a
    buffer that grows moves, and leaves holes where it was."""
    to_down: Bytes = b""
    """Of a 100 that its socket has not taken."""

    @property
    def left(self) -> int:
        """Bytes still to come; of a body by length."""
        return self.length - self.moved

    @property
    def share(self) -> int:
        """Bytes to read at once."""
        return CHUNK if self.chunks is None else min(CHUNK, self.chunks.share)

    @property
    def size(self) -> int:
        """Bytes held."""
        held = self.held
        return len(held) if isinstance(held, bytes) else sum(map(len, held))

    def add(self, data: bytes) -> None:
        """Hold more."""
        held = self.held
        if not held:
            self.held = data
        elif isinstance(held, bytes):
            self.held = held, data
        elif len(held) < PIECES:
            self.held = *held, data
        else:
            at, size = len(held), len(data)
            while at and len(held[at - 1]) < 2 * size:  # a byte is copied as often as its piece grows by half
                at -= 1
                size += len(held[at])
            self.held = *held[:at], b"".join((*held[at:], data))

    def taken(self) -> bytes:
        """Take all of it."""
        held, self.held = self.held, b""
        return held if isinstance(held, bytes) else b"".join(held)
