"""What a close leaves behind in the kernel, the other ways of closing, one receipt for each connection."""

import socket
from collections.abc import Callable
from dataclasses import replace
from math import inf

import pytest

from shieldproxy.core.closing import Event, State
from shieldproxy.net.record import Downstream
from tests.net.closes import LAST_WORDS, acknowledged, respond
from tests.net.rig import Rig, reset, take

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
RESETS = b"\1\0\0\0\0\0\0\0"


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


def half_closed(house: Rig) -> tuple[socket.socket, Downstream]:
    """A client whose FIN stands behind its request."""
    peer, rec = house.join(rcvbuf=4096)
    house.serve(rec)
    peer.shutdown(socket.SHUT_WR)
    house.quiet()
    return peer, rec


def test_a_half_closed_client_that_reads_slowly_gets_everything(house: Rig) -> None:
    """Its FIN says nothing of what it has received: the close waits for the acknowledgement."""
    peer, rec = half_closed(house)
    respond(house, rec, LAST_WORDS)
    for _ in range(4):
        take(peer, 30_000)
        house.quiet()
        house.jump(25)
        assert house.receipts == []
    assert len(take(peer, rec.sent - 120_000)) == rec.sent - 120_000
    assert peer.recv(1) == b""
    house.until(lambda: bool(house.receipts))
    (receipt,) = house.receipts
    assert (receipt.ending, receipt.acknowledged, receipt.undelivered) == ("fin", True, 0)


@pytest.mark.parametrize("how", ["reset", "timed out"])
def test_a_half_closed_client_that_is_lost_is_not_acknowledged(house: Rig, how: str) -> None:
    """State 7 and end of file again: after a FIN recv() hides the error, and only SO_ERROR tells."""
    peer, rec = half_closed(house)
    respond(house, rec, LAST_WORDS)
    house.quiet()
    if how == "reset":
        reset(peer)
    else:
        rec.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 100)
    house.until(lambda: bool(house.receipts))
    (receipt,) = house.receipts
    assert receipt.acknowledged is False
    assert receipt.ending != "fin"


def test_a_half_closed_client_that_reads_nothing_leaves_a_bounded_orphan(
    house: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its FIN is there before our response; without a bound its kernel keeps ours for as long as it likes."""
    _, rec = half_closed(house)
    kept = Kept(monkeypatch)
    respond(house, rec, LAST_WORDS)
    for _ in range(7):
        house.quiet()
        house.jump(10)
    ((_, user_timeout, linger),) = kept.options
    assert house.receipts[0].acknowledged is False
    assert user_timeout > 0 or linger == RESETS


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
