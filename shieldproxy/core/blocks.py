"""Heads whose fields came before, remembered as one block of bytes.

A browser sends the same fields with request after request; what changes is the target and the cookie. A
server sends the same fields with page after page; what changes is the length, and once a second the date. So
the head without that one line is looked up as a whole, byte for byte: one look-up in place of one for each
line, and what goes on is ready as one block too.

Only what has nothing special is kept: no line that has to be read each time (a request's length, a coding,
Expect, forwarding fields), no secret, and no line that had not come before by itself. A block is kept by head
and response, which have just read it strictly, line by line; it says nothing that they would not say again.
It is bounded in entries and in bytes an entry, and forgets all when full: what is in use comes back.
"""

from typing import Final, Generic, TypeVar

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


RequestBlock = tuple[int, bytes, bytes, int, bytes, bytes, bool]
"""Where the cookie was cut out; what goes on before and behind it; fields, host, User-Agent, persistence."""
ResponseBlock = tuple[int, bytes, list[bytes], bytes, bool, bool]
"""Status, phrase, the lines and the whole head that go on (up to the length), persistence, whether dated."""

REQUEST_BLOCKS: Final = KnownBlocks[RequestBlock]()
RESPONSE_BLOCKS: Final = KnownBlocks[ResponseBlock]()

VIA_LINES: Final = (b"Via: 1.0 shieldproxy", b"Via: 1.1 shieldproxy")
"""By the minor version that the message came in (RFC 9110 section 7.6.3)."""
