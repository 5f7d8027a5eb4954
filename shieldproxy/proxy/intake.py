"""A request's body on its way in, as `collect` keeps it."""

from dataclasses import dataclass

from shieldproxy.core.body import ChunkedReader
from shieldproxy.core.pace import Pace
from shieldproxy.net.lobby import CHUNK
from shieldproxy.proxy.fin import CONTINUE
from shieldproxy.proxy.state import Bytes


@dataclass(slots=True)
class Intake:
    """A body as far as it has come."""

    pace: Pace
    chunks: ChunkedReader | None
    left: int
    """Bytes still to come; of a body by length."""
    held: bytes | bytearray = b""
    """What has come, while it fits into memory; then the exchange has a spool."""
    to_down: Bytes = b""
    """Of a 100 that its socket has not taken."""

    @property
    def share(self) -> int:
        """Bytes to read at once."""
        return CHUNK if self.chunks is None else min(CHUNK, self.chunks.share)


def half_said(intake: Intake) -> bytes:
    """What must go out before a final status: the rest of a 100 of which a part has gone out."""
    left = intake.to_down
    return b"" if len(left) == len(CONTINUE) else bytes(left)
