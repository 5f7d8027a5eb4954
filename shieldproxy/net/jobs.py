"""What a thread does with a file for the loop: everything that can block.

A job may make its file first, empty it, write, take a pipe's content, read, in this order. Errors are values:
a job comes back with its `error`, an errno.
"""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from shieldproxy.net.nameless import make_file

PIECE: Final = 256 * 1024
"""Bytes of one write."""
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


def fault_of(number: int) -> str:
    """What an errno means to a spool: "disk-full" or "disk-error"."""
    return "disk-full" if number in FULL else "disk-error"
