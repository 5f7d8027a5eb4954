"""How long a server keeps a connection that says nothing: learned, so that no request meets its close.

A server that closes idle connections after T seconds may close one in the very moment in which a request
leaves for it. Requests that may be sent again lose nothing by that. For the others (`POST`, and whatever has
a body that is gone) a connection is used only while it has been idle for less time than is known to be safe:

- never longer than three quarters of the time for which connections of this server were seen to live, idle
  and unharmed; and until any was seen for longer, for `GRACE`;
- never longer than three quarters of the low quantile of the times after which it did close them.

So the learning does not cost a request either: an age must have been survived by another connection first,
and those that nobody used, or that carry requests which may be sent again, are the ones that find out.

Connections are given up at that age, but for the oldest: it is left to the server, and tells whether it still
closes then. So requests that may be sent again hardly meet it either.

A restart closes everything at once, at ages that mean nothing. It is known by its burst: several connections
of quite different ages within `BURST`. It teaches no time, and what was survived counts from anew, as the
server may have come back with another configuration. A single close among many others is an outlier below
the quantile, and the first of all is not believed if it would take the `GRACE` away. And where connections
prove to live longer than those times again and again, the shortest of them are forgotten, one by one.
"""

from collections import deque
from math import inf
from typing import Final

GRACE: Final = 0.25
"""Seconds of idleness that every server grants that keeps connections at all."""
SHARE: Final = 0.75
"""Of a time that was seen: the rest is for clocks, for the way there and for a server that is not exact."""
LEAST_MARGIN: Final = 0.1
"""Seconds that are left at least between a safe age and a close that was seen."""
KEPT: Final = 32
"""Closes that are remembered."""
OUTLIERS: Final = 16
"""One in so many closes may be left out of account."""
BURST: Final = 0.1
"""Seconds; closes within them are taken for one event."""
DENIALS: Final = 8
"""Times that connections must outlive the low quantile before the shorter half of the closes is forgotten."""


class Patience:
    """What is known of one server. Ages and times are in seconds."""

    __slots__ = ("_burst", "_burst_began", "_calm", "_closes", "_denied", "_low", "_survived")

    def __init__(self) -> None:
        self._closes: deque[float] = deque(maxlen=KEPT)
        self._low = inf
        self._survived = 0.0
        self._denied = 0
        self._burst: list[float] = []
        self._burst_began = -inf
        self._calm = GRACE
        """What is safe while no close has just been seen: asked for by every request that is sent once."""

    def ended(self, now: float, age: float) -> None:
        """The server has closed a connection that was idle for `age`."""
        if now >= self._burst_began + BURST:
            self._settle()
            self._burst_began = now
        self._burst.append(age)

    def lasted(self, age: float) -> None:
        """A connection was seen open that had been idle for `age`."""
        self._survived = max(self._survived, age)
        if age * SHARE > self._low:
            self._denied += 1
            if self._denied >= DENIALS:
                self._denied = 0
                self._closes = deque(sorted(self._closes)[(len(self._closes) + 1) // 2 :], maxlen=KEPT)
                self._find_low()
        self._judge()

    def safe(self, now: float) -> float:
        """Seconds of idleness up to which a connection may carry a request that is sent once; negative: none.

        A close that has just been seen counts, whatever it turns out to have been.
        """
        if not self._burst:
            return self._calm
        bound = self._bound(now)
        return min(max(GRACE, self._survived * SHARE), bound)

    def _judge(self) -> None:
        self._calm = min(max(GRACE, self._survived * SHARE), self._low * SHARE, self._low - LEAST_MARGIN)

    def keep(self, now: float) -> float:
        """Seconds of idleness after which the server is about to close a connection; inf: it never did."""
        return max(0.0, self._bound(now))

    def _bound(self, now: float) -> float:
        """Seconds of idleness well below those after which the server closes; negative: it does at once."""
        if self._burst and now >= self._burst_began + BURST:
            self._settle()
        low = min(self._low, *self._burst) if self._burst else self._low
        return min(low * SHARE, low - LEAST_MARGIN)

    def _settle(self) -> None:
        """A burst is over: one close more to remember, or a restart."""
        burst, self._burst = self._burst, []
        if not burst:
            return
        youngest, oldest = min(burst), max(burst)
        if youngest < oldest * SHARE - LEAST_MARGIN:
            self._survived = 0.0
            self._judge()
            return
        self._survived = max(self._survived, youngest)
        self._closes.append(youngest)
        self._find_low()
        self._judge()

    def _find_low(self) -> None:
        closes = sorted(self._closes)
        self._low = closes[len(closes) // OUTLIERS] if closes else inf
        if len(closes) == 1:
            self._low = max(self._low, GRACE / SHARE, GRACE + LEAST_MARGIN)
