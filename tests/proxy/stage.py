"""One client before a worker, and a recorder where the express lane hands an exchange to a task."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import pytest
import trio

from shieldproxy.core.closing import State
from shieldproxy.net.record import Downstream
from shieldproxy.net.server import Server
from shieldproxy.proxy import exchange as exchange_module
from shieldproxy.proxy.admission import house_clients
from shieldproxy.proxy.express import Express
from shieldproxy.proxy.house import House
from shieldproxy.proxy.state import Exchange
from tests.kit.upstream import Upstream
from tests.run.worker_rig import Running, plan, running

NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"


@dataclass
class Handed:
    """What the lane gave the task."""

    reason: str
    ex: Exchange
    request: bytes
    to_up: bytes
    to_down: bytes
    from_up: bytes
    rest: bytes
    answered: bool
    up: bool
    place: bool
    retries: int
    latch: int
    leased: int


class Recorder:
    """Stands between the express lane and the task."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.handed: list[Handed] = []
        self.hold = trio.Event()
        self.hold.set()
        original, serve = Express.promote, exchange_module.serve

        def promote(lane: Express, ex: Exchange, reason: str, **more: Any) -> None:
            original(lane, ex, reason, **more)
            rec, up = ex.rec, ex.up
            assert rec.due == inf, "a deadline of the lane would end the task's exchange"
            assert up is None or up.due == inf
            assert ex.policy is rec.policy
            assert rec.exchange is ex
            assert up is None or up.exchange is ex
            assert rec.state is State.ACTIVE
            self.handed.append(
                Handed(
                    reason, ex, ex.request, bytes(ex.to_up), bytes(ex.to_down), ex.from_up, bytes(rec.buf),
                    ex.answered, up is not None, isinstance(ex.place, Server), ex.retries, rec.latch,
                    sum(server.leased for server in ex.group.servers),
                )
            )  # fmt: skip

        async def later(house: House, ex: Exchange) -> None:
            await self.hold.wait()
            await serve(house, ex)

        monkeypatch.setattr(Express, "promote", promote)
        monkeypatch.setattr(exchange_module, "serve", later)


class Tight:
    """A socket whose kernel takes little at first."""

    def __init__(self, sock: socket.socket, size: int) -> None:
        self._sock = sock
        self._size = size

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def send(self, data: bytes) -> int:
        size, self._size = self._size, 1 << 30
        return self._sock.send(data[:size])


@dataclass
class Stage:
    """A worker with one pooled connection and one known client, and the recorder."""

    house: Running
    recorder: Recorder
    client: socket.socket
    rec: Downstream

    async def promoted(self, reason: str) -> Handed:
        await self.house.until(lambda: bool(self.recorder.handed))
        (handed,) = self.recorder.handed
        assert handed.reason == reason
        assert self.house.worker.house.promotions[reason] == 1
        return handed

    async def answer(self, body: bytes, *, then: bytes = b"next") -> bytes:
        """Both answers of this client: that of the promoted exchange, and that of the one behind it."""
        got = b""
        while not got.endswith(then) or body not in got:
            piece = await self.house.some(self.client)
            assert piece, f"ended after {got[-200:]!r}"
            got += piece
        assert got.count(b"HTTP/1.1 200 OK") == 2
        return got

    def one_request(self, server: Upstream, wanted: bytes = b"/", body: bytes = b"") -> None:
        """The upstream saw this request once, whole (and again only if it was sent again)."""
        assert server.violations == []
        assert server.incomplete == []
        (seen,) = [request for request in server.requests[1:] if request.target == wanted]
        assert seen.body == body


@asynccontextmanager
async def staged(
    server: Upstream, log: Path, monkeypatch: pytest.MonkeyPatch, *, warm: bool = True, **changes: Any
) -> AsyncIterator[Stage]:
    async with running(plan(server, log, **changes)) as house:
        client = house.connect()
        if warm:
            await house.ask(client)
        else:
            await house.until(lambda: house.worker.house.held == 1)
        house.worker.house.promotions.clear()
        (rec,) = house_clients(house.worker.house)
        yield Stage(house, Recorder(monkeypatch), client, rec)
