"""Rules 3 and 4 of the lobby, descriptors and defects: each is shown, and what happens without it."""

import fcntl
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from shieldproxy.net.lobby import Lobby
from shieldproxy.net.record import FIN, IN, Record
from tests.net.rig import SECONDS, Clock, Rig, readable, rig

# rule 3: descriptors come and go between batches


class Hasty(Lobby):
    """Without the rule: a descriptor is closed on the spot."""

    def close(self, record: Record, how: Callable[[socket.socket], None] | None = None) -> None:
        super().close(record, how)
        self._bury()


@pytest.mark.parametrize("kind", [Lobby, Hasty], ids=["between batches", "without"])
def test_a_reused_descriptor_gets_nothing_of_the_old_client(kind: type[Lobby]) -> None:
    """Two clients end in one batch; the first to be told closes both, and a new one comes in at once."""
    with rig(lobby_class=kind) as house:
        lobby = house.lobby
        mistaken: list[int] = []
        both: list[Record] = []
        fresh: list[Record] = []

        def on_event(record: Record, events: int) -> None:
            if not events & FIN or fresh:
                return
            other = both[1] if record is both[0] else both[0]
            number = other.fd
            lobby.close(other)
            ours, theirs = socket.socketpair()
            house.peers.append(theirs)
            newcomer = Record(ours, lambda _, happened: mistaken.append(happened), lambda _: None)
            lobby.add(newcomer)
            fresh.append(newcomer)
            assert (newcomer.fd == number) is (kind is Hasty)

        peers = []
        for _ in range(2):
            peer, record = house.pair(on_event)
            peers.append(peer)
            both.append(record)
        house.quiet()
        for peer in peers:
            peer.shutdown(socket.SHUT_WR)
        assert readable(lobby.epoll, SECONDS)
        lobby.turn()
        assert len(fresh) == 1
        assert any(happened & FIN for happened in mistaken) is (kind is Hasty)


def test_accept_waits_for_the_end_of_the_batch(house: Rig) -> None:
    inside: list[int] = []
    peer, record = house.pair()
    house.quiet()

    def on_event(_record: Record, _events: int) -> None:
        inside.append(len(house.new))

    record.on_event = on_event
    house.dial()  # its event is the first of the batch
    peer.send(b"x")
    assert readable(record.sock, SECONDS)
    house.lobby.turn()
    assert inside == [0]
    assert len(house.new) == 1


def test_the_table_is_as_long_as_the_highest_descriptor(house: Rig) -> None:
    """And not as long as the limit, which may be a thousand million."""
    table = house.lobby._records
    assert len(table) < 300
    with socket.socket() as low:
        high = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 300)
    told: list[int] = []
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        os.dup2(ours.fileno(), high)
        ours.close()
        record = Record(socket.socket(fileno=high), lambda _, events: told.append(events), lambda _: None)
        house.lobby.add(record)
        assert len(table) == high + 1
        house.lobby.turn()
        theirs.send(b"x")
        house.until(lambda: len(told) == 2)
        assert told[1] & IN
        house.lobby.close(record)


def test_a_closed_record_ignores_events(house: Rig) -> None:
    seen: list[int] = []
    peer, record = house.pair(lambda _, events: seen.append(events))
    house.quiet()
    seen.clear()
    peer.sendall(b"x")
    assert readable(house.lobby.epoll, SECONDS)
    house.lobby.close(record)
    house.lobby.close(record)
    house.quiet()
    assert seen == []
    assert not house.lobby.alive(record)
    assert house.lobby.all() == [house.listener._record]


# rule 4: one record's defect


@pytest.mark.parametrize("guarded", [True, False], ids=["each record", "without"])
def test_a_defect_in_one_record_does_not_lose_the_batch(guarded: bool) -> None:
    """An edge that was taken from the epoll and not handled does not come again."""

    def outside(_record: Any, exc: Exception) -> None:
        raise exc

    faults: list[tuple[Any, Exception]] = []
    lobby = Lobby(Clock(), (lambda record, exc: faults.append((record, exc))) if guarded else outside)
    told: set[Record] = set()
    broken: list[Record] = []

    def on_event(record: Record, _events: int) -> None:
        if not broken:
            broken.append(record)
            raise ValueError("a defect")
        told.add(record)

    pairs = [socket.socketpair() for _ in range(20)]
    records = [Record(ours, on_event, lambda _: None) for ours, _ in pairs]
    for record in records:
        lobby.add(record)
    try:
        for _ in range(5):
            try:
                lobby.turn()
            except ValueError:
                assert not guarded
        assert len(told) == (19 if guarded else 0)
        assert [record for record, _ in faults] == (broken if guarded else [])
    finally:
        lobby.shut()
        for _, theirs in pairs:
            theirs.close()


def test_a_defect_in_the_ready_list_or_at_a_deadline_ends_one_record() -> None:
    with rig() as house:
        lobby = house.lobby

        def broken(_record: Record, *_: object) -> None:
            raise ValueError("a defect")

        records = [house.pair()[1] for _ in range(4)]
        fired: list[Record] = []
        house.quiet()
        records[0].on_event = broken
        records[1].on_event = lambda record, _: fired.append(record)
        records[2].on_due = broken
        records[3].on_due = fired.append
        for record in records[:2]:
            lobby.again(record)
        for record in records[2:]:
            lobby.arm(record, house.clock.now + 1)
        lobby.turn()
        house.jump(2)
        assert fired == [records[1], records[3]]
        assert [record for record, _ in house.faults] == [records[0], records[2]]
        assert not lobby.alive(records[0])
