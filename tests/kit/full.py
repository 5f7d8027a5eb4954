"""A client's socket whose kernel takes so many bytes, and no more until the test says so."""

import socket
from typing import Any


class Full:
    """Stands in for `Record.sock`.

    Attributes:
        takes: bytes that it takes still.
        tries: how often it was asked to.
    """

    def __init__(self, sock: socket.socket, takes: int = 0) -> None:
        self._sock = sock
        self.takes = takes
        self.tries = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def send(self, data: bytes) -> int:
        self.tries += 1
        if not self.takes:
            raise BlockingIOError
        count = self._sock.send(memoryview(data)[: self.takes])
        self.takes -= count
        return count
