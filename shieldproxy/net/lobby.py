"""The lobby: one epoll that holds every connection, waiting or worked on.

Each descriptor is registered once, edge-triggered, for its life. `turn` takes one batch of events and
calls each record's `on_event`; `run` does so for ever, awaiting the epoll itself through trio, so that a
thousand waiting clients cost no task. Deadlines come from one wheel, through a second small task.

The lobby decides nothing about HTTP and knows no phases: the functions in the records do. What it does
see to, because each was seen to go wrong (design, "Rules of the lobby"):

- nothing is closed or accepted inside a batch: a descriptor that is freed and reused within one batch
  would get the old connection's events. `close` marks at once, and closes after the batch;
- an exception in one record ends that record and not the batch: the rest of an edge-triggered batch would
  be lost for ever;
- one batch has at most 256 events, then trio's other tasks run; a record that has more to read than its
  share stands in the ready list and is called again in the next turn, behind those who have news. Of those
  whose share was work (`LONG`), not bytes, a turn calls only so many as `WORK` has time for.
"""

import os
import select
import socket
from collections.abc import Callable
from math import inf
from typing import Any, Final

import trio

from shieldproxy.net.deadlines import WIDTH, Deadlines
from shieldproxy.net.record import IN, WATCHED, Record

BATCH: Final = 256
ROUND: Final = 256
"""Events that a round may take from the epoll before trio's other tasks run, when it never runs dry."""
READS_A_TURN: Final = 16
CHUNK: Final = 64 * 1024
LONG: Final = 1 << 26
"""No event of epoll's, and not told to the record: its next share is work, and can wait (`again`)."""
WORK: Final = 0.001
"""Seconds of a turn for all of those; one of them is called even if the time is over."""


class Lobby:
    """One worker's epoll, records and deadlines.

    Args:
        clock: seconds, never backwards; trio's own in service.
        fault: called with a record (None: nobody's) and the exception that its function raised; it closes the
            record, and raises nothing.
    """

    def __init__(self, clock: Callable[[], float], fault: Callable[[Any, Exception], None]) -> None:
        self.clock = clock
        self.now = clock()
        self.deadlines = Deadlines()
        self.epoll = select.epoll()
        self.ready: dict[Record, int] = {}
        self.between: list[Callable[[], None]] = []
        """Called between batches, where descriptors may come and go: the listeners' accept."""
        self.discarded = memoryview(bytearray(CHUNK))
        self.turns = 0
        self.batch: list[tuple[int, int]] = []
        """The events of the turn, those included whose records have been called."""
        self._told: tuple[list[tuple[int, int]], dict[int, int]] = ([], {})
        self._fault = fault
        self._doomed: list[tuple[socket.socket, Callable[[socket.socket], None] | None]] = []
        self._in_batch = False
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._records: list[Record | None] = [None] * (self._bell + 1)
        """By descriptor; as long as the highest one so far."""
        self._rung = False
        self.epoll.register(self._bell, IN | select.EPOLLET)
        self._alarm: trio.CancelScope | None = None
        self._alarm_at = inf

    # records

    def add(self, record: Record, events: int = WATCHED) -> None:
        """Register a record's descriptor, once for its life."""
        fd = record.fd
        if fd >= len(self._records):
            self._records.extend([None] * (fd + 1 - len(self._records)))
        self.epoll.register(fd, events)
        self._records[fd] = record

    def close(self, record: Record, how: Callable[[socket.socket], None] | None = None) -> None:
        """Forget a record now, and close its socket as soon as no batch can name its descriptor.

        Args:
            record: closed already means nothing is done.
            how: what closes the socket; ``socket.close`` if None.
        """
        fd = record.fd
        if fd < 0 or self._records[fd] is not record:
            return
        self._records[fd] = None
        record.fd = -1
        self.deadlines.remove(record)
        self.ready.pop(record, None)
        self._doomed.append((record.sock, how))
        if not self._in_batch:
            self._bury()

    def alive(self, record: Record) -> bool:
        """Whether the record is still held."""
        return record.fd >= 0

    def again(self, record: Record, events: int = IN) -> None:
        """Call the record once more in the next turn: its share of this one is used up.

        Args:
            record: whose.
            events: what it is called with; with `LONG`, when there is time.
        """
        self.ready[record] = self.ready.get(record, 0) | events
        if not self._in_batch:
            self._wake()

    def _wake(self) -> None:
        """A task has left something to do: `run` may be waiting for the epoll."""
        if not self._rung:
            self._rung = True
            os.eventfd_write(self._bell, 1)

    def all(self) -> list[Record]:
        """Every record that is held, in the order of descriptors."""
        return [record for record in self._records if record is not None]

    # deadlines

    def arm(self, record: Any, due: float) -> None:
        """Set the deadline of a record (or of a bell), in seconds of the lobby's clock."""
        record.due = due
        if due <= record.slot:
            self.deadlines.arm(record, due)
            at = record.slot + WIDTH
            if at < self._alarm_at:
                self._wake_at(at)

    def _wake_at(self, at: float) -> None:
        self._alarm_at = at
        if self._alarm is not None:
            self._alarm.deadline = at

    async def keep_time(self) -> None:
        """Fire deadlines, for ever; the second of the lobby's two tasks."""
        while True:
            self._alarm_at = self.deadlines.next_slot()
            with trio.CancelScope(deadline=self._alarm_at) as self._alarm:
                await trio.sleep_forever()
            self._alarm = None
            await trio.lowlevel.checkpoint()
            self.fire()

    def fire(self) -> None:
        """Call `on_due` of every record whose deadline has passed."""
        self.now = now = self.clock()
        for record in self.deadlines.expire(now):
            if record.due <= now:  # an earlier one of this list may have moved it
                record.due = inf
                self.guard(record, record.on_due, record)

    def tick(self) -> float:
        """Read the clock; for tasks, whose steps no batch begins."""
        self.now = now = self.clock()
        return now

    # events

    async def run(self) -> None:
        """Take turns for ever."""
        while True:
            if self.ready:
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.wait_readable(self.epoll.fileno())
            taken = 0
            while taken < ROUND:
                count = self.turn(ROUND - taken)
                taken += count
                # Dry: from here on trio waits; to ask once more costs less than to wait. Or somebody has used
                # up a share and has an event in every turn: tasks run before the next.
                if not count or self.ready:
                    break

    def turn(self, most: int | None = None) -> int:
        """Take one batch of events, at most `most`, then do what may only be done between batches.

        Returns:
            How many events it had.
        """
        self.turns += 1
        self.now = self.clock()
        records = self._records
        self.batch = events = self.epoll.poll(0, BATCH if most is None else min(BATCH, most))
        if self._rung:
            self._rung = False
            os.eventfd_read(self._bell)
        ready = self.ready
        self.ready = {}  # who is called again by this batch has had its share of the turn
        self._in_batch = True
        for fd, happened in events:
            record = records[fd]
            if record is not None:
                if ready and record in ready:  # its turn comes behind those that have had no share yet
                    ready[record] |= happened
                    continue
                try:
                    record.on_event(record, happened)
                except Exception as exc:  # noqa: BLE001 - one record's defect must not cost the batch
                    self._fault(record, exc)
        if ready:
            self._call_again(ready)
        self._in_batch = False
        if self._doomed:
            self._bury()
        if self.between:
            between, self.between = self.between, []
            for call in between:
                self.guard(None, call)
        return len(events)

    def _call_again(self, ready: dict[Record, int]) -> None:
        """Call those who have used up a share; of the long ones as many as there is time for."""
        long: dict[Record, int] = {}
        for record, happened in ready.items():
            if happened & LONG:
                long[record] = happened
            elif record.fd >= 0:
                self.guard(record, record.on_event, record, happened)
        if not long:
            return
        ends, over, left = self.clock() + WORK, False, dict[Record, int]()
        for record, happened in long.items():
            if record.fd < 0:
                continue
            if over:
                left[record] = happened
                continue
            self.guard(record, record.on_event, record, happened & ~LONG)
            over = self.clock() >= ends
        for record, happened in self.ready.items():  # behind those who are left: they have had their share
            left[record] = left.get(record, 0) | happened
        self.ready = left

    def told(self, record: Record) -> int:
        """What this batch has of a record, whether it has been called or not; nothing outside of a batch."""
        if not self._in_batch:
            return 0
        if self._told[0] is not self.batch:
            self._told = (self.batch, dict(self.batch))
        return self._told[1].get(record.fd, 0)

    def guard(self, record: Any, call: Callable[..., None], *args: Any) -> None:
        """Call something of a record's; its defect is that record's alone."""
        try:
            call(*args)
        except Exception as exc:  # noqa: BLE001 - as in a batch
            self._fault(record, exc)

    def _bury(self) -> None:
        doomed, self._doomed = self._doomed, []
        for sock, how in doomed:
            self.guard(None, sock.close) if how is None else self.guard(None, how, sock)

    def shut(self) -> None:
        """Close whatever is left, and the epoll."""
        for record in self.all():
            self.close(record)
        self.epoll.close()
        os.close(self._bell)
