"""A small strict reader of HTTP/1 messages, the tests' own.

It judges what the product puts on the wire, so it shares no code with it and forgives nothing: CRLF only,
token names, visible values, one framing. What a peer of the last century would have to guess at is a
``ViolationError`` here; what ends too early is ``TruncatedError``.
"""

import re
import socket
from dataclasses import dataclass, field

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_VALUE = rb"[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?"
REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") (\*|/[\x21-\x7e\x80-\xff]*) HTTP/1\.([01])")
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2}) ([\t\x20-\x7e\x80-\xff]*)")
FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*(|" + _VALUE + rb")[ \t]*")
DIGITS = re.compile(rb"[0-9]{1,19}")
HEX = re.compile(rb"[0-9A-Fa-f]{1,16}")

HEAD_LIMIT = 1 << 20


class ViolationError(AssertionError):
    """The peer broke RFC 9112, or sent what only a lenient reader would take."""


class TruncatedError(AssertionError):
    """The message ended before it was whole."""

    def __init__(self, what: str, end: str, partial: bytes) -> None:
        super().__init__(f"{what} cut off by {end or 'nothing'} after {partial[-200:]!r}")
        self.end = end
        self.partial = partial


class SilenceError(AssertionError):
    """Nothing came within the time allowed."""


Fields = list[tuple[bytes, bytes]]


@dataclass
class Message:
    """One message as it was read: the parts, and every byte of it."""

    version: bytes
    fields: Fields
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    framing: str = "none"
    raw: bytes = b""
    chunks: list[int] = field(default_factory=list)

    def all(self, name: str) -> list[bytes]:
        """Every value of a field, in order."""
        wanted = name.lower().encode()
        return [value for key, value in self.fields if key.lower() == wanted]

    def get(self, name: str) -> bytes | None:
        """The one value of a field, or None; two are a violation."""
        values = self.all(name)
        if len(values) > 1:
            raise ViolationError(f"{name} came {len(values)} times: {values}")
        return values[0] if values else None

    def names(self) -> list[str]:
        """The field names, in order, lower case."""
        return [key.decode().lower() for key, _ in self.fields]

    def __contains__(self, name: str) -> bool:
        return bool(self.all(name))


@dataclass
class Request(Message):
    """A request that the upstream read."""

    method: bytes = b""
    target: bytes = b""
    connection: int = -1
    serial: int = -1
    noted: bool = False


@dataclass
class Response(Message):
    """A response that the client read, with the interim ones before it."""

    status: int = 0
    phrase: bytes = b""
    interims: list["Response"] = field(default_factory=list)

    @property
    def persistent(self) -> bool:
        """Whether the sender promises another response on this connection."""
        options = [part.strip().lower() for value in self.all("connection") for part in value.split(b",")]
        if self.framing == "close" or b"close" in options:
            return False
        return self.version == b"1.1" or b"keep-alive" in options

    @property
    def error(self) -> str:
        """What Proxy-Status names as the error, or the empty text."""
        value = self.get("proxy-status") or b""
        found = re.search(rb"error=([a-z_]+)", value)
        return found.group(1).decode() if found else ""


class Stream:
    """Buffered reads from a blocking socket that remember how the peer ended (``fin`` or ``rst``)."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = bytearray()
        self.seen = bytearray()
        self.end = ""

    def fill(self) -> bool:
        """Read once; False at the end. SilenceError after the socket's timeout."""
        if self.end:
            return False
        try:
            data = self.sock.recv(65536)
        except TimeoutError:
            raise SilenceError(
                f"nothing came in {self.sock.gettimeout()} s; before it: {bytes(self.seen[-200:])!r}"
            ) from None
        except ConnectionError:
            self.end = "rst"
            return False
        except OSError:
            self.end = "local"
            return False
        if not data:
            self.end = "fin"
            return False
        self.buffer += data
        self.seen += data
        return True

    def take(self, count: int) -> bytes:
        """Take bytes that are in the buffer."""
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def exactly(self, count: int, what: str) -> bytes:
        """Exactly so many bytes, or TruncatedError."""
        while len(self.buffer) < count:
            if not self.fill():
                raise TruncatedError(what, self.end, bytes(self.buffer))
        return self.take(count)

    def line(self, what: str) -> bytes:
        """A line without its CRLF; a bare LF or CR in it is a violation."""
        start = 0
        while (at := self.buffer.find(b"\n", start)) < 0:
            start = len(self.buffer)
            if start > HEAD_LIMIT:
                raise ViolationError(f"{what} without an end")
            if not self.fill():
                raise TruncatedError(what, self.end, bytes(self.buffer))
        line = self.take(at + 1)
        if not line.endswith(b"\r\n"):
            raise ViolationError(f"bare LF after {what}: {line!r}")
        line = line[:-2]
        if b"\r" in line:
            raise ViolationError(f"bare CR in {what}: {line!r}")
        return line

    def rest(self) -> bytes:
        """Everything until the peer ends."""
        while self.fill():
            pass
        return self.take(len(self.buffer))


def read_fields(stream: Stream, what: str) -> Fields:
    """Field lines up to the blank one."""
    fields: Fields = []
    while line := stream.line(what):
        match = FIELD.fullmatch(line)
        if match is None:
            raise ViolationError(f"bad field line in {what}: {line!r}")
        fields.append((match.group(1), match.group(2)))
    return fields


def read_chunked(stream: Stream, message: Message, what: str) -> None:
    """A chunked body without extensions, and its trailers."""
    pieces = []
    while True:
        line = stream.line(f"{what} chunk line")
        if HEX.fullmatch(line) is None:
            raise ViolationError(f"bad chunk line in {what}: {line!r}")
        size = int(line, 16)
        if size == 0:
            break
        message.chunks.append(size)
        try:
            pieces.append(stream.exactly(size, f"{what} chunk"))
        finally:
            message.body = b"".join(pieces)
        if stream.exactly(2, f"{what} chunk end") != b"\r\n":
            raise ViolationError(f"chunk of {what} is longer than it says")
    message.trailers = read_fields(stream, f"{what} trailers")


def lengths(message: Message) -> int | None:
    """The announced length, None if there is none; CL with TE or two lengths are a violation."""
    values = message.all("content-length")
    codings = message.all("transfer-encoding")
    if len(values) > 1:
        raise ViolationError(f"{len(values)} Content-Length fields: {values}")
    if codings and (values or codings != [b"chunked"]):
        raise ViolationError(f"Transfer-Encoding {codings} with Content-Length {values}")
    if not values:
        return None
    if DIGITS.fullmatch(values[0]) is None:
        raise ViolationError(f"bad Content-Length {values[0]!r}")
    return int(values[0])


def read_request_head(stream: Stream) -> Request | None:
    """A request head, or None when the peer ended between requests."""
    before = len(stream.seen) - len(stream.buffer)
    if not stream.buffer and not stream.fill():
        return None
    line = stream.line("request line")
    match = REQUEST_LINE.fullmatch(line)
    if match is None:
        raise ViolationError(f"bad request line {line!r}")
    fields = read_fields(stream, "request head")
    request = Request(
        version=b"1." + match.group(3), fields=fields, method=match.group(1), target=match.group(2)
    )
    request.raw = bytes(stream.seen[before : len(stream.seen) - len(stream.buffer)])
    if len(request.all("host")) != 1:
        raise ViolationError(f"{len(request.all('host'))} Host fields in {request.raw!r}")
    length = lengths(request)
    if "transfer-encoding" in request:
        if request.version == b"1.0":
            raise ViolationError("Transfer-Encoding in an HTTP/1.0 request")
        request.framing = "chunked"
    elif length is not None:
        request.framing = "length"
    return request


def read_request_body(stream: Stream, request: Request) -> None:
    """The body of a request whose head was read; fills body, trailers and raw."""
    before = len(stream.seen) - len(stream.buffer)
    try:
        if request.framing == "chunked":
            read_chunked(stream, request, "request")
        elif request.framing == "length":
            request.body = stream.exactly(lengths(request) or 0, "request body")
    except TruncatedError as cut:
        if request.framing == "length":
            request.body = cut.partial
        raise
    finally:
        request.raw += bytes(stream.seen[before : len(stream.seen) - len(stream.buffer)])


def read_response_head(stream: Stream) -> Response:
    """One response head, interim or final."""
    before = len(stream.seen) - len(stream.buffer)
    line = stream.line("status line")
    match = STATUS_LINE.fullmatch(line)
    if match is None:
        raise ViolationError(f"bad status line {line!r}")
    fields = read_fields(stream, "response head")
    head = Response(
        version=b"1." + match.group(1), fields=fields, status=int(match.group(2)), phrase=match.group(3)
    )
    head.raw = bytes(stream.seen[before : len(stream.seen) - len(stream.buffer)])
    return head


def read_response_body(stream: Stream, response: Response, method: str) -> None:
    """The body that belongs to a final head; fills body, trailers, framing and raw."""
    before = len(stream.seen) - len(stream.buffer)
    length = lengths(response)
    try:
        if method == "HEAD" or response.status in (204, 304) or response.status < 200:
            framed = length is not None or "transfer-encoding" in response
            if framed and (response.status < 200 or response.status == 204):
                raise ViolationError(f"framing fields in a {response.status}: {response.raw!r}")
        elif "transfer-encoding" in response:
            if response.version == b"1.0":
                raise ViolationError("Transfer-Encoding in an HTTP/1.0 response")
            response.framing = "chunked"
            read_chunked(stream, response, "response")
        elif length is not None:
            response.framing = "length"
            response.body = stream.exactly(length, "response body")
        else:
            response.framing = "close"
            response.body = stream.rest()
            if stream.end != "fin":
                raise TruncatedError("response until close", stream.end, response.body)
    finally:
        response.raw += bytes(stream.seen[before : len(stream.seen) - len(stream.buffer)])
