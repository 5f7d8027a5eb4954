"""The pool's planner: leases, the line, least connections, and what is closed."""

import pytest

from shieldproxy.net.parting import ABANDON_BYTES, ABANDON_TIME
from shieldproxy.net.record import FIN, HUP, IN, OUT
from shieldproxy.net.server import AVOID, Server
from tests.net.pools import Pool, Ticket, wire

# leases


def test_a_connection_comes_from_the_pool_the_last_one_first() -> None:
    pool = Pool()
    first, second = pool.lease(), pool.lease()
    pool.group.release(first)
    pool.group.release(second)
    assert pool.group.take() is second
    assert second.uses == 2
    assert pool.busy() == [(1, 2, 1)]


def test_without_an_idle_one_there_is_a_place_and_then_the_line() -> None:
    pool, waiting = Pool(most=2), Ticket()
    assert pool.group.take() is None
    assert isinstance(pool.group.enter(Ticket()), Server)
    assert isinstance(pool.group.enter(Ticket()), Server)
    assert pool.busy() == [(2, 2, 0)]
    assert pool.group.enter(waiting) is None
    assert list(pool.group.line) == [waiting]


def test_the_line_is_served_in_order_and_nobody_passes_it() -> None:
    pool, line = Pool(most=1), [Ticket() for _ in range(3)]
    up = pool.lease()
    for ticket in line:
        assert pool.group.enter(ticket) is None
    for index, ticket in enumerate(line):
        pool.group.release(up)
        assert ticket.granted == [up]
        assert pool.group.take() is None, "a newcomer does not overtake"
        late = Ticket()
        assert pool.group.enter(late) is None
        pool.group.quit(late)
        assert [bool(other.granted) for other in line] == [place <= index for place in range(3)]
    pool.group.release(up)
    assert pool.busy() == [(0, 1, 1)]
    assert up.uses == 4


def test_who_leaves_the_line_is_granted_nothing() -> None:
    pool, first, second = Pool(most=1), Ticket(), Ticket()
    up = pool.lease()
    pool.group.enter(first)
    pool.group.enter(second)
    pool.group.quit(first)
    pool.group.quit(first)
    pool.group.release(up)
    assert (first.granted, second.granted) == ([], [up])


def test_a_place_that_comes_free_goes_to_the_line_too() -> None:
    """A connection that cannot be used again, or that could not be made."""
    pool, first, second = Pool(most=1), Ticket(), Ticket()
    up = pool.lease()
    pool.group.enter(first)
    pool.group.enter(second)
    pool.group.drop(up)
    assert first.granted == [up.server]
    assert wire(up).calls == ["close"]
    pool.group.free(up.server)
    assert second.granted == [up.server]
    pool.group.free(up.server)
    assert pool.busy() == [(0, 0, 0)]


def test_a_connection_that_ended_meanwhile_is_not_given_on() -> None:
    pool, ticket = Pool(most=1), Ticket()
    up = pool.lease()
    pool.group.enter(ticket)
    up.latch |= FIN
    pool.group.release(up)
    assert ticket.granted == [up.server]
    assert pool.lobby.closed == [up]


def test_a_granted_connection_tells_nothing_to_its_last_exchange() -> None:
    """Between the grant and the new owner's first step its events are latched, and no old function runs."""
    pool, ticket = Pool(most=1), Ticket()
    late: list[object] = []
    up = pool.lease()
    up.on_event = lambda *event: late.append(event)
    up.on_due = late.append
    pool.group.enter(ticket)
    pool.group.release(up)
    up.on_event(up, IN | FIN)
    assert late == []
    assert up.latch & FIN


def test_a_retry_keeps_its_place() -> None:
    pool, ticket = Pool(most=1), Ticket()
    up = pool.lease()
    pool.group.enter(ticket)
    assert pool.group.vacate(up) is up.server
    assert pool.busy() == [(1, 1, 0)]
    assert ticket.granted == []
    assert pool.lobby.closed == [up]


# least connections


def test_the_server_with_the_fewest_leases_is_next() -> None:
    pool = Pool(servers=3, most=4)
    names = [pool.lease().server.name for _ in range(12)]
    assert [names.count(server.name) for server in pool.group.servers] == [4, 4, 4]
    for begin in range(0, 12, 3):
        assert len(set(names[begin : begin + 3])) == 3, names
    assert pool.group.enter(Ticket()) is None


def test_ties_go_round() -> None:
    pool, names = Pool(servers=3), []
    for _ in range(9):
        up = pool.lease()
        names.append(up.server.name)
        pool.group.drop(up)
    assert len({*names[:3]}) == 3
    assert names == names[:3] * 3


def test_a_less_busy_server_is_better_than_an_idle_connection() -> None:
    pool = Pool(servers=2, most=4)
    ups = [pool.lease() for _ in range(4)]
    first = ups[0].server
    idle = next(up for up in ups[1:] if up.server is first)
    pool.group.release(idle)
    for up in ups:
        if up.server is not first:
            pool.group.drop(up)
    assert pool.group.take() is None, "the other server has none, and is the one to ask"
    assert pool.lease().server is not first


def test_a_server_that_failed_comes_last_for_a_while() -> None:
    pool = Pool(servers=2, most=8)
    bad, good = pool.group.servers
    bad.avoid_until = pool.lobby.now + AVOID
    assert [pool.lease().server for _ in range(3)] == [good] * 3
    pool.lobby.now += AVOID
    assert pool.lease().server is bad


def test_a_server_that_failed_is_still_better_than_none() -> None:
    pool = Pool(servers=1)
    pool.group.servers[0].avoid_until = pool.lobby.now + AVOID
    assert isinstance(pool.group.enter(Ticket()), Server)


def test_after_a_failed_connect_another_server_is_tried() -> None:
    pool = Pool(servers=2, most=1)
    first = pool.group.enter(Ticket())
    assert isinstance(first, Server)
    other = pool.group.place(Ticket(), shun=[first])
    assert other not in {None, first}
    pool.group.free(first)
    assert sum(leased for leased, _, _ in pool.busy()) == 1
    assert pool.group.place(Ticket(), shun=[first]) is None, "the other one is full"


# the end of connections


@pytest.mark.parametrize("events", [IN, FIN, IN | FIN, IN | FIN | HUP])
def test_an_idle_connection_that_ends_or_speaks_is_dropped_at_once(events: int) -> None:
    pool = Pool()
    up = pool.lease()
    pool.group.release(up)
    up.on_event(up, events)
    assert pool.group.take() is None
    assert pool.busy() == [(0, 0, 0)]
    assert pool.group.dropped_idle == 1
    assert wire(up).calls == ["close"]


@pytest.mark.parametrize("events", [IN, FIN, IN | FIN, IN | FIN | HUP])
@pytest.mark.parametrize("behind", [False, True], ids=["no other", "another"])
def test_who_asks_earlier_in_the_batch_does_not_get_it_either(events: int, behind: bool) -> None:
    """The connection's event stands behind the client's in the batch."""
    pool = Pool()
    ups = [pool.lease() for _ in range(2 if behind else 1)]
    for up in reversed(ups):
        pool.group.release(up)
    pool.lobby.now += 1
    pool.lobby.batch = [(3, IN), *((up.fd, events) for up in ups[:1])]
    taken = pool.group.take()
    assert taken is (ups[1] if behind else None)
    assert pool.group.dropped_idle == 1
    assert wire(ups[0]).calls == ["close"]
    assert taken or isinstance(pool.group.enter(Ticket()), Server)


@pytest.mark.parametrize("given_back", [True, False])
def test_an_event_of_this_batch_that_was_the_response_does_not_count(given_back: bool) -> None:
    pool = Pool()
    up = pool.lease()
    pool.lobby.batch = [(up.fd, IN if given_back else OUT), (3, IN)]
    pool.group.release(up)
    if not given_back:
        pool.lobby.now += 1
    assert pool.group.take() is up


def test_room_to_write_does_not_end_an_idle_one() -> None:
    pool = Pool()
    up = pool.lease()
    pool.group.release(up)
    up.on_event(up, OUT)
    assert pool.group.take() is up


def test_an_unused_one_is_given_up_after_pool_idle() -> None:
    pool = Pool()
    up = pool.lease()
    pool.lobby.now += 5
    pool.group.release(up)
    assert up.due == pool.lobby.now + 30
    pool.lobby.now += 30
    up.on_due(up)
    assert pool.busy() == [(0, 0, 0)]
    assert pool.group.dropped_idle == 0


def test_a_leased_one_is_not_given_up_by_the_pool_s_deadline() -> None:
    """Its deadline may still stand in the wheel as it is leased."""
    pool = Pool()
    pool.group.release(pool.lease())
    up = pool.group.take()
    assert up is not None
    if up.due != float("inf"):
        up.on_due(up)
    assert up.fd >= 0
    assert pool.busy() == [(1, 1, 0)]


def test_an_abandoned_one_says_fin_and_is_read_before_it_is_closed() -> None:
    """close() with unread input would reset a server that still answers; its place stays taken until then."""
    pool = Pool(most=1)
    up = pool.lease()
    wire(up).queued = 300_000
    pool.group.abandon(up)
    assert wire(up).calls == ["shutdown"]
    assert wire(up).queued == 0
    assert up.due == pool.lobby.now + ABANDON_TIME
    assert pool.busy() == [(1, 1, 0)]
    wire(up).fin = True
    up.on_event(up, IN | FIN)
    assert wire(up).calls == ["shutdown", "close"]
    assert pool.busy() == [(0, 0, 0)]


@pytest.mark.parametrize("bound", ["bytes", "time"])
def test_an_abandoned_one_is_bounded(bound: str) -> None:
    pool = Pool(most=1)
    up = pool.lease()
    wire(up).queued = 2 * ABANDON_BYTES if bound == "bytes" else 0
    pool.group.abandon(up)
    if bound == "time":
        up.on_due(up)
    else:
        while pool.lobby.called_again:
            again = pool.lobby.called_again.pop()
            if again.fd >= 0:
                again.on_event(again, IN)
    assert pool.lobby.closed == [up]
    assert pool.busy() == [(0, 0, 0)]
