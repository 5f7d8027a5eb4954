"""One connection of the scripted upstream, and one turn (a request and its answer) on it."""

import contextlib
import fcntl
import socket
import struct
import threading
import time

from tests.kit.sockets import facing
from tests.kit.wire import Request, SilenceError, Stream, read_request_body

PATIENCE = 15.0
"""Seconds that a story waits for its test."""


class Link:
    """One connection from the proxy, as the upstream sees it."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self.stream = Stream(sock)
        self.requests: list[Request] = []
        self.partial: Request | None = None
        self.ended = threading.Event()
        self.over = False
        """The test that this connection belongs to has ended."""

    @property
    def received(self) -> bytes:
        """Every byte that came."""
        return bytes(self.stream.seen)

    @property
    def end(self) -> str:
        """How the proxy ended it: ``fin``, ``rst``, or the empty text while it lives."""
        return self.stream.end

    def send(self, data: bytes) -> None:
        """Send bytes, asked for or not."""
        self.sock.sendall(data)

    def finish(self) -> None:
        """Send our FIN; the proxy's end is awaited by whoever reads."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End with a RST."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.end = self.stream.end or "local"
        with contextlib.suppress(OSError):
            # A reader blocked in recv keeps the description open, so wake it first: SHUT_RD sends nothing.
            self.sock.shutdown(socket.SHUT_RD)
        self.sock.close()


class Turn:
    """One request and the means to answer it; lives in the connection's thread."""

    def __init__(self, link: Link, request: Request) -> None:
        self.link = link
        self.request = request

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.link.send(data)

    def pieces(self, data: bytes, size: int = 1, pause: float = 0.001) -> None:
        """Send in segments of so many bytes."""
        for at in range(0, len(data), size):
            self.link.send(data[at : at + size])
            time.sleep(pause)

    def wait(self, event: threading.Event) -> None:
        """Hold until the test releases it (or is over)."""
        limit = time.monotonic() + PATIENCE
        while not event.wait(0.05) and not self.link.over:
            if time.monotonic() > limit:
                raise SilenceError("nobody released the upstream")

    def close(self) -> None:
        """Our FIN; the proxy's own is read afterwards."""
        self.link.finish()

    def reset(self) -> None:
        """RST."""
        self.link.reset()

    def read_body(self) -> bytes:
        """For a handler that runs at the head: read the body now."""
        read_request_body(self.link.stream, self.request)
        return self.request.body

    def settle(self, timeout: float = 5.0) -> None:
        """Wait until the proxy has read all that was sent: a reset takes what its kernel still holds."""
        limit = time.monotonic() + timeout
        while self._unread() and time.monotonic() < limit:
            time.sleep(0.001)
        time.sleep(0.05)

    def is_acknowledged(self) -> bool:
        """Whether the proxy's kernel has all that was sent (SIOCOUTQ)."""
        return not struct.unpack("i", fcntl.ioctl(self.link.sock, 0x5411, b"\0\0\0\0"))[0]

    def _unread(self) -> bool:
        """Whether bytes of ours are unacknowledged, or wait in the proxy's kernel."""
        sock = self.link.sock
        if not self.is_acknowledged():
            return True
        with contextlib.suppress(OSError):  # it may be reset
            return sock.family == socket.AF_INET and any(row.unread for row in facing(sock))
        return False

    def gone(self) -> str:
        """Wait for the proxy to end this connection, dropping what still comes; says how."""
        self.link.stream.rest()
        return self.link.end
