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
