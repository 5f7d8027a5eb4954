"""A log's way out: lines that are collected without waiting and written in blocks, off the loop.

A log that nobody reads (a full pipe, a hung disk) must not stop the proxy. So a line goes into a bounded
buffer; a thread writes what has come together a few times a second; when the buffer is full, lines are
dropped and counted, and the count is told as soon as writing goes on.
"""

import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec
import trio

BUFFER: Final = 8 * 1024 * 1024
EVERY: Final = 0.2
TOGETHER: Final = 64
"""Records are encoded in one call: so many take 20 us, and a third less than one by one."""
PATIENCE: Final = 30.0
"""Seconds that a log which cannot be waited for by writing may take nothing; then its block is lost."""


class Sink:
    """One log file, pipe or terminal.

    Args:
        where: "stdout", "stderr", "none" or a path.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.dropped = 0
        self.on = where != "none"
        self._records: list[msgspec.Struct] = []
        self._encode = msgspec.json.Encoder().encode_lines
        self._lines: list[bytes] = []
        self._count = 0
        self._size = 0
        self._waiting: deque[tuple[bytes, int]] = deque()
        """Blocks that no thread has begun to write, and how many lines each has."""
        self._turn = threading.Lock()
        self._threads = trio.CapacityLimiter(2)
        """Its own: names that nobody resolves may hold all of those that trio shares."""
        self._fd = self._open()

    def _open(self) -> int:
        if self.where == "stdout":
            return sys.stdout.fileno()
        if self.where == "stderr":
            return sys.stderr.fileno()
        if not self.on:
            return -1
        return os.open(self.where, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def reopen(self) -> None:
        """Open the path anew (after a rotation); what is being written goes to the old file.

        Raises:
            OSError: it cannot be opened; the old one stays.
        """
        if self.on and self.where not in {"stdout", "stderr"}:
            fresh = self._open()
            os.dup2(fresh, self._fd, inheritable=False)
            os.close(fresh)

    def record(self, record: msgspec.Struct) -> None:
        """Take what becomes one line of JSON; never waits. Several are encoded in one call."""
        records = self._records
        records.append(record)
        if len(records) >= TOGETHER:
            self._gather()

    def write(self, line: bytes) -> None:
        """Take one line, its end of line included; never waits."""
        self._gather()
        self._take(line, 1)

    def _gather(self) -> None:
        """Make lines of the records so far."""
        if self._records:
            records, self._records = self._records, []
            try:
                block = self._encode(records)
            except Exception:  # noqa: BLE001 - one that cannot be said must not cost the others, or the worker
                self._one_by_one(records)
            else:
                self._take(block, len(records))

    def _one_by_one(self, records: list[msgspec.Struct]) -> None:
        """Make a line of each record that can be encoded; the others count as dropped."""
        for record in records:
            try:
                line = self._encode([record])
            except Exception:  # noqa: BLE001 - as above
                self.dropped += 1
            else:
                self._take(line, 1)

    def _take(self, block: bytes, count: int) -> None:
        if self._size > BUFFER:
            self.dropped += count
            return
        self._lines.append(block)
        self._count += count
        self._size += len(block)

    async def flush(self) -> None:
        """Write what is there."""
        self._gather()
        if self._lines:
            self._waiting.append((b"".join(self._lines), self._count))
            self._lines.clear()
            self._count = 0
        if self._waiting or self._turn.locked():
            written, lost = await trio.to_thread.run_sync(
                self._write_waiting, abandon_on_cancel=True, limiter=self._threads
            )
            self._size -= written
            self.dropped += lost

    def _write_waiting(self) -> tuple[int, int]:
        """Write the blocks that wait, in a thread; how many bytes were taken off, and how many lines lost.

        A flush that is cancelled leaves its thread behind, or a block that no thread has begun with. Whoever
        comes next waits for the one and writes the other.
        """
        written = lost = 0
        with self._turn:
            while self._waiting:
                block, count = self._waiting.popleft()
                written += len(block)
                if not _write_all(self._fd, block):
                    lost += count
        return written, lost

    async def run(self, dropped: Callable[[str, int], None]) -> None:
        """Flush for ever, and tell what was lost as soon as writing goes on."""
        told = 0
        while True:
            await trio.sleep(EVERY)
            await self.flush()
            if self.dropped > told:
                dropped(self.where, self.dropped - told)
                told = self.dropped


def _write_all(fd: int, block: bytes) -> bool:
    """Write a block, in a thread; False if the rest of it is lost."""
    view = memoryview(block)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            if not _is_ready(fd):
                return False
        except OSError:
            return False  # a reader that is gone, a full disk: the log is lost, the service is not
    return True


def _is_ready(fd: int) -> bool:
    """Wait until a log takes more whose description somebody else (a supervisor) has made non-blocking."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(PATIENCE * 1000))
