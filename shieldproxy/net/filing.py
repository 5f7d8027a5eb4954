"""The file side of a spool: which of its bytes go to the disk and come back, and when.

`Filing` is the half of a spool that has to do with files (the other, `net.spool`, faces sockets). It has at
most one job under way at `net.disk`; when that is over, the next is chosen: a read that somebody waits for,
a pipe that has to be given back, the tail that has outgrown memory, in this order.

A byte's place in the file follows from its position in the stream, modulo the file's size for a response,
whose file is a ring. A request's file begins with the request's first byte, so that it can be sent again.
"""

from collections.abc import Callable
from typing import Final

from shieldproxy.net.jobs import NO_FILE, PIECE, Job, fault_of
from shieldproxy.net.lobby import CHUNK
from shieldproxy.net.means import Means
from shieldproxy.net.pipes import Lent

FAST: Final = 256 * 1024
"""Bytes a second, on average, with which a sender is worth a pipe."""
SLOW: Final = FAST // 2
"""With fewer, after `GRACE` seconds, it is not worth the one that it has."""
GRACE: Final = 0.5
BEAT: Final = 2.0
"""Seconds after which what has come for a request's file is written though memory would take more."""
REST: Final = 2048
"""Bytes that stay in memory though the owner is slow: a file costs as much."""
LATE: Final = 3 * CHUNK // 2
"""Bytes of a response above the memory limit before it gets a file: most are behind for a moment only. Fewer
than those with which it is full (`spool.AHEAD`), or the file would never begin."""
MOST: Final = 2 * PIECE
"""Bytes of one job; only of a burst there are so many."""
CUT: Final = 4 * 1024 * 1024
"""A file that has been read empty and is larger is truncated."""


class Filing:
    """The parts of a spool, in their order, and the work that moves them to its file and back."""

    __slots__ = (
        "_at",
        "_base",
        "_booked",
        "_born",
        "_broken",
        "_closed",
        "_fd",
        "_flight",
        "_front",
        "_front_at",
        "_job",
        "_keep",
        "_limit",
        "_memory",
        "_parting",
        "_pipe",
        "_piped",
        "_rested",
        "_store",
        "_stuck",
        "_tail",
        "_wake",
        "_want",
        "_wrote",
        "fault",
        "size",
    )

    def __init__(
        self, store: Means, wake: Callable[[], None], memory: int, limit: int, *, keep: bool
    ) -> None:
        self._store = store
        self._born = self._wrote = store.lobby.now
        self._wake = wake
        self._memory = memory
        self._limit = limit or 1
        """Bytes of the file, which is a ring; given as 0: there is to be none, nor a pipe."""
        self._keep = keep
        """A request's: it may have to be sent again, as long as nothing has gone out through a pipe."""
        self.size = 0
        """Bytes put in, ever."""
        self.fault = ""
        """Why nothing more will come out in order: `fault_of`; a request's too: "disk-total" or "no-file"."""
        self._at = 0
        """The position of the next byte to be taken out."""
        self._front: bytes | bytearray = b""
        """What goes before the pipe; without a pipe, a copy of what the file has."""
        self._front_at = 0
        self._pipe: Lent | None = None
        self._piped = 0
        """Bytes in the pipe."""
        self._flight: bytes | bytearray = b""
        self._tail: bytes | bytearray = b""
        self._fd = NO_FILE
        self._base = 0
        """The position of the file's first byte."""
        self._booked = 0
        """The length of the file, with what is being written."""
        self._job: Job | None = None
        self._want = False
        """Somebody waits for bytes to be read."""
        self._rested = False
        self._parting = False
        """The pipe is to be given back."""
        self._stuck = not limit
        """Nothing more can be written, for now at least."""
        self._broken = not limit
        """A write has failed, or is not wanted: no further one is tried."""
        self._closed = False

    def _place(self, position: int) -> tuple[int, int]:
        """Where in the file a byte is, and how many bytes follow it there before the ring begins anew."""
        offset = (position - self._base) % self._limit
        return offset, self._limit - offset

    def _pump(self) -> None:
        """Begin the next piece of file work, if there is some to do and none under way."""
        if self._job is not None:
            if self._want or len(self._tail) > self._memory:
                self._store.disk.hurry()  # it may wait for company
            return
        if self.fault or self._closed:
            return
        begun = False
        if self._want:
            begun = self._read()
        elif self._parting and self._pipe is not None:
            begun = self._sink()
        if not begun and self._outgrown():
            self._write()

    def _outgrown(self) -> bool:
        """Whether the tail has to go into the file."""
        tail = len(self._tail)
        if not self._keep:
            tail = min(tail, self.size - self._at)
        if self._rested or (self._keep and self._booked and self._store.lobby.now - self._wrote >= BEAT):
            return tail > REST
        if not self._keep and self._fd == NO_FILE:
            return tail > 0 and tail + len(self._front) > self._memory + LATE
        return tail > self._memory or (tail >= CHUNK and tail + len(self._front) > self._memory)

    # jobs

    def _submit(self, job: Job) -> None:
        if self._fd == NO_FILE:
            self._store.disk.opened()
        self._job = job
        self._store.disk.submit(job)

    def _read(self) -> bool:
        """Have the next bytes read: they are on the file, and nothing goes before them."""
        start = self.size - len(self._tail) - len(self._flight)
        offset, room = self._place(self._at)
        self._want = False
        if self._at >= start:
            return False
        job = Job(self._was_read, self._fd)
        job.offset, job.want = offset, min(room, start - self._at, CHUNK)
        self._front, self._front_at = b"", self._at
        self._submit(job)
        return True

    def _was_read(self, job: Job) -> None:
        if self._is_over(job):
            if job.error or not job.got:
                self.fault = fault_of(job.error)
            self._front = job.got
            self._want = False
            self._go_on()

    def _write(self) -> None:
        """Send the tail on its way into the file."""
        if self._pipe is not None and not self._piped:  # lent, and nothing came: what goes before it is all
            self._tail, self._front = self._front + self._tail, b""
            self._give_back()
        tail = self._tail
        start = self.size - len(tail)
        self._wrote = self._store.lobby.now
        if not self._keep:
            if start <= self._at:  # the file has nothing that is wanted
                self._tail = tail = tail[self._at - start :]
                self._base = start = self._at
            elif not self._booked:
                self._base = self._at
        offset, room = self._place(start)
        count = min(len(tail), MOST, room, self._limit - (start - self._at))
        if count <= 0:
            return
        if not self._may_write(offset + count):
            disk, more = self._store.disk, offset + count - self._booked
            self._no_file("disk-total" if disk.on and disk.used + more > disk.total else "no-file")
            return
        if count == len(tail):
            self._flight, self._tail = tail, b""
        else:
            self._flight, self._tail = tail[:count], tail[count:]
        job = Job(self._was_written, self._fd)
        job.offset, job.data = offset, self._flight
        if (
            self._keep and self._fd != NO_FILE and count <= self._memory
        ):  # no client waits for it, unless `put` says so
            self._job = job
            self._store.disk.submit_later(job)
        else:
            self._submit(job)

    def _was_written(self, job: Job) -> None:
        if self._is_over(job):
            if job.error:
                self._tail = self._flight + self._tail
                self._broken = True
                self._no_file("no-file" if self._fd == NO_FILE else fault_of(job.error))
            else:
                self._stuck = False
                self._store.disk.spilled += len(job.data)
            self._flight = b""
            if len(self._tail) < PIECE:
                self._store.bursts.discard(self)  # the file has caught up
            self._go_on()

    def _sink(self) -> bool:
        """Have the pipe's content written, with what goes before it, and give the pipe back."""
        self._parting = False
        front, begin = self._front, 0
        if not self._keep:
            begin = self._at
            front = front[self._at - self._front_at :] if front else b""
        total = len(front) + self._piped
        behind = self.size - len(self._tail) - begin - total
        if not self._keep and not behind:
            self._base = begin
        offset, room = self._place(begin)
        if total > room or total + behind > self._limit or not self._may_write(offset + total):
            return False  # it stays where it is, and nothing is lost
        job = Job(self._was_sunk, self._fd)
        job.offset, job.data = offset, front
        if self._piped and self._pipe is not None:
            job.pipe, job.piped = self._pipe.out, self._piped
        self._submit(job)
        return True

    def _was_sunk(self, job: Job) -> None:
        if self._is_over(job, job.sunk):
            if not job.error:
                self._store.disk.spilled += len(job.data) + job.piped
                self._front = b""
                self._give_back()
            elif job.sunk:
                self.fault = fault_of(job.error)
            else:
                self._broken = True
            self._go_on()

    def _cut(self) -> None:
        """The file has nothing that is wanted: give its bytes back."""
        job = Job(self._was_cut, self._fd)
        job.cut = True
        self._submit(job)

    def _was_cut(self, job: Job) -> None:
        if self._is_over(job):
            if not job.error:
                self._store.disk.release(self._booked)
                self._booked = 0
            self._go_on()

    def _is_over(self, job: Job, sunk: int = 0) -> bool:
        """Take note that a job is over; False if nobody wants its result any more."""
        self._job = None
        self._piped -= sunk
        if self._fd == NO_FILE and job.fd == NO_FILE:
            self._store.disk.not_opened()
        self._fd = job.fd
        if self._closed:
            self._put_away()
        return not self._closed

    def _go_on(self) -> None:
        self._pump()
        self._wake()

    def hand_over(self, wake: Callable[[], None]) -> None:
        """Have another owner, who is called from now on when file work has changed something."""
        self._wake = wake

    # means

    def _may_write(self, end: int) -> bool:
        """Whether the file may become so long; then that is booked, and the next job uses it."""
        disk, more = self._store.disk, end - self._booked
        if self._broken or (more > 0 and not disk.reserve(more)):
            return False
        if self._fd == NO_FILE and not disk.may_open():  # last: a waiting client may have to go for it
            disk.release(max(0, more))
            return False
        self._booked = max(self._booked, end)
        return True

    def _no_file(self, fault: str) -> None:
        """Nothing can be written: a request's end; a response goes on with what memory holds."""
        self._stuck = True
        if self._keep:
            self.fault = fault

    def _give_back(self) -> None:
        """Part with the pipe."""
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            self._store.pipes.back(pipe, empty=not self._piped)
        self._piped = 0

    def _put_away(self) -> None:
        """Let go of everything; nothing is under way."""
        self._store.bursts.discard(self)
        self._front = self._flight = self._tail = b""
        self._give_back()
        if self._fd != NO_FILE:
            fd, self._fd = self._fd, NO_FILE
            self._store.disk.close(fd, self._booked)
        elif self._booked:
            self._store.disk.release(self._booked)
        self._booked = 0
