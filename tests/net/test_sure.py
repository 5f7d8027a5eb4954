"""Requests that are sent once: which idle connection they are trusted to, and what the others tell."""

import socket
import time
from collections.abc import Iterator
from functools import partial
from math import inf
from types import SimpleNamespace

import pytest

from shieldproxy.core.idle import BURST, GRACE, SHARE
from shieldproxy.net import pool as net_pool
from shieldproxy.net.record import FIN, IN
from shieldproxy.net.server import Server
from shieldproxy.net.tcpinfo import CLOSE_WAIT, idle_before_fin, idle_for, tcp_state, unheard
from tests.kit.sockets import eventually
from tests.net.pools import Pool, Ticket, wire

ONCE = Ticket(once=True)


def idle(pool: Pool, count: int = 1) -> None:
    """So many idle connections, given back now."""
    for up in [pool.lease() for _ in range(count)]:
        pool.group.release(up)


def test_a_connection_that_was_just_used_is_used_again() -> None:
    pool = Pool()
    idle(pool)
    pool.lobby.now += GRACE
    assert pool.group.take_sure(ONCE) is not None


def test_the_kernel_is_not_asked_about_one_whose_request_has_just_gone_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[object] = []

    def idle_now(sock: object) -> float:
        asked.append(sock)
        return 0.0

    monkeypatch.setattr(net_pool, "idle_for", idle_now)
    pool = Pool()
    for age, lane, times in ((GRACE / 2, 1.0, 0), (GRACE / 2 + 0.01, 1.0, 1), (0, 0.0, 1)):
        asked.clear()
        up = pool.lease()
        up.exchange = SimpleNamespace(asked=lane * pool.lobby.now)  # 0: by a task, who does not say when
        pool.group.release(up)
        pool.lobby.now += age
        assert pool.group.take_sure(ONCE) is up
        assert len(asked) == times
        pool.group.release(up)


def test_one_of_an_age_that_none_has_survived_is_not() -> None:
    pool = Pool(most=2)
    idle(pool)
    pool.lobby.now += GRACE + 0.01
    assert pool.group.take_sure(ONCE) is None
    assert isinstance(pool.group.enter(ONCE), Server), "but a place for a fresh one"
    assert pool.busy() == [(1, 2, 1)], "and the old one stays for requests that may be sent again"
    assert pool.group.take(Ticket()) is not None


def test_where_there_is_no_place_beside_it_the_oldest_makes_room() -> None:
    pool = Pool(most=2)
    ups = [pool.lease(), pool.lease()]
    for up in ups:
        pool.group.release(up)
        pool.lobby.now += 1
    pool.lobby.now += 5
    assert isinstance(pool.group.enter(ONCE), Server)
    assert pool.busy() == [(1, 2, 1)]
    assert pool.lobby.closed == [ups[0]]
    assert wire(ups[0]).calls == ["close"]


def test_the_oldest_idle_one_tells_how_long_they_are_kept() -> None:
    pool = Pool(most=3)
    one, two = pool.lease(), pool.lease()
    pool.group.release(one)
    pool.lobby.now += 8
    pool.group.release(two)
    pool.lobby.now += 2
    assert pool.group.take_sure(ONCE) is two, "the other one has lived for ten seconds"
    pool.group.release(two)
    pool.lobby.now += 10 * SHARE + 5
    assert pool.group.take_sure(ONCE) is two, "and now for longer"


def test_the_server_s_closes_tell_how_long_they_are_not() -> None:
    pool = Pool(most=4)
    for _ in range(2):
        up = pool.lease()
        pool.group.release(up)
        pool.lobby.now += 2
        up.on_event(up, FIN)
    idle(pool, 2)
    pool.lobby.now += 1.4
    assert pool.group.take_sure(ONCE) is not None
    pool.lobby.now += 0.2
    assert pool.group.take_sure(ONCE) is None
    assert pool.group.take(Ticket()) is not None, "requests that may be sent again take the risk"


def test_a_server_that_closes_behind_its_responses_gets_a_fresh_one_from_the_line_too() -> None:
    pool, first = Pool(most=1), Ticket(once=True)
    for _ in range(2):
        up = pool.lease()
        up.latch |= FIN
        pool.group.release(up)
        pool.lobby.now += 1
    up = pool.lease()
    assert pool.group.enter(first) is None
    pool.group.release(up)
    assert first.granted == [up.server]
    assert pool.busy() == [(1, 1, 0)]
    assert pool.lobby.closed[-1] is up


def test_an_idle_one_that_lasts_for_pool_idle_tells_too() -> None:
    pool = Pool(most=2)
    idle(pool)
    (up,) = pool.group.servers[0].idle
    pool.lobby.now += 30
    up.on_due(up)
    idle(pool)
    pool.lobby.now += 30 * SHARE - 0.1
    assert pool.group.take_sure(ONCE) is not None


def has_ended(sock: socket.socket) -> bool:
    return tcp_state(sock) == CLOSE_WAIT


def test_what_a_server_says_before_it_closes_is_not_its_last_answer() -> None:
    """Some say 408 to an idle connection, and close it: the idleness was the time before that."""
    pool = Pool(most=4)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        for _ in range(3):
            up = pool.lease()
            up.sock = socket.create_connection(listening.getsockname())
            up.sock.setblocking(False)
            server, _ = listening.accept()
            pool.group.release(up)
            pool.lobby.now += 2
            server.send(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n")
            server.close()
            assert eventually(partial(has_ended, up.sock))
            up.on_event(up, IN | FIN)
            pool.lobby.now += 1
    assert pool.group.dropped_idle == 3
    patience = pool.group.servers[0].patience
    assert patience.safe(pool.lobby.now) == pytest.approx(1.5)
    assert patience.keep(pool.lobby.now) == pytest.approx(1.5)


def test_after_a_restart_the_grace_is_all_again() -> None:
    pool = Pool(most=4)
    up, *others = [pool.lease() for _ in range(4)]
    pool.group.release(up)
    for other in others:
        pool.lobby.now += 3
        pool.group.release(other)
    for each in (up, *others):
        each.on_event(each, FIN)
    pool.lobby.now += BURST
    idle(pool)
    pool.lobby.now += GRACE + 0.01
    assert pool.group.take_sure(ONCE) is None


def test_connections_are_given_up_before_the_server_closes_them_but_for_the_oldest() -> None:
    pool = Pool(most=4)
    for _ in range(2):
        up = pool.lease()
        pool.group.release(up)
        pool.lobby.now += 2
        up.on_event(up, FIN)
    idle(pool, 3)
    ups = list(pool.group.servers[0].idle)
    assert [up.due for up in ups] == [pool.lobby.now + 1.5] * 3
    pool.lobby.now += 1.5
    for up in ups:
        up.on_due(up)
    assert pool.lobby.closed[-2:] == ups[1:]
    assert ups[0].due == pool.lobby.now - 1.5 + 30, "left to the server, to see when it closes"
    ups[0].on_event(ups[0], FIN)
    assert pool.busy() == [(0, 0, 0)]


# what the kernel tells

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Both ends of a TCP connection; ours first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    with ours, theirs:
        yield ours, theirs


def test_the_kernel_counts_from_the_last_byte_that_came(pair: Pair) -> None:
    ours, theirs = pair
    theirs.send(b"x")
    time.sleep(0.15)
    assert idle_for(ours) >= 0.14, "whether or not it was read"
    theirs.shutdown(socket.SHUT_WR)
    assert eventually(lambda: idle_for(ours) == inf, 2)


def test_the_time_before_a_fin_is_the_kernel_s_however_late_it_is_seen(pair: Pair) -> None:
    ours, theirs = pair
    theirs.send(b"x")
    time.sleep(0.15)
    theirs.close()
    time.sleep(0.3)
    found = idle_before_fin(ours)
    assert found is not None
    assert 0.14 <= found <= 0.25
    assert idle_before_fin(theirs) is None


def test_without_a_fin_there_is_none(pair: Pair) -> None:
    assert idle_before_fin(pair[0]) is None


def test_of_a_unix_socket_it_tells_only_whether_it_is_open() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        assert idle_for(ours) == 0.0
        theirs.close()
        assert idle_for(ours) == inf


def ended(sock: socket.socket) -> bool:
    """Wait for its end; tell whether that is a FIN and no error before it."""
    try:
        return sock.recv(10) == b""
    except OSError:
        return False


def test_what_came_when_the_peer_had_closed_was_never_heard(pair: Pair) -> None:
    ours, theirs = pair
    ours.send(b"before")
    theirs.recv(10)
    theirs.send(b"answer")
    assert ours.recv(10) == b"answer"
    theirs.close()
    assert eventually(lambda: idle_for(ours) == inf, 2)
    ours.send(b"request")
    time.sleep(0.05)
    assert ended(ours)
    assert unheard(ours, len(b"request"))
    assert not unheard(ours, len(b"request") + 1), "more was sent than is missing"


def test_what_the_peer_had_when_it_closed_may_have_been_heard(pair: Pair) -> None:
    ours, theirs = pair
    ours.send(b"request")
    assert eventually(lambda: theirs.recv(10, socket.MSG_PEEK) == b"request", 2)
    assert theirs.recv(10) == b"request"
    theirs.close()
    assert ended(ours)
    assert not unheard(ours, len(b"request"))


def test_a_reset_proves_nothing(pair: Pair) -> None:
    ours, theirs = pair
    ours.send(b"request")
    assert eventually(lambda: theirs.recv(10, socket.MSG_PEEK) == b"request", 2)
    theirs.close()
    time.sleep(0.05)
    assert not ended(ours)
    assert not unheard(ours, len(b"request"))
