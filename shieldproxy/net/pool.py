"""Connections to legacy servers: which are idle, which are leased, and who waits in line.

A synchronous planner: it changes its own state and says what I/O is to be done; it never waits. Asked for a
lease, it answers with an idle connection, with a place at a server (to which the caller then connects), or
with None: then the caller is in the line. A connection or a place that comes free goes to the head of the
line and never past it. What is granted to a ticket is handed to its `grant`.

An idle connection stays registered in the lobby: the server's FIN on it, or bytes that nobody asked for, end
it at once, so no request is sent into a dead connection that we could have known of.
"""

import socket
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any, Final, Protocol

import trio

from shieldproxy.core.address import Address
from shieldproxy.core.upstreams import UpstreamSpec
from shieldproxy.net.lobby import READS_A_TURN, Lobby
from shieldproxy.net.record import ENDS, HUP, IN, NEWS, Downstream, Upstream, ignore
from shieldproxy.net.tcpinfo import bound_orphan

AVOID: Final = 2.0
"""Seconds for which a server that refused a connection comes last."""
ABANDON_TIME: Final = 5.0
PART_TIME: Final = 1.0
"""Seconds for the server to close behind its last response: a child of it may have inherited the socket."""
ABANDON_BYTES: Final = 16 * 1024 * 1024
ORPHAN_TIME: Final = 20.0


class Server:
    """One address of an upstream, and its connections."""

    __slots__ = (
        "address",
        "asking",
        "avoid_until",
        "group",
        "idle",
        "leased",
        "name",
        "open",
        "resolved",
        "resolved_until",
    )

    def __init__(self, address: Address, group: "Group") -> None:
        self.address = address
        self.name = str(address)
        self.group = group
        self.idle: list[Upstream] = []
        self.open = 0
        """Connections in any state, and places granted for one."""
        self.leased = 0
        self.avoid_until = -inf
        self.asking = trio.Lock()
        """Held while its name is looked up."""
        self.resolved: tuple[tuple[int, Any], ...] = ()
        self.resolved_until = -inf


Grant = Upstream | Server


class Ticket(Protocol):
    """Somebody who waits in line."""

    rec: Downstream
    grant: Callable[[Any, Grant], None]


class Group:
    """The servers of one upstream, with least connections among them."""

    def __init__(self, spec: UpstreamSpec, lobby: Lobby) -> None:
        self.spec = spec
        self.name = spec.name
        self.servers = tuple(Server(address, self) for address in spec.servers)
        self.line: OrderedDict[Ticket, None] = OrderedDict()
        self.dropped_idle = 0
        """Idle connections that the server closed or spoke on."""
        self.surplus = 0
        """Connections on which more came than the response."""
        self._single = self.servers[0] if len(self.servers) == 1 else None
        self._turn = 0
        self._lobby = lobby
        self._on_pooled = self.on_pooled
        self._on_pool_due = self.on_pool_due

    # leases

    def take(self) -> Upstream | None:
        """Return an idle connection, leased from now on, or None if `enter` must be asked."""
        if self.line:
            return None
        server = self._single or self._least(idle_only=True)
        if server is None or not server.idle:
            return None
        server.leased += 1
        return _handed_over(server.idle.pop())

    def enter(self, ticket: Ticket) -> Grant | None:
        """Return a connection or a place at a server; None: the ticket now stands in the line.

        Args:
            ticket: its `grant` is called later, if it has to wait.
        """
        if not self.line:
            server = self._least(idle_only=False)
            if server is not None:
                server.leased += 1
                if server.idle:
                    return _handed_over(server.idle.pop())
                server.open += 1
                return server
        self.line[ticket] = None
        return None

    def place(self, *, shun: Server) -> Server | None:
        """Return a place for a fresh connection at another server than `shun`, if one has room."""
        room = [s for s in self.servers if s is not shun and s.open < self.spec.max_connections]
        if not room:
            return None
        server = min(room, key=lambda s: s.leased)
        server.leased += 1
        server.open += 1
        return server

    def quit(self, ticket: Ticket) -> None:
        """Leave the line."""
        self.line.pop(ticket, None)

    def _least(self, *, idle_only: bool) -> Server | None:
        """The server with the fewest leases among those that can take one; ties go round."""
        now, most = self._lobby.now, self.spec.max_connections
        best: Server | None = None
        best_key = (True, inf)
        count = len(self.servers)
        self._turn += 1
        for index in range(count):
            server = self.servers[(self._turn + index) % count]
            if server.idle or (not idle_only and server.open < most):
                key = (server.avoid_until > now, server.leased)
                if best is None or key < best_key:
                    best, best_key = server, key
        if idle_only and best is not None and not best.idle:
            return None
        if (
            idle_only
            and best is not None
            and any(s.leased < best.leased and s.open < most and s.avoid_until <= now for s in self.servers)
        ):
            return None  # a less busy server has no idle connection: `enter` will say so
        return best

    # giving back

    def release(self, up: Upstream) -> None:
        """Give a connection back that can serve again: to the head of the line, else to the pool.

        What it says beyond its response would be taken for the answer to the next request: where the last
        read may have left something (IN is latched), it is looked at first.
        """
        up.exchange = None
        if up.latch & (IN | ENDS) and not self._silent(up):
            return
        if self.line:
            ticket, _ = self.line.popitem(last=False)
            _handed_over(up)
            self._lobby.guard(ticket.rec, ticket.grant, ticket, up)
            return
        server = up.server
        server.leased -= 1
        server.idle.append(up)
        up.since = now = self._lobby.now
        up.on_event = self._on_pooled
        up.on_due = self._on_pool_due
        up.due = due = now + self.spec.pool_idle
        if due <= up.slot:
            self._lobby.arm(up, due)

    def _silent(self, up: Upstream) -> bool:
        """Whether a connection has neither ended nor anything to say; if not, it is given up."""
        if not up.latch & ENDS:
            try:
                if up.sock.recv(1, socket.MSG_PEEK):
                    self.surplus += 1
                    self.abandon(up)
                    return False
            except BlockingIOError:
                up.latch &= ~IN
                return True
            except OSError:
                up.latch |= HUP
        self.drop(up)
        return False

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

    def free(self, server: Server) -> None:
        """Free a leased place that holds no connection (any more); the head of the line gets it."""
        if self.line:
            ticket, _ = self.line.popitem(last=False)
            self._lobby.guard(ticket.rec, ticket.grant, ticket, server)
            return
        server.leased -= 1
        server.open -= 1

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
            self.dropped_idle += 1
            self._discard(up)

    def on_pool_due(self, up: Upstream) -> None:
        """An idle connection was not used for pool_idle."""
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


def _handed_over(up: Upstream) -> Upstream:
    """Until its next owner says otherwise, events are latched, and no deadline of the last one fires."""
    up.uses += 1
    up.due = inf
    up.on_event = ignore
    return up


def _close_orderly(sock: socket.socket) -> None:
    bound_orphan(sock, ORPHAN_TIME, ORPHAN_TIME)
    sock.close()
