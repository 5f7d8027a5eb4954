"""A worker inside the test's own trio loop, in front of a threaded upstream, at a port of its own."""

import contextlib
import gc
import json
import os
import resource
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import trio

from shieldproxy.core.address import Address
from shieldproxy.core.closing import State
from shieldproxy.core.limits import Timeouts
from shieldproxy.core.plan import Plan
from shieldproxy.core.policy import Policy
from shieldproxy.core.routes import Route
from shieldproxy.core.upstreams import UpstreamSpec
from shieldproxy.net.listener import bind
from shieldproxy.proxy.admission import house_clients
from shieldproxy.run import worker as worker_module
from shieldproxy.run.sink import Sink
from shieldproxy.run.worker import Room, Worker
from tests.kit.upstream import Upstream

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
HOURS = Timeouts(
    head=3600, keep_alive=3600, linger_gap=3600, linger_total=7200, body_idle=3600, send_idle=3600
)
"""Nobody is reaped while a test looks."""


def plan(upstream: Upstream, log: Path, **changes: Any) -> Plan:
    """A plan with one route to one upstream; the timeouts are long unless `base` says otherwise."""
    made = Plan(
        listen=(Address("127.0.0.1", 0, ""),),
        routes=(Route("legacy"),),
        upstreams={"legacy": UpstreamSpec("legacy", (Address.parse(upstream.address),), 8)},
        base=Policy(timeouts=HOURS),
        access=str(log / "access"),
        error=str(log / "error"),
        level="debug",
        drain_timeout=5.0,
    )
    return replace(made, **changes)


class Running:
    """A worker that serves, and its clients."""

    def __init__(self, worker: Worker, where: Plan, address: tuple[str, int]) -> None:
        self.worker = worker
        self.address = address
        self.plan = where
        self.clients: list[socket.socket] = []

    def connect(self, data: bytes = b"") -> socket.socket:
        """A client; the kernel completes its handshake without the worker."""
        sock = socket.create_connection(self.address)
        sock.setblocking(False)
        self.clients.append(sock)
        if data:
            sock.send(data)
        return sock

    async def until(self, true: Callable[[], bool], seconds: float = 10.0) -> None:
        """Let the worker work until it is so."""
        for _ in range(int(seconds / 0.002)):
            if true():
                return
            await trio.sleep(0.002)
        raise AssertionError("waited in vain")

    async def read(self, sock: socket.socket, count: int) -> bytes:
        """So many bytes of an answer, or what there was until the end."""
        got = bytearray()
        with trio.fail_after(3):
            while len(got) < count:
                await trio.lowlevel.wait_readable(sock)
                piece = sock.recv(count - len(got))
                if not piece:
                    break
                got += piece
        return bytes(got)

    async def some(self, sock: socket.socket) -> bytes:
        """What has come, or comes next; nothing at the end."""
        with trio.fail_after(3):
            await trio.lowlevel.wait_readable(sock)
        return sock.recv(1 << 18)

    async def rest(self, sock: socket.socket) -> bytes:
        """Everything until the end."""
        return await self.read(sock, 1 << 30)

    async def ask(self, sock: socket.socket, data: bytes = GET) -> bytes:
        """One exchange of a response whose body is `hello`, until it is over for the worker too."""
        sock.send(data)
        got, port = b"", sock.getsockname()[1]
        while not got.endswith(b"hello"):
            piece = await self.some(sock)
            assert piece, f"ended after {got!r}"
            got += piece
        clients = partial(house_clients, self.worker.house)
        await self.until(lambda: all(rec.port != port or rec.state is not State.ACTIVE for rec in clients()))
        return got

    def phases(self) -> dict[str, int]:
        """How many clients are held in each phase."""
        counts: dict[str, int] = {}
        for rec in self.worker.lobby.all():
            phase = getattr(rec, "phase", None)
            if phase is not None:
                counts[phase] = counts.get(phase, 0) + 1
        return counts

    async def lines(self, kind: str, sock: socket.socket | None = None) -> list[dict[str, Any]]:
        """What the access log has of a kind (of one client)."""
        await self._written(self.worker._journal.access)
        port = sock.getsockname()[1] if sock is not None else None
        found = [json.loads(line) for line in text_of(self.plan.access).splitlines()]
        return [line for line in found if line["kind"] == kind and port in {None, line.get("port")}]

    async def _written(self, sink: Sink) -> None:
        await sink.flush()
        await self.until(lambda: sink._size == 0)

    async def errors(self) -> str:
        """The error log so far."""
        await self._written(self.worker._journal.error)
        return text_of(self.plan.error)


def text_of(file: str) -> str:
    """A log as it is now; small, and local."""
    return Path(file).read_text()


@contextlib.contextmanager
def collector_kept() -> Iterator[None]:
    """A worker tunes the collector for itself: put it back."""
    before = gc.get_threshold()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


@asynccontextmanager
async def running(where: Plan, shared: int = 4096) -> AsyncIterator[Running]:
    """Serve by a plan; at the end the worker is told to stop at once, and its logs are closed.

    Args:
        where: the plan.
        shared: descriptors for clients and files of spools together.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    journal = worker_module._open_logs(where)
    sockets = [bind(address) for address in where.listen]
    worker = Worker(where, journal, sockets, Room(where.max_connections, 256, shared, 1024))
    made = Running(worker, where, sockets[0].getsockname())
    ready = trio.Event()
    with collector_kept():
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(worker.serve, lambda _: ready.set())
                with trio.fail_after(5):
                    await ready.wait()
                yield made
                worker._drained.set()
        finally:
            for sock in made.clients:
                sock.close()
            if not worker.lobby.epoll.closed:
                worker.lobby.shut()
            for sink in (journal.access, journal.error):
                if sink.on:
                    os.close(sink._fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
