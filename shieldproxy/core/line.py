"""The line before a server: how fast it moves, who is next, when somebody who is sent away may come again.

Its pace is measured where it matters, at each place that comes free while somebody waits: the mean of the
last such intervals, or the present one if that is longer already, so that a line which has stopped is seen to
have stopped.
"""

from math import ceil, inf
from typing import Final

from shieldproxy.core.upstreams import QueueOrder

LATELY: Final = 16
"""Intervals that the mean forgets its past in."""
MOST: Final = 60
"""Seconds after which anybody may come again: what is measured now says nothing about later."""


class Pace:
    """Seconds that the line takes to move on by one."""

    __slots__ = ("_last", "_mean")

    def __init__(self) -> None:
        self._mean = -1.0
        self._last = 0.0

    def began(self, now: float) -> None:
        """Somebody waits, and nobody did before."""
        self._last = now

    def freed(self, now: float) -> None:
        """The line has moved on by one."""
        interval = now - self._last
        self._last = now
        mean = self._mean
        self._mean = interval if mean < 0 else mean + (interval - mean) / LATELY

    def each(self, now: float, *, waiting: bool) -> float:
        """Seconds a place: as measured, or longer if a line has waited for one for longer already.

        Args:
            now: in seconds.
            waiting: whether there is a line at all.
        """
        return max(self._mean, now - self._last if waiting else 0.0, 0.0)


def retry_after(waiting: int, each: float) -> int:
    """Whole seconds after which one more might be served: when those who wait now have been.

    Args:
        waiting: how many stand in line.
        each: seconds that the line takes to move on by one.
    """
    return int(min(MOST, max(1, ceil((waiting + 1) * each))))


def newest_first(order: QueueOrder, *, waited: float, waiting: int, each: float, timeout: float) -> bool:
    """Whether the next place is for who came last.

    A line is overloaded when its head has waited for half of what it may, or when whoever comes now would
    wait for all of it at the present pace. In order of arrival everybody is then served late, many just
    after they gave up. Newest first serves most of them at once; those who wait already are served when it
    is over, and some not at all, as before.

    Args:
        order: as configured.
        waited: seconds since the head came.
        waiting: how many stand in line.
        each: seconds that the line takes to move on by one.
        timeout: seconds that anybody may wait.
    """
    if order != "adaptive":
        return order == "lifo"
    return timeout < inf and (waited * 2 >= timeout or waiting * each > timeout)
