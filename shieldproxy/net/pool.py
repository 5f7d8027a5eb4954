"""Connections to legacy servers: which are idle, which are leased, and who waits in line.

A synchronous planner: it changes its own state and says what I/O is to be done; it never waits. Asked for a
lease, it answers with an idle connection, with a place at a server (to which the caller then connects), or
with None: then the caller is in the line. A connection or a place that comes free goes to the line and never
past it: to its head, or to its end while it is overloaded (core/line.py). What is granted to a ticket is
handed to its `grant`.

An idle connection stays registered in the lobby: the server's FIN on it, or bytes that nobody asked for, end
it at once, so no request is sent into a dead connection that we could have known of.
"""

import socket
from collections import Counter, OrderedDict
from math import inf
from typing import Final

from shieldproxy.core import forward, line
from shieldproxy.core.line import Pace
from shieldproxy.core.manners import manners_of
from shieldproxy.core.upstreams import UpstreamSpec
from shieldproxy.net.lobby import Lobby
from shieldproxy.net.parting import Connections
from shieldproxy.net.record import ENDS, HUP, IN, LAST, NEWS, Upstream, ignore
from shieldproxy.net.server import Grant, Server, Ticket

AVOID: Final = 2.0
"""Seconds for which a server that refused a connection comes last."""


class Group(Connections):
    """The servers of one upstream, with least connections among them."""

    def __init__(self, spec: UpstreamSpec, lobby: Lobby) -> None:
        super().__init__(lobby)
        self.spec = spec
        self.name = spec.name
        self.servers = tuple(Server(address, self) for address in spec.servers)
        self.line: OrderedDict[Ticket, float] = OrderedDict()
        """Who waits, and since when."""
        self.pace = Pace()
        self.manners = manners_of(spec)
        self.request_head = forward.request_head if self.manners is None else self.manners.request_head
        """Writes the head of a request as this upstream wants it."""
        self.repairs: Counter[str] = Counter()
        """How often each repair of a response acted (`Repair`)."""
        self._single = self.servers[0] if len(self.servers) == 1 else None
        self._turn = 0
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
        if len(self._lobby.batch) > 1 and not self._good(server):
            return None
        server.taken += 1
        return _handed_over(server.idle.pop())

    def enter(self, ticket: Ticket) -> Grant | None:
        """Return a connection or a place at a server; None: the ticket now stands in the line.

        Args:
            ticket: its `grant` is called later, if it has to wait.
        """
        if not self.line:
            server = self._least(idle_only=False)
            if server is not None:
                server.taken += 1
                if server.idle and self._good(server):
                    return _handed_over(server.idle.pop())
                server.open += 1
                return server
            self.pace.began(self._lobby.now)
        self.line[ticket] = self._lobby.now
        return None

    @property
    def full(self) -> bool:
        """Whether nobody else can be served or wait: whoever comes now is answered with 503 at once."""
        if len(self.line) < self.spec.queue_length:
            return False
        return bool(self.line) or self._least(idle_only=False) is None

    def retry_after(self) -> int:
        """Whole seconds after which the line, as it moves now, will have come to whoever is sent away."""
        waiting = len(self.line)
        return line.retry_after(waiting, self.pace.each(self._lobby.now, waiting=waiting > 0))

    def _next(self) -> Ticket:
        """Whose turn in the line it is, out of it from now on."""
        now = self._lobby.now
        self.pace.freed(now)
        waiting = len(self.line)
        newest = waiting > 1 and line.newest_first(
            self.spec.queue_order,
            waited=now - next(iter(self.line.values())),
            waiting=waiting,
            each=self.pace.each(now, waiting=True),
            timeout=self.spec.queue_timeout,
        )
        return self.line.popitem(last=newest)[0]

    def place(self, *, shun: Server) -> Server | None:
        """Return a place for a fresh connection at another server than `shun`, if one has room."""
        room = [s for s in self.servers if s is not shun and s.open < self.spec.max_connections]
        if not room:
            return None
        server = min(room, key=lambda s: s.leased)
        server.taken += 1
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

    def _good(self, server: Server) -> bool:
        """Whether a server has an idle connection of which this batch has no news.

        The client may stand before the upstream in the batch: in the kernel's list since its first byte, or
        since it has room to write. What the upstream said, or that it ended, is known by then all the same.
        """
        lobby, idle = self._lobby, server.idle
        while idle:
            up = idle[-1]
            if up.since == lobby.now or not lobby.told(up) & NEWS:  # given back in this turn: called already
                return True
            self.dropped_idle += 1
            self._discard(up)
        return False

    # giving back

    def release(self, up: Upstream) -> None:
        """Give a connection back that can serve again: to the head of the line, else to the pool.

        What it says beyond its response would be taken for the answer to the next request: where the last
        read may have left something (IN is latched), it is looked at first.
        """
        up.exchange = None
        if up.latch & (IN | ENDS | LAST) and not self._silent(up):
            return
        if self.line:
            ticket = self._next()
            _handed_over(up)
            up.server.taken += 1
            up.server.given += 1
            self._lobby.guard(ticket.rec, ticket.grant, ticket, up)
            return
        server = up.server
        server.given += 1
        server.idle.append(up)
        up.since = now = self._lobby.now
        up.on_event = self._on_pooled
        up.on_due = self._on_pool_due
        up.due = due = now + self.spec.pool_idle
        if due <= up.slot:
            self._lobby.arm(up, due)

    def _silent(self, up: Upstream) -> bool:
        """Whether a connection is neither over nor has anything to say; if not, it is given up."""
        if up.latch & LAST:
            self.part(up)
            return False
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

    def free(self, server: Server) -> None:
        """Free a leased place that holds no connection (any more); the head of the line gets it."""
        if self.line:
            ticket = self._next()
            server.taken += 1
            server.given += 1
            self._lobby.guard(ticket.rec, ticket.grant, ticket, server)
            return
        server.given += 1
        server.open -= 1


def _handed_over(up: Upstream) -> Upstream:
    """Until its next owner says otherwise, events are latched, and no deadline of the last one fires."""
    up.uses += 1
    up.due = inf
    up.on_event = ignore
    return up
