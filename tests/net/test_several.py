"""Several servers over a still lobby: who is asked, who is left out, and nobody waits beside a free one."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shieldproxy.core.address import Address
from shieldproxy.net.record import FIN, Upstream
from shieldproxy.net.server import Grant, Server
from shieldproxy.net.several import Several
from tests.net.pools import Pool, Ticket

BACKUP = (Address("127.0.0.1", 9900, ""),)


def eject(pool: Pool, server: Server, times: int = 3) -> None:
    for _ in range(times):
        pool.group.failed(server, "upstream-closed")


def names(pool: Pool, count: int) -> list[int]:
    """The numbers of the servers that so many requests go to, one after the other."""
    went = []
    for _ in range(count):
        up = pool.lease()
        went.append(pool.group.servers.index(up.server))
        pool.group.release(up)
    return went


def test_one_that_is_left_out_is_not_asked_and_its_line_goes_elsewhere() -> None:
    pool = Pool(2, 1)
    first, second = pool.group.servers
    held = [pool.lease(), pool.lease()]
    waiting = Ticket()
    assert pool.group.enter(waiting) is None
    eject(pool, first)
    on_first, on_second = sorted(held, key=lambda up: up.server is second)
    pool.group.release(on_first)
    assert waiting.granted == []
    pool.group.release(on_second)
    assert waiting.granted == [on_second]
    assert pool.group.ejections == 1
    assert "left out for 5 s" in pool.said[0]


def test_when_it_is_over_who_waits_is_its_probe() -> None:
    pool = Pool(2, 1, queue_order="fifo")
    first, second = pool.group.servers
    eject(pool, first)
    up, waiting, other = pool.lease(), Ticket(), Ticket()
    assert up.server is second
    assert pool.group.enter(waiting) is None
    assert pool.group.enter(other) is None
    pool.lobby.now += 5
    (alarm,) = [record for record in pool.lobby.armed if record.due == pool.lobby.now]
    alarm.on_due(alarm)
    assert waiting.granted == [first]
    assert other.granted == []
    probe = pool.connect(first)
    pool.group.release(probe)
    assert pool.group.returns == 1
    assert other.granted == [probe]


def test_a_backup_takes_over_those_who_wait() -> None:
    pool = Pool(1, 1, backup=BACKUP, max_fails=1)
    up, waiting = pool.lease(), Ticket()
    assert pool.group.enter(waiting) is None, "the backup is not asked while the other is well"
    eject(pool, up.server, 1)
    assert waiting.granted == [pool.group.servers[1]]


def test_weights_and_turns() -> None:
    assert names(Pool(3, 4, balance="round_robin", weights=(2, 1, 1)), 8) == [0, 1, 2, 0] * 2
    assert sorted(names(Pool(3, 4), 9)) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_client_goes_to_its_next_server_while_its_own_is_full() -> None:
    pool = Pool(3, 1, balance="client_hash")
    first = pool.group.enter(Ticket("192.0.2.7"))
    second = pool.group.enter(Ticket("192.0.2.7"))
    assert isinstance(first, Server)
    assert isinstance(second, Server)
    assert first is not second
    pool.group.free(first)
    assert pool.group.enter(Ticket("192.0.2.7")) is first
    assert pool.group.place(Ticket("192.0.2.7"), shun=[first]) not in {first, second, None}


def test_a_failed_probe_leaves_its_server_out_for_longer() -> None:
    pool = Pool(2, 1, max_fails=1)
    first, second = pool.group.servers
    eject(pool, first, 1)
    pool.lobby.now += 6
    probe = pool.connect(pool.group.place(Ticket(), shun=[second]))
    pool.group.failed(first, "upstream-closed")
    pool.group.drop(probe)
    assert first.health.until == pool.lobby.now + 10


def test_a_server_full_of_idle_connections_takes_over() -> None:
    pool = Pool(2, 1)
    first, second = pool.group.servers
    up = pool.connect(pool.group.place(Ticket(), shun=[first]))
    pool.group.release(up)
    assert second.open == len(second.idle) == 1
    assert pool.group.place(Ticket(), shun=[first]) is second
    assert (second.open, second.leased, second.idle) == (1, 1, [])
    assert up.fd < 0


def test_a_probe_without_a_verdict_leaves_the_alarm_at_the_ejections_end() -> None:
    pool = Pool(2, 1, max_fails=1)
    first, second = pool.group.servers
    eject(pool, first, 1)
    (alarm,) = pool.lobby.armed
    pool.lobby.now += 2
    place = pool.group.place(Ticket(), shun=[second])
    assert place is first
    pool.group.free(place)
    assert alarm.due == first.health.until


def test_a_failure_before_the_probes_time_calls_whoever_waits_once_that_time_has_come() -> None:
    pool = Pool(2, 2, max_fails=1, queue_order="fifo")
    first, second = pool.group.servers
    held = [pool.lease() for _ in range(4)]
    on_first = [up for up in held if up.server is first]
    eject(pool, first, 1)
    pool.group.drop(on_first[0])
    early = pool.connect(pool.group.place(Ticket(), shun=[second]))
    pool.lobby.now += 5
    waiting = Ticket()
    assert pool.group.enter(waiting) is None
    pool.group.drop(early)
    assert waiting.granted == [], "one is on its way that may bring it back"
    pool.group.failed(first, "upstream-closed")
    assert waiting.granted == [first]


def test_an_outage_of_all_neither_lengthens_nor_warns_and_one_brings_the_others_to_their_probes() -> None:
    pool = Pool(3, 4, max_fails=1)
    for server in pool.group.servers:
        eject(pool, server, 1)
    for _ in range(20):
        tried: list[Server] = []
        while (place := pool.group.place(Ticket(), shun=tried)) is not None:
            pool.group.failed(place, "connect-refused")
            pool.group.free(place)
            tried.append(place)
        assert len(tried) == 3
    assert len(pool.said) == 3
    assert [server.health.until - pool.lobby.now for server in pool.group.servers] == [5, 5, 5]
    pool.group.release(pool.lease())
    assert pool.group.returns == 1
    names(pool, 2)
    assert pool.group.returns == 3


def test_idle_servers_go_round_by_weight() -> None:
    assert sorted(names(Pool(2, 4, weights=(1, 3)), 8)) == [0, 0] + [1] * 6


def test_a_lighter_server_has_its_probe_with_the_next_request() -> None:
    pool = Pool(2, 4, weights=(1, 9), max_fails=1)
    eject(pool, pool.group.servers[0], 1)
    assert names(pool, 3) == [1, 1, 1]
    pool.lobby.now += 5
    assert names(pool, 1) == [0]
    assert pool.group.returns == 1


class Servers(RuleBasedStateMachine):
    """Any order of requests, failures, checks and time, with a line that is short of nothing."""

    pool: Pool

    def __init__(self) -> None:
        super().__init__()
        self.leased: list[Upstream] = []
        self.places: list[Server] = []
        self.line: list[Ticket] = []

    @initialize(
        servers=st.integers(2, 3),
        backup=st.booleans(),
        balance=st.sampled_from(["least_connections", "round_robin", "client_hash"]),
    )
    def begin(self, servers: int, backup: bool, balance: Any) -> None:
        self.pool = Pool(servers, 2, balance=balance, backup=BACKUP if backup else (), max_fails=2)

    @property
    def group(self) -> Several:
        assert isinstance(self.pool.group, Several)
        return self.pool.group

    def hold(self, granted: Grant) -> None:
        (self.places if isinstance(granted, Server) else self.leased).append(granted)  # type: ignore[arg-type]

    @rule(client=st.sampled_from(["a", "b", "c"]), once=st.booleans())
    def ask(self, client: str, once: bool) -> None:
        ticket = Ticket(client, once=once)
        granted = self.group.take_sure(ticket) if once else self.group.take(ticket)
        granted = granted or self.group.enter(ticket)  # type: ignore[assignment]
        if granted is None:
            self.line.append(ticket)
        else:
            self.hold(granted)

    @precondition(lambda self: self.places)
    @rule(data=st.data(), works=st.booleans())
    def connect(self, data: st.DataObject, works: bool) -> None:
        place = data.draw(st.sampled_from(self.places))
        self.places.remove(place)
        if works:
            self.leased.append(self.pool.connect(place))
            return
        self.group.failed(place, "connect-refused")
        other = self.group.place(Ticket(), shun=[place])
        self.group.free(place)
        if other is not None:
            assert other is not place
            self.places.append(other)

    @precondition(lambda self: self.leased)
    @rule(data=st.data(), how=st.sampled_from(["release", "release", "fail", "leave", "closed", "again"]))
    def end(self, data: st.DataObject, how: str) -> None:
        up = data.draw(st.sampled_from(self.leased))
        self.leased.remove(up)
        if how == "fail":
            self.group.drop(up)
            self.group.failed(up.server, "upstream-closed")
        elif how == "leave":
            self.group.abandon(up)
            up.on_due(up)
        elif how == "closed":
            self.group.closed(up)
        elif how == "again":
            self.places.append(self.group.vacate(up))
        else:
            self.group.release(up)

    @rule(data=st.data())
    def an_idle_one_ends(self, data: st.DataObject) -> None:
        idle = [up for server in self.group.servers for up in server.idle]
        if idle:
            up = data.draw(st.sampled_from(idle))
            up.on_event(up, FIN)

    @rule(seconds=st.floats(0, 40))
    def time_passes(self, seconds: float) -> None:
        self.pool.lobby.now += seconds
        lobby = self.pool.lobby
        for alarm in list(lobby.armed):
            if alarm.due <= lobby.now:  # an earlier one may have moved it
                lobby.armed.remove(alarm)
                alarm.on_due(alarm)

    @invariant()
    def the_books_are_right(self) -> None:
        for ticket in [ticket for ticket in self.line if ticket.granted]:
            self.line.remove(ticket)
            (granted,) = ticket.granted
            self.hold(granted)
        assert list(self.group.line) == self.line
        for server in self.group.servers:
            held = sum(up.server is server for up in self.leased) + self.places.count(server)
            assert server.leased == held
            assert server.open == held + len(server.idle) <= 2
            assert all(up.fd >= 0 for up in server.idle)

    @invariant()
    def nobody_waits_beside_a_server_that_may_be_asked(self) -> None:
        if self.group.line:
            assert self.group._choose(None) is None


Servers.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestServers = Servers.TestCase
