"""Whether a request may be sent a second time, and how many may.

An idle upstream connection may close just as a request leaves for it, and a server may die over one. Then
nothing tells whether it has begun to work on it, so only a request that may run twice is sent again (RFC 9110
section 9.2.2, RFC 9112 section 9.3.1), or one of which is known that the server never had it.

Requests that are sent again are load, and most of them come when a server has too much of it already. So they
have a budget: a share of the requests of the last `WINDOW` seconds, and `FLOOR` of them for a quiet server.
Connections that could not be made, and requests that a server never had, are no load and cost nothing.
"""

from typing import Final

IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
WINDOW: Final = 10.0
FLOOR: Final = 30
"""Requests that may be sent again in each window, however few there were; none if the share is 0."""


def may_retry(
    *,
    method: bytes,
    reused: bool,
    answered: bool,
    replayable: bool,
    retries: int,
    unrun: bool = False,
    unsafe: bool = False,
    elsewhere: bool = False,
    most: int = 1,
) -> bool:
    """Tell whether a request whose upstream connection ended may be sent again.

    Args:
        method: of the request, as it was sent.
        reused: whether the connection had served another request before.
        answered: whether any byte of a response has come.
        replayable: whether every byte sent can be sent again.
        retries: how often this request was already sent again.
        unrun: whether it is known that the server has had nothing of the request.
        unsafe: whether the route says that requests may run twice.
        elsewhere: whether another server could have it.
        most: how often a request may be sent again, on fresh connections that ended.
    """
    if answered or not replayable:
        return False
    if unrun:
        return retries < max(1, most)
    if method not in IDEMPOTENT and not unsafe:
        return False
    return (reused and retries == 0) or (elsewhere and retries < most)


class Budget:
    """Requests sent again, of one upstream, as a share of all.

    Two windows: what the present one has, and of the one before as much as still lies within `WINDOW`.
    """

    __slots__ = ("_before", "_began", "_load", "_share", "_spent", "_total")

    def __init__(self, share: float) -> None:
        self._share = share
        self._began = 0.0
        self._total = 0
        """Requests ever, when the present window began."""
        self._load = 0.0
        """Requests in the window before."""
        self._before = 0
        """Of these, sent again."""
        self._spent = 0

    def spend(self, now: float, total: int) -> bool:
        """Take one from the budget, if there is one.

        Args:
            now: in seconds.
            total: requests of this upstream, ever; those sent again included.
        """
        if self.left(now, total) < 1:
            return False
        self._spent += 1
        return True

    def left(self, now: float, total: int) -> float:
        """How many may still be sent again; as for `spend`."""
        passed = now - self._began
        if passed >= WINDOW:
            # Not asked for a while, perhaps: then the mean over that time stands for the window before.
            self._load = (total - self._total) * WINDOW / passed
            self._before = self._spent if passed < 2 * WINDOW else 0
            self._began, self._total, self._spent, passed = now, total, 0, 0.0
        still = 1 - passed / WINDOW
        asked = total - self._total + self._load * still
        spent = self._spent + self._before * still
        return max(FLOOR, self._share * (asked - spent)) - spent if self._share else 0.0
