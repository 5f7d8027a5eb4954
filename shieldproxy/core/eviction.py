"""Who leaves first when every place is taken.

A client whose response is delivered loses nothing when its place is given away, one that is being served
loses everything. Between the two, those that have waited longest on their own account go first.
"""

from math import inf
from typing import Final

NEVER: Final = 9


def rank(phase: str, *, acknowledged: bool, age: float, head_timeout: float) -> int:
    """Return in which order a connection is evicted; `NEVER` for one that is not.

    Args:
        phase: "fresh", "head", "idle", "exchange" or "linger".
        acknowledged: of a lingering one: whether the client's kernel has everything.
        age: seconds in this phase; the oldest of a rank goes first.
        head_timeout: seconds that a head may take; a quarter of it is left to everybody.
    """
    if phase == "linger":
        return 0 if acknowledged else 1
    if phase == "head":
        return 2 if head_timeout != inf and age > head_timeout / 4 else NEVER
    return {"idle": 3, "fresh": 4}.get(phase, NEVER)
