"""Pipes that are lent to spools: a fast body goes from socket to socket in the kernel, and never to the disk.

There are few, since each may hold 1 MiB of the kernel's memory and a user has a share of that (pipe(7)).
One is lent to a spool whose bytes come fast, and comes back when the spool has been emptied. When all are
lent and one more is asked for, the holder that has touched its own longest ago, and not just now, is told
to write it to its file; one that has not touched its own for a while is asked whether it is still worth it.
A pipe that comes back with something in it is thrown away: nobody ever gets another's bytes. Of those that
nobody has wanted for a while two are kept.
"""

import fcntl
import os
import select
import socket
import sys
import termios
from contextlib import suppress
from math import inf
from typing import Final, Protocol

from shieldproxy.net.lobby import CHUNK, Lobby

SIZE: Final = 1024 * 1024
MOST: Final = 32
IDLE: Final = 0.5
"""Seconds that a holder must not have touched its pipe before it may be asked to part with it; and between
two looks at all of them."""
KEPT: Final = 2
REST: Final = 2.0
"""Seconds after which pipes beyond `KEPT` are closed that were not needed."""
FLAGS: Final = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE


class Holder(Protocol):
    """Who has been lent a pipe."""

    def part(self) -> None:
        """Give the pipe back soon: others are faster."""

    def untouched(self) -> None:
        """Think about it: the pipe has not been touched for a while."""


class Lent:
    """One pipe, and who has it."""

    __slots__ = ("holder", "into", "out", "room", "touched")

    def __init__(self) -> None:
        self.out, self.into = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with suppress(OSError):  # a user with many pipes gets small ones: slower, and as right
            fcntl.fcntl(self.into, fcntl.F_SETPIPE_SZ, SIZE)
        self.room: int = fcntl.fcntl(self.into, fcntl.F_GETPIPE_SZ)
        """Bytes that it holds at most; less, where they come in small pieces."""
        self.touched = 0.0
        self.holder: Holder | None = None

    def take(self, sock: socket.socket, most: int, *, empty: bool) -> tuple[int, bool]:
        """Take bytes from a socket, 64 KiB at least if it has them: a short splice says nothing.

        Args:
            sock: non-blocking.
            most: no more bytes than these.
            empty: whether the pipe is.

        Returns:
            How many, and whether the pipe is full, with perhaps more to be read. 0 and not full: its end.

        Raises:
            BlockingIOError: there is nothing now.
            OSError: the connection is broken.
        """
        total = 0
        while total < most:
            try:
                count = os.splice(sock.fileno(), self.into, most - total, None, None, FLAGS)
            except BlockingIOError:
                if not (empty and not total) and not self._has_room():
                    return total, True
                if not total:
                    raise
                break
            except OSError:
                if not total:
                    raise
                break  # what came before counts; the next call meets the error
            total += count
            if not count or total >= CHUNK or not waiting(sock):
                break
        return total, False

    def give(self, sink: int, most: int) -> int:
        """Give bytes to a socket.

        Raises:
            BlockingIOError: it is full.
            OSError: the connection is broken.
        """
        return os.splice(self.out, sink, most, None, None, FLAGS)

    def _has_room(self) -> bool:
        """Whether it takes more."""
        poll = select.poll()
        poll.register(self.into, select.POLLOUT)
        return bool(poll.poll(0))

    def is_empty(self) -> bool:
        """Whether nothing is in it, as the kernel says."""
        try:
            return not _readable(self.out)
        except OSError:
            return False

    def close(self) -> None:
        """Close both ends, with whatever is in between."""
        os.close(self.into)
        os.close(self.out)


def waiting(sock: socket.socket) -> int:
    """How many bytes a socket has to be read; 0 too if it cannot be asked."""
    try:
        return _readable(sock.fileno())
    except OSError:
        return 0


def _readable(fd: int) -> int:
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)


class Pipes:
    """All pipes of one worker; the time is the lobby's."""

    def __init__(self, lobby: Lobby) -> None:
        self._lobby = lobby
        self._free: list[Lent] = []
        self._lent: set[Lent] = set()
        self._spare = 0
        """How many were free all the time since the last look."""
        self._rest_at = inf
        self.due = self.slot = inf  # as a record of the lobby's wheel
        self.times = 0
        """How often one was lent."""

    def lend(self, holder: Holder) -> Lent | None:
        """Lend a pipe; None if none is free now."""
        if self._free:
            pipe = self._free.pop()
            self._spare = min(self._spare, len(self._free))
        elif len(self._lent) < MOST:
            try:
                pipe = Lent()
            except OSError:  # no descriptors: then it is memory and files
                return None
        else:
            self._call_in()
            return None
        pipe.holder, pipe.touched = holder, self._lobby.now
        self._lent.add(pipe)
        due = self._lobby.now + IDLE
        if due < self.due:
            self._lobby.arm(self, due)
        self.times += 1
        return pipe

    def _call_in(self) -> None:
        now = self._lobby.now
        pipe = min(self._lent, key=lambda each: each.touched)
        if pipe.holder is not None and now - pipe.touched > IDLE:
            pipe.touched = now  # the next who asks is answered by another's
            pipe.holder.part()

    def back(self, pipe: Lent, *, empty: bool) -> None:
        """Take a pipe back; `empty` is what its holder believes, and the kernel has to agree."""
        self._lent.discard(pipe)
        pipe.holder = None
        if empty and pipe.is_empty():
            self._free.append(pipe)
            if len(self._free) > KEPT and self._rest_at == inf:
                self._look_again()
        else:
            pipe.close()

    def _look_again(self) -> None:
        self._spare = len(self._free)
        self._rest_at = due = self._lobby.now + REST
        if due < self.due:
            self._lobby.arm(self, due)

    def on_due(self, _pipes: "Pipes") -> None:
        """The wheel's call: who holds one and does not use it; which nobody has wanted."""
        now = self._lobby.now
        for pipe in [pipe for pipe in self._lent if now - pipe.touched > IDLE]:
            if pipe.holder is not None:
                pipe.holder.untouched()
        if now >= self._rest_at:
            self._rest_at = inf
            while self._spare > 0 and len(self._free) > KEPT:
                self._spare -= 1
                self._free.pop(0).close()
            if len(self._free) > KEPT:
                self._look_again()
        due = min(self._rest_at, now + IDLE if self._lent else inf)
        if due < self.due:
            self._lobby.arm(self, due)

    @property
    def lent(self) -> int:
        """How many are lent now."""
        return len(self._lent)

    def close(self) -> None:
        """Close those that are not lent; the others follow when they come back."""
        free, self._free = self._free, []
        for pipe in free:
            pipe.close()
