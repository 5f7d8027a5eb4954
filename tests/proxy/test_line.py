"""The line before a server: who has left it is granted nothing, whatever becomes of its own answer."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shieldproxy.core.address import Address
from shieldproxy.core.upstreams import UpstreamSpec
from shieldproxy.proxy.admission import house_clients
from tests.kit.answers import held, reply
from tests.kit.full import Full
from tests.kit.sockets import reset
from tests.kit.upstream import Upstream
from tests.run.worker_rig import plan, running

WAITS = {
    "express": b"GET /waits HTTP/1.1\r\nHost: a\r\n\r\n",
    "task": b"POST /waits HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
}


@pytest.fixture
def server() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.mark.parametrize("waits", WAITS.values(), ids=WAITS)
async def test_who_waited_too_long_and_does_not_read_holds_nobody_up(
    server: Upstream, tmp_path: Path, waits: bytes
) -> None:
    """Its 503 cannot be written; the connection that comes free is the next client's."""
    release = threading.Event()
    server.on("/held", held(release, reply(b"late")))
    spec = UpstreamSpec("legacy", (Address.parse(server.address),), 1, queue_timeout=0.2)
    async with running(plan(server, tmp_path, upstreams={"legacy": spec})) as house:
        holder = house.connect(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
        await house.until(lambda: len(server.requests) == 1)
        slow = house.connect()
        await house.until(lambda: house.worker.house.held == 2)
        (rec,) = [rec for rec in house_clients(house.worker.house) if rec.port == slow.getsockname()[1]]
        rec.sock = full = Full(rec.sock)  # type: ignore[assignment]  # what stands in for a full kernel
        slow.send(waits)
        await house.until(lambda: full.tries > 0)
        release.set()
        await house.ask(house.connect())
        assert (await house.some(holder)).endswith(b"late")
        assert [seen.target for seen in server.requests] == [b"/held", b"/"]
        reset(slow)
        await house.until(lambda: rec.fd < 0)
