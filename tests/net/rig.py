"""A lobby without a loop: real sockets on loopback, a clock that the test moves, one turn at a time.

Nothing happens between two calls of the test, so that what one batch of events does can be told exactly.
"""

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from shieldproxy.core.address import Address
from shieldproxy.core.policy import Policy
from shieldproxy.net.downstream import Clients
from shieldproxy.net.linger import Closer
from shieldproxy.net.listener import Listener, bind
from shieldproxy.net.lobby import Lobby
from shieldproxy.net.record import WATCHED, Door, Downstream, Record, ignore

ANY_PORT = Address("127.0.0.1", 0, "")
SECONDS = 3.0
"""Wall time that a loopback event may take before a test fails."""


class Clock:
    """Seconds that only the test moves."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Receipt(NamedTuple):
    """What the closer told of one connection."""

    rec: Downstream
    ending: str
    acknowledged: bool | None
    undelivered: int

    @property
    def why(self) -> tuple[str, str, str]:
        """By whom, in which phase and why it ended."""
        return self.rec.why


def readable(sock: socket.socket | select.epoll, seconds: float) -> bool:
    """Wait until a descriptor has something to say."""
    return bool(select.select([sock], [], [], seconds)[0])


@dataclass
class Rig:
    """A lobby with its clients and closer, and what they reported."""

    clock: Clock = field(default_factory=Clock)
    policy: Policy = field(default_factory=Policy)
    events: int = WATCHED
    """What a client's descriptor is registered for."""
    lobby_class: type[Lobby] = Lobby

    def __post_init__(self) -> None:
        self.faults: list[tuple[Any, Exception]] = []
        self.receipts: list[Receipt] = []
        self.heads: list[tuple[Downstream, bytes]] = []
        self.refused: list[tuple[int, str]] = []
        self.warnings: list[str] = []
        self.blocking: list[socket.socket] = []
        self.has_room = True
        self.peers: list[socket.socket] = []
        self.new: list[Downstream] = []
        self.lobby = lobby = self.lobby_class(self.clock, self._on_fault)
        self.closer = Closer(lobby, self._on_receipt, self._close_blocking)
        self.clients = Clients(lobby, self.closer, lambda _: self.policy, self.on_head, self._on_refused)
        self.listener = Listener(lobby, bind(ANY_PORT), "127.0.0.1:0", self._welcome, self.warnings.append)
        self.address = self.listener.door.sock.getsockname()

    # what the lobby calls

    def _on_fault(self, record: Any, exc: Exception) -> None:
        self.faults.append((record, exc))
        self.lobby.close(record)

    def _on_receipt(self, rec: Downstream, ending: str, acknowledged: bool | None, undelivered: int) -> None:
        self.receipts.append(Receipt(rec, ending, acknowledged, undelivered))

    def _close_blocking(self, sock: socket.socket) -> bool:
        if self.has_room:
            self.blocking.append(sock)
        return self.has_room

    def on_head(self, rec: Downstream, data: bytes, end: int) -> None:
        """A whole head: the exchange begins, and the test is the one to answer it."""
        self.heads.append((rec, data[:end]))
        rec.buf = data[end:]
        self.serve(rec)

    def serve(self, rec: Downstream) -> None:
        """Put a client into the state in which its request is worked on."""
        rec.state = type(rec.state).ACTIVE
        rec.on_event = ignore
        rec.due = float("inf")

    def _on_refused(self, rec: Downstream, status: int, reason: str) -> None:
        self.refused.append((status, reason))
        self.serve(rec)

    def _welcome(self, sock: socket.socket, peer: str, port: int, door: Door) -> None:
        rec = self.clients.welcome(sock, peer, port, door)
        if self.events != WATCHED:
            self.lobby.epoll.modify(rec.fd, self.events)
        self.new.append(rec)

    # what tests call

    def dial(self, rcvbuf: int | None = None) -> socket.socket:
        """A client's socket, connected and not yet accepted."""
        sock = socket.socket()
        if rcvbuf is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.peers.append(sock)
        sock.connect(self.address)
        return sock

    def join(self, rcvbuf: int | None = None, data: bytes = b"") -> tuple[socket.socket, Downstream]:
        """A client that is in the lobby; `data` is there before it is."""
        sock = self.dial(rcvbuf)
        if data:
            sock.sendall(data)
        self.until(lambda: bool(self.new))
        rec = self.new.pop()
        assert rec.port == sock.getsockname()[1]
        return sock, rec

    def pair(self, on_event: Callable[[Any, int], None] = ignore) -> tuple[socket.socket, Record]:
        """A plain record that the test's function owns, and its peer."""
        peer = self.dial()
        ours, where = self.listener.door.sock.accept()
        assert where == peer.getsockname()
        ours.setblocking(False)
        record = Record(ours, on_event, lambda _: None)
        self.lobby.add(record, self.events)
        return peer, record

    def until(self, true: Callable[[], bool], seconds: float = SECONDS) -> None:
        """Take turns until it is so."""
        for _ in range(int(seconds / 0.02)):
            if true():
                return
            if self.lobby.ready or readable(self.lobby.epoll, 0.02):
                self.lobby.turn()
        assert true(), "waited in vain"

    def quiet(self, most: int = 1000) -> int:
        """Take turns until nothing more happens; return the events that came, `most` if that never ends."""
        count = 0
        while count < most and (self.lobby.ready or readable(self.lobby.epoll, 0.02)):
            count += self.lobby.turn()
        return count

    def jump(self, seconds: float) -> None:
        """Let time pass, then fire what is due."""
        self.clock.now += seconds
        self.lobby.fire()

    def close(self) -> None:
        """Close everything."""
        for sock in self.peers + self.blocking:
            sock.close()
        self.lobby.shut()


@contextmanager
def rig(**settings: Any) -> Iterator[Rig]:
    """A rig for a `with`."""
    made = Rig(**settings)
    try:
        yield made
    finally:
        made.close()


def reset(sock: socket.socket) -> None:
    """End a client with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


def take(sock: socket.socket, count: int) -> bytes:
    """Read so many bytes of the other side."""
    data = bytearray()
    sock.settimeout(SECONDS)
    while len(data) < count:
        piece = sock.recv(count - len(data))
        assert piece, "ended early"
        data += piece
    return bytes(data)
