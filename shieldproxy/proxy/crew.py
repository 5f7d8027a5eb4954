"""The tasks of the task lane: each serves one exchange at a time, and a few wait for the next one.

To start a task and to end it costs about as much as all else that trio does for a short exchange. So a task
that is done parks, as long as not too many do, and is woken with another exchange. It keeps its bell.
"""

from typing import Final

import trio

from shieldproxy.net.bell import Bell
from shieldproxy.proxy import exchange
from shieldproxy.proxy.house import House
from shieldproxy.proxy.state import Exchange

KEPT: Final = 128
"""Parked tasks, of about 6 KiB each."""


class Hand:
    """One task: free, parked or at work. Like its bell it holds nothing that holds it, once it has left."""

    __slots__ = ("_parked", "bell", "job", "task")

    def __init__(self, bell: Bell, parked: "list[Hand]") -> None:
        self._parked = parked
        self.bell = bell
        self.job: Exchange | None = None
        self.task: trio.lowlevel.Task | None = None
        """While it is parked."""

    def leave(self, _: object) -> trio.lowlevel.Abort:
        """Trio's call when the task is cancelled while it is parked."""
        self._parked.remove(self)
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED


class Crew:
    """The task lane's tasks of one worker."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._parked: list[Hand] = []

    def free(self) -> Hand:
        """Return a hand that has nothing to do; `serve` is to be called for it at once."""
        return self._parked.pop() if self._parked else Hand(Bell(self._house.lobby), self._parked)

    def serve(self, hand: Hand, ex: Exchange) -> None:
        """Have a promoted exchange served; its task runs when the caller's is done for now."""
        hand.job = ex
        task, hand.task = hand.task, None
        if task is None:
            self._house.tasks += 1
            self._house.most_tasks = max(self._house.most_tasks, self._house.tasks)
            self._house.nursery.start_soon(self._work, hand, name=exchange.NAME)
        else:
            trio.lowlevel.reschedule(task)

    async def _work(self, hand: Hand) -> None:
        while (job := hand.job) is not None:
            hand.job = None
            try:
                await exchange.serve(self._house, job)
            except Exception as exc:  # noqa: BLE001 - a defect in how it ends: this client's, not the worker's
                self._house.fault(job.rec, exc)
            del job  # nothing of an exchange outlives it
            if len(self._parked) < KEPT:
                hand.task = trio.lowlevel.current_task()
                self._parked.append(hand)
                await trio.lowlevel.wait_task_rescheduled(hand.leave)
        hand.bell.put_away()
        self._house.tasks -= 1
