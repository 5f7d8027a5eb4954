"""What is known of a request once its head is read. ``head.read_request`` makes one; everybody reads it."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shieldproxy.core.blocks import RequestBlock

NO_NAMES: Final[frozenset[bytes]] = frozenset()
_KNOWN: Final = {name: name for name in (b"POST", b"PUT", b"PATCH")}
NO_LINE: Final = -3
"""Where a line was cut out of a block, if none was; one that was the first line leaves its place at -2."""


class RequestHead:
    """A request that may be forwarded: what the proxy needs to know of it, and its field lines."""

    __slots__ = (
        "_lines",
        "block",
        "count",
        "expect",
        "forwarded",
        "hops",
        "host",
        "kin",
        "length",
        "max_forwards",
        "method",
        "minor",
        "named",
        "news",
        "oddities",
        "own",
        "path",
        "persistent",
        "size",
        "target",
        "trailers",
        "upgrade",
        "user_agent",
    )

    own: bytes
    """Of a packed head: its Referer and its Cookie, in their order, joined by CRLF."""

    def __init__(
        self,
        method: bytes,
        target: bytes,
        path: bytes,
        minor: int,
        lines: list[bytes] | None,
        size: int,
    ) -> None:
        self.method = method
        self.target = target
        """As forwarded: origin-form or ``*``."""
        self.path = path
        """The target without its query."""
        self.minor = minor
        """0 or 1."""
        self._lines = lines
        self.block = b""
        """The field lines joined by CRLF, where they are not in `lines` yet."""
        self.kin: RequestBlock | None = None
        """What `block` has of other heads: all but its Referer, its Cookie and its length."""
        self.size = size
        """Bytes of the head, the blank line included."""
        self.count = 0 if lines is None else len(lines)
        """Fields as received."""
        self.host = b""
        """Lower case, with the port if one was given; empty only in HTTP/1.0."""
        self.user_agent = b""
        self.length = 0
        """Bytes of the body, or CHUNKED."""
        self.persistent = minor == 1
        """Whether the client wants the connection kept."""
        self.named = NO_NAMES
        """Lower-case names that Connection gave; not in the lines, and to be kept out of trailers."""
        self.expect = False
        """Whether the client waits for a 100 before it sends the body."""
        self.upgrade = False
        """Whether the client asked for another protocol; it is answered as if it had not."""
        self.trailers = False
        """Whether the client takes trailers (RFC 9110 section 10.1.4)."""
        self.max_forwards: int | None = None
        """Of OPTIONS, as received; at 0 the proxy answers itself (RFC 9110 section 7.6.2)."""
        self.forwarded: tuple[tuple[bytes, bytes], ...] = ()
        """Forwarding fields that were taken out: lower-case name and value."""
        self.oddities = 0
        """BARE_LF | FOLDS: what was normalised; the policy decides whether that is acceptable."""
        self.hops = 0
        """How often the request has come through a shieldproxy already."""
        self.news = -1
        """Lines that were not known before; -1: the head has what is to be looked at each time."""

    @property
    def lines(self) -> list[bytes]:
        """Field lines without CRLF: nothing hop-by-hop, one Host and one length at most."""
        if self._lines is None:
            self.unpack()
            self._lines = self.block.split(b"\r\n")
            self.block, self.kin = b"", None
        return self._lines

    @lines.setter
    def lines(self, lines: list[bytes]) -> None:
        self._lines = lines
        self.block, self.kin = b"", None

    def pack(self) -> None:
        """Hold the lines as one piece, or only those that no other head has: a client may take its time.

        `lines` are there again when somebody asks for them, `block` after `unpack`. There is none where a
        length has to be added to the lines, or a host: a block is forwarded as it stands.
        """
        if self._lines is not None:
            if self._lines and self.host and self.length >= 0:
                self.block = b"\r\n".join(self._lines)
                self._lines = None
        elif self.kin is not None and self.length > 0 and self.block:
            self.method = _KNOWN.get(self.method, self.method)
            one, _, before, between, behind, *_ = self.kin
            self.own = own = self.block[len(before) : -len(behind + _length_line(self.length))]
            if one == NO_LINE:
                self.own = own[len(between) :]
            else:
                at = own.index(between)
                self.own = own[:at] + b"\r\n" + own[at + len(between) :]
            self.block = b""

    def unpack(self) -> None:
        """Make the block again that `pack` has taken apart."""
        if self.kin is not None and not self.block:
            one, _, before, between, behind, *_ = self.kin
            first, _, second = (b"", b"", self.own) if one == NO_LINE else self.own.partition(b"\r\n")
            self.block = b"".join((before, first, between, second, behind, _length_line(self.length)))


def _length_line(length: int) -> bytes:
    return b"\r\nContent-Length: %d" % length
