"""The spool: bytes that came before somebody can take them. First in, first out; nothing in it blocks.

A request's body on its way to a server that is not asked yet, a response on its way to a client that is
slow. Up to the memory limit it is a buffer. Beyond that it goes into an unlinked file, through the threads
of `net.disk`, and comes back from there: what the page cache has is read at once (RWF_NOWAIT, 64 KiB at
most), the rest by a thread, and `wake` is called when it is in reach.

Bytes are known by their position in the stream. The parts of a spool follow one another:

    front (memory) < file < flight (being written, still in memory) < tail (memory)

and a byte's place in the file follows from its position, so that each part can be written, read again or
dropped without a word to the others. A response's file is a ring of `response_file` bytes: what is taken
out makes room for what comes.

What it decides: where bytes stay, and whether more may come (`full`). What it never does: wait, raise an
error of a file, close or watch a socket, speak HTTP. When it cannot go on, `fault` says so: a request's at
once, as it would have to be refused; a response's only when bytes are lost, since with no file it can still
go slowly.

Called by proxy's collecting of requests and its sending of responses, on the loop.
"""

import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from shieldproxy.core.limits import Buffers
from shieldproxy.net.disk import NO_FILE, PIECE, Disk, Job, fault_of
from shieldproxy.net.lobby import CHUNK, Lobby

AHEAD: Final = 3 * CHUNK
"""Bytes above the memory limit while the file catches up; one piece more may come before `full` is seen."""
ENDLESS: Final = 1 << 62
REST: Final = 2048
"""Bytes that stay in memory though the owner is slow: a file costs as much."""


class Spool:
    """Bytes in transit; made by `Store`, used by one owner, on the loop only."""

    __slots__ = (
        "_at",
        "_base",
        "_booked",
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
        "_rested",
        "_store",
        "_stuck",
        "_tail",
        "_wake",
        "_want",
        "announced",
        "fault",
        "size",
    )

    def __init__(
        self, store: "Store", wake: Callable[[], None], memory: int, limit: int, announced: int, keep: bool
    ) -> None:
        self._store = store
        self._wake = wake
        self._memory = memory
        self._limit = limit
        """Bytes of the file, which is a ring."""
        self._keep = keep
        """A request's: it may have to be sent again."""
        self.announced = announced
        self.size = 0
        """Bytes put in, ever."""
        self.fault = ""
        """"disk-full" or "disk-error": nothing more will come out in order."""
        self._at = 0
        """The position of the next byte to be taken out."""
        self._front: bytes | bytearray = b""
        self._front_at = 0
        self._flight: bytes | bytearray = b""
        self._tail: bytes | bytearray = b""
        self._fd = NO_FILE
        self._base = 0
        """The position of the file's first byte."""
        self._booked = 0
        self._job: Job | None = None
        self._want = False
        self._rested = False
        self._stuck = False
        """Nothing more can be written, for now at least."""
        self._broken = False
        """A write has failed: no further one is tried."""
        self._closed = False

    # what its owner asks

    @property
    def left(self) -> int:
        """Bytes in it that are not taken out yet."""
        return self.size - self._at

    @property
    def full(self) -> bool:
        """Whether it should be given nothing more now.

        File work that catches up ends it, and `wake` says so; so does the owner's own `drain`.
        """
        held = self._held()
        return held >= self._memory + AHEAD or (held >= self._memory and self._cannot_write())

    def _held(self) -> int:
        """Bytes in memory that are wanted."""
        tail = len(self._tail) if self._keep else min(len(self._tail), self.size - self._at)
        return len(self._front) + len(self._flight) + tail

    def _cannot_write(self) -> bool:
        return self._stuck or not self._store.on or self._on_file() >= self._limit

    def _on_file(self) -> int:
        """Bytes on the file that are not taken out yet."""
        return max(0, self.size - len(self._tail) - len(self._flight) - self._at)

    # in

    def put(self, data: bytes) -> None:
        """Take bytes; always. Look at `full` before getting more."""
        self.size += len(data)
        tail = self._tail
        if not tail:
            self._tail = data
        else:
            if isinstance(tail, bytes):
                self._tail = tail = bytearray(tail)
            done = 0 if self._keep else self._at - (self.size - len(data) - len(tail))
            if done > 0:
                del tail[:done]
            tail += data
        if self._job is None:
            self._pump()

    def fill(self, sock: socket.socket, most: int) -> int:
        """Take bytes from a socket.

        Args:
            sock: non-blocking.
            most: no more bytes than these.

        Returns:
            How many; 0 at its end.

        Raises:
            BlockingIOError: there is nothing now.
            OSError: the connection is broken.
        """
        data = sock.recv(min(most, CHUNK))
        if data:
            self.put(data)
        return len(data)

    # out

    def drain(self, sock: socket.socket) -> int:
        """Give bytes to a socket, as many as it takes of those in reach.

        Returns:
            How many. 0: nothing is left, or what comes next is being read, and `wake` follows.

        Raises:
            BlockingIOError: the socket is full.
            OSError: the connection is broken.
        """
        at = self._at
        if at >= self.size:
            return 0
        start = self.size - len(self._tail)
        if at >= start:
            count = _send(sock, self._tail, at - start)
        elif 0 <= at - self._front_at < len(self._front):
            count = _send(sock, self._front, at - self._front_at)
        elif at >= start - len(self._flight):
            count = _send(sock, self._flight, at - start + len(self._flight))
        else:
            count = self._send_from_file(sock, start - len(self._flight) - at)
        if count:
            self._took(count)
        return count

    def _took(self, count: int) -> None:
        """Bytes have gone out: drop what nobody will ask for again."""
        self._at = at = self._at + count
        if self._front and (at >= self._front_at + len(self._front) or self._rested):
            self._front = b""
        if not self._keep:
            if at == self.size:
                self._tail = b""
            if self._job is None and self._tail:
                self._pump()

    def _send_from_file(self, sock: socket.socket, most: int) -> int:
        if self._job is not None and self._fd == NO_FILE:
            return self._ask()
        store = self._store
        offset, room = self._place(self._at)
        count = min(most, room, CHUNK)
        if store.nowait:
            try:
                count = os.preadv(self._fd, [store.scrap[:count]], offset, os.RWF_NOWAIT)
            except BlockingIOError:
                count = 0
            except OSError as exc:
                count = 0
                if exc.errno in {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}:
                    store.nowait = False
            if count:
                return sock.send(store.scrap[:count])
        return self._ask()

    def _ask(self) -> int:
        """Have the next bytes read by a thread."""
        self._want = True
        if self._job is None:
            self._pump()
        return 0

    def taken(self) -> bytes:
        """Take all of it, which must be in memory.

        Raises:
            RuntimeError: some of it is not.
        """
        if self._at or len(self._tail) != self.size:
            raise RuntimeError("not all of the spool is in memory")
        data, self._tail = bytes(self._tail), b""
        self._at = self.size
        return data

    def rewind(self) -> bool:
        """Start again from the first byte; False if some are gone."""
        if not self._at:
            return True
        if not self._keep or self.fault:
            return False
        self._at = 0
        return True

    # the owner's ways

    def rest(self) -> None:
        """The owner will be slow: into the file with it."""
        self._rested = True
        if self._job is None and not self._closed:
            self._pump()

    def close(self) -> None:
        """Drop everything. File work under way ends by itself, unheard."""
        if self._closed:
            return
        self._closed = True
        self._front = self._tail = b""
        if self._job is None:
            self._put_away()

    def _put_away(self) -> None:
        self._flight = b""
        if self._fd != NO_FILE:
            fd, self._fd = self._fd, NO_FILE
            self._store.disk.close(fd, self._booked)
        elif self._booked:
            self._store.disk.release(self._booked)
        self._booked = 0

    # the file

    def _place(self, position: int) -> tuple[int, int]:
        """Where in the file a byte is, and how many bytes follow it there before the ring begins anew."""
        offset = (position - self._base) % self._limit
        return offset, self._limit - offset

    def _pump(self) -> None:
        """Begin the next piece of file work, if there is some to do and none under way."""
        if self.fault or self._closed:
            return
        if self._want:
            self._read()
        elif len(self._tail) > (REST if self._rested else self._memory):
            self._write()

    def _read(self) -> None:
        start = self.size - len(self._tail) - len(self._flight)
        offset, room = self._place(self._at)
        self._want = False
        if self._at >= start:
            return
        job = Job(self._was_read, self._fd)
        job.offset, job.want = offset, min(room, start - self._at, CHUNK)
        self._front, self._front_at = b"", self._at
        self._job = job
        self._store.disk.submit(job)

    def _write(self) -> None:
        """Send the tail on its way into the file."""
        disk, tail = self._store.disk, self._tail
        start = self.size - len(tail)
        if not self._keep and self._at > start:
            self._tail = tail = tail[self._at - start :]
            start = self._at
        if self._broken or (self._fd == NO_FILE and not disk.may_open()):
            self._no_file("disk-full")
            return
        if not self._booked:
            self._base = start
        offset, room = self._place(start)
        count = min(len(tail), PIECE, room, self._limit - self._on_file())
        if count <= 0:
            return
        more = max(0, min(self._limit, offset + count) - self._booked)
        if more and not disk.reserve(more):
            self._no_file("disk-full")
            return
        self._booked += more
        self._stuck = False
        if self._fd == NO_FILE:
            disk.opened()
        if count == len(tail):
            self._flight, self._tail = tail, b""
        else:
            self._flight, self._tail = tail[:count], tail[count:]
        job = Job(self._was_written, self._fd)
        job.offset, job.data = offset, self._flight
        self._job = job
        disk.submit(job)

    def _no_file(self, fault: str) -> None:
        """Nothing can be written: a request's end; a response goes on with what memory holds."""
        if self._keep:
            self.fault = fault
        self._stuck = True

    # what the threads tell

    def _was_written(self, job: Job) -> None:
        self._job = None
        if self._fd == NO_FILE and job.fd == NO_FILE:
            self._store.disk.files -= 1
        self._fd = job.fd
        if self._closed:
            self._put_away()
            return
        if job.error:
            self._tail = self._flight + self._tail
            self._broken = True
            self._no_file(fault_of(job.error))
        else:
            self._store.disk.spilled += len(job.data)
        self._flight = b""
        self._pump()
        self._wake()

    def _was_read(self, job: Job) -> None:
        self._job = None
        if self._closed:
            self._put_away()
            return
        if job.error or not job.got:
            self.fault = fault_of(job.error)
        else:
            self._front = job.got
        self._pump()
        self._wake()


def _send(sock: socket.socket, data: bytes | bytearray, start: int) -> int:
    """Send a part of a buffer."""
    with memoryview(data) as view, view[start:] as part:
        return sock.send(part)


class Store:
    """Where a worker's spools come from.

    Args:
        lobby: the worker's.
        buffers: what may be held where.
        warn: called once if no file can be made.
        most_files: so many files at a time.
    """

    def __init__(
        self, lobby: Lobby, buffers: Buffers, warn: Callable[[str], None], most_files: int = 1 << 30
    ) -> None:
        self._buffers = buffers
        self.disk = Disk(lobby, buffers.directory, buffers.disk_total, most_files, warn)
        self.nowait = hasattr(os, "RWF_NOWAIT")
        """Whether the file system can say that a read would block."""
        self.scrap = memoryview(bytearray(CHUNK))
        """Bytes between a file and a socket, within one call."""

    @property
    def on(self) -> bool:
        """Whether files can be made; otherwise it is memory only."""
        return self.disk.on

    @property
    def used(self) -> int:
        """Bytes in files now."""
        return self.disk.used

    @property
    def most(self) -> int:
        """The most bytes that were in files at a time."""
        return self.disk.most

    @property
    def files(self) -> int:
        """Open files."""
        return self.disk.files

    def request(self, wake: Callable[[], None], size: int = -1) -> Spool:
        """Make a spool for a request's body.

        Args:
            wake: called on the loop when file work has changed something.
            size: the bytes that will come; -1: nobody knows.
        """
        return Spool(self, wake, self._buffers.request_memory, ENDLESS, size, keep=True)

    def response(self, wake: Callable[[], None], size: int = -1) -> Spool:
        """Make a spool for a response's body; arguments as for `request`."""
        buffers = self._buffers
        return Spool(self, wake, buffers.response_memory, max(1, buffers.response_file), size, keep=False)

    def snapshot(self) -> dict[str, Any]:
        """The counters, as plain values."""
        disk = self.disk
        return {
            "used": disk.used,
            "most": disk.most,
            "files": disk.files,
            "most_files": disk.most_open,
            "spilled": disk.spilled,
            "faults": disk.faults,
        }

    def shut(self) -> None:
        """End the threads."""
        with suppress(OSError):
            self.disk.shut()
