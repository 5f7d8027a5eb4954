"""How slow is too slow: the three limits of a body that is on its way, in either direction.

Nothing for so long (idle); less than so much a second, averaged from its start (rate); too long as a whole
(total). An average has a grace at first, in which a connection may still be finding its speed, and whoever
was fast at first may be slow later. All of it comes to a moment at which the first limit is passed if nothing
more moves: one deadline, which every byte moves later.

Time in which it was ourselves who did not take, or had nothing to give, is nobody's slowness: `pause` and
`resume` take it out of the account. No clock here: seconds of the worker's clock are arguments.
"""

from dataclasses import dataclass
from math import inf
from typing import Final

GRACE: Final = 10.0
"""Seconds from the start in which an average says nothing."""
PRESSED: Final = 4
"""Who moves less than so many times the minimum rate goes first when places are short."""


def rate_at(began: float, moved: int, rate: float) -> float:
    """Return when the average falls below ``rate`` bytes a second if nothing more moves; 0 is "off"."""
    return began + max(GRACE, moved / rate) if rate > 0 else inf


@dataclass(slots=True)
class Pace:
    """How one body has moved so far. Times in seconds of the worker's clock."""

    began: float
    last: float
    """When something last moved."""
    moved: int = 0
    """Bytes."""
    paused: float = inf
    """Since when it is not the other side's turn; inf: it is."""

    def move(self, count: int, now: float) -> None:
        """Note that so many bytes have moved."""
        self.moved += count
        self.last = now

    def pause(self, now: float) -> None:
        """Note that the other side can do nothing from now on."""
        self.paused = min(self.paused, now)

    def resume(self, now: float) -> None:
        """Note that it is the other side's turn again; what lay between is left out."""
        if self.paused != inf:
            self.began += now - self.paused
            self.last = now
            self.paused = inf

    def limit(self, idle: float, rate: float, total: float) -> tuple[float, str]:
        """Return the moment of the first limit if nothing more moves, and which: "idle", "rate" or "total".

        Args:
            idle: seconds between two moves.
            rate: bytes a second; 0 is "off".
            total: seconds as a whole.
        """
        if self.paused != inf:
            return inf, ""
        return min(
            (self.last + idle, "idle"),
            (rate_at(self.began, self.moved, rate), "rate"),
            (self.began + total, "total"),
            key=lambda each: each[0],
        )

    def slow(self, now: float, idle: float, rate: float) -> bool:
        """Whether it is so slow that its place goes to another if places are short."""
        if self.paused != inf:
            return False
        age = now - self.began
        return now - self.last > idle / 4 or (age > GRACE / 2 and self.moved < PRESSED * rate * age)
