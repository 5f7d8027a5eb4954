"""More than one server: which of them is asked, which are left out, and how they come back.

The decisions are core's (core/balance.py, core/health.py); here they meet the connections. A request goes to
one of the servers that are well and have room; to a backup only while none of the others is well; and if not
one is well, to the least bad of them, as somebody must be asked. A server whose ejection is over gets one
request as its probe. Whatever changes who may be asked gives the line a chance: those in it may have waited
for a server that has just been left out, beside one that has just come back.
"""

from collections.abc import Callable, Collection, Sequence

from shieldproxy.core.balance import ClientHash, RoundRobin, least
from shieldproxy.core.upstreams import UpstreamSpec
from shieldproxy.net.deadlines import Alarm
from shieldproxy.net.lobby import Lobby
from shieldproxy.net.pool import Group
from shieldproxy.net.record import Upstream
from shieldproxy.net.server import Server, Ticket


class Several(Group):
    """The servers of one upstream, and a choice among them."""

    def __init__(self, spec: UpstreamSpec, lobby: Lobby, warn: Callable[[str], None]) -> None:
        super().__init__(spec, lobby, warn)
        first = len(spec.servers)
        self._weights = (spec.weights or (1,) * first) + (1,) * len(spec.backup)
        self._tiers = (tuple(range(first)), tuple(range(first, len(self.servers))))
        """The servers, and those that are asked if none of these is well."""
        self._turn = 0
        self._round = RoundRobin(self._weights)
        self._hash = ClientHash([server.name for server in self.servers], self._weights)
        self._numbers = {server: number for number, server in enumerate(self.servers)}
        self._alarms = {server: Alarm(lambda _: self._changed()) for server in self.servers}

    # the choice

    def take(self, ticket: Ticket | None = None) -> Upstream | None:
        """Return an idle connection of the server whose turn it is; None if it has none."""
        if self.line:
            return None
        server = self._choose(ticket)
        if server is None or not self._good(server):
            return None
        granted = self._lease(server, once=False)
        return granted if isinstance(granted, Upstream) else None

    def _choose(self, ticket: Ticket | None) -> Server | None:
        numbers = self._able()
        return self._pick(numbers, ticket) if numbers else None

    def _pick(self, numbers: Sequence[int], ticket: Ticket | None) -> Server:
        if self.spec.balance == "client_hash" and ticket is not None:
            number = next(number for number in self._hash.order(ticket.client) if number in numbers)
        elif self.spec.balance == "round_robin":
            number = self._round.pick(numbers)
        elif (due := self._due(numbers)) is not None:
            number = due
        elif idle := self._unleased(numbers):
            number = self._round.pick(idle)
        else:
            number = least(numbers, lambda n: self.servers[n].leased, self._weights, self._turn)
        return self.servers[number]

    def _due(self, numbers: Sequence[int]) -> int | None:
        """One that waits for its probe: however light it is, the next request is that."""
        servers, now = self.servers, self._lobby.now
        return next(
            (n for n in numbers if servers[n].health.troubled and servers[n].health.usable(now)), None
        )

    def _unleased(self, numbers: Sequence[int]) -> Sequence[int]:
        """Those without any request: a tie, whatever their weights, that goes round by weight."""
        return [number for number in numbers if not self.servers[number].leased]

    def _able(self) -> Sequence[int]:
        """Those that may be asked and can take one now; who has just refused a connection, if nobody else."""
        servers, now, most = self.servers, self._lobby.now, self.spec.max_connections
        room = [n for n in self._willing(now) if servers[n].idle or servers[n].open < most]
        return [n for n in room if servers[n].avoid_until <= now] or room

    def _willing(self, now: float) -> Sequence[int]:
        """Those that may be asked at all."""
        servers = self.servers
        for tier in self._tiers:
            well = [number for number in tier if servers[number].health.usable(now)]
            if well:
                return well
        bad = min(s.health.badness for s in servers)
        return [number for number, server in enumerate(servers) if server.health.badness == bad]

    def _call_in(self) -> None:
        willing = self._willing(self._lobby.now) if self.checks else ()
        for server, give_way in self.checks.items():
            if self._numbers[server] in willing:
                give_way()

    def _went(self, server: Server) -> None:
        self._turn += 1
        if self.spec.balance == "round_robin":
            self._round.went(self._numbers[server], self._able())
        elif self.spec.balance == "least_connections" and not server.leased:
            self._round.went(self._numbers[server], self._unleased(self._able()))
        self._asked(server)

    def _asked(self, server: Server) -> None:
        health = server.health
        if health.troubled:
            patience = self.spec.connect_timeout + self.spec.response_timeout
            health.asked(self._lobby.now, patience)
            self._lobby.arm(self._alarms[server], self._lobby.now + patience)

    def others(self, server: Server) -> bool:
        """Whether there is another server that may be asked."""
        return any(self.servers[number] is not server for number in self._willing(self._lobby.now))

    def place(self, ticket: Ticket, *, shun: Collection[Server]) -> Server | None:
        """Return a place for a fresh connection at a server that is not in `shun`, if one has room."""
        servers, most = self.servers, self.spec.max_connections
        able = [n for n in self._able() if servers[n] not in shun]
        able = able or [
            n for n, server in enumerate(servers) if server not in shun and not server.health.down
        ]
        room = [n for n in able if servers[n].idle or servers[n].open < most]
        if not room:
            return None
        server = self._pick(room, ticket)
        if server.open >= most:
            self._discard(server.idle[0])
        self._asked(server)
        server.taken += 1
        server.open += 1
        return server

    # the line

    def _pass_on(self, server: Server, up: Upstream | None) -> bool:
        if self._numbers[server] not in self._willing(self._lobby.now):
            return False
        self._asked(server)
        return super()._pass_on(server, up)

    def _changed(self) -> None:
        """Who may be asked has changed: whoever waits for a place where there is one now, gets it."""
        while self.line:
            if self._choose(None) is None:
                self._call_in()
                return
            ticket = self._next()
            server = self._choose(ticket)
            if server is None:
                return
            granted = self._lease(server, once=ticket.once)
            self._lobby.guard(ticket.rec, ticket.grant, ticket, granted)

    # what became of a request

    def release(self, up: Upstream) -> None:
        """Give a connection back that can serve again: its server has answered."""
        if up.server.health.troubled:
            self._passed(up.server)
        super().release(up)

    def part(self, up: Upstream) -> None:
        """End a connection whose last response is whole."""
        if up.server.health.troubled:
            self._passed(up.server)
        super().part(up)

    def closed(self, up: Upstream) -> None:
        """A response is whole that ended with its connection."""
        if up.server.health.troubled:
            self._passed(up.server)
        super().closed(up)

    def free(self, server: Server) -> None:
        """Free a leased place that holds no connection (any more)."""
        super().free(server)
        if server.health.troubled and server.leased == 0:
            server.health.unproved()
            self._due_again(server)

    def _due_again(self, server: Server) -> None:
        """Nothing has come of a probe: the next request after the ejection is one."""
        self._lobby.arm(self._alarms[server], max(server.health.until, self._lobby.now))
        self._changed()

    def failed(self, server: Server, why: str) -> None:
        """A server has failed (core/health.py says what counts): it may be left out for a while."""
        now = self._lobby.now
        seconds = server.health.failed(now)
        if not seconds:
            if server.health.troubled:
                self._due_again(server)
            return
        self.ejections += 1
        told = why.replace(f"{server.name}: ", "")
        if not any(other.health.usable(now) for other in self.servers):
            told += "; none is left, and the least bad is asked all the same"
        self._warn(f"upstream {self.name}: {server.name} is left out for {seconds:g} s: {told}")
        self._lobby.arm(self._alarms[server], server.health.until)
        self._changed()

    def _passed(self, server: Server) -> None:
        outage = all(other.health.troubled for other in self.servers)
        if server.health.passed(self._lobby.now):
            if outage:  # what ended it may have ended it for all
                for other in self.servers:
                    other.health.relent(self._lobby.now)
            self.returns += 1
            self._warn(f"upstream {self.name}: {server.name} is back: it has answered again")
            self._changed()


def group_of(spec: UpstreamSpec, lobby: Lobby, warn: Callable[[str], None] = lambda _: None) -> Group:
    """Return the pool of an upstream.

    Args:
        spec: as configured.
        lobby: the worker's.
        warn: takes a line when a server is left out, and when it is back.
    """
    if len(spec.servers) + len(spec.backup) > 1:
        return Several(spec, lobby, warn)
    return Group(spec, lobby, warn)
