"""How a task waits for records of the lobby: it parks on a bell, and their events ring it."""

from collections.abc import Callable
from math import inf
from typing import Any

import trio

from shieldproxy.net.lobby import Lobby


class Bell:
    """One task's waiting place, with a deadline of the lobby's wheel. Not shared between tasks.

    It holds nothing that holds it: the collector comes seldom, and would have to find each that is done.
    """

    __slots__ = ("_lobby", "_rung", "_task", "due", "elsewhere", "slot")

    def __init__(self, lobby: Lobby) -> None:
        self._lobby = lobby
        self._task: trio.lowlevel.Task | None = None
        self._rung = False
        self.elsewhere: Callable[[], None] | None = None
        """Called instead while its task waits for something that is no record of the lobby."""
        self.due = inf
        self.slot = inf

    def ring(self) -> None:
        """Wake the task if it waits; otherwise nothing: the latches tell it what happened."""
        if self._task is not None:
            task, self._task = self._task, None
            self._rung = True
            trio.lowlevel.reschedule(task)
        elif self.elsewhere is not None:
            self.elsewhere()

    def on_due(self, _bell: Any) -> None:
        """The wheel's call: wake the task without a ring."""
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    async def wait(self, due: float) -> bool:
        """Park until somebody rings or `due` (seconds of the lobby's clock) has passed.

        Returns:
            True if rung, False if the time is over.
        """
        self._rung = False
        self.due = due
        if due <= self.slot:
            self._lobby.arm(self, due)
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._aborted)
        self.due = inf
        return self._rung

    def _aborted(self, _: Any) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def mute(self) -> None:
        """Have no deadline any more; it may stay in its slot of the wheel."""
        self.due = inf

    def put_away(self) -> None:
        """Leave the wheel; the task is done with it."""
        self._lobby.deadlines.remove(self)
