"""The pool's planner under any order of requests, answers, failures and departures."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shieldproxy.net.record import FIN, IN, Upstream
from shieldproxy.net.server import Grant, Server
from tests.net.pools import Pool, Ticket


class Planner(RuleBasedStateMachine):
    """Exchanges that hold connections, hold places, or stand in line."""

    pool: Pool
    most: int
    order: str

    def __init__(self) -> None:
        super().__init__()
        self.leased: list[Upstream] = []
        self.places: list[Server] = []
        self.line: list[Ticket] = []

    @initialize(
        servers=st.integers(1, 3), most=st.integers(1, 3), order=st.sampled_from(["fifo", "lifo", "adaptive"])
    )
    def begin(self, servers: int, most: int, order: str) -> None:
        self.most = most
        self.order = order
        self.pool = Pool(servers, most, queue_order=order)

    def hold(self, granted: Grant) -> None:
        if isinstance(granted, Server):
            self.places.append(granted)
        else:
            assert granted.fd >= 0, "a dead connection was granted"
            assert granted not in self.leased, "granted twice"
            self.leased.append(granted)

    def served(self) -> None:
        """Those who were granted something meanwhile: from one end of the line only."""
        had = [bool(ticket.granted) for ticket in self.line]
        if self.order == "fifo":
            assert had == sorted(had, reverse=True)
        elif self.order == "lifo":
            assert had == sorted(had)
        for ticket in [ticket for ticket in self.line if ticket.granted]:
            self.line.remove(ticket)
            (granted,) = ticket.granted
            self.hold(granted)

    @rule()
    def ask(self) -> None:
        up = self.pool.group.take()
        if up is not None:
            assert not self.line, "the line was passed"
            self.hold(up)
            return
        ticket = Ticket()
        granted = self.pool.group.enter(ticket)
        if granted is None:
            self.line.append(ticket)
        else:
            assert not self.line, "the line was passed"
            self.hold(granted)

    @precondition(lambda self: self.places)
    @rule(data=st.data(), works=st.booleans())
    def connect(self, data: st.DataObject, works: bool) -> None:
        place = data.draw(st.sampled_from(self.places))
        self.places.remove(place)
        if works:
            self.leased.append(self.pool.connect(place))
            return
        other = self.pool.group.place(Ticket(), shun=[place])
        self.pool.group.free(place)
        if other is not None:
            assert other is not place
            self.places.append(other)

    @precondition(lambda self: self.leased)
    @rule(data=st.data(), how=st.sampled_from(["release", "release", "fin", "drop", "abandon", "retry"]))
    def end(self, data: st.DataObject, how: str) -> None:
        up = data.draw(st.sampled_from(self.leased))
        self.leased.remove(up)
        group = self.pool.group
        if how == "fin":
            up.latch |= FIN
        if how in {"release", "fin"}:
            group.release(up)
        elif how == "drop":
            group.drop(up)
        elif how == "retry":
            self.places.append(group.vacate(up))
        else:
            group.abandon(up)
            up.on_due(up)

    @precondition(lambda self: self.line)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.line))
        self.pool.group.quit(ticket)
        self.line.remove(ticket)

    @rule(data=st.data(), events=st.sampled_from([IN, FIN, IN | FIN]))
    def server_closes_an_idle_one(self, data: st.DataObject, events: int) -> None:
        idle = [up for server in self.pool.group.servers for up in server.idle]
        if idle:
            up = data.draw(st.sampled_from(idle))
            up.on_event(up, events)

    @rule(seconds=st.floats(0, 5), refuses=st.integers(0, 2))
    def time_passes(self, seconds: float, refuses: int) -> None:
        self.pool.lobby.now += seconds
        servers = self.pool.group.servers
        servers[refuses % len(servers)].avoid_until = self.pool.lobby.now + 2

    @invariant()
    def the_books_are_right(self) -> None:
        self.served()
        for server in self.pool.group.servers:
            held = sum(up.server is server for up in self.leased) + self.places.count(server)
            assert server.leased == held
            assert server.open == held + len(server.idle)
            assert server.open <= self.most
            assert all(up.fd >= 0 for up in server.idle)

    @invariant()
    def nobody_waits_beside_a_free_connection(self) -> None:
        self.served()
        assert list(self.pool.group.line) == self.line
        if self.line:
            assert all(not server.idle and server.open == self.most for server in self.pool.group.servers), (
                "somebody waits though there is room"
            )


Planner.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestPlanner = Planner.TestCase
