"""Rule 5 and the shell of the close table: the acknowledgement is an event; what ends a lingering close."""

import errno
import socket
from dataclasses import replace
from math import inf

import pytest

from shieldproxy.core.closing import Event, State
from shieldproxy.net.record import ERROR, FIN, OUT, WATCHED, Downstream
from shieldproxy.net.tcpinfo import CLOSE, FIN_WAIT2, tcp_state, unsent_or_unacked
from tests.net.closes import acknowledged, paused, respond
from tests.net.rig import Rig, reset, rig, take

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
    assert 0 < receipt.undelivered <= rec.sent + 1
    assert rec.state is State.RESET


def test_a_reset_behind_a_response_that_was_taken_loses_none(house: Rig) -> None:
    """As health checkers and pools do with connections that they no longer want."""
    peer, rec = house.join()
    house.serve(rec)
    rec.sent = rec.sock.send(b"all of it")
    take(peer, 9)
    house.until(lambda: unsent_or_unacked(rec.sock) == 0)
    reset(peer)
    house.until(lambda: tcp_state(rec.sock) == CLOSE)
    house.closer.leave(rec, Event.PEER_RESET, "client", "idle", "reset")
    (receipt,) = house.receipts
    assert (receipt.ending, receipt.acknowledged, receipt.undelivered) == ("reset", True, 0)


def test_a_connection_that_the_kernel_gave_up_is_not_taken_for_a_fin(house: Rig) -> None:
    """ETIMEDOUT: here its window stays closed for longer than a user timeout allows."""
    _, rec = paused(house)
    rec.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 100)
    house.until(lambda: bool(house.receipts))
    (receipt,) = house.receipts
    assert receipt.ending in {"reset", "vanished"}
    assert receipt.acknowledged is False


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
