"""Any order of calls and of finished file work: the same bytes come out, in the same order."""

import errno
import os
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shieldproxy.net import pipes, spool
from shieldproxy.net.lobby import CHUNK
from tests.net.spools import BLOB, Workshop, descriptors, drop, exactly, read_all, tcp

SLACK = 4 * CHUNK
"""Bytes above the memory limit: two pieces ahead of the file, the one that is put, and one read back."""
BURST = 100_000
"""Of a response, so many more."""
SIZES = st.sampled_from([1, 700, 5000, 30_000, CHUNK])
ERRORS = [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EMFILE]
CALLS = ["open", "pwrite", "pread", "splice", "ftruncate", "splice and pwrite"]
"""The last: a file system that cannot splice, and is full."""


class AnyOrder(RuleBasedStateMachine):
    """One spool between two sockets."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(pipes, "SIZE", CHUNK)
        self.patch.setattr(spool, "CUT", 50_000)
        self.patch.setattr(spool, "BURST", BURST)
        self.before = descriptors()
        self.source, self.sender = tcp()
        self.sink = tcp(64 * 1024)
        self.fed = 0
        """Bytes of the blob that have been put or sent."""
        self.queued = 0
        """Of these: in the socket."""
        self.got = b""
        self.start = 0
        self.broken: set[str] = set()

    @initialize(
        keep=st.booleans(),
        memory=st.sampled_from([0, 5000, CHUNK]),
        limit=st.sampled_from([70_000, 200_001, 1 << 30]),
        total=st.sampled_from([100_000, 1 << 33]),
        announced=st.sampled_from([-1, 100_000, 400_000]),
        cold=st.booleans(),
        failing=st.sampled_from(["", "", "", *CALLS]),
        first=st.sampled_from([0, 0, 5000]),
    )
    def begin(
        self,
        keep: bool,
        memory: int,
        limit: int,
        total: int,
        announced: int,
        cold: bool,
        failing: str,
        first: int,
    ) -> None:
        self.shop = Workshop(
            tempfile.gettempdir(),
            request_memory=memory,
            response_memory=memory,
            response_file=limit,
            disk_total=total,
        )
        self.keep, self.memory, self.limit, self.total = keep, memory, limit, total
        self.announced, self.failing = announced, failing
        if cold:
            self.shop.store.distrust()
        make = self.shop.store.request if keep else self.shop.store.response
        self.spool = make(self.shop.wake, announced)
        if first:
            self.spool.begin(BLOB[:first])
            self.fed = first

    def room(self) -> int:
        return (self.announced if self.announced >= 0 else len(BLOB)) - self.fed

    def takes(self) -> bool:
        return not self.spool.full and not self.spool.fault

    @rule(count=SIZES)
    def put(self, count: int) -> None:
        count = min(count, self.room())
        if count > 0 and self.takes() and not self.queued:
            self.spool.put(BLOB[self.fed : self.fed + count])
            self.fed += count

    @rule(count=SIZES)
    def send(self, count: int) -> None:
        count = min(count, self.room())
        if count > 0:
            try:
                sent = self.sender.send(BLOB[self.fed : self.fed + count])
            except BlockingIOError:
                return
            self.fed += sent
            self.queued += sent

    @rule(most=st.sampled_from([1, 5000, CHUNK, 1 << 20]))
    def fill(self, most: int) -> None:
        if not self.queued or not self.takes():
            return
        try:
            self.queued -= self.spool.fill(self.source, min(most, self.queued))
        except BlockingIOError:
            assert not _readable(self.source)

    @rule(times=st.integers(1, 8))
    def drain(self, times: int) -> None:
        for _ in range(times):
            if not self.spool.fault:
                with suppress(BlockingIOError):
                    self.spool.drain(self.sink[0])
            if times > 1:
                self.read()

    @rule()
    def read(self) -> None:
        try:
            self.got += self.sink[1].recv(1 << 20)
        except BlockingIOError:
            return

    @rule(which=st.integers(0, 3))
    def finish(self, which: int) -> None:
        self.shop.disk.finish(which)

    @rule()
    def rest(self) -> None:
        self.spool.rest()

    @rule()
    def part(self) -> None:
        self.spool.part()

    @rule()
    def rewind(self) -> None:
        out = self.spool.size - self.spool.left
        if self.spool.rewind() and out:
            assert self.keep
            self.check_got()
            self.got += exactly(self.sink[1], out - len(self.got))
            self.check_got()
            self.got = b""

    @rule(error=st.sampled_from(ERRORS))
    def break_disk(self, error: int) -> None:
        call = self.failing
        if self.broken or not call:
            return
        self.broken.add(call)
        calls = call.split(" and ")
        for each in calls:
            self.break_call(each, errno.EINVAL if each == "splice" and len(calls) > 1 else error)

    def break_call(self, call: str, error: int) -> None:
        real = getattr(os, call)

        def failing(*args: Any, **kwargs: Any) -> Any:
            if call == "splice" and args[4] is None:
                return real(*args, **kwargs)  # not into a file
            raise OSError(error, os.strerror(error))

        self.patch.setattr(os, call, failing)

    def check_got(self) -> None:
        assert BLOB.startswith(self.got)

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "spool"):
            return
        held, shop = self.spool, self.shop
        self.check_got()
        assert held.size == self.fed - self.queued
        in_memory = len(held._front) + len(held._flight) + len(held._tail)
        assert in_memory <= self.memory + SLACK + (0 if self.keep else BURST)
        assert shop.store.used <= min(self.total, 1 << 40 if self.keep else self.limit)
        assert shop.store.used == held._booked
        if held.fault:
            assert self.broken or self.total == 100_000
        if not self.broken and not self.shop.disk.jobs and held._fd >= 0:
            assert os.fstat(held._fd).st_size == shop.store.used
        assert shop.faults == []

    def teardown(self) -> None:
        try:
            self.end()
        finally:
            drop(self.source, self.sender, *self.sink)
            self.patch.undo()
        assert descriptors() <= self.before

    def end(self) -> None:
        if hasattr(self, "spool"):
            if not self.spool.fault:
                self.got += read_all(self.shop, self.spool, self.sink, self.spool.size - len(self.got))
                if not self.spool.fault:
                    assert self.got == BLOB[: self.spool.size]
            self.spool.close()
            self.shop.shut()
            assert (self.shop.store.used, self.shop.store.files) == (0, 0)


def _readable(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


TestAnyOrder: Callable[..., Any] = AnyOrder.TestCase
AnyOrder.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
