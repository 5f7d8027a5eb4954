"""The bell: how a task waits for records, on a clock that jumps."""

from collections.abc import AsyncIterator
from math import inf

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from shieldproxy.net.bell import Bell
from shieldproxy.net.lobby import Lobby


@pytest.fixture
async def lobby(nursery: trio.Nursery) -> AsyncIterator[Lobby]:
    made = Lobby(trio.current_time, lambda _, exc: pytest.fail(str(exc)))
    nursery.start_soon(made.keep_time)
    yield made
    assert len(made.deadlines) == 0 or all(
        record.due == inf for members in made.deadlines._slots.values() for record in members
    )
    made.shut()


async def test_it_wakes_a_task_that_waits(
    autojump_clock: MockClock, lobby: Lobby, nursery: trio.Nursery
) -> None:
    bell, heard = Bell(lobby), []

    async def task() -> None:
        heard.append(await bell.wait(trio.current_time() + 10))

    nursery.start_soon(task)
    await wait_all_tasks_blocked()
    began = trio.current_time()
    bell.ring()
    bell.ring()
    await wait_all_tasks_blocked()
    assert heard == [True]
    assert trio.current_time() == began
    bell.put_away()


async def test_it_says_when_the_time_is_over(autojump_clock: MockClock, lobby: Lobby) -> None:
    bell, began = Bell(lobby), trio.current_time()
    assert await bell.wait(began + 10) is False
    assert 10 <= trio.current_time() - began < 10.1


async def test_a_ring_that_nobody_waits_for_is_not_kept(autojump_clock: MockClock, lobby: Lobby) -> None:
    """The latches are what is kept: a task looks at them before it waits."""
    bell = Bell(lobby)
    bell.ring()
    assert await bell.wait(trio.current_time() + 1) is False


async def test_a_deadline_in_the_past_is_over_at_once(autojump_clock: MockClock, lobby: Lobby) -> None:
    bell, began = Bell(lobby), trio.current_time()
    assert await bell.wait(began - 5) is False
    assert trio.current_time() - began < 0.1


async def test_the_time_of_one_wait_does_not_end_the_next(
    autojump_clock: MockClock, lobby: Lobby, nursery: trio.Nursery
) -> None:
    bell, began = Bell(lobby), trio.current_time()

    async def rings() -> None:
        await trio.sleep(1)
        bell.ring()

    nursery.start_soon(rings)
    assert await bell.wait(began + 2) is True
    assert await bell.wait(began + 30) is False
    assert 30 <= trio.current_time() - began < 30.1
    assert await bell.wait(began + 31) is False
    assert 31 <= trio.current_time() - began < 31.1


@pytest.mark.parametrize("rung", [True, False], ids=["rung after", "never rung"])
async def test_a_cancelled_wait_leaves_nothing_behind(
    autojump_clock: MockClock, lobby: Lobby, rung: bool
) -> None:
    bell = Bell(lobby)
    with trio.move_on_after(1) as scope:
        await bell.wait(trio.current_time() + 50)
    assert scope.cancelled_caught
    if rung:
        bell.ring()
    await trio.sleep(60)
    bell.put_away()
    assert bell.slot == bell.due == inf


async def test_put_away_keeps_nothing_in_the_wheel(autojump_clock: MockClock, lobby: Lobby) -> None:
    bell = Bell(lobby)
    with trio.move_on_after(1):
        await bell.wait(trio.current_time() + 50)
    assert len(lobby.deadlines) == 1
    bell.put_away()
    assert len(lobby.deadlines) == 0
