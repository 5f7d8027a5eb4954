"""A server that closes connections which have been idle for a while, and counts what it was asked to do.

Its close is the plain one of old servers: a timer, then `close()`, whatever is on its way. What arrives
behind it is answered by its kernel with a reset. Runs in the trio loop of whoever uses it.
"""

import socket
from collections import Counter
from typing import Final

import trio

ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Curt:
    """Bind, then `run`; `address` is where. `ran`: (method, target) -> how often a whole one came."""

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self.ran: Counter[tuple[bytes, bytes]] = Counter()
        self.closed = 0
        """Connections that it closed because they were idle."""
        self.taken = 0
        """Connections ever."""
        sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.address = "127.0.0.1:" + str(sock.getsockname()[1])
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(_nonblocking(sock)))

    async def run(self) -> None:
        """Serve until cancelled."""
        await trio.serve_listeners(self._serve, [self._listener])

    async def _serve(self, stream: trio.SocketStream) -> None:
        self.taken += 1
        try:
            while await self._one(stream):
                pass
        except (trio.BrokenResourceError, OSError):
            return
        finally:
            stream.socket.close()

    async def _one(self, stream: trio.SocketStream) -> bool:
        data = b""
        with trio.move_on_after(self.patience) as idle:
            data = await stream.receive_some()
        if idle.cancelled_caught:
            self.closed += 1
            return False
        while data and not _whole(data):
            more = await stream.receive_some()
            if not more:
                return False
            data += more
        if not data:
            return False
        method, target, _ = data.split(b" ", 2)
        self.ran[method, target] += 1
        await stream.send_all(ANSWER)
        return True


def _nonblocking(sock: socket.socket) -> socket.socket:
    sock.setblocking(False)
    return sock


def _whole(data: bytes) -> bool:
    """Whether a request with at most a short Content-Length is there."""
    head, blank, body = data.partition(b"\r\n\r\n")
    if not blank:
        return False
    _, length, rest = head.lower().partition(b"content-length: ")
    return len(body) >= (int(rest.split(b"\r\n")[0]) if length else 0)
