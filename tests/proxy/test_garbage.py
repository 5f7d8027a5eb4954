"""What serves an exchange is gone when it is over: by its references alone, without the collector.

The worker lets the collector run seldom (run/worker.py), and a young collection moves what it finds in use
into an older generation. So garbage in a cycle stays for thousands of clients, and looks like a leak: a
task's hand and its bell once held themselves, eight objects for each task beyond those that are kept.
"""

import gc
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from shieldproxy.core.address import Address
from shieldproxy.core.limits import Timeouts
from shieldproxy.core.policy import Buffering, Policy
from shieldproxy.core.upstreams import UpstreamSpec
from shieldproxy.proxy import crew
from tests.kit.answers import reply
from tests.kit.upstream import Upstream
from tests.run.worker_rig import GET, LAST, Running, plan, running

EACH = 8
ROUNDS = 3
BIG = b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNK = b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
PHASES = (
    b"",
    b"GET / HTTP/1.1\r\nX: ",
    GET,
    LAST,
    BIG,
    b"no request\r\n\r\n",
    POST + b"Content-Length: 100\r\n\r\nx",
    POST + CHUNK,
    POST + CHUNK + b"0\r\n\r\n",
)
"""What a client has sent when it goes: it is fresh, in a head, idle, lingering, behind with a response,
refused, in a body of either framing, and idle again."""
SHORT = Timeouts(head=0.2, keep_alive=0.2, linger_gap=0.1, linger_total=0.3, body_idle=0.2, send_idle=0.2)


@pytest.fixture
def server() -> Iterator[Upstream]:
    upstream = Upstream()
    upstream.on("/big", reply(bytes(16 << 20)))
    yield upstream
    upstream.close()


@contextmanager
def uncollected() -> Iterator[Counter[str]]:
    """Only one collection, at the end; what it finds of the product's, by its type or function."""
    told: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    try:
        yield told
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        for thing in gc.garbage:
            if str(getattr(thing, "__module__", "")).startswith("shieldproxy."):
                told[getattr(thing, "__qualname__", type(thing).__qualname__)] += 1
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def crowd(house: Running, *, resets: bool) -> None:
    """Come together, and go by a reset or by our timeouts; until nobody is held.

    Those that are behind are always reset: it takes seconds to find that they are not just slow.
    """
    inside = house.worker.house
    before = inside.counts["accepted"]
    clients = [house.connect(data) for data in PHASES for _ in range(EACH)]
    behind = clients[PHASES.index(BIG) * EACH :][:EACH]
    await house.until(lambda: inside.counts["accepted"] == before + len(clients))
    await trio.testing.wait_all_tasks_blocked(0.02)
    for client in clients if resets else behind:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    await house.until(lambda: inside.held == inside.active == 0)
    for client in clients:
        client.close()
        house.clients.remove(client)
    await trio.testing.wait_all_tasks_blocked(0.02)


@pytest.mark.parametrize("resets", [True, False], ids=["reset", "silent"])
@pytest.mark.parametrize("buffering", ["whole", "stream"])
@pytest.mark.parametrize("express", [True, False], ids=["express", "task"])
async def test_no_client_leaves_garbage(
    server: Upstream,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    express: bool,
    buffering: Buffering,
    resets: bool,
) -> None:
    monkeypatch.setattr(crew, "KEPT", 2)
    places = UpstreamSpec("legacy", (Address.parse(server.address),), len(PHASES) * EACH)
    base = Policy(timeouts=SHORT, buffer_request=buffering)
    where = plan(server, tmp_path, express=express, base=base, upstreams={"legacy": places})
    async with running(where) as house:
        await crowd(house, resets=resets)
        tasks = house.worker.house.promotions.total()
        with uncollected() as garbage:
            for _ in range(ROUNDS):
                await crowd(house, resets=resets)
        tasks = house.worker.house.promotions.total() - tasks
        with_body = 3 if buffering == "stream" else 0
        assert tasks >= ROUNDS * (1 + with_body) * EACH, "those with a body or a large answer had one"
        assert not garbage
