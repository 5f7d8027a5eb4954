"""Planted faults: what a proxy could get wrong, how to make this one do so, and which tests must say so.

`PLANTS` is the whole table; its parts are in `plants_messages`, `plants_ends` and `plants_slow`. They are
switched on one by one in ``tests/planted``; by hand: ``python -m tests.kit.planted "no linger" run CONFIG``.
"""

from tests.kit.patches import everywhere
from tests.kit.plants_ends import ENDS
from tests.kit.plants_messages import MESSAGES, ONE
from tests.kit.plants_model import Plant
from tests.kit.plants_slow import SLOW

FAULTS = {**MESSAGES, **ENDS, **SLOW}

NOTHING = "nothing"
"""No fault: the product is started in the same way, and every case is green."""
NOWHERE = "nowhere to plant it"
"""What it would change is not there: no case may be red for that."""

UNASKED = "a case that nobody has"
"""Its run ends before it comes to anything."""

CONTROLS = {
    NOTHING: Plant(lambda: None, "", *sorted({c for plant in FAULTS.values() for c in plant.cases})[::9]),
    NOWHERE: Plant(lambda: everywhere("core.head", "renamed", lambda old: old), "", f"{ONE}[host: two]"),
}

PLANTS = {
    **FAULTS,
    **CONTROLS,
    UNASKED: Plant(lambda: None, "", f"{ONE}[nobody's]"),
}
