"""Who leaves first when every place is taken.

A client whose response is delivered loses nothing when its place is given away, one that is being served
loses everything. Between the two, those that have waited longest on their own account go first.
"""

from math import inf
from typing import Final

NEVER: Final = 9
LEAVING: Final = 1
"""Of one that was asked to leave already while it took its answer: as if it lingered unacknowledged."""


def rank(phase: str, *, acknowledged: bool, age: float, head_timeout: float, slow: bool = False) -> int:
    """Return in which order a connection is evicted; `NEVER` for one that is not.

    Args:
        phase: "fresh", "head", "idle", "linger", "body", "send", or any other, in which nobody has to leave.
        acknowledged: of a lingering one: whether the client's kernel has everything.
        age: seconds in this phase; the oldest of a rank goes first.
        head_timeout: seconds that a head may take; a quarter of it is left to everybody.
        slow: of one that sends its body or reads its answer: whether it does so slowly (pace.Pace.slow).
    """
    if phase == "linger":
        return 0 if acknowledged else 1
    if phase == "head":
        return 2 if head_timeout != inf and age > head_timeout / 4 else NEVER
    if phase == "body":
        return 3 if slow else NEVER
    if phase == "send":
        return 4 if slow else NEVER
    return {"idle": 5, "fresh": 6}.get(phase, NEVER)
