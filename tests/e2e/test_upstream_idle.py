"""The server's own idle time-out is learned: requests that may be sent only once never meet its close.

A server that closes idle connections after two seconds, and clients that come back in just that moment. They
are in bands, each with a pool of its own: a band's clients ask all at once, and again when the connections
that they left idle are about as old as the server lets them be.
"""

import random
from collections import Counter
from typing import Final

import pytest
import trio

from tests.e2e.conftest import Bench
from tests.kit.curt import Curt
from tests.kit.proxy import Proxy

PATIENCE: Final = 2.0
BANDS: Final = 20
EACH: Final = 50
"""Clients of a band, and places at the server for it."""
ROUNDS: Final = 10
ALL: Final = BANDS * EACH * ROUNDS
AROUND: Final = 0.04
"""Seconds before and after the server's time-out within which a band comes back."""


class Client:
    """One connection, and what its requests were answered with."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.stream: trio.SocketStream | None = None
        self.statuses: Counter[bytes] = Counter()

    async def ask(self, proxy: Proxy, method: str, turn: int) -> None:
        """Send one request and read its answer."""
        if self.stream is None:
            host, _, port = proxy.address.rpartition(":")
            self.stream = await trio.open_tcp_stream(host, int(port))
        body = "Content-Length: 1\r\n\r\nx" if method == "POST" else "\r\n"
        await self.stream.send_all(f"{method} {self.path}/{turn} HTTP/1.1\r\nHost: a\r\n{body}".encode())
        data = b""
        while b"\r\n\r\n" not in data or not data.endswith((b"ok", b"\n")):
            more = await self.stream.receive_some()
            assert more, f"{method}: the proxy has closed after {data!r}"
            data += more
        self.statuses[data.split(b" ", 2)[1]] += 1


async def _band(proxy: Proxy, clients: list[Client], chance: random.Random) -> None:
    """Each round at once, each about as late as the server closes what the last one left idle."""
    for turn in range(ROUNDS):
        async with trio.open_nursery() as asking:
            for client in clients:
                asking.start_soon(client.ask, proxy, chance.choice(("GET", "POST")), turn)
        await trio.sleep(PATIENCE + chance.uniform(-AROUND, AROUND))
    for client in clients:
        assert client.stream is not None
        await client.stream.aclose()


async def _all(proxy: Proxy, server: Curt, bands: list[list[Client]]) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        async with trio.open_nursery() as asking:
            for number, clients in enumerate(bands):
                chance = random.Random(number)
                asking.start_soon(_band, proxy, clients, chance)
                await trio.sleep(PATIENCE / BANDS)
        nursery.cancel_scope.cancel()


@pytest.mark.slow
def test_ten_thousand_requests_and_a_server_that_closes_after_two_seconds(bench: Bench) -> None:
    server = Curt(PATIENCE)
    upstreams = {f"u{n}": {"servers": [server.address], "max_connections": EACH} for n in range(BANDS)}
    routes = [{"path": f"/{n}", "upstream": f"u{n}"} for n in range(BANDS)]
    proxy = bench.proxy(upstreams, route=routes)
    bands = [[Client(f"/{n}/{number}") for number in range(EACH)] for n in range(BANDS)]
    trio.run(_all, proxy, server, bands)
    statuses = sum((client.statuses for band in bands for client in band), Counter[bytes]())
    lost = [line for line in proxy.lines("exchange") if line["status"] != 200]
    assert not lost, Counter((line["method"], line["reason"], line.get("retries")) for line in lost)
    assert statuses == {b"200": ALL}
    assert {what: count for what, count in server.ran.items() if count != 1} == {}
    assert len(server.ran) == ALL
    assert server.closed > EACH * BANDS / 2, "the server's time-out was hardly met"
    again = Counter(line["method"] for line in proxy.lines("exchange") if line.get("retries"))
    print(f"{server.taken} connections, {server.closed} closed by the server, sent again: {dict(again)}")
