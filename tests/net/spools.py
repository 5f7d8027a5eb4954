"""A store whose file work is done when the test says so, and sockets to feed and empty its spools."""

import os
import socket
import struct
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from shieldproxy.core.limits import Buffers
from shieldproxy.net import jobs
from shieldproxy.net.disk import Disk
from shieldproxy.net.jobs import Job
from shieldproxy.net.lobby import CHUNK, Lobby
from shieldproxy.net.spool import Spool, Store
from tests.net.rig import Clock

Pair = tuple[socket.socket, socket.socket]
BLOB = os.urandom(4 * 1024 * 1024)


class HandDisk(Disk):
    """Its jobs wait until the test has them done."""

    jobs: deque[tuple[Job, bool]]

    def submit(self, job: Job) -> None:
        """Put a job aside."""
        self.jobs.append((job, False))

    submit_later = submit

    def _close_later(self, job: Job) -> None:
        self.jobs.append((job, True))

    def finish(self, which: int = 0) -> bool:
        """Do one of the jobs that wait; False if there is none."""
        if not self.jobs:
            return False
        index = which % len(self.jobs)
        job, closing = self.jobs[index]
        del self.jobs[index]
        jobs.perform_close(job) if closing else jobs.perform(job, self.directory)
        if job.error:
            self.faults += 1
        job.done(job)
        return True


class Workshop:
    """A store by hand; wakes are counted."""

    def __init__(self, directory: Path | str, **buffers: Any) -> None:
        self.faults: list[Exception] = []
        self.clock = Clock()
        self.lobby = Lobby(self.clock, lambda _, exc: self.faults.append(exc))
        self.warnings: list[str] = []
        made = Buffers(directory=str(directory), **buffers)
        self.store = Store(self.lobby, made, self.warnings.append)
        self.store.disk.shut()
        self.disk = HandDisk(self.lobby, made.directory, made.disk_total, 1 << 20, self.warnings.append)
        self.disk.jobs = deque()
        self.store.disk = self.disk
        self.woken = 0

    def wake(self) -> None:
        """What spools call."""
        self.woken += 1

    def finish_all(self) -> None:
        """Do all jobs, with those that they bring."""
        while self.disk.finish():
            pass

    def shut(self) -> None:
        """End it."""
        self.finish_all()
        self.store.shut()
        self.lobby.shut()


def tcp(buffer: int = 0) -> Pair:
    """Two ends of one connection, ours (the first) non-blocking."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.socket()
        if buffer:
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        far.connect(listener.getsockname())
        ours, _ = listener.accept()
    if buffer:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    ours.setblocking(False)
    far.setblocking(False)
    return ours, far


def drop(*socks: socket.socket) -> None:
    """Close sockets with a reset: no time-wait records are left of many tests."""
    for sock in socks:
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()


def descriptors() -> int:
    """How many are open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@contextmanager
def workshop(directory: Path | str, **buffers: Any) -> Iterator[Workshop]:
    """A workshop that leaves nothing behind: no byte booked, no file, no descriptor."""
    before = descriptors()
    shop = Workshop(directory, **buffers)
    yield shop
    shop.shut()
    assert shop.faults == []
    assert (shop.store.used, shop.store.files) == (0, 0)
    assert descriptors() <= before, "fewer, if the collector has found another test's"


def exactly(sock: socket.socket, count: int) -> bytes:
    """Wait for so many bytes."""
    got = b""
    sock.settimeout(5)
    while len(got) < count:
        got += sock.recv(count - len(got))
    sock.setblocking(False)
    return got


def read_all(shop: Workshop, spool: Spool, pair: Pair, total: int) -> bytes:
    """Drain a spool to its end, with the file work that it takes.

    Args:
        shop: where the spool is from.
        spool: to be emptied.
        pair: the sockets between it and the test.
        total: bytes that the far end has yet to read, those in the sockets included.
    """
    ours, far = pair
    got = b""
    while spool.left and not spool.fault:
        try:
            if not spool.drain(ours) and not shop.disk.finish():
                pytest.fail(f"{spool.left} bytes are out of reach, and no file work is under way")
        except BlockingIOError:
            got += exactly(far, 1)
        with suppress(BlockingIOError):
            got += far.recv(1 << 20)
    return got if spool.fault else got + exactly(far, total - len(got))


def put_all(shop: Workshop, spool: Spool, data: bytes) -> None:
    """Put as an owner does: what is full waits for the file."""
    for start in range(0, len(data), CHUNK):
        while is_full(spool) and shop.disk.finish():
            pass
        assert not is_full(spool)
        spool.put(data[start : start + CHUNK])
    shop.finish_all()


def is_full(spool: Spool) -> bool:
    """Ask anew; a type checker takes an answer for lasting."""
    return spool.full


def feed(spool: Spool, source: Pair, data: bytes) -> None:
    """Send as a fast client does, and fill from that."""
    ours, far = source
    for start in range(0, len(data), 200_000):
        piece = data[start : start + 200_000]
        far.setblocking(True)
        far.sendall(piece)
        end = spool.size + len(piece)
        while spool.size < end:
            with suppress(BlockingIOError):
                spool.fill(ours, end - spool.size)
