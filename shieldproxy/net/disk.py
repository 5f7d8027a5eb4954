"""Files that nobody sees: unlinked at birth, written and read by a few threads of their own.

A disk may be slow, full, or not there at all, and none of that may reach the loop. So whatever can block
(open, write, truncate, close, a read that the page cache cannot answer) is a `Job`: it is done by one of
THREADS threads, in the order in which jobs came, and comes back to the loop through a socket that the lobby
watches. An owner has at most one job at a time, of 512 KiB: who writes a lot stands behind who writes
little, each time anew. Closing what was large can take long and is urgent for nobody: it has a thread to
itself.

Errors are values: a job comes back with its `error`, an errno, and no exception of a file ever meets the
loop.

Bytes are booked before they are written (`reserve`) and given back when their file is closed, so that all
files together stay within `disk_total`. A directory in which no file can be made is said once, at start.
"""

import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from math import inf
from queue import SimpleQueue
from socket import socketpair
from typing import Any, Final

from shieldproxy.net.lobby import Lobby
from shieldproxy.net.nameless import make_file, usable
from shieldproxy.net.record import Record

THREADS: Final = 3
PIECE: Final = 256 * 1024
"""Bytes of one write."""
PATIENCE: Final = 1.0
"""Seconds that the threads get to finish at the end."""
TRIM: Final = 8 * 1024 * 1024
"""Bytes written after which freed memory is given back to the kernel, when the disk has caught up."""
LITTLE: Final = 512 * 1024
"""The same, when nobody has written for a while."""
QUIET: Final = 1.0
"""Seconds: that while."""
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EFBIG})
"""What says that there is no place; every other error is one of the disk's."""
NO_FILE: Final = -1


class Job:
    """One piece of work for a thread; comes back filled in.

    Args:
        done: called on the loop with the job, when it is over.
        fd: the file; NO_FILE: one is made first.
    """

    __slots__ = ("cut", "data", "done", "error", "fd", "got", "offset", "pipe", "piped", "sunk", "want")

    def __init__(self, done: Callable[["Job"], None], fd: int) -> None:
        self.done = done
        self.fd = fd
        self.cut = False
        """Make the file empty first."""
        self.data: bytes | bytearray | memoryview = b""
        """To be written at `offset`."""
        self.offset = 0
        self.want = 0
        """Bytes to be read at `offset`, after what is written."""
        self.got = b""
        self.pipe = -1
        """A pipe whose next `piped` bytes go behind `data`."""
        self.piped = 0
        self.sunk = 0
        """How many of them have left the pipe; with an `error`, those are lost."""
        self.error = 0


def perform(job: Job, directory: str) -> None:
    """Do a job, in a thread."""
    try:
        if job.fd == NO_FILE:
            job.fd = make_file(directory)
        if job.cut:
            os.ftruncate(job.fd, 0)
        view, offset = memoryview(job.data), job.offset
        while view:
            count = os.pwrite(job.fd, view[:PIECE], offset)
            view, offset = view[count:], offset + count
        if job.piped:
            _sink(job, offset)
        if job.want:
            job.got = os.pread(job.fd, job.want, job.offset)
    except OSError as exc:
        job.error = exc.errno or errno.EIO


def _sink(job: Job, offset: int) -> None:
    """Write what a pipe holds, in a thread."""
    while job.sunk < job.piped:
        most, at = min(PIECE, job.piped - job.sunk), offset + job.sunk
        try:
            count = os.splice(job.pipe, job.fd, most, None, at)
        except OSError as exc:
            if exc.errno != errno.EINVAL:
                raise
            data = os.read(job.pipe, most)  # a file system that cannot splice
            count = len(data)
            job.sunk += count  # gone from the pipe, whatever becomes of it
            while data:
                data = data[os.pwrite(job.fd, data, at + count - len(data)) :]
        else:
            job.sunk += count
        if not count:
            raise OSError(errno.EIO, "the pipe has less than it was given")


def perform_close(job: Job) -> None:
    """Close a job's file, in a thread."""
    with suppress(OSError):  # what cannot be written any more is wanted by nobody
        os.close(job.fd)


def give_back() -> None:
    """Have the C library give the kernel what has been freed, in a thread.

    While the disk is behind, what is to be written is in memory; it leaves holes in glibc's heap, which that
    keeps: 43 KB for each of 5,000 slow readers. Others than glibc have no such call, and no such need.
    """
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class Disk:
    """All files of one worker: their threads, their bytes, their number.

    Args:
        lobby: brings finished jobs back to the loop.
        directory: where files are made; empty: the system's for temporary files.
        total: bytes that all files may have together.
        most_files: so many files at a time.
        warn: called once if no file can be made.
    """

    def __init__(
        self, lobby: Lobby, directory: str, total: int, most_files: int, warn: Callable[[str], None]
    ) -> None:
        self._lobby = lobby
        self.total = total
        self._most_files = most_files
        self._warn = warn
        self.room: Callable[[], bool] = lambda: True
        """Whether there is a descriptor for one more file; may make place for it."""
        self.used = 0
        self.most = 0
        self.files = 0
        self.most_open = 0
        self.faults = 0
        self.error = 0
        """The errno of the last one."""
        self.spilled = 0
        self._work: SimpleQueue[Job | None] = SimpleQueue()
        self._closing: SimpleQueue[Job | None] = SimpleQueue()
        self._done: deque[Job] = deque()
        self._threads: list[threading.Thread] = []
        self._under_way = self._written = 0
        self.due = self.slot = inf  # as a record of the lobby's wheel
        self._trim = Job(lambda _: None, NO_FILE)
        self._shut = False
        self.directory, why = usable(directory) if total > 0 else ("", "")
        self.on = bool(self.directory)
        if why:
            warn(why)
        ours, self._theirs = socketpair()
        ours.setblocking(False)
        self._theirs.setblocking(False)
        self._record = Record(ours, self._on_done, lobby.close)
        lobby.add(self._record)

    # descriptors and bytes

    def may_open(self) -> bool:
        """Whether one more file may be made; the one who is told so makes it."""
        return self.on and not self._shut and self.files < self._most_files and self.room()

    def opened(self) -> None:
        """Count a file that is about to be made."""
        self.files += 1
        self.most_open = max(self.most_open, self.files)

    def not_opened(self) -> None:
        """A file that was counted could not be made."""
        self.files -= 1

    def reserve(self, count: int) -> bool:
        """Book bytes before they are written; False if there is no place for them."""
        if self.used + count > self.total:
            return False
        self.used += count
        self.most = max(self.most, self.used)
        return True

    def release(self, count: int) -> None:
        """Give booked bytes back."""
        self.used -= count

    # jobs

    def submit(self, job: Job) -> None:
        """Have a job done; its `done` is called on the loop in any case."""
        if not self._threads:
            self._start()
        self._under_way += 1
        self._written += len(job.data)
        if self.on:
            self._work.put(job)
        else:
            job.error = errno.EMFILE  # no thread: as little a place as without a descriptor
            self._back(job)

    def close(self, fd: int, booked: int) -> None:
        """Close a file in a thread, then give back its bytes and its place."""

        def closed(_: Job) -> None:
            self.files -= 1
            self.used -= booked

        job = Job(closed, fd)
        if self._shut:
            perform_close(job)
            closed(job)
        else:
            self._close_later(job)

    def _close_later(self, job: Job) -> None:
        if not self._threads:
            self._start()
        self._under_way += 1
        self._closing.put(job)

    def _start(self) -> None:
        """Start the threads: that which closes, and as many others as there can be, but one at least.

        If the system has none for us (its limit of processes), it is memory only from now on.
        """
        for number, serve in enumerate((self._serve_closing, *(self._serve for _ in range(THREADS)))):
            thread = threading.Thread(target=serve, name=f"disk {number}", daemon=True)
            try:
                thread.start()
            except RuntimeError as exc:
                self.on = number > 1
                if not self.on:
                    self._warn(f"buffers: no threads for files ({exc}): bodies are held in memory only")
                break
            self._threads.append(thread)

    def _serve(self) -> None:
        while (job := self._work.get()) is not None:
            perform(job, self.directory)
            self._back(job)
            del job  # or its bytes stay until there is another

    def _serve_closing(self) -> None:
        while (job := self._closing.get()) is not None:
            if job is self._trim:
                give_back()
                continue
            perform_close(job)
            self._back(job)

    def _back(self, job: Job) -> None:
        """Give a job back to the loop, from a thread."""
        self._done.append(job)
        with suppress(OSError):  # full: the loop has not looked yet, and will; closed: it never will
            self._theirs.send(b"\0")

    def _on_done(self, record: Any, _: int) -> None:
        """Some jobs are over."""
        with suppress(BlockingIOError):
            while len(record.sock.recv(4096)) == 4096:
                pass
        while self._done:
            job = self._done.popleft()
            self._under_way -= 1
            if job.error:
                self.faults += 1
                self.error = job.error
            self._lobby.guard(None, job.done, job)
        if self._written >= LITTLE and not self._under_way and not self._shut:
            if self._written >= TRIM:
                self._give_back()
            elif self.due == inf:
                self._lobby.arm(self, self._lobby.now + QUIET)

    def _give_back(self) -> None:
        self._written = 0
        self._closing.put(self._trim)

    def on_due(self, _disk: "Disk") -> None:
        """The wheel's call: what was freed since is given back too."""
        if self._written >= LITTLE and not self._under_way and not self._shut:
            self._give_back()

    def shut(self) -> None:
        """End the threads, each after its present job; one that hangs is left behind. Close spools first."""
        if self._shut:
            return
        self._shut = True
        for queue in (*(self._work for _ in range(THREADS)), self._closing):
            queue.put(None)
        ends = time.monotonic() + PATIENCE
        for thread in self._threads:
            thread.join(max(0.0, ends - time.monotonic()))
        self._on_done(self._record, 0)
        self._lobby.close(self._record)
        self._theirs.close()


def fault_of(number: int) -> str:
    """What an errno means to a spool: "disk-full" or "disk-error"."""
    return "disk-full" if number in FULL else "disk-error"
