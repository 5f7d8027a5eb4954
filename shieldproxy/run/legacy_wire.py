"""How the embedded legacy server reads and writes: HTTP/1.0 as it was, in blocking calls.

Nothing here is shared with the proxy's own reading of messages: this end is meant to be old and careless.
"""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import BufferedReader
from urllib.parse import parse_qs, urlsplit

LINE = 8192
FIELDS = 200
BODY = 64 * 1024 * 1024
REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    411: "Length Required",
    413: "Too Large",
    501: "Not Implemented",
}


@dataclass(slots=True)
class Request:
    """One request as an old server sees it."""

    method: str
    target: str
    version: str
    peer: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def value(self, name: str) -> str:
        """The last value of a field, empty if there is none."""
        return next((value for key, value in reversed(self.fields) if key.lower() == name), "")

    def number(self, name: str, default: float, most: float) -> float:
        """A number of the query string, between 0 and ``most``."""
        text = parse_qs(urlsplit(self.target).query).get(name, [""])[0]
        with suppress(ValueError):
            return min(max(float(text), 0.0), most)
        return default


@dataclass(slots=True)
class Answer:
    """One response. ``length`` None: the end of the connection is the end of the body."""

    status: int
    body: Iterator[bytes] | Sequence[bytes]
    length: int | None
    kind: str = "text/plain"


class Refusal(Exception):
    """A request that is answered with an error and whose connection is closed."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


def text(status: int, words: str) -> Answer:
    """A short answer."""
    body = (words + "\n").encode()
    return Answer(status, [body], len(body))


def read_line(reader: BufferedReader) -> str:
    """Read a line without its end, CRLF or LF. ConnectionError at the end of the stream."""
    line = reader.readline(LINE + 1)
    if not line.endswith(b"\n"):
        if len(line) > LINE:
            raise Refusal(400, "that line is too long")
        raise ConnectionError("the client is gone")
    return line.rstrip(b"\r\n").decode("latin-1")


def read_request(
    reader: BufferedReader, peer: str, on_head: Callable[[Request], None] = lambda _: None
) -> Request | None:
    """Read one request, body included. None if the client has closed instead; Refusal if it is no request.

    Args:
        reader: of the connection.
        peer: the client's address.
        on_head: called with the request when its head is read, its body not yet.
    """
    try:
        words = read_line(reader).split()
    except ConnectionError:
        return None
    if len(words) != 3:
        raise Refusal(400, "that is no request line")
    request = Request(words[0], words[1], words[2], peer)
    while line := read_line(reader):
        name, colon, value = line.partition(":")
        if not colon or len(request.fields) == FIELDS:
            raise Refusal(400, "that is no field")
        request.fields.append((name.strip(), value.strip()))
    on_head(request)
    if request.method not in ("GET", "HEAD", "POST"):
        raise Refusal(501, f"there is no {request.method} here")
    if urlsplit(request.target).path == "/refuse":
        more = "." * int(request.number("size", 0, 1024**2))
        raise Refusal(413, f"refused, and your body was not read{more}")
    request.body = read_body(reader, request)
    return request


def read_body(reader: BufferedReader, request: Request) -> bytes:
    """Read the body by its Content-Length."""
    if request.value("transfer-encoding"):
        raise Refusal(411, "a length, please: chunked came later")
    length = request.value("content-length") or "0"
    if not (length.isascii() and length.isdigit()) or int(length) > BODY:
        raise Refusal(413 if length.isdigit() else 400, "that length will not do")
    body = reader.read(int(length))
    if len(body) < int(length):
        raise ConnectionError("the client is gone")
    return body


def asks_to_keep(request: Request | None) -> bool:
    """Whether the client asked for Connection: keep-alive; in this server's time that was an extension."""
    return request is not None and "keep-alive" in request.value("connection").lower()


def send(connection: socket.socket, answer: Answer, *, keep: bool, head_only: bool) -> None:
    """Write a response."""
    lines = [f"HTTP/1.0 {answer.status} {REASONS[answer.status]}", "Server: legacy/1.0"]
    lines.append(f"Content-Type: {answer.kind}")
    if answer.length is not None:
        lines.append(f"Content-Length: {answer.length}")
    lines.append("Connection: keep-alive" if keep else "Connection: close")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    if head_only:
        connection.sendall(head)
        return
    pieces = iter(answer.body)
    connection.sendall(head + next(pieces, b""))
    for piece in pieces:
        connection.sendall(piece)
