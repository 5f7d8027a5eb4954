"""Clients that leave their request at a server, inside the test's own loop."""

import threading
from pathlib import Path
from typing import Any

from shieldproxy.core.address import Address
from shieldproxy.core.plan import Plan
from shieldproxy.core.upstreams import UpstreamSpec
from tests.kit.sockets import reset
from tests.kit.upstream import Upstream
from tests.run.worker_rig import Running, plan

POST = b"POST /held HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"


def before(server: Upstream, log: Path, **changes: Any) -> Plan:
    """A plan with one place at the server."""
    more = changes.pop("more", {})
    spec = UpstreamSpec("legacy", (Address.parse(server.address),), 1, **changes)
    return plan(server, log, upstreams={"legacy": spec}, **more)


async def forsaken(house: Running, server: Upstream, data: bytes = POST) -> None:
    """A client asks, and resets while the server works on it."""
    client = house.connect(data)
    await house.until(lambda: len(server.requests) == 1)
    reset(client)
    await house.until(lambda: house.worker.house.active == 0)


async def served_on(house: Running, server: Upstream, release: threading.Event) -> list[int]:
    """On which connections the requests came, the next one among them."""
    release.set()
    assert (await house.ask(house.connect())).endswith(b"hello")
    worker = house.worker.house
    assert not worker.attended
    assert (server.violations, server.incomplete, server.resets) == ([], [], [])
    (place,) = worker.groups["legacy"].servers
    await house.until(lambda: place.leased == 0)
    assert place.open <= 1
    return [request.connection for request in server.requests]
