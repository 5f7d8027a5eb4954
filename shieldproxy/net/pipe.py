"""Bytes from socket to socket inside the kernel: splice(2) through one pipe, empty between two moves.

A body that is framed by its length need not be seen. Its pages go from one socket's queue to the other's; two
copies are saved, and the worker's caches keep what they hold.

One pipe serves all exchanges of a worker, because a move fills and empties it without an await in between;
what the sink does not take is read out, and is its exchange's from then on. A pipe that was left in the
middle of a move, by whatever exception, is thrown away: nobody ever gets another's bytes.
"""

import fcntl
import os
from contextlib import suppress
from typing import Final

SIZE: Final = 1024 * 1024
"""Bytes of the pipe: what Linux allows without privileges, unless it was told otherwise (pipe(7))."""
FLAGS: Final = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE


class Pipe:
    """One worker's pipe. `fill`, then `empty`, and `rest` if something is left; no await between them."""

    __slots__ = ("_in", "_out", "_used")

    def __init__(self) -> None:
        self._open()

    def _open(self) -> None:
        self._out, self._in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._used = False
        with suppress(OSError):  # a user with many pipes gets small ones: slower, and as right
            fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, SIZE)

    def fill(self, source: int, most: int) -> int:
        """Take bytes from a socket.

        Args:
            source: its descriptor, non-blocking.
            most: no more bytes than these.

        Returns:
            How many; 0 at its end.

        Raises:
            BlockingIOError: there is nothing now.
            OSError: the connection is broken.
        """
        if self._used:
            old = self._out, self._in
            self._open()  # first: were it to fail, numbers of closed descriptors would be left
            for fd in old:
                os.close(fd)
        self._used = True
        try:
            count = os.splice(source, self._in, most, None, None, FLAGS)
        except OSError:
            self._used = False
            raise
        self._used = count > 0
        return count

    def empty(self, sink: int, count: int) -> int:
        """Give what `fill` took to a socket.

        Args:
            sink: its descriptor, non-blocking.
            count: what `fill` returned.

        Returns:
            How much of it the socket took; the remainder is to be had from `rest`. A signal may do that
            too, with room left in the socket: only a `send` that would block says it is full.

        Raises:
            OSError: the connection is broken; the bytes are gone.
        """
        try:
            sent = os.splice(self._out, sink, count, None, None, FLAGS)
        except BlockingIOError:
            return 0
        self._used = sent < count
        return sent

    def rest(self, count: int) -> bytes:
        """Read out the last `count` bytes.

        Raises:
            RuntimeError: there are fewer, which would be a hole in a body; `fill` opens another pipe then.
        """
        data = os.read(self._out, count)
        if len(data) < count:
            raise RuntimeError(f"{len(data)} of {count} bytes were left in the pipe")
        self._used = False
        return data

    def close(self) -> None:
        """Close both ends, with whatever is in between."""
        os.close(self._in)
        os.close(self._out)
