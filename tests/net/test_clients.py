"""Clients that wait: heads in any pieces, what is latched while a request is worked on, deadlines."""

import socket
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shieldproxy.core import head as head_module
from shieldproxy.core.closing import Event, State
from shieldproxy.net import downstream
from shieldproxy.net.lobby import CHUNK
from shieldproxy.net.record import FIN, Downstream
from tests.net.rig import Rig, reset, rig

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def padded(size: int) -> bytes:
    """A request of exactly so many bytes."""
    return b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (size - len(HEAD) - 5) + b"\r\n\r\n"


def keep(house: Rig, rec: Downstream) -> None:
    """What an exchange does at its end, if the connection is kept."""
    rec.served += 1
    house.clients.go_on(rec)


# heads


@given(
    st.lists(st.integers(0, len(HEAD)), max_size=6), st.sampled_from([b"", b"\r\n", b"\n\r\n", b"\r\n\r\n"])
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_head_in_any_pieces_is_one_head(cuts: list[int], blank: bytes) -> None:
    whole = blank + HEAD
    with rig() as house:
        peer, rec = house.join()
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        edges = sorted({0, len(whole), *cuts})
        for start, stop in pairwise(edges):
            peer.sendall(whole[start:stop])
            wanted = stop
            house.until(lambda: rec.got == wanted)  # noqa: B023 - asked at once
        assert house.heads == [(rec, HEAD)]


def test_each_byte_of_a_dripped_head_is_scanned_once(house: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search goes on where it stood, but for the three bytes that may begin the end."""
    starts: list[int] = []

    def watched(buf: bytes | bytearray, start: int) -> int:
        starts.append(start)
        return head_module.end_of_head(buf, start)

    monkeypatch.setattr(downstream, "end_of_head", watched)
    peer, rec = house.join()
    drip = padded(200)
    for at in range(len(drip)):
        peer.send(drip[at : at + 1])
        house.until(lambda: rec.got > at)  # noqa: B023 - asked at once
    assert house.heads == [(rec, drip)]
    ends = [at for at, byte in enumerate(drip) if at == 0 or byte == ord("\n")]  # what else ends no head
    assert starts == [max(0, at - 3) for at in ends]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        pytest.param(b"GET /" + b"a" * 40_000, (414, "target-long"), id="a target without end"),
        pytest.param(b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000, (431, "head-long"), id="fields without end"),
        pytest.param(padded(32_769), (431, "head-long"), id="one byte too many, at once"),
    ],
)
def test_a_head_over_its_limit_is_refused_before_it_ends(
    house: Rig, data: bytes, fault: tuple[int, str]
) -> None:
    house.join(data=data)
    house.until(lambda: bool(house.refused))
    assert house.refused == [fault]


def test_a_head_of_exactly_the_limit_is_served(house: Rig) -> None:
    house.join(data=padded(32_768))
    house.until(lambda: bool(house.heads))
    assert house.refused == []


@pytest.mark.parametrize("lines", [1, 10, CHUNK // 2, CHUNK], ids=lambda lines: f"{lines} blank lines")
def test_blank_lines_before_a_request_never_silence_it(house: Rig, lines: int) -> None:
    """More of them than one read takes; answered or refused, but not left to the head's timeout."""
    house.join(data=b"\r\n" * lines + HEAD)
    house.until(lambda: bool(house.heads or house.refused or house.receipts))


# what comes while nobody reads


@pytest.mark.parametrize("latched", [True, False], ids=["latched", "without"])
def test_what_came_during_an_exchange_is_seen_after_it(house: Rig, latched: bool) -> None:
    """A pipelined request whose edge came while another was worked on."""
    peer, rec = house.join(data=HEAD)
    house.until(lambda: len(house.heads) == 1)
    if not latched:
        rec.on_event = lambda _record, _events: None
    peer.sendall(HEAD)
    house.quiet()
    keep(house, rec)
    house.quiet()
    assert len(house.heads) == (2 if latched else 1)


@pytest.mark.parametrize("size", [1000, 1024, 4096, CHUNK // 2], ids=str)
def test_a_pipeline_longer_than_a_read_is_served_to_its_end(house: Rig, size: int) -> None:
    """Also where a read ends exactly between two requests: its edge was the only one."""
    count = 2 * CHUNK // size + 1
    house.listener.door.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    request = padded(size) if size <= 32_768 else b""
    _, rec = house.join(data=request * count)
    for served in range(1, count + 1):
        house.until(lambda: len(house.heads) == served)  # noqa: B023 - asked at once
        keep(house, rec)
    assert [head for _, head in house.heads] == [request] * count


def test_a_fin_behind_a_request_is_latched_and_ends_the_connection_after_it(house: Rig) -> None:
    peer, rec = house.join(data=HEAD)
    peer.shutdown(socket.SHUT_WR)
    house.until(lambda: bool(house.heads and rec.latch & FIN))
    keep(house, rec)
    house.until(lambda: bool(house.receipts))
    assert house.receipts[0].why == ("client", "idle", "fin")


def test_a_fin_behind_part_of_a_head_ends_it_at_once(house: Rig) -> None:
    """Both are one event, and the read takes only the bytes."""
    peer = house.dial()
    peer.sendall(b"GET / HT")
    peer.close()
    house.until(lambda: bool(house.receipts))
    assert house.receipts[0].why == ("client", "head", "fin-in-head")
    assert not house.heads
    assert not house.refused


@pytest.mark.parametrize("served", [0, 1], ids=["fresh", "idle"])
@pytest.mark.parametrize(("how", "reason"), [(reset, "reset"), (socket.socket.close, "fin")])
def test_a_waiting_client_that_leaves_is_gone_at_once(
    house: Rig, served: int, how: Callable[[socket.socket], None], reason: str
) -> None:
    peer, rec = house.join()
    rec.served = served
    how(peer)
    house.until(lambda: bool(house.receipts))
    assert house.receipts[0].why == ("client", "idle" if served else "fresh", reason)
    assert rec.state in {State.CLOSED, State.RESET}
    assert rec not in house.lobby.all()


# deadlines


def test_a_fresh_client_has_the_head_s_time_from_its_accept(house: Rig) -> None:
    house.join()
    house.jump(19.9)
    assert house.receipts == []
    house.jump(0.2)
    assert house.receipts[0].why == ("proxy", "fresh", "head-timeout")
    assert house.refused == [], "nobody asked: no 408"


def test_a_head_has_its_time_from_its_first_byte_and_dripping_adds_none(house: Rig) -> None:
    peer, rec = house.join()
    house.jump(10)
    peer.send(b"GET")
    house.until(lambda: bool(rec.buf))
    for _ in range(19):
        house.jump(1)
        size = rec.got
        peer.send(b"x")
        house.until(lambda: rec.got > size)  # noqa: B023 - asked at once
    assert house.refused == []
    house.jump(1.1)
    assert house.refused == [(408, "head-timeout")]


def test_an_idle_client_has_keep_alive_from_its_last_response(house: Rig) -> None:
    _, rec = house.join(data=HEAD)
    house.until(lambda: bool(house.heads))
    house.jump(100)
    assert house.receipts == [], "no deadline of the lobby while it is served"
    keep(house, rec)
    house.jump(14.9)
    assert house.receipts == []
    house.jump(0.2)
    assert house.receipts[0].why == ("proxy", "idle", "keep-alive-timeout")


def test_a_request_that_comes_at_the_last_moment_is_served(house: Rig) -> None:
    """It is in the socket as the deadline fires, and its event is not taken yet."""
    peer, rec = house.join()
    house.quiet()
    peer.sendall(HEAD)
    house.clock.now += 25
    house.lobby.fire()
    assert house.heads == [(rec, HEAD)]
    assert house.receipts == []


def test_a_drain_dismisses_nobody_who_has_just_asked(house: Rig) -> None:
    peer, rec = house.join()
    _, silent = house.join()
    house.quiet()
    peer.sendall(HEAD)
    house.clients.dismiss(rec, Event.STOPPED, "drain")
    house.clients.dismiss(silent, Event.STOPPED, "drain")
    assert house.heads == [(rec, HEAD)]
    assert [receipt.rec for receipt in house.receipts] == [silent]


def test_a_rule_for_an_address_holds_before_the_head() -> None:
    with rig() as house:
        house.policy = replace(house.policy, timeouts=replace(house.policy.timeouts, head=3.0))
        house.join()
        house.jump(3.1)
        assert house.receipts[0].why == ("proxy", "fresh", "head-timeout")


def test_a_waiting_client_is_a_record_without_a_buffer(house: Rig) -> None:
    _, rec = house.join()
    assert rec.buf == b""
    assert not hasattr(rec, "__dict__")
