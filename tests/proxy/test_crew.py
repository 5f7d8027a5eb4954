"""The task lane's tasks: one serves many exchanges, and not many wait for more."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from shieldproxy.net.record import FIN, IN, OUT
from shieldproxy.proxy import crew as crew_module
from shieldproxy.proxy import lease
from shieldproxy.proxy.crew import Crew
from shieldproxy.proxy.house import House
from shieldproxy.run.logs import Journal
from tests.kit.answers import silent
from tests.kit.sockets import reset
from tests.kit.upstream import Upstream
from tests.run.worker_rig import GET, Running, plan, running


@pytest.fixture
def server() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture
def crews(monkeypatch: pytest.MonkeyPatch) -> list[Crew]:
    made: list[Crew] = []
    original = Crew.__init__

    def noted(self: Crew, house: House) -> None:
        original(self, house)
        made.append(self)

    monkeypatch.setattr(Crew, "__init__", noted)
    return made


async def parked(house: Running, crew: Crew) -> int:
    await house.until(lambda: house.worker.house.active == 0)
    await trio.testing.wait_all_tasks_blocked(0.02)
    return len(crew._parked)


async def test_one_task_serves_one_exchange_after_the_other(
    server: Upstream, tmp_path: Path, crews: list[Crew]
) -> None:
    async with running(plan(server, tmp_path, express=False)) as house:
        clients = [house.connect() for _ in range(3)]
        for _ in range(4):
            for client in clients:
                assert (await house.ask(client)).startswith(b"HTTP/1.1 200")
        assert house.worker.house.lanes["task"] == 12
        assert await parked(house, crews[0]) == 1


async def test_no_more_than_a_few_are_kept(
    server: Upstream, tmp_path: Path, crews: list[Crew], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew_module, "KEPT", 2)
    async with running(plan(server, tmp_path, express=False)) as house:
        clients = [house.connect() for _ in range(6)]
        async with trio.open_nursery() as all_at_once:
            for client in clients:
                all_at_once.start_soon(house.ask, client)
        assert await parked(house, crews[0]) <= 2
        assert (await house.ask(clients[0])).startswith(b"HTTP/1.1 200"), "and they serve again"


async def test_a_defect_in_the_books_of_an_exchange_ends_that_one_only(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one that had ended already, by its client's reset: what is done then stands outside its story."""
    write, broken = Journal.exchange, [True]

    def once(self: Journal, *words: Any) -> None:
        if broken:
            broken.clear()
            raise RuntimeError("a defect")
        write(self, *words)

    monkeypatch.setattr(Journal, "exchange", once)
    server.on("/silent", silent)
    async with running(plan(server, tmp_path, express=False)) as house:
        client, another = house.connect(GET.replace(b" / ", b" /silent ")), house.connect()
        await house.until(lambda: len(server.requests) == 1)
        reset(client)
        await house.until(lambda: not broken)
        assert (await house.ask(another)).startswith(b"HTTP/1.1 200")
        assert house.worker.house.active == 0
        assert [line["reason"] for line in await house.lines("connection")] == ["internal-error"]
        assert "RuntimeError: a defect" in await house.errors()


def test_an_event_that_says_nothing_new_wakes_nobody() -> None:
    class Bell:
        rung = 0

        def ring(self) -> None:
            self.rung += 1

    class Exchange:
        bell = Bell()
        rec = None
        whole = True

    class Record:
        exchange = Exchange()
        latch = OUT

    record = Record()
    lease.on_event(record, OUT)
    assert (record.exchange.bell.rung, record.latch) == (0, OUT)
    lease.on_event(record, IN | OUT)
    assert (record.exchange.bell.rung, record.latch) == (1, IN | OUT)
    lease.on_event(record, IN | OUT | FIN)
    assert record.exchange.bell.rung == 2
