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
from collections.abc import Callable, Collection
from math import inf
from typing import Final

from shieldproxy.core import forward, line
from shieldproxy.core.address import Address
from shieldproxy.core.line import Pace
from shieldproxy.core.manners import manners_of
from shieldproxy.core.retry import WINDOW, Budget
from shieldproxy.core.upstreams import UpstreamSpec
from shieldproxy.net.lobby import Lobby
from shieldproxy.net.parting import Connections
from shieldproxy.net.record import ENDS, HUP, IN, LAST, NEWS, Upstream, ignore
from shieldproxy.net.server import Grant, Server, Ticket
from shieldproxy.net.tcpinfo import idle_for

LONG: Final = 1.0
"""Seconds for which we are not kept from reading what has come."""


class Group(Connections):
    """The only server of an upstream. `Several` (net/several.py) chooses among more than one."""

    def __init__(
        self, spec: UpstreamSpec, lobby: Lobby, warn: Callable[[str], None] = lambda _: None
    ) -> None:
        super().__init__(lobby)
        self._warn = warn
        self.spec = spec
        self.name = spec.name
        self.servers = tuple(Server(address, self) for address in spec.servers + spec.backup)
        self.line: OrderedDict[Ticket, float] = OrderedDict()
        """Who waits, and since when."""
        self.checks: dict[Server, Callable[[], None]] = {}
        """Of those under way that hold their server's only place: called when somebody waits for it."""
        self.pace = Pace()
        self.manners = manners_of(spec)
        self.request_head = forward.request_head if self.manners is None else self.manners.request_head
        """Writes the head of a request as this upstream wants it."""
        self.repairs: Counter[str] = Counter()
        """How often each repair of a response acted (`Repair`)."""
        self.budget = Budget(spec.retry_budget)
        self.sparing_until = -inf if spec.retry_budget else inf
        """Until then it is to be asked whether it is `sparing`; after that, it is not."""
        self._only = self.servers[0] if self.servers else Server(Address("", 0, ""), self)
        self._on_pooled = self.on_pooled
        self._on_pool_due = self.on_pool_due

    # leases

    def take(self, _ticket: Ticket | None = None) -> Upstream | None:
        """Return an idle connection, leased from now on, or None if `enter` must be asked."""
        if self.line:
            return None
        server = self._only
        if not server.idle or (len(self._lobby.batch) > 1 and not self._good(server)):
            return None
        server.taken += 1
        return _handed_over(server.idle.pop())

    def take_sure(self, ticket: Ticket) -> Upstream | None:
        """The same for a request that is sent once: a connection that its server will not close just now."""
        if self.line:
            return None
        server = self._choose(ticket)
        if server is None or not self._sure(server):
            return None
        self._went(server)
        server.taken += 1
        return _handed_over(server.idle.pop())

    def enter(self, ticket: Ticket) -> Grant | None:
        """Return a connection or a place at a server; None: the ticket now stands in the line.

        Args:
            ticket: its `grant` is called later, if it has to wait.
        """
        now = self._lobby.now
        if not self.line:
            server = self._choose(ticket)
            if server is not None:
                return self._lease(server, once=ticket.once)
            self.pace.began(now)
        self.line[ticket] = now
        self._call_in()
        return None

    def place(self, _ticket: Ticket, *, shun: Collection[Server]) -> Server | None:
        """Return a place for a fresh connection at a server that is not in `shun`, if one has room."""
        del shun  # it is the only one
        return None

    def others(self, _server: Server) -> bool:
        """Whether there is another server that may be asked."""
        return False

    def quit(self, ticket: Ticket) -> None:
        """Leave the line."""
        self.line.pop(ticket, None)

    def _choose(self, _ticket: Ticket | None) -> Server | None:
        """A server that can take one now."""
        server = self._only
        return server if server.idle or server.open < self.spec.max_connections else None

    def _call_in(self) -> None:
        """Somebody waits: a check that holds a place where it could go is to give way."""
        for give_way in self.checks.values():
            give_way()

    def _went(self, server: Server) -> None:
        """A request goes to a server, as chosen."""

    def _lease(self, server: Server, *, once: bool) -> Grant:
        """An idle connection of a server that can take one, or a place there; `once`: a sure one."""
        self._went(server)
        server.taken += 1
        if server.idle and self._good(server):
            if not once or self._sure(server):
                return _handed_over(server.idle.pop())
            if server.open >= self.spec.max_connections:
                self._discard(server.idle[0])
        server.open += 1
        return server

    def _sure(self, server: Server) -> bool:
        """Whether the youngest idle connection will be kept for as long as a request needs to get there.

        Ages are the kernel's: ours count from when we came to read the response. It is not asked where half
        the time is left, and that is long; nor where half of it is left since we sent the request, behind
        which no idleness can have begun. The oldest one shows for how long this server keeps them.
        """
        if not server.idle or not self._good(server):
            return False
        now, patience = self._lobby.now, server.patience
        youngest, oldest = server.idle[-1], server.idle[0]
        safe = patience.safe(now)
        if (now - youngest.asked) * 2 <= safe or (now - youngest.since) * 2 <= safe >= LONG:
            return True
        now = self._lobby.clock()
        age = max(now - youngest.since, idle_for(youngest.sock))
        if age <= safe:
            return True
        lived = max(now - oldest.since, idle_for(oldest.sock))
        if lived < inf:
            patience.lasted(lived)
        return age <= patience.safe(now)

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
            self._ended(up)
        return False

    # the line

    @property
    def full(self) -> bool:
        """Whether nobody else can be served or wait: whoever comes now is answered with 503 at once."""
        if len(self.line) < self.spec.queue_length:
            return False
        return bool(self.line) or self._choose(None) is None

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

    def _pass_on(self, server: Server, up: Upstream | None) -> bool:
        """Give what has come free to the line, a connection or a place; False if nobody there may have it."""
        ticket = self._next()
        server.taken += 1
        server.given += 1
        granted: Grant = server
        if up is not None:
            if ticket.once and server.patience.safe(self._lobby.now) < 0:
                self.vacate(up)  # it closes behind its responses, and does not say so
            else:
                granted = _handed_over(up)
        self._lobby.guard(ticket.rec, ticket.grant, ticket, granted)
        return True

    # giving back

    def release(self, up: Upstream) -> None:
        """Give a connection back that can serve again: to the line, else to the pool.

        What it says beyond its response would be taken for the answer to the next request: where the last
        read may have left something (IN is latched), it is looked at first.
        """
        ex, up.exchange, server = up.exchange, None, up.server
        if up.latch & (IN | ENDS | LAST) and not self._silent(up):
            return
        up.asked = ex.asked or -inf if ex is not None else -inf
        if self.line and self._pass_on(server, up):
            return
        server.given += 1
        server.idle.append(up)
        up.since = now = self._lobby.now
        up.on_event = self._on_pooled
        up.on_due = self._on_pool_due
        up.due = due = now + server.keep
        if due <= up.slot:
            self._lobby.arm(up, due)

    def free(self, server: Server) -> None:
        """Free a leased place that holds no connection (any more); the line gets it."""
        if self.line and self._pass_on(server, None):
            return
        server.given += 1
        server.open -= 1

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
        elif up.latch & HUP == 0:
            up.server.patience.ended(self._lobby.now, 0.0)
        self.drop(up)
        return False

    # what became of a request

    def may_repeat(self) -> bool:
        """Whether the budget has one more request that is sent again; it is taken from it."""
        may = self.budget.spend(now := self._lobby.now, self._asked_for())
        if self.budget.left(now, self._asked_for()) < 1:
            self.sparing_until = max(self.sparing_until, now + 2 * WINDOW)
        return may

    @property
    def sparing(self) -> bool:
        """Whether the budget is spent: then no request at all is trusted to a connection about to end."""
        now, until = self._lobby.now, self.sparing_until
        if until > now and self.spec.retry_budget and self.budget.left(now, self._asked_for()) >= 1:
            self.sparing_until = until = -inf
        return until > now

    def _asked_for(self) -> int:
        """Requests of this upstream, ever."""
        return sum(server.taken for server in self.servers)

    def failed(self, server: Server, why: str) -> None:
        """A server has failed (core/health.py says what counts). The only one is asked all the same."""

    def lend(self, server: Server) -> bool:
        """Take a place for an active check, if one is free or idle; `free` or `abandon` gives it back."""
        if server.open >= self.spec.max_connections:
            if not server.idle:
                return False
            self._discard(server.idle[0])
        server.taken += 1
        server.open += 1
        return True

    def checked(self, server: Server, why: str) -> None:
        """An active check is over; `why` says what was found amiss, if anything."""
        check = self.spec.health
        if check is None or not server.health.checked(self._lobby.now, check, well=not why):
            return
        if why:
            self.ejections += 1
            self._warn(f"upstream {self.name}: {server.name} is left out by its checks: {why}")
        else:
            self.returns += 1
            self._warn(f"upstream {self.name}: {server.name} is back: it has passed its checks")
        self._changed()

    def _changed(self) -> None:
        """Who may be asked is not who it was. The only one is asked in any case."""

    def closed(self, up: Upstream) -> None:
        """A response is whole that ended with its connection."""
        self.drop(up)


def _handed_over(up: Upstream) -> Upstream:
    """Until its next owner says otherwise, events are latched, and no deadline of the last one fires."""
    up.uses += 1
    up.due = inf
    up.on_event = ignore
    return up
