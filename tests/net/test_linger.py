"""Rule 5 and the shell of the close table: the acknowledgement is an event; what a close leaves behind."""

import errno
import socket
from collections.abc import Callable
from dataclasses import replace
from math import inf

import pytest

from shieldproxy.core.closing import Event, State
from shieldproxy.core.policy import Linger
from shieldproxy.net.record import ERROR, FIN, OUT, WATCHED, Downstream
from shieldproxy.net.tcpinfo import FIN_WAIT1, FIN_WAIT2, tcp_state
from tests.net.rig import Rig, reset, rig, take

LAST_WORDS = bytes(200_000)


def respond(house: Rig, rec: Downstream, data: bytes, mode: Linger = "ack") -> int:
    """Serve a client with a response that ends its connection; return what its kernel took."""
    house.policy = replace(house.policy, linger=mode)
    rec.policy = house.policy
    house.serve(rec)
    rec.sent = rec.sock.send(data)
    house.closer.end(rec, "proxy", "exchange", "test")
    return rec.sent


def paused(house: Rig) -> tuple[socket.socket, Downstream]:
    """A lingering client that reads nothing, with more on its way than its kernel takes."""
    peer, rec = house.join(rcvbuf=4096)
    rec.sent = respond(house, rec, LAST_WORDS)
    house.quiet()
    assert tcp_state(rec.sock) == FIN_WAIT1
    return peer, rec


def acknowledged(house: Rig, rec: Downstream) -> None:
    """Wait for the client's kernel: it may delay the acknowledgement of our FIN by 40 ms."""
    house.until(lambda: rec.linger is not None and rec.linger.acked_at < inf)


# the acknowledgement


@pytest.mark.parametrize("events", [WATCHED, WATCHED & ~OUT], ids=["OUT", "without"])
def test_the_acknowledgement_is_an_event(events: int) -> None:
    with rig(events=events) as house:
        peer, rec = paused(house)
        linger = rec.linger
        assert linger is not None
        assert linger.acked_at == inf
        house.clock.now += 1
        take(peer, rec.sent)
        house.until(lambda: tcp_state(rec.sock) == FIN_WAIT2)
        house.quiet()
        assert (linger.acked_at == house.clock.now) is bool(events & OUT)


def test_a_paused_reader_costs_nothing_while_it_pauses(house: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """No event, and only the few looks that tell whether its kernel still takes bytes."""
    _, rec = paused(house)
    looks = []
    original = house.closer._look

    def look(rec: Downstream) -> None:
        looks.append(rec)
        original(rec)

    monkeypatch.setattr(house.closer, "_look", look)
    for _ in range(290):
        house.jump(0.1)
    assert house.quiet() == 0
    assert house.receipts == []
    assert len(looks) <= 8
    assert rec.state is State.LINGER


def test_a_paused_reader_is_not_acknowledged(house: Rig) -> None:
    _, rec = paused(house)
    house.jump(30)
    house.jump(30)
    (receipt,) = house.receipts
    assert (receipt.ending, receipt.acknowledged) == ("stalled", False)
    assert 0 < receipt.undelivered <= rec.sent + 1


def test_once_it_has_read_it_is_acknowledged_and_leaves_after_the_gap(house: Rig) -> None:
    peer, rec = paused(house)
    house.jump(25)
    take(peer, rec.sent)
    acknowledged(house, rec)
    house.jump(1.9)
    assert house.receipts == []
    house.jump(0.2)
    (receipt,) = house.receipts
    assert (receipt.ending, receipt.acknowledged, receipt.undelivered) == ("quiet", True, 0)


def test_a_client_that_sends_on_is_read_and_outlasts_the_gap_but_not_the_total(house: Rig) -> None:
    peer, rec = house.join()
    respond(house, rec, b"bye")
    assert take(peer, 3) == b"bye"
    acknowledged(house, rec)
    for _ in range(29):
        house.jump(1)
        peer.sendall(bytes(1000))
        house.quiet()
    assert house.receipts == []
    assert rec.linger is not None
    assert rec.linger.drained == 29_000
    house.jump(1.1)
    (receipt,) = house.receipts
    assert (receipt.ending, receipt.acknowledged) == ("total", True)


def test_a_client_that_floods_is_let_go_at_the_limit(house: Rig) -> None:
    house.policy = replace(house.policy, limits=replace(house.policy.limits, linger=100_000))
    peer, rec = house.join()
    respond(house, rec, b"bye")
    for _ in range(3):
        peer.sendall(bytes(40_000))
        house.quiet()
    (receipt,) = house.receipts
    assert receipt.ending == "overflow"


# state 7: end of file may mean three things


def test_end_of_file_and_no_error_is_the_client_s_fin(house: Rig) -> None:
    peer, rec = house.join()
    respond(house, rec, b"bye")
    take(peer, 3)
    peer.shutdown(socket.SHUT_WR)
    house.until(lambda: bool(house.receipts))
    (receipt,) = house.receipts
    assert (receipt.ending, receipt.acknowledged) == ("fin", True)
    assert rec.latch & (FIN | ERROR) == FIN


def test_a_reset_is_not_taken_for_a_fin(house: Rig) -> None:
    peer, rec = paused(house)
    reset(peer)
    house.until(lambda: bool(house.receipts))
    (receipt,) = house.receipts
    assert (receipt.ending, receipt.acknowledged) == ("reset", False)
    assert rec.state is State.RESET


def test_the_fin_of_a_client_that_was_reset_before_is_no_crash(house: Rig) -> None:
    """shutdown() raises ENOTCONN there."""
    peer, rec = house.join()
    reset(peer)
    house.serve(rec)  # its event is not taken yet
    with pytest.raises(OSError, match="not connected") as raw:
        rec.sock.shutdown(socket.SHUT_WR)
    assert raw.value.errno == errno.ENOTCONN
    house.closer.end(rec, "proxy", "exchange", "test")
    (receipt,) = house.receipts
    assert receipt.ending == "reset"
    assert rec.fd == -1


# what is left behind


class Kept:
    """Looks at the options of a socket as it is closed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.options: list[tuple[int, int, bytes]] = []
        original = socket.socket.close

        def close(sock: socket.socket) -> None:
            if sock.fileno() >= 0 and sock.type == socket.SOCK_STREAM:
                self.options.append(
                    (
                        sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2),
                        sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
                        sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8),
                    )
                )
            original(sock)

        monkeypatch.setattr(socket.socket, "close", close)


NO_LINGER = b"\0" * 8


def test_a_client_that_never_closes_leaves_a_bounded_orphan(
    house: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer, rec = house.join()
    respond(house, rec, b"bye")
    take(peer, 3)
    acknowledged(house, rec)
    assert rec.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0, "it would kill slow readers"
    kept = Kept(monkeypatch)
    house.jump(2.1)
    assert kept.options == [(5, 20_000, NO_LINGER)]


@pytest.mark.parametrize(
    ("fin_wait_1", "fin_wait_2", "options"),
    [(0.5, 0.2, (1, 500)), (inf, inf, (60, 2**31 - 1)), (2.0, 119.9, (60, 2000))],
)
def test_bounds_fit_into_what_the_kernel_takes(
    house: Rig,
    monkeypatch: pytest.MonkeyPatch,
    fin_wait_1: float,
    fin_wait_2: float,
    options: tuple[int, int],
) -> None:
    times = replace(house.policy.timeouts, fin_wait_1=fin_wait_1, fin_wait_2=fin_wait_2)
    house.policy = replace(house.policy, timeouts=times)
    house.join()
    kept = Kept(monkeypatch)
    house.jump(21)
    ((linger2, user_timeout, _),) = kept.options
    assert (min(linger2, 60), user_timeout) == options


@pytest.mark.parametrize("event", [Event.TRUNCATED, Event.STALLED, Event.VANISHED, Event.STOPPED])
def test_a_response_that_cannot_be_whole_ends_in_a_reset(house: Rig, event: Event) -> None:
    """A truncated response must look truncated."""
    peer, rec = house.join()
    house.serve(rec)
    rec.sock.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    house.quiet()
    house.closer.leave(rec, event, "proxy", "exchange", "test")
    take(peer, 43)
    with pytest.raises(ConnectionResetError):
        peer.recv(1)
    assert rec.state is State.RESET
    assert len(house.receipts) == 1


# the other ways


def test_timed_asks_nothing_of_the_kernel(house: Rig) -> None:
    _, rec = house.join(rcvbuf=4096)
    respond(house, rec, LAST_WORDS, "timed")
    house.quiet()
    house.jump(1.9)
    assert house.receipts == []
    house.jump(0.2)
    (receipt,) = house.receipts
    assert (receipt.ending, receipt.acknowledged) == ("quiet", False)
    assert receipt.undelivered > 0


def test_off_closes_at_once(house: Rig) -> None:
    peer, rec = house.join()
    respond(house, rec, b"bye", "off")
    assert take(peer, 3) == b"bye"
    assert peer.recv(1) == b""
    assert house.receipts[0].ending == "off"


def test_kernel_goes_elsewhere_and_its_descriptor_leaves_the_epoll_first(house: Rig) -> None:
    """close() with SO_LINGER blocks even on a non-blocking socket."""
    peer, rec = house.join(rcvbuf=4096)
    fd = rec.fd
    respond(house, rec, LAST_WORDS, "kernel")
    (sock,) = house.blocking
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == b"\1\0\0\0\5\0\0\0"
    assert sock.fileno() == fd
    with pytest.raises(FileNotFoundError):
        house.lobby.epoll.modify(fd, 0)
    peer.sendall(b"x")
    assert house.quiet() == 0
    assert house.receipts[0].ending == "kernel"


def test_beyond_the_threads_a_kernel_close_is_a_plain_one(
    house: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.has_room = False
    _, rec = house.join(rcvbuf=4096)
    kept = Kept(monkeypatch)
    respond(house, rec, LAST_WORDS, "kernel")
    assert [linger[:4] for _, _, linger in kept.options] == [NO_LINGER[:4]]


# one receipt, whatever comes twice


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(lambda house, rec: respond(house, rec, b"bye", "off"), id="off"),
        pytest.param(lambda house, _: house.jump(21), id="deadline"),
        pytest.param(
            lambda house, rec: house.closer.leave(rec, Event.STOPPED, "proxy", "fresh", "drain"), id="drain"
        ),
    ],
)
def test_a_connection_has_one_receipt(house: Rig, first: Callable[[Rig, Downstream], object]) -> None:
    _, rec = house.join()
    first(house, rec)
    house.closer.leave(rec, Event.EVICTED, "proxy", "fresh", "evicted")
    house.closer.end(rec, "proxy", "exchange", "again")
    house.jump(100)
    assert len(house.receipts) == 1
