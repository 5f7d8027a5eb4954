"""A pool's planner over a lobby in which nothing happens by itself, and over sockets that are none."""

import socket
from collections.abc import Callable
from typing import Any, cast

from shieldproxy.core.address import Address
from shieldproxy.core.upstreams import UpstreamSpec
from shieldproxy.net.lobby import Lobby
from shieldproxy.net.record import IN, Downstream, Upstream
from shieldproxy.net.server import Grant, Server
from shieldproxy.net.several import group_of


class Wire:
    """Stands in for a socket."""

    family = socket.AF_INET

    def __init__(self, number: int) -> None:
        self.number = number
        self.calls: list[str] = []
        self.queued = 0
        self.fin = False

    def fileno(self) -> int:
        return self.number

    def shutdown(self, _how: int) -> None:
        self.calls.append("shutdown")

    def setsockopt(self, *_: object) -> None:
        return

    def recv_into(self, buffer: memoryview) -> int:
        if not self.queued and not self.fin:
            raise BlockingIOError
        count = min(self.queued, len(buffer))
        self.queued -= count
        return count

    def recv(self, _most: int, _flags: int = 0) -> bytes:
        if self.fin:
            return b""
        raise BlockingIOError

    def getsockopt(self, *_: object) -> bytes:
        raise OSError("not TCP")

    def close(self) -> None:
        self.calls.append("close")


class Still:
    """A lobby in which nothing happens by itself."""

    def __init__(self) -> None:
        self.now = 100.0
        self.discarded = memoryview(bytearray(65536))
        self.called_again: list[Upstream] = []
        self.closed: list[Upstream] = []
        self.armed: list[Any] = []
        """Deadlines of others than connections."""
        self.batch: list[tuple[int, int]] = []

    def told(self, record: Upstream) -> int:
        return dict(self.batch).get(record.fd, 0)

    def clock(self) -> float:
        return self.now

    def arm(self, record: Any, due: float) -> None:
        record.due = due
        if not isinstance(record, Upstream) and record not in self.armed:
            self.armed.append(record)

    def again(self, record: Upstream, _events: int = IN) -> None:
        self.called_again.append(record)

    def guard(self, _record: object, call: Callable[..., None], *args: object) -> None:
        call(*args)

    def close(self, record: Upstream, how: Callable[[Any], None] | None = None) -> None:
        if record.fd >= 0:
            record.fd = -1
            self.closed.append(record)
            if how is None:
                record.sock.close()
            else:
                how(record.sock)


class Ticket:
    """Somebody in line."""

    def __init__(self, client: str = "192.0.2.1", *, once: bool = False) -> None:
        self.rec = cast(Downstream, None)
        self.client = client
        self.once = once
        self.granted: list[Grant] = []
        self.grant: Callable[[Any, Grant], None] = lambda _, granted: self.granted.append(granted)


class Pool:
    """A group over a still lobby, and the connections that were made for it."""

    def __init__(self, servers: int = 1, most: int = 2, **spec: Any) -> None:
        addresses = tuple(Address("127.0.0.1", 9000 + number, "") for number in range(servers))
        self.lobby = Still()
        made = UpstreamSpec("legacy", addresses, most, pool_idle=30.0, **spec)
        self.said: list[str] = []
        self.group = group_of(made, cast(Lobby, self.lobby), self.said.append)
        self.numbers = 10

    def connect(self, place: Grant | None) -> Upstream:
        """What the caller does with a place."""
        assert isinstance(place, Server)
        self.numbers += 1
        wire = cast(socket.socket, Wire(self.numbers))
        up = Upstream(wire, lambda *_: None, lambda _: None, place, self.lobby.now)
        up.uses = 1
        return up

    def lease(self) -> Upstream:
        """An idle connection, or a fresh one."""
        up = self.group.take(Ticket())
        return up if up is not None else self.got(self.group.enter(Ticket()))

    def got(self, granted: Grant | None) -> Upstream:
        return granted if isinstance(granted, Upstream) else self.connect(granted)

    def busy(self) -> list[tuple[int, int, int]]:
        """Of each server: leased, open, idle."""
        return [(server.leased, server.open, len(server.idle)) for server in self.group.servers]


def wire(up: Upstream) -> Wire:
    return cast(Wire, up.sock)
