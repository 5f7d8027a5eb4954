"""Files that nobody sees: unlinked at birth, written and read by a few threads of their own.

A disk may be slow, full, or not there at all, and none of that may reach the loop. So whatever can block
is a `Job` (net/jobs.py): it is done by one of THREADS threads, in the order in which jobs came, and comes
back to the loop through a socket that the lobby watches. An owner has at most one job at a time, of 512 KiB:
who writes a lot stands behind who writes little, each time anew. Closing what was large can take long and is
urgent for nobody: it has a thread to itself.

A little of a body that comes slowly is not urgent either, and what it costs is the turn of a thread, the
interpreter's lock and the way back, not the write: it waits for others (`submit_later`), LATER seconds and
what the wheel adds at most, and all of them have one turn.

Errors are values: a job comes back with its `error`, an errno, and no exception of a file ever meets the
loop.

Bytes are booked before they are written (`reserve`) and given back when their file is closed, so that all
files together stay within `disk_total`. A directory in which no file can be made is said once, at start.
"""

import errno
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from queue import SimpleQueue
from socket import socketpair
from typing import Any, Final

from shieldproxy.net import jobs
from shieldproxy.net.deadlines import Alarm
from shieldproxy.net.jobs import NO_FILE, PIECE, Job
from shieldproxy.net.lobby import Lobby
from shieldproxy.net.nameless import usable
from shieldproxy.net.record import Record

THREADS: Final = 3
LATER: Final = 0.02
"""Seconds that a job waits for company."""
COMPANY: Final = 64
"""So many jobs wait for no more."""
PATIENCE: Final = 1.0
"""Seconds that the threads get to finish at the end."""
TRIM: Final = 8 * 1024 * 1024
"""Bytes written after which freed memory is given back to the kernel, when the disk has caught up."""
LITTLE: Final = 512 * 1024
"""The same, when nobody has written for a while."""
QUIET: Final = 1.0
"""Seconds: that while."""


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
        self._work: SimpleQueue[Sequence[Job] | None] = SimpleQueue()
        self._later: list[Job] = []
        """What waits for company, and its bytes."""
        self._later_bytes = 0
        self._enough = Alarm(lambda _: self.hurry())
        self._closing: SimpleQueue[Job | None] = SimpleQueue()
        self._done: deque[Job] = deque()
        self._threads: list[threading.Thread] = []
        self._under_way = self._written = 0
        self._quiet = Alarm(self._on_quiet)
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
            self._work.put((job,))
        else:
            job.error = errno.EMFILE  # no thread: as little a place as without a descriptor
            self._back((job,))

    def submit_later(self, job: Job) -> None:
        """Have a job done for which nobody waits, in company."""
        if not (self.on and self._threads):
            self.submit(job)
            return
        self._under_way += 1
        self._written += len(job.data)
        self._later.append(job)
        self._later_bytes += len(job.data)
        if len(self._later) >= COMPANY or self._later_bytes >= PIECE:
            self.hurry()
        elif len(self._later) == 1:
            self._lobby.arm(self._enough, self._lobby.now + LATER)

    def hurry(self) -> None:
        """Have those done that wait for company."""
        if self._later:
            self._work.put(self._later)
            self._later, self._later_bytes = [], 0

    def close(self, fd: int, booked: int) -> None:
        """Close a file in a thread, then give back its bytes and its place."""

        def closed(_: Job) -> None:
            self.files -= 1
            self.used -= booked

        job = Job(closed, fd)
        if self._shut:
            jobs.perform_close(job)
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
        while (company := self._work.get()) is not None:
            for job in company:
                jobs.perform(job, self.directory)
            self._back(company)
            del company, job  # or their bytes stay until there are others

    def _serve_closing(self) -> None:
        while (job := self._closing.get()) is not None:
            if job is self._trim:
                jobs.give_back()
                continue
            jobs.perform_close(job)
            self._back((job,))

    def _back(self, over: Sequence[Job]) -> None:
        """Give jobs back to the loop, from a thread."""
        self._done.extend(over)
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
        if self._written >= LITTLE and self._caught_up:
            if self._written >= TRIM:
                self._give_back()
            elif self._quiet.due == inf:
                self._lobby.arm(self._quiet, self._lobby.now + QUIET)

    def _give_back(self) -> None:
        self._written = 0
        self._closing.put(self._trim)

    @property
    def _caught_up(self) -> bool:
        """Whether no thread has a job; some may wait for company."""
        return self._under_way == len(self._later) and not self._shut

    def _on_quiet(self, _: object) -> None:
        """What was freed since is given back too."""
        if self._written >= LITTLE and self._caught_up:
            self._give_back()

    def shut(self) -> None:
        """End the threads, each after its present job; one that hangs is left behind. Close spools first."""
        if self._shut:
            return
        self._shut = True
        self.hurry()
        for _ in range(THREADS):
            self._work.put(None)
        self._closing.put(None)
        ends = time.monotonic() + PATIENCE
        for thread in self._threads:
            thread.join(max(0.0, ends - time.monotonic()))
        self._on_done(self._record, 0)
        self._lobby.close(self._record)
        self._theirs.close()
