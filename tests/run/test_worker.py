"""Rules 4 and 9 in the worker: a defect ends one client, signals drain, descriptors are counted first."""

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from shieldproxy.core.closing import State
from shieldproxy.net.lobby import Lobby
from shieldproxy.net.record import Record
from shieldproxy.proxy import exchange as exchange_module
from shieldproxy.proxy import lease as lease_module
from shieldproxy.proxy.admission import house_clients
from shieldproxy.proxy.relay import Relay
from tests.kit.upstream import Upstream
from tests.run.worker_rig import GET, LAST, Running, plan, running

BAD = b"GET /bad HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def server() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


# a defect of ours


def break_for(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, bad: Callable[..., bool]) -> None:
    """Make a function of the product fail where `bad` says so."""
    original = getattr(owner, name)

    def broken(*args: Any, **kwargs: Any) -> Any:
        if bad(*args, **kwargs):
            raise ValueError("planted")
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, broken)


async def one_ends_and_others_go_on(house: Running, bad: bytes = BAD) -> None:
    """A client that meets the defect is gone, with a receipt; those beside it and after it are served."""
    beside, victim = house.connect(), house.connect()
    await house.ask(beside)
    victim.send(bad)
    with suppress(ConnectionResetError):
        await house.rest(victim)
    await house.ask(beside)
    await house.ask(house.connect())
    assert len(await house.lines("connection", victim)) == 1
    assert "planted" in await house.errors()
    group = house.worker.house.groups["legacy"]
    await house.until(lambda: group.servers[0].leased == 0)
    assert house.worker.house.active == 0
    assert group.servers[0].open == len(group.servers[0].idle)


def is_bad(_self: object, ex: Any, *_: object, **__: object) -> bool:
    return bool(ex.head.target == b"/bad")


@pytest.mark.parametrize("express", [True, False], ids=["express", "task"])
async def test_a_defect_at_the_request_ends_one_client(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, express: bool
) -> None:
    async with running(plan(server, tmp_path, express=express)) as house:
        break_for(monkeypatch, house.worker.house, "route_of", lambda _, head: head.path == b"/bad")
        await one_ends_and_others_go_on(house)


async def test_a_defect_at_the_response_ends_one_client(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(plan(server, tmp_path)) as house:
        express = house.worker.clients._on_head.__self__  # type: ignore[attr-defined]  # a bound method
        break_for(monkeypatch, type(express), "_answer", is_bad)
        await one_ends_and_others_go_on(house)


@pytest.mark.parametrize("where", ["relay", "end"])
async def test_a_defect_in_a_task_ends_one_client(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A task's exception would end the nursery, and with it every exchange of the worker."""
    async with running(plan(server, tmp_path, express=False)) as house:
        if where == "relay":
            break_for(monkeypatch, Relay, "run", lambda relay: relay._ex.head.target == b"/bad")
        else:
            break_for(monkeypatch, exchange_module, "finish", is_bad)
        await one_ends_and_others_go_on(house)


async def test_a_defect_in_the_lease_ends_one_client(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(plan(server, tmp_path, express=False)) as house:
        break_for(monkeypatch, lease_module, "connect", lambda *_: house.worker.house.active > 1)
        beside, victim = house.connect(BAD), house.connect(BAD)
        await trio.sleep(0.05)
        for sock in (beside, victim):
            with suppress(ConnectionResetError):
                await house.read(sock, 1)
        await house.until(lambda: house.worker.house.active == 0)
        await house.ask(house.connect())


async def test_a_defect_while_a_client_waits_ends_one_client(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(plan(server, tmp_path)) as house:
        break_for(
            monkeypatch, house.worker.clients, "_look_for_head", lambda _rec, buf, _start: b"bad" in buf
        )
        await one_ends_and_others_go_on(house, b"GET /bad HT")


async def test_a_defect_while_a_client_lingers_ends_one_client(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(plan(server, tmp_path)) as house:
        closer = house.worker.house.closer
        break_for(monkeypatch, closer, "_look", lambda rec: rec.got > len(LAST) + 10)
        await one_ends_and_others_go_on(house, LAST + b"y" * 100)


async def test_a_defect_after_the_end_was_decided_ends_one_client(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table knows no event for a connection that is closed: the fault's handler must not ask it."""
    async with running(plan(server, tmp_path)) as house:
        beside, victim = house.connect(), house.connect()
        await house.ask(beside)
        await house.ask(victim)
        port = victim.getsockname()[1]
        break_for(monkeypatch, house.worker.house.closer, "_receipt", lambda rec, *_: rec.port == port)
        victim.close()
        await trio.sleep(0.05)
        await house.ask(beside)
        assert all(getattr(rec, "port", 0) != port for rec in house.worker.lobby.all())


async def test_a_defect_on_an_idle_upstream_connection_costs_no_place(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(plan(server, tmp_path)) as house:
        client = house.connect()
        await house.ask(client)
        group = house.worker.house.groups["legacy"]
        (idle,) = group.servers[0].idle

        def broken(*_: object) -> None:
            raise ValueError("planted")

        idle.on_event = broken
        server.links[0].finish()
        await trio.sleep(0.05)
        await house.ask(client, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
        assert "planted" in await house.errors()
        assert group.servers[0].open == len(group.servers[0].idle) == 1


async def test_a_defect_at_the_door_does_not_close_it(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is called between batches is guarded like a record."""
    async with running(plan(server, tmp_path)) as house:
        count = 0

        def once(*_: object) -> bool:
            nonlocal count
            count += 1
            return count == 1

        break_for(monkeypatch, house.worker.clients, "welcome", once)
        house.connect()
        await trio.sleep(0.05)
        await house.ask(house.connect())


# signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_a_signal_inside_a_record_drains_and_interrupts_nothing(
    server: Upstream, tmp_path: Path, number: signal.Signals
) -> None:
    """INT comes through a receiver: as KeyboardInterrupt it would tear the record that was at work."""
    async with running(plan(server, tmp_path)) as house:
        client = house.connect()
        await house.ask(client)
        (rec,) = house_clients(house.worker.house)
        original = rec.on_event
        survived: list[int] = []

        def on_event(record: object, events: int) -> None:
            rec.on_event = original
            signal.raise_signal(number)
            survived.append(events)
            original(record, events)

        rec.on_event = on_event
        client.send(GET)
        assert b"hello" in await house.rest(client), "what was being served is finished"
        assert survived
        client.close()
        house.clients.remove(client)
        await house.until(house.worker._drained.is_set)
        (last,) = await house.lines("connection")
        assert last["reason"] == "drain"
        assert rec.state in {State.CLOSED, State.RESET}


def test_without_the_receiver_it_would_be_torn() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where we run in a background
    torn: list[object] = []

    def on_event(_record: object, _events: int) -> None:
        signal.raise_signal(signal.SIGINT)
        torn.append("went on")

    faults: list[object] = []

    def fault(record: object, _exc: Exception) -> None:
        faults.append(record)

    ours, theirs = socket.socketpair()
    lobby = Lobby(lambda: 0.0, fault)
    lobby.add(Record(ours, on_event, lambda _: None))
    try:
        with ours, theirs, pytest.raises(KeyboardInterrupt):
            lobby.turn()
    finally:
        signal.signal(signal.SIGINT, before)
        lobby.shut()
    assert torn == faults == []


# rule 9: descriptors

ROOM = """
import resource, sys
from pathlib import Path
from shieldproxy.core.address import Address
from shieldproxy.core.plan import Plan
from shieldproxy.core.upstreams import UpstreamSpec
from shieldproxy.run import worker
soft, hard, most = map(int, sys.argv[1:4])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
spec = UpstreamSpec("u", (Address("127.0.0.1", 1, ""), Address("127.0.0.1", 2, "")), 20)
plan = Plan((), (), {"u": spec}, max_connections=most, access="none", error=sys.argv[4])
journal = worker._open_logs(plan)
room = worker._room(plan, journal)
print(room.clients, room.files, *resource.getrlimit(resource.RLIMIT_NOFILE))
print(b"".join(journal.error._lines).decode())
"""


def room(tmp_path: Path, soft: int, hard: int, most: int) -> tuple[list[int], str]:
    """In a process of its own: what it grants, its limits after that, and what it says."""
    ran = subprocess.run(
        [sys.executable, "-c", ROOM, str(soft), str(hard), str(most), str(tmp_path / "error")],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    numbers, _, said = ran.stdout.partition("\n")
    return [int(number) for number in numbers.split()], said


def test_the_limit_is_raised_to_the_hard_one(tmp_path: Path) -> None:
    (most, files, soft, hard), said = room(tmp_path, 128, 4096, 1000)
    assert (most, soft, hard) == (1000, 4096, 4096)
    assert 1000 + 40 + files <= 4096, "room for what is granted, whatever the limit is"
    assert said.strip() == ""


def test_max_connections_is_clamped_and_it_is_said(tmp_path: Path) -> None:
    (most, _, _, _), said = room(tmp_path, 128, 1024, 20_000)
    assert 1024 - 40 - 256 - 64 <= most <= 1024 - 40 - 64, "less upstreams and a reserve"
    assert f"warning {most} clients at most, not 20000 (server.max_connections): of 1024 descriptors" in said


def test_a_limit_of_a_thousand_million_is_not_for_files(tmp_path: Path) -> None:
    fake = "resource.getrlimit = lambda _: (1024, 1 << 30)\nresource.setrlimit = lambda *_: None\n"
    script = ROOM.replace("spec = ", fake + "spec = ", 1)
    ran = subprocess.run(
        [sys.executable, "-c", script, "128", "1024", "1000", str(tmp_path / "error")],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert int(ran.stdout.split()[1]) < 100_000


def test_the_smallest_room_is_one(tmp_path: Path) -> None:
    (most, _, _, _), said = room(tmp_path, 64, 64, 100)
    assert most == 1
    assert said
