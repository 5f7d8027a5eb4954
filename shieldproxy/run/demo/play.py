"""The order of the demonstration: both programs, one half without the proxy, one with it, the table."""

import signal
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from math import inf
from pathlib import Path
from typing import Final

import trio

from shieldproxy.run.demo.count import GOOD, SERVED, Half, Holds, figures, lost
from shieldproxy.run.demo.crowd import PATIENCE, Crowd
from shieldproxy.run.demo.show import WAYS, Screen, State, as_json
from shieldproxy.run.demo.stage import THREADS, Failed, Legacy, left_at, legacy_server, proxy

SECONDS: Final = 18.0
"""How long a half takes."""
AFTER: Final = 6.0
"""The last of these: nobody comes any more, and what is not let go of by then counts as held."""
LEAST: Final = 8.0
LIMIT: Final = 55.0
"""Seconds after which the demonstration ends in any case."""
STOPPING: Final = 5.0
"""Of these, what is left for the programs to stop."""
LOOK: Final = 0.25


class Playing:
    """One half while it runs: what is counted so far, for the screen."""

    def __init__(self, way: str, door: int, legacy: Legacy, seconds: float) -> None:
        self.way = way
        self.door = door
        self.seconds = seconds
        self.straight = way == WAYS[0]
        self.crowd = Crowd(door)
        self.holds = Holds(self.crowd.kind_at if self.straight else lambda _: "")
        self.begin = time.monotonic()
        legacy.note = self.holds.note

    def state(self) -> State:
        """How it stands."""
        good = [one for one in self.crowd.tries if one.kind == GOOD]
        return State(
            gone=time.monotonic() - self.begin,
            seconds=self.seconds,
            asked=len(good),
            served=sum(one.verdict == SERVED for one in good),
            waiting=sum(one.ended == inf for one in good),
            held=self.holds.now(),
            threads=THREADS,
            lost=lost(self.crowd.tries, self.holds.all, straight=self.straight).total(),
            sockets=sum(left_at(self.door, self.crowd.kind_at).values()),
        )

    async def run(self, screen: Screen) -> Half:
        """Let the clients come, wait, count."""
        with screen.half(self.way, self.state()):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._show, screen)
                await self.crowd.play(self.seconds - AFTER, AFTER)
                nursery.cancel_scope.cancel()
            left = left_at(self.door, self.crowd.kind_at)
            screen.update(self.way, self.state())
        made = figures(
            self.crowd.tries,
            self.holds.all,
            left,
            begin=self.begin,
            end=self.begin + self.seconds - AFTER,
            threads_of=THREADS,
            straight=self.straight,
        )
        self.crowd.close()
        return made

    async def _show(self, screen: Screen) -> None:
        while True:
            screen.update(self.way, self.state())
            await trio.sleep(LOOK)


def notes(seconds: float, *, silent_only: bool) -> str:
    """What the columns count, in sentences."""
    words = (
        f"Counted in this run, {seconds:.0f} s each way. Served: of those that asked for anything. Waiting: "
        f"median and longest; who has nothing after {PATIENCE:g} s gives up. Threads: of the server's "
        f"{THREADS}, held on average while clients came. Lost: responses written that did not arrive, "
        f"since the connection was closed under them. Sockets: what the kernel still held {AFTER:g} s after "
        "the last client had come."
    )
    if silent_only:
        words += " Vanishes: this system cannot drop their packets, so they only fell silent."
    return words


def fitting(seconds: float, left: float) -> float:
    """How long a half may take, so that two end in time: less where the programs were slow to start."""
    return max(LEAST, min(seconds, (left - STOPPING) / 2))


class Demo:
    """The whole of it: starts both programs, plays both halves, obeys signals.

    Args:
        screen: where it is shown.
        seconds: how long each half takes.
    """

    def __init__(self, screen: Screen, seconds: float) -> None:
        self._screen = screen
        self.seconds = seconds
        self.halves: list[Half] = []
        self.silent_only = False
        self.signal = 0

    async def run(self) -> None:
        """Play both halves. Failed if a program does not come up or does not stay, or if time is over."""
        with trio.move_on_after(LIMIT) as limit, tempfile.TemporaryDirectory(prefix="shieldproxy-") as name:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._obey, nursery.cancel_scope)
                await self._play(nursery, Path(name))
                nursery.cancel_scope.cancel()
        if limit.cancelled_caught:
            raise Failed(f"not over after {LIMIT:g} s: this machine is too busy for it")

    async def _play(self, nursery: trio.Nursery, folder: Path) -> None:
        self._screen.intro(self.seconds, THREADS)
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            servers = [await enter(legacy_server(nursery, folder)) for _ in WAYS]
            doors = (servers[0].port, await enter(proxy(nursery, folder, servers[1].port)))
            self.seconds = fitting(self.seconds, trio.current_effective_deadline() - trio.current_time())
            for way, door, server in zip(WAYS, doors, servers, strict=True):
                playing = Playing(way, door, server, self.seconds)
                try:
                    self.halves.append(await playing.run(self._screen))
                finally:
                    playing.crowd.close()
                self.silent_only |= playing.crowd.silent_only

    async def _obey(self, scope: trio.CancelScope, task_status: trio.TaskStatus[None]) -> None:
        """End on a signal, in order: programs stopped, folder removed, the terminal as it was."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            task_status.started()
            async for number in signals:
                self.signal = number
                scope.cancel()


def main(seconds: float = SECONDS, *, json: bool = False) -> int:
    """Play, print, and give the exit status: 0, or 128 and the signal that ended it.

    Args:
        seconds: how long each half takes.
        json: print nothing but the figures, as JSON.

    Raises:
        Failed: it could not be played; the message says why in one line.
    """
    screen = Screen(quiet=json)
    demo = Demo(screen, seconds)
    fault: BaseException | None = None
    try:
        trio.run(demo.run)
    except* (Failed, OSError) as group:  # what is raised in here would be a group again (Python 3.11.2)
        fault = group
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    if fault is not None:
        raise Failed(str(fault))
    if demo.signal:
        return 128 + demo.signal
    before, after = demo.halves
    made = notes(demo.seconds, silent_only=demo.silent_only)
    if json:
        sys.stdout.write(as_json((before, after), made) + "\n")
    else:
        screen.result((before, after), made)
    return 0
