"""What becomes of the rest of a body whose request is refused before it has come: read out, or closed upon.

A request ends with its body (RFC 9112 section 9.3): if the connection is to serve another one, the rest has
to be read and thrown away first. That keeps the connection at the price of the time the rest takes; a
lingering close reads it too, as long as the client sends on in spite of the answer, and then the client has
to connect anew. So the rest is read out where that is quick: within a second, or a few round trips on a long
way.
"""

from math import log2
from typing import Final, Literal

Choice = Literal["drain", "close"]
"""``drain``: the rest is read and discarded, the connection kept; ``close``: it ends behind the answer."""

WORTH: Final = 1.0
"""Seconds that the rest may take."""
WORTH_TRIPS: Final = 6
"""The same in round trips, if that is longer: what a new connection needs to come to the same speed."""
FIRST_FLIGHT: Final = 10 * 1460
"""Bytes that a sender has on the way at first (RFC 6928); twice as many in each round trip that follows."""
USUAL_RATE: Final = 1024 * 1024
"""Bytes a second of a client of whom nothing was measured."""
SLACK: Final = 1.0


def time_of(left: int, rate: float, rtt: float) -> float:
    """Return the seconds that the rest of a body will take.

    Args:
        left: bytes announced that have not come; below 0: nobody knows how many.
        rate: bytes a second at which the body has come so far; 0: that is not known.
        rtt: seconds of a round trip.
    """
    if left < 0:
        return float("inf")
    if rate > 0:
        return rtt + left / rate
    return rtt * (1 + log2(1 + left / FIRST_FLIGHT)) + left / USUAL_RATE


def seconds_for(left: int, rate: float, rtt: float) -> float:
    """Return for how many seconds the rest is read to keep the connection; 0: the connection ends.

    Twice what it will probably take and a little more: who waited for a 100 may send no body at all behind
    the final answer, neither close, and has to be given up some time. Arguments: as of `time_of`.
    """
    probable = time_of(left, rate, rtt)
    return 2 * probable + SLACK if probable <= max(WORTH, WORTH_TRIPS * rtt) else 0.0
