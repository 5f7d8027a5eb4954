"""What all spools of one worker share: the disk and its threads, the pipes, a buffer between two calls.

It also knows whether the file system can be asked what the page cache has (RWF_NOWAIT). One that cannot, or
that takes its time over what should be a copy, is asked by threads only: nothing on the loop waits for a
disk.
"""

import errno
import os
import time
from collections.abc import Callable
from typing import Any, Final

from shieldproxy.core.limits import Buffers
from shieldproxy.net.disk import Disk
from shieldproxy.net.lobby import Lobby
from shieldproxy.net.pipes import SIZE, Pipes

AT_ONCE: Final = 32 * 1024
"""Bytes of one read on the loop: what the page cache has."""
SUSPECT: Final = 0.02
"""Seconds after which a read on the loop was no copy from the page cache, nor a wait for other threads."""
DISTRUST: Final = 2.0
"""Seconds for which threads do all reads then."""
BURST: Final = 1024 * 1024
"""Bytes more of a response that may be in memory while its file catches up: a thread writes them in no time,
but has to get the CPU first, and the server waits meanwhile."""
BURSTS: Final = 8
"""So many responses at a time have this."""


class Means:
    """What all spools of a worker share."""

    def __init__(self, lobby: Lobby, buffers: Buffers, warn: Callable[[str], None], most_files: int) -> None:
        self.lobby = lobby
        self.disk = Disk(lobby, buffers.directory, buffers.disk_total, most_files, warn)
        self.pipes = Pipes(lobby)
        self.scrap = memoryview(bytearray(AT_ONCE))
        """Bytes between a file and a socket, within one call."""
        self.bursts: set[object] = set()
        """Who has more in memory than others may."""
        self._threads_until = 0.0 if hasattr(os, "RWF_NOWAIT") else float("inf")

    def read_now(self, fd: int, offset: int, most: int) -> int:
        """Read into `scrap` what can be had without waiting; how many bytes, 0: a thread has to do it."""
        before = time.monotonic()
        if before < self._threads_until:
            return 0
        try:
            count = os.preadv(fd, [self.scrap[:most]], offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return 0
        except OSError as exc:
            if exc.errno in {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}:
                self.distrust()
            return 0  # a thread finds out what it is
        if time.monotonic() - before > SUSPECT:
            self.distrust(before + DISTRUST)
        return count

    def may_burst(self, spool: object) -> bool:
        """Whether a spool may have `BURST` bytes more in memory; it is counted until it leaves `bursts`."""
        if len(self.bursts) < BURSTS:
            self.bursts.add(spool)
        return spool in self.bursts

    def distrust(self, until: float = float("inf")) -> None:
        """Have all reads done by threads for now."""
        self._threads_until = until

    @property
    def on(self) -> bool:
        """Whether files can be made; otherwise it is memory only."""
        return self.disk.on

    def may_hold(self, count: int) -> bool:
        """Whether there could ever be room for so many bytes of one body, above memory."""
        return self.disk.on and count <= max(self.disk.total, SIZE)

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
            "pipes": self.pipes.times,
        }

    def shut(self) -> None:
        """End the threads and close the pipes; spools are closed before."""
        self.disk.shut()
        self.pipes.close()
