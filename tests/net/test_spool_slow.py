"""A directory of 1 MB/s: the loop does not feel it.

Every call that touches a spool's file takes as long as its bytes would on such a disk, in whichever thread
makes it. What the loop itself has slept is counted, and so is the longest wait of a task beside it.
"""

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from shieldproxy.core.limits import Buffers
from shieldproxy.net import jobs, means
from shieldproxy.net.lobby import Lobby
from shieldproxy.net.spool import Spool, Store
from tests.net.spools import BLOB, drop, tcp

RATE = 1_000_000
STALL = 0.05
"""Seconds that the loop may stand still."""
SPOOLS = 4
SIZE = 250_000
MEMORY = 16 * 1024


class SlowDisk:
    """Stands between the product and its files."""

    def __init__(self, patch: pytest.MonkeyPatch, nowait: int) -> None:
        self.nowait = nowait
        self.on_loop: list[tuple[str, int]] = []
        """Calls that the loop made itself, and how many bytes each had."""
        self._loop = threading.get_ident()
        for name, bytes_of in (
            ("open", lambda *_: 30_000),
            ("pwrite", lambda _, data, *__: len(data)),
            ("pread", lambda _, count, *__: count),
            ("ftruncate", lambda *_: 200_000),
        ):
            patch.setattr(os, name, self._slow(name, getattr(os, name), bytes_of))
        patch.setattr(means, "DISTRUST", 60.0)
        patch.setattr(os, "preadv", self._preadv(os.preadv))
        patch.setattr(os, "splice", self._splice(os.splice))
        patch.setattr(jobs, "perform_close", self._slow("close", jobs.perform_close, lambda _: 200_000))

    def wait(self, name: str, count: int) -> None:
        """Take the time of so many bytes."""
        if threading.get_ident() == self._loop:
            self.on_loop.append((name, count))
        time.sleep(count / RATE)

    def _slow(self, name: str, real: Callable[..., Any], bytes_of: Callable[..., int]) -> Callable[..., Any]:
        def slow(*args: Any, **kwargs: Any) -> Any:
            self.wait(name, bytes_of(*args))
            return real(*args, **kwargs)

        return slow

    def _preadv(self, real: Callable[..., int]) -> Callable[..., int]:
        def slow(fd: int, buffers: list[memoryview], offset: int, flags: int) -> int:
            if self.nowait:
                raise OSError(self.nowait, os.strerror(self.nowait))
            self.wait("preadv", len(buffers[0]))
            return real(fd, buffers, offset, flags)

        return slow

    def _splice(self, real: Callable[..., int]) -> Callable[..., int]:
        def slow(src: int, dst: int, count: int, *args: Any, **kwargs: Any) -> int:
            if len(args) > 1 and args[1] is not None:
                self.wait("splice", count)
            return real(src, dst, count, *args, **kwargs)

        return slow


class Beat:
    """A task beside the traffic: how long it had to wait for its turn."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        """Beat for ever."""
        while True:
            before = time.monotonic()
            await trio.sleep(0.002)
            self.longest = max(self.longest, time.monotonic() - before - 0.002)


async def pass_through(store: Store, number: int) -> Spool:
    """One body, put as fast as it is taken in, and then read by a client; its bytes are checked."""
    changed = trio.Event()

    def wake() -> None:
        changed.set()

    async def woken() -> None:
        nonlocal changed
        await changed.wait()
        changed = trio.Event()

    data = BLOB[number * 1000 : number * 1000 + SIZE]
    spool = (store.request if number % 2 else store.response)(wake, SIZE)
    for start in range(0, SIZE, 25_000):
        while spool.full:
            await woken()
        spool.put(data[start : start + 25_000])
        await trio.lowlevel.checkpoint()
    if number == 0:
        spool.rest()
    ours, far = tcp()
    got = b""
    while spool.left or len(got) < SIZE:
        try:
            if not spool.drain(ours) and spool.left:
                await woken()
                continue
        except BlockingIOError:
            await trio.lowlevel.wait_readable(far)
        try:
            got += far.recv(1 << 20)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(far)
    assert got == data
    spool.close()
    drop(ours, far)
    return spool


async def traffic(directory: Path) -> float:
    """Several at a time; the longest that a task beside them waited, in seconds."""
    faults: list[Any] = []
    lobby = Lobby(trio.current_time, lambda _, exc: faults.append(exc))
    buffers = Buffers(MEMORY, MEMORY, directory=str(directory))
    store = Store(lobby, buffers, faults.append)
    beat = Beat()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lobby.run)
        nursery.start_soon(beat.run)
        async with trio.open_nursery() as bodies:
            for number in range(SPOOLS):
                bodies.start_soon(pass_through, store, number)
        with trio.fail_after(10):
            while store.files:  # noqa: ASYNC110 - threads close them
                await trio.sleep(0.01)
        longest = beat.longest
        nursery.cancel_scope.cancel()
    assert faults == []
    assert store.used == 0
    assert store.snapshot()["spilled"] > SPOOLS * (SIZE - 200_000)
    store.shut()
    lobby.shut()
    return longest


@pytest.mark.parametrize(
    "nowait", [0, errno.EAGAIN, errno.EOPNOTSUPP], ids=["cached", "not-cached", "cannot-say"]
)
def test_the_loop_does_not_wait_for_a_slow_disk(
    nowait: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = 1.0
    for _ in range(3):  # what else runs on the machine stops the beat too
        with monkeypatch.context() as patch:
            slow: list[SlowDisk] = []

            async def run(patch: pytest.MonkeyPatch = patch, slow: list[SlowDisk] = slow) -> float:
                with trio.fail_after(30):
                    slow.append(SlowDisk(patch, nowait))
                    return await traffic(tmp_path)

            longest = min(longest, trio.run(run))
        calls = [(name, count) for name, count in slow[0].on_loop if name != "open"]
        assert {name for name, _ in calls} <= {"preadv"}, "nothing else is done on the loop"
        assert all(count <= STALL * RATE for _, count in calls)
        assert len(calls) <= 1, "one slow read, and threads do them"
        if longest < STALL:
            break
    assert longest < STALL
