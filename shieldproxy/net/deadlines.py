"""Deadlines of many thousand records, cheap to set and nearly free to move.

A hashed wheel: a deadline falls into a slot of 1/16 s, a slot is a set of records, a heap holds the slots'
times. Setting, moving and removing are O(1) whatever the number of records or of different lengths.
A deadline that only moves later (a kept-alive connection, at each request) is not moved at all: the record
stays in its slot, and when the slot is due the record is looked at and put where it belongs by then.

A record fires at most 1/16 s late, never early. Whoever calls `expire` gets the records that are due.
"""

import heapq
from collections.abc import Callable
from math import ceil, inf
from typing import Any, Final, Protocol

SLOTS_A_SECOND: Final = 16
WIDTH: Final = 1 / SLOTS_A_SECOND


class Timed(Protocol):
    """What the wheel needs of a record: both inf at first.

    `slot` is when its slot begins, and touched by the wheel alone; a deadline after that needs no move.
    """

    due: float
    slot: float


class Alarm:
    """A deadline that is no connection's."""

    __slots__ = ("due", "on_due", "slot")

    def __init__(self, on_due: Callable[[object], None]) -> None:
        self.due = inf
        self.slot = inf
        self.on_due = on_due


class Slot(set[Any]):
    """The records of one slot, which share the number that is its beginning."""

    __slots__ = ("begin",)

    def __init__(self, begin: float) -> None:
        super().__init__()
        self.begin = begin


class Deadlines:
    """A wheel of records that have a `due` time, in seconds of the caller's clock."""

    def __init__(self) -> None:
        self._slots: dict[float, Slot] = {}
        self._heap: list[float] = []

    def __len__(self) -> int:
        """The number of records in the wheel."""
        return sum(map(len, self._slots.values()))

    def arm(self, record: Timed, due: float) -> None:
        """Set a record's deadline; inf takes it away (in effect: the record may stay in its slot)."""
        record.due = due
        if due <= record.slot and due != inf:
            self._place(record, due)

    def _place(self, record: Timed, due: float) -> None:
        slots = self._slots
        if record.slot != inf:
            slots[record.slot].discard(record)
        slot = ceil(due * SLOTS_A_SECOND) / SLOTS_A_SECOND - WIDTH
        members = slots.get(slot)
        if members is None:
            members = slots[slot] = Slot(slot)
            heapq.heappush(self._heap, slot)
        members.add(record)
        record.slot = members.begin

    def remove(self, record: Timed) -> None:
        """Forget a record for good, so that nothing of it is kept."""
        if record.slot != inf:
            self._slots[record.slot].discard(record)
            record.slot = inf
        record.due = inf

    def next_slot(self) -> float:
        """When `expire` wants to be called next; inf if nothing is armed."""
        heap, slots = self._heap, self._slots
        while heap and not slots[heap[0]]:
            del slots[heapq.heappop(heap)]
        return heap[0] + WIDTH if heap else inf

    def expire(self, now: float) -> list[Any]:
        """Take the records that are due at `now` out of the wheel, and move those that are not."""
        heap, slots, late = self._heap, self._slots, []
        last = now - WIDTH  # slots that began by then are over
        while heap and heap[0] <= last:
            for record in slots.pop(heapq.heappop(heap)):
                record.slot = inf
                if record.due <= now:
                    late.append(record)
                elif record.due != inf:
                    self._place(record, record.due)
        return late
