"""The spool: bytes that came before somebody can take them. First in, first out; nothing in it blocks.

A request's body on its way to a server that is not asked yet, a response on its way to a client that is
slow. Up to the memory limit it is a buffer. While bytes come fast it may be lent a pipe (`net.pipes`): they
go from socket to socket inside the kernel, and never touch the disk. Beyond that they go into an unlinked
file, through threads (`net.disk`), and come back from there: what the page cache has is read at once, the
rest by a thread, and `wake` is called when it is in reach.

Bytes are known by their position in the stream. The parts of a spool follow one another, each may be empty:

    front (memory) < pipe < file < flight (being written, still in memory) < tail (memory)

New bytes join the tail, or the pipe while nothing is behind it. What was read back from the file stands in
the front as a copy.

What it decides: where bytes stay, and whether more may come (`full`). What it never does: wait, raise an
error of a file, close or watch a socket, speak HTTP. When it cannot go on, `fault` says so: a request's
spool at once, since its owner has to refuse; a response's only when bytes are lost: without a file it goes
on as memory does, `full` until some are taken.

Called by proxy's collecting of requests and its sending of responses, on the loop; by nobody else, and by
one owner each.
"""

import socket
from collections.abc import Callable
from typing import Final

from shieldproxy.core.limits import Buffers
from shieldproxy.net import pipes
from shieldproxy.net.filing import CUT, FAST, GRACE, SLOW, Filing
from shieldproxy.net.jobs import NO_FILE
from shieldproxy.net.lobby import CHUNK, Lobby
from shieldproxy.net.means import AT_ONCE, BURST, Means

AHEAD: Final = 2 * CHUNK
"""Bytes above the memory limit while the file catches up; a piece more may come in, and one be read back."""
ENDLESS: Final = 1 << 62


class Spool(Filing):
    """Bytes in transit; made by `Store`, used by one owner, on the loop only."""

    __slots__ = ("_announced",)

    def __init__(
        self,
        store: Means,
        wake: Callable[[], None],
        memory: int,
        limit: int,
        announced: int,
        *,
        keep: bool,
    ) -> None:
        super().__init__(store, wake, memory, limit, keep=keep)
        self._announced = announced

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
        tail = len(self._tail) if self._keep else min(len(self._tail), self.size - self._at)
        held = len(self._front) + len(self._flight) + tail
        if held < self._memory:
            return False
        if self._stuck or not self._store.disk.on or self.size - len(self._tail) - self._at >= self._limit:
            return True  # and no file would change it
        over = held - self._memory - AHEAD
        return over >= 0 and (self._keep or over >= BURST or not self._store.may_burst(self))

    # in

    def put(self, data: bytes) -> None:
        """Take bytes; always. Look at `full` before getting more."""
        tail = self._tail
        if not tail:
            self._tail = data
        else:
            if isinstance(tail, bytes):
                self._tail = tail = bytearray(tail)
            done = 0 if self._keep else self._at - (self.size - len(tail))
            if done > 0:
                del tail[:done]
            tail += data
        self.size += len(data)
        self._pump()

    def begin(self, data: bytes) -> None:
        """Take the first bytes of many whose number is known: in front of a pipe, if one is to be had."""
        if self._store.disk.on and self._memory and not self.size and not self._broken:
            self._pipe = self._store.pipes.lend(self)
        if self._pipe is None:
            self.put(data)
        else:
            self._front = data
            self._front_at = 0
            self.size = len(data)

    def fill(self, sock: socket.socket, most: int) -> int:
        """Take bytes from a socket.

        Args:
            sock: non-blocking.
            most: no more bytes than these.

        Returns:
            How many; 0 at its end. Fewer than both `most` and 64 KiB: there are no more now.

        Raises:
            BlockingIOError: there is nothing now.
            OSError: the connection is broken.
        """
        if self._pipe is None and self._worth_a_pipe(sock, most):
            self._borrow()
        count = 0
        if self._pipe is not None and self._job is None and self._pipe_is_last():
            self._pipe.touched = self._store.lobby.now
            count, is_full = self._pipe.take(sock, most, empty=not self._piped)
            self._piped += count
            self.size += count
            if not is_full:
                return count
        try:
            data = sock.recv(min(most - count, CHUNK))
        except BlockingIOError:
            if count:
                return count
            raise
        if data:
            self.put(data)
        return count + len(data)

    # the pipe

    def _worth_a_pipe(self, sock: socket.socket, most: int) -> bool:
        """Whether what comes is more than memory takes, comes fast, and nothing of it is on the file."""
        size, memory = self.size, self._memory
        if self._job is not None or self._rested or self._broken or not self._store.disk.on:
            return False
        if self._keep:
            if self._booked or not 0 <= self._announced - size <= pipes.SIZE or self._announced <= memory:
                return False
        elif self.size - len(self._tail) > self._at or len(self._tail) + most <= memory:
            return False
        if size < FAST * (self._store.lobby.now - self._born):
            return False
        return size >= memory // 2 or pipes.waiting(sock) >= memory // 2

    def _borrow(self) -> None:
        """Ask for a pipe; what is in memory goes before what it will hold."""
        self._pipe = self._store.pipes.lend(self)
        if self._pipe is not None:
            self._front_at = self.size - len(self._tail)
            self._front, self._tail = self._tail, b""

    def _pipe_is_last(self) -> bool:
        """Whether nothing is behind the pipe's content."""
        if self._tail or self._flight:
            return False
        behind_front = max(self._at, self._front_at + len(self._front)) if self._front else self._at
        return self.size - behind_front == self._piped

    def untouched(self) -> None:
        """Give the pipe back if what is to come comes slowly (`pipes.Holder`): a whole request may wait."""
        age = self._store.lobby.now - self._born
        if self._keep and self.size < self._announced and age > GRACE and self.size < SLOW * age:
            self.part()

    def part(self) -> None:
        """Give the pipe back soon, by writing what it holds (`pipes.Holder`)."""
        self._parting = True
        self._pump()

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
            try:
                count = _send(sock, self._front, at - self._front_at)
            except BlockingIOError:
                if self._rested and self._pipe is None:
                    self._front = b""  # a copy: for who is slow it is read again
                raise
        elif self._piped:
            count = self._send_from_pipe(sock)
        elif at >= start - len(self._flight):
            count = _send(sock, self._flight, at - start + len(self._flight))
        else:
            count = self._send_from_file(sock, start - len(self._flight) - at)
        if count:
            self._took(count)
        return count

    def _send_from_pipe(self, sock: socket.socket) -> int:
        pipe = self._pipe
        if pipe is None or (self._job is not None and self._job.piped):
            return 0  # a thread has it
        count = pipe.give(sock.fileno(), self._piped)
        pipe.touched = self._store.lobby.now
        self._piped -= count
        self._keep = False
        self._front = b""
        return count

    def _send_from_file(self, sock: socket.socket, most: int) -> int:
        if self._fd != NO_FILE:
            offset, room = self._place(self._at)
            count = self._store.read_now(self._fd, offset, min(most, room, AT_ONCE))
            if count:
                return sock.send(self._store.scrap[:count])
        self._want = True
        self._pump()
        return 0

    def _took(self, count: int) -> None:
        """Bytes have gone out: drop what nobody will ask for again."""
        self._at = at = self._at + count
        if self._pipe is None:
            if self._front and (at >= self._front_at + len(self._front) or self._rested):
                self._front = b""  # a copy
        elif not self._keep and not self._piped and at >= self._front_at + len(self._front):
            self._front = b""
            self._give_back()
        if self._keep or self._job is not None:
            return
        if at < self.size:
            self._pump()
        else:
            self._tail = b""
            if self._booked > CUT:
                self._cut()

    def taken(self) -> bytes:
        """Take all of it; RuntimeError: not all of it is in memory."""
        if self._at or len(self._tail) != self.size:
            raise RuntimeError("not all of the spool is in memory")
        data, self._tail = bytes(self._tail), b""
        self._at = self.size
        return data

    # the owner's ways

    def rewind(self) -> bool:
        """Start again from the first byte; False if some are gone: a response's, or gone through a pipe."""
        if not self._at:
            return True
        if not self._keep or self.fault:
            return False
        self._at = 0
        return True

    def rest(self) -> None:
        """The owner will be slow: into the file with it, and the pipe to others."""
        self._rested = self._parting = True
        if self._pipe is None:
            self._front = b""  # a copy
        self._pump()

    def close(self) -> None:
        """Drop everything. File work under way ends by itself, unheard."""
        if not self._closed:
            self._closed = True
            self._tail = b""
            if self._job is None:
                self._put_away()


def _send(sock: socket.socket, data: bytes | bytearray, start: int) -> int:
    """Send a part of a buffer."""
    with memoryview(data) as view, view[start:] as part:
        return sock.send(part)


class Store(Means):
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
        super().__init__(lobby, buffers, warn, most_files)
        self._buffers = buffers

    def request(self, wake: Callable[[], None], size: int = -1) -> Spool:
        """Make a spool for a request's body.

        Args:
            wake: called on the loop when file work has changed something.
            size: the bytes that will come; -1: nobody knows, or they may have to be sent again.
        """
        return Spool(self, wake, self._buffers.request_memory, ENDLESS, size, keep=True)

    def response(self, wake: Callable[[], None], size: int = -1) -> Spool:
        """Make a spool for a response's body; arguments as for `request`."""
        memory, file = self._buffers.response_memory, self._buffers.response_file
        return Spool(self, wake, memory, file and max(CHUNK, file), size, keep=False)
