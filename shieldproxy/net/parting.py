"""How connections to servers end: orderly, within bounds, and with their place free only when it is.

A bare close() with unread input would reset a server that is still answering, and a place that is given on
before the server has closed would be one connection too many for it. `Group` (net/pool.py) adds who gets
what.
"""

import socket
from functools import partial
from typing import Final

from shieldproxy.core.upstreams import UpstreamSpec
from shieldproxy.net.lobby import READS_A_TURN, Lobby
from shieldproxy.net.record import IN, NEWS, Upstream, has_input
from shieldproxy.net.server import Server
from shieldproxy.net.tcpinfo import bound_orphan, idle_before_fin

ABANDON_TIME: Final = 5.0
PART_TIME: Final = 1.0
"""Seconds for the server to close behind its last response: a child of it may have inherited the socket."""
ABANDON_BYTES: Final = 16 * 1024 * 1024
ORPHAN_TIME: Final = 20.0


class Connections:
    """The connections to the servers of one upstream, as far as their ends go."""

    servers: tuple[Server, ...]
    spec: UpstreamSpec

    def __init__(self, lobby: Lobby) -> None:
        self._lobby = lobby
        self.dropped_idle = 0
        """Idle connections that the server closed or spoke on."""
        self.surplus = 0
        """Connections on which more came than the response."""
        self.ejections = 0
        self.returns = 0

    def free(self, server: Server) -> None:
        """Free a leased place that holds no connection (any more)."""
        raise NotImplementedError

    def drop(self, up: Upstream) -> None:
        """Close a leased connection that has nothing unread, and free its place."""
        up.exchange = None
        self._lobby.close(up, _close_orderly)
        self.free(up.server)

    def vacate(self, up: Upstream) -> Server:
        """Close a leased connection and keep its place, for a fresh one."""
        up.exchange = None
        self._lobby.close(up, _close_orderly)
        server: Server = up.server
        return server

    def part(self, up: Upstream) -> None:
        """End a connection whose last response is whole. Its place is free when the server has closed too.

        Until then it holds a process or a thread of the server: the next connection would be one too many.
        """
        self.abandon(up, PART_TIME)

    def abandon(self, up: Upstream, seconds: float = ABANDON_TIME) -> None:
        """Give up a connection in mid-exchange: FIN, then read what still comes, within bounds.

        A bare close() with unread input would reset a server that is still answering.
        """
        up.exchange = None
        if up.fd < 0:
            return
        try:
            up.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.drop(up)
            return
        drained = [0]
        up.on_event = partial(self._on_abandoned, drained)
        up.on_due = self.drop
        self._lobby.arm(up, self._lobby.now + seconds)
        up.on_event(up, IN)

    def _on_abandoned(self, drained: list[int], up: Upstream, _events: int) -> None:
        scrap = self._lobby.discarded
        for _ in range(READS_A_TURN):
            try:
                count = up.sock.recv_into(scrap)
            except BlockingIOError:
                return
            except OSError:
                count = 0
            drained[0] += count
            if count == 0 or drained[0] > ABANDON_BYTES:
                self.drop(up)
                return
        self._lobby.again(up)

    # idle connections

    def on_pooled(self, up: Upstream, events: int) -> None:
        """An idle connection that ends, or speaks unasked, serves nobody any more."""
        up.latch |= events
        if events & NEWS:
            self._ended(up)

    def _ended(self, up: Upstream) -> None:
        """The server has closed an idle connection, or spoken on it."""
        now, server = self._lobby.now, up.server
        # What it says before it closes (a 408) is no answer to us: it ends the idleness, and is its measure.
        age = None if has_input(up) else idle_before_fin(up.sock)
        self.dropped_idle += 1
        server.patience.ended(now, now - up.since if age is None else age)
        server.keep = self._keep(server)
        self._discard(up)

    def _keep(self, server: Server) -> float:
        """Seconds for which its connections are kept: as configured, or less than it does as far as known."""
        return min(self.spec.pool_idle, server.patience.keep(self._lobby.now))

    def on_pool_due(self, up: Upstream) -> None:
        """An idle connection was not used for as long as it is kept.

        Before the server closes it we do: no request meets its close then. The oldest one is left to the
        server: it tells whether the time is still the same.
        """
        server = up.server
        lived, server.keep = self._lobby.now - up.since, self._keep(server)
        keep = self.spec.pool_idle if up is server.idle[0] else server.keep
        if lived < keep:
            self._lobby.arm(up, up.since + keep)
            return
        server.patience.lasted(lived)
        self._discard(up)

    def _discard(self, up: Upstream) -> None:
        server = up.server
        server.idle.remove(up)
        server.open -= 1
        self._lobby.close(up, _close_orderly)

    def forget(self, up: Upstream) -> None:
        """Close a connection that no exchange has, after a defect, and free its place."""
        if up in up.server.idle:
            self._discard(up)
        elif up.fd >= 0:
            self.drop(up)

    def close_idle(self) -> None:
        """Close every idle connection (the drain's end)."""
        for server in self.servers:
            for up in list(server.idle):
                self._discard(up)


def _close_orderly(sock: socket.socket) -> None:
    bound_orphan(sock, ORPHAN_TIME, ORPHAN_TIME)
    sock.close()
