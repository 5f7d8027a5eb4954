"""A raw client: it sends the bytes it is told to, and reads strictly."""

import contextlib
import select
import socket
import struct
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from tests.kit.transcript import note_message
from tests.kit.wire import (
    Response,
    SilenceError,
    Stream,
    TruncatedError,
    ViolationError,
    read_response_body,
    read_response_head,
)

Where = str | tuple[str, int]


def open_socket(address: str) -> tuple[socket.socket, Where]:
    """A socket of the right family for ``host:port``, ``[v6]:port``, ``unix:/path``; and where to connect."""
    if address.startswith("unix:"):
        return socket.socket(socket.AF_UNIX), address[5:]
    host, _, port = address.rpartition(":")
    if host.startswith("["):
        return socket.socket(socket.AF_INET6), (host[1:-1], int(port))
    return socket.socket(socket.AF_INET), (host, int(port))


class Client:
    """One connection to the proxy. Every wait ends after ``timeout`` seconds with SilenceError."""

    def __init__(
        self, address: str, *, source: str = "", rcvbuf: int = 0, timeout: float = 5.0, mss: int = 0
    ) -> None:
        self.sock, where = open_socket(address)
        self.sock.settimeout(timeout)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if mss:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
        try:
            if source:
                self.sock.bind((source, 0))
            self.sock.connect(where)
        except OSError:
            self.sock.close()
            raise
        if self.sock.family != socket.AF_UNIX:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            name = self.sock.getsockname()
            self.host, self.port = str(name[0]), int(name[1])
        else:
            self.host, self.port = "", 0
        self.stream = Stream(self.sock)
        self.responses: list[Response] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, data: bytes) -> Self:
        """Send all of it; an error of the socket is raised."""
        self.sock.sendall(data)
        return self

    def send_or_fail(self, data: bytes) -> bool:
        """Send all of it; False when the proxy had reset or closed the connection."""
        try:
            self.sock.sendall(data)
        except (ConnectionError, TimeoutError):
            return False
        return True

    def send_pieces(self, pieces: Iterable[bytes], pause: float = 0.002) -> Self:
        """Send each piece as a segment of its own (the pause is what separates segments on loopback)."""
        for piece in pieces:
            self.sock.sendall(piece)
            time.sleep(pause)
        return self

    def interim(self) -> Response:
        """The next head, which must be an interim one."""
        head = read_response_head(self.stream)
        if head.status >= 200:
            raise ViolationError(f"a final response where an interim one was due: {head.raw!r}")
        return head

    def response_head(self) -> Response:
        """The next head, interim or final; a body stays unread."""
        return read_response_head(self.stream)

    def response(self, method: str = "GET") -> Response:
        """One final response, whole, with the interim ones before it."""
        interims: list[Response] = []
        while True:
            head = read_response_head(self.stream)
            if head.status >= 200:
                break
            read_response_body(self.stream, head, method)
            interims.append(head)
        head.interims = interims
        read_response_body(self.stream, head, method)
        self.responses.append(head)
        for part in (*interims, head):
            note_message("response", part)
        return head

    def ask(self, data: bytes, method: str = "") -> Response:
        """Send a request and read its response."""
        self.send(data)
        return self.response(method or data.lstrip(b"\r\n").split(b" ", 1)[0].decode("latin-1"))

    def truncated(self, method: str = "GET", head: Response | None = None) -> TruncatedError:
        """Read a response (the rest of one whose head was read) that must break off, and say how."""
        try:
            if head is None:
                head = self.response(method)
            else:
                read_response_body(self.stream, head, method)
        except TruncatedError as cut:
            return cut
        raise ViolationError(f"a response that should have looked truncated looks whole: {head.raw!r}")

    def ending(self) -> str:
        """Wait for the proxy's end: ``fin`` or ``rst``; anything that still comes is a violation."""
        rest = self.stream.rest()
        if rest:
            raise ViolationError(f"unexpected bytes before the end: {rest!r}")
        return self.stream.end

    def drain(self) -> bytes:
        """Everything up to the proxy's end."""
        return self.stream.rest()

    def quiet(self, seconds: float = 0.15) -> bool:
        """Whether nothing (no byte, no end) comes for so long."""
        if self.stream.buffer:
            return False
        readable, _, _ = select.select([self.sock], [], [], seconds)
        return not readable

    def wait_readable(self, timeout: float = 8.0) -> None:
        """Wait until a byte or an end is there, without taking it."""
        if not self.stream.buffer and not select.select([self.sock], [], [], timeout)[0]:
            raise SilenceError(f"nothing came in {timeout} s")

    def half_close(self) -> Self:
        """Send our FIN and go on reading."""
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def reset(self) -> None:
        """End with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """Close; never fails."""
        with contextlib.suppress(OSError):
            self.sock.close()


def request(
    target: str = "/",
    *,
    method: str = "GET",
    host: str = "test.example",
    version: str = "1.1",
    fields: Iterable[str] = (),
    body: bytes = b"",
) -> bytes:
    """A plain request; a body gets its Content-Length."""
    lines = [f"{method} {target} HTTP/{version}"]
    if host:
        lines.append(f"Host: {host}")
    lines.extend(fields)
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
