"""A thousand clients that wait are records and not tasks, in each of the states."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from shieldproxy.proxy.crew import KEPT
from tests.kit.upstream import Upstream
from tests.run.worker_rig import GET, LAST, Running, plan, running

COUNT = 1000
SLOW = b"GET / HTTP/1.1\r\nHost: a\r\nX: "


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


async def settled(house: Running) -> int:
    """The number of tasks when nobody is being served."""
    await house.until(lambda: house.worker.house.active == 0)
    await trio.testing.wait_all_tasks_blocked(0.02)
    return tasks()


async def crowd(house: Running, data: bytes, *, answered: bool) -> None:
    for _ in range(COUNT // 100):
        batch = [house.connect(data) for _ in range(100)]
        await house.until(lambda: house.worker.house.held >= len(house.clients))
        if answered:
            for sock in batch:
                await house.read(sock, 20)


@pytest.mark.parametrize("express", [True, False], ids=["express", "task"])
@pytest.mark.parametrize(
    ("phase", "data"),
    [("fresh", b""), ("head", SLOW), ("idle", GET), ("linger", LAST)],
    ids=["fresh", "slow head", "idle", "lingering"],
)
async def test_a_thousand_of_them_are_no_task(
    server: Upstream, tmp_path: Path, phase: str, data: bytes, express: bool
) -> None:
    async with running(plan(server, tmp_path, express=express)) as house:
        first = house.connect()
        await house.ask(first)
        before = await settled(house)
        await crowd(house, data, answered=phase in {"idle", "linger"})
        await house.until(lambda: house.phases().get(phase, 0) >= COUNT)
        assert await settled(house) <= before + KEPT, "tasks of exchanges, parked, and none for each client"
        assert (await house.ask(first)).startswith(b"HTTP/1.1 200"), "beside them others are served"
        if phase == "head":
            for sock in house.clients[1:]:
                sock.send(b"y")
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert tasks() <= before + KEPT


async def test_a_refused_head_is_counted_whole_and_from_its_first_byte(
    server: Upstream, tmp_path: Path
) -> None:
    async with running(plan(server, tmp_path)) as house:
        bad = b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"
        large = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 40_000 + b"\r\n\r\n"
        at_once, dripped, long = house.connect(bad), house.connect(bad[:9]), house.connect(large)
        await trio.sleep(0.4)
        dripped.send(bad[9:])
        for client, status in ((at_once, b"400"), (dripped, b"400"), (long, b"431")):
            assert (await house.some(client)).split(b" ")[1] == status
        (first,), (second,), (third,) = [
            await house.lines("exchange", sock) for sock in (at_once, dripped, long)
        ]
    assert [line["in"] for line in (first, second)] == [len(bad)] * 2
    assert third["in"] > 32 * 1024
    assert first.get("seconds", 0.0) < 0.3 < second["seconds"] < 3
