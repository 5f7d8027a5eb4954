"""How one upstream wants to be spoken to, where that is not how everybody is: version, case, host, lengths.

A server of another time may not know HTTP/1.1, may compare field names as they stand, may leave a process in
a bad state after so many requests, and may fail on a head that is longer than its buffer. ``manners_of``
looks at what is configured once; for an upstream that is like any other there is none of this, and its
requests are written by ``forward`` as ever.
"""

from sys import maxsize
from typing import Final

from shieldproxy.core import forward
from shieldproxy.core.fields import CHUNKED, Fault, without
from shieldproxy.core.request import RequestHead
from shieldproxy.core.routes import Route
from shieldproxy.core.spelling import titled_line
from shieldproxy.core.upstreams import UpstreamSpec

CLOSE: Final = b"Connection: close\r\n"
KEEP: Final = b"Connection: keep-alive\r\n"
_HOST: Final = frozenset((b"host",))
_TRAILER: Final = frozenset((b"trailer",))


class Unsendable(Exception):
    """A request that this upstream cannot be given, and what is said to the client in its place."""

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.fault = Fault(status, reason, detail)


class Manners:
    """What is different about requests to one upstream."""

    def __init__(self, spec: UpstreamSpec) -> None:
        self._minor10 = spec.http_version == "1.0"
        self._host = None if spec.host is None else b"Host: " + spec.host
        self._title = spec.header_case == "title"
        self._rewrites = self._minor10 or self._title or self._host is not None
        self._most = spec.max_requests if spec.keep_alive else 1
        # RFC 9112 section 9.3: persistence is HTTP/1.1's default, and has to be asked for in HTTP/1.0.
        self._always = CLOSE if self._most <= 1 else KEEP if self._minor10 else b""
        self._room = spec.max_head
        if self._most != maxsize and not self._always:
            self._room -= len(CLOSE)

    def request_head(
        self,
        head: RequestHead,
        route: Route,
        forwarded: bytes,
        framing: int,
        request_id: bytes | None = None,
    ) -> bytes:
        """Write the head that goes to this upstream; arguments as of ``forward.request_head``.

        Raises:
            Unsendable: a body of unknown length to HTTP/1.0 (411), a head that it does not take (431).
        """
        if self._minor10 and framing == CHUNKED:
            raise Unsendable(411, "length-required", "the server behind takes bodies of a known length only")
        if self._rewrites:
            out = forward.write_request(
                head, route, self._lines(head), forwarded, framing, request_id, minor10=self._minor10
            )
        else:
            out = forward.request_head(head, route, forwarded, framing, request_id)
        if self._always:
            out = b"%b%b\r\n" % (out[:-2], self._always)
        if len(out) > self._room:
            raise Unsendable(431, "upstream-head-large", "longer than the server behind takes")
        return out

    def _lines(self, head: RequestHead) -> list[bytes]:
        lines = head.lines
        if self._host is not None:
            lines = [self._host, *without(lines, _HOST)]
        elif not head.host:
            lines = [b"Host: localhost", *lines]
        if self._minor10:
            lines = without(lines, _TRAILER)
        return [titled_line(line) for line in lines] if self._title else lines

    def is_last(self, uses: int) -> bool:
        """Whether a connection's request number ``uses`` is its last one."""
        return uses >= self._most

    def last(self, request: bytes) -> bytes:
        """Return a request, head and perhaps body, with the ``Connection: close`` of a last one."""
        if self._always == CLOSE:
            return request
        end = request.index(b"\r\n\r\n") + 2 - len(self._always)
        return b"%b%b%b" % (request[:end], CLOSE, request[end + len(self._always) :])


def manners_of(spec: UpstreamSpec) -> Manners | None:
    """The manners of an upstream, or None if it is like any other."""
    usual = UpstreamSpec(spec.name, spec.servers)
    names = ("http_version", "keep_alive", "max_requests", "host", "header_case", "max_head")
    return Manners(spec) if any(getattr(spec, name) != getattr(usual, name) for name in names) else None
