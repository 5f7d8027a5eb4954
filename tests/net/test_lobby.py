"""Rules 1 and 2 of the lobby, edges and turns: each is shown, and what happens without it."""

import socket
from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Any

import pytest
import trio

from shieldproxy.net import lobby as lobby_module
from shieldproxy.net.lobby import BATCH, CHUNK, LONG, READS_A_TURN, ROUND, WORK, Lobby
from shieldproxy.net.record import ERROR, FIN, HUP, IN, WATCHED, Record, ignore
from tests.net.rig import SECONDS, Rig, readable, reset, rig

EDGE = WATCHED
LEVEL = IN | FIN | ERROR | HUP


# rule 1: edge-triggered, latched, a share of reads


@pytest.mark.parametrize(("events", "spins"), [(EDGE, False), (LEVEL, True)], ids=["edge", "level"])
@pytest.mark.parametrize("ending", ["fin", "reset", "bytes"])
def test_what_nobody_reads_is_told_once(ending: str, events: int, spins: bool) -> None:
    with rig(events=events) as house:
        peer, record = house.pair()
        house.quiet(most=100)
        record.latch = 0
        if ending == "fin":
            peer.shutdown(socket.SHUT_WR)
        elif ending == "reset":
            reset(peer)
        else:
            peer.sendall(b"x")
        assert readable(house.lobby.epoll, SECONDS)
        count = house.quiet(most=500)
        assert (count == 500) is spins
        assert spins or count <= 2
        assert bool(record.latch & FIN) is (ending != "bytes")
        assert bool(record.latch & ERROR) is (ending == "reset")
        assert record.latch & IN


def reads_once(lobby: Lobby, size: int, *, again: bool) -> tuple[list[int], Callable[[Any, int], None]]:
    sizes: list[int] = []

    def on_event(record: Record, _events: int) -> None:
        try:
            count = len(record.sock.recv(size))
        except BlockingIOError:
            return
        sizes.append(count)
        if again:
            lobby.again(record)

    return sizes, on_event


@pytest.mark.parametrize("again", [True, False], ids=["ready list", "without"])
def test_a_partial_read_stands_in_the_ready_list(house: Rig, again: bool) -> None:
    """Under ET no event says a second time that bytes are there."""
    sizes, on_event = reads_once(house.lobby, 10, again=again)
    peer, _ = house.pair(on_event)
    peer.sendall(bytes(100))
    house.until(lambda: bool(sizes))
    house.quiet()
    assert sum(sizes) == (100 if again else 10)


def test_a_batch_is_known_while_it_is_worked_on(house: Rig) -> None:
    """Also of those who are called later in it; afterwards it is no news."""
    seen: list[int] = []
    pairs = [house.pair(lambda *_: seen.append(sum(bool(house.lobby.told(rec) & IN) for _, rec in pairs)))]
    pairs += [house.pair(ignore) for _ in range(2)]
    house.quiet()
    seen.clear()
    for peer, _ in pairs[:2]:
        peer.sendall(b"x")
    house.until(lambda: bool(seen))
    assert seen == [2]
    assert not any(house.lobby.told(rec) for _, rec in pairs)


def test_the_ready_list_is_called_once_a_turn(house: Rig) -> None:
    """Who has much to read takes its share in each turn, beside the events of others."""
    sizes, on_event = reads_once(house.lobby, 10, again=True)
    peer, record = house.pair(on_event)
    peer.sendall(bytes(1000))
    house.until(lambda: bool(sizes))
    before = len(sizes)
    house.lobby.turn()
    assert len(sizes) == before + 1
    house.lobby.close(record)
    assert record not in house.lobby.ready
    house.lobby.turn()
    assert len(sizes) == before + 1


def test_a_drain_takes_16_reads_of_64_kib_a_turn(house: Rig) -> None:
    house.policy = replace(house.policy, limits=replace(house.policy.limits, linger=1 << 40))
    peer, rec = house.join()
    rec.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    house.serve(rec)
    house.closer.end(rec, "proxy", "exchange", "test")
    assert rec.linger is not None
    peer.setblocking(False)
    flood = memoryview(bytes(1 << 20))
    most = 0
    for _ in range(40):
        try:
            while peer.send(flood):
                pass
        except BlockingIOError:
            pass
        before = rec.linger.drained
        house.lobby.turn()
        most = max(most, rec.linger.drained - before)
    assert 0 < most <= READS_A_TURN * CHUNK
    assert (READS_A_TURN, CHUNK) == (16, 64 * 1024)


@pytest.mark.parametrize("again", [True, False], ids=["ready list", "without"])
def test_a_drain_goes_on_where_its_share_ended(
    house: Rig, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    """Everything is in the socket already: no edge will come but that of the acknowledgement."""
    house.policy = replace(house.policy, limits=replace(house.policy.limits, linger=1 << 40))
    house.listener.door.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    size = 4 * READS_A_TURN * CHUNK
    peer, rec = house.join()
    house.serve(rec)
    peer.sendall(bytes(size))
    house.until(lambda: len(rec.sock.recv(size, socket.MSG_PEEK)) == size)
    house.quiet()
    if not again:
        monkeypatch.setattr(house.lobby, "again", lambda *_: None)
    house.closer.end(rec, "proxy", "exchange", "test")
    house.quiet()
    assert rec.linger is not None
    assert (rec.linger.drained == size) is again


# rule 2: a turn has an end


def crowd(house: Rig, count: int, on_event: Callable[[Any, int], None]) -> list[Record]:
    """Records on socket pairs, each with one event that nobody has taken."""
    records = []
    for _ in range(count):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        record = Record(ours, on_event, lambda _: None)
        house.lobby.add(record, house.events)
        house.peers.append(theirs)
        records.append(record)
    return records


@pytest.mark.parametrize("batch", [BATCH, 100_000], ids=["256", "without"])
def test_a_turn_has_256_events(house: Rig, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(lobby_module, "BATCH", batch)
    assert BATCH == 256
    seen: list[Record] = []
    records = crowd(house, 400, lambda record, _: seen.append(record))
    first = house.lobby.turn()
    assert first == (256 if batch == BATCH else 400)
    house.quiet()
    assert set(seen) == set(records), "the rest comes in the next turn"


class Busy(Lobby):
    """Gives up when nobody else had a turn for long."""

    longest = 0
    count = 0

    def turn(self, most: int | None = None) -> int:
        if self.count > 50 * ROUND:
            raise RuntimeError("nobody else had a turn")
        size = super().turn(most)
        self.count += size
        self.longest = max(self.longest, self.count)
        return size


@pytest.mark.parametrize("most", [ROUND, inf], ids=["rounds", "without"])
async def test_tasks_live_beside_a_lobby_that_never_runs_dry(
    monkeypatch: pytest.MonkeyPatch, most: float
) -> None:
    monkeypatch.setattr(lobby_module, "ROUND", most)
    with rig(lobby_class=Busy, events=LEVEL) as house:
        busy = house.lobby
        assert isinstance(busy, Busy)
        crowd(house, 40, ignore)
        for peer in house.peers:
            peer.send(b"x")
        ticks = 0

        async def beside() -> None:
            nonlocal ticks
            while ticks < 20:
                busy.count = 0
                ticks += 1
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(busy.run)
                nursery.start_soon(beside)
        except* RuntimeError:
            assert most == inf
            assert ticks <= 3
        else:
            assert ticks == 20
            assert busy.longest <= 2 * (ROUND + BATCH)  # trio runs its tasks in any order


def shares(house: Rig, names: str, seconds: float) -> tuple[list[tuple[str, int]], Callable[[], str]]:
    """Records of those names; who writes a capital letter's has long work, and each share takes time."""
    called: list[tuple[str, int]] = []

    def one(name: str) -> Callable[[Any, int], None]:
        def on_event(record: Record, events: int) -> None:
            called.append((name, events))
            if name.isupper():
                house.clock.now += seconds
                house.lobby.again(record, IN | LONG)

        return on_event

    pairs = [house.pair(one(name)) for name in names]
    house.quiet(most=len(names))

    def turn() -> str:
        """Everybody has news; who is called, in order."""
        for peer, _ in pairs:
            peer.send(b"x")
        called.clear()
        house.lobby.turn()
        return "".join(name for name, _ in called)

    return called, turn


def test_long_work_comes_last_and_in_turn(house: Rig) -> None:
    """News of somebody who has had his share does not bring him before the others."""
    called, turn = shares(house, "aBCDb", WORK)
    assert [turn() for _ in range(4)] == ["abB", "abC", "abD", "abB"]
    assert called[-1][1] & IN
    assert not called[-1][1] & LONG, "it is for the lobby"


def test_of_long_work_a_turn_has_what_it_has_time_for(house: Rig) -> None:
    _, turn = shares(house, "aBCDEF", WORK / 2)
    assert [turn() for _ in range(4)] == ["aBC", "aDE", "aFB", "aCD"]


def test_who_is_closed_before_its_long_work_is_done_is_forgotten(house: Rig) -> None:
    _, turn = shares(house, "aBCD", WORK)
    assert turn() == "aB"
    for record in list(house.lobby.ready):
        house.lobby.close(record)
    assert not house.lobby.ready
    house.lobby.turn()
    assert not house.lobby.ready


async def test_who_uses_up_his_share_lets_tasks_run_after_each_turn() -> None:
    """A client at full speed has an event in every turn: the epoll never runs dry of it alone."""
    with rig(events=LEVEL) as house:
        shares, most, ticks = 0, 0, 0

        def flood(record: Record, _events: int) -> None:
            nonlocal shares
            shares += 1
            house.lobby.again(record)

        peer, _ = house.pair(flood)
        peer.send(b"x")

        async def beside() -> None:
            nonlocal shares, most, ticks
            while ticks < 20:
                most, shares = max(most, shares), 0
                ticks += 1
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.lobby.run)
            nursery.start_soon(beside)
        assert 1 <= most <= 2  # trio runs its tasks in any order
