"""A check that holds the only place of its server gives it to the request that comes to wait for it."""

import threading
from pathlib import Path

import trio

from shieldproxy.core.address import Address
from shieldproxy.core.upstreams import HealthSpec, UpstreamSpec
from tests.kit.answers import held, reply
from tests.kit.upstream import Upstream
from tests.run.worker_rig import plan, running


async def test_a_check_that_hangs_keeps_nobody_waiting(tmp_path: Path) -> None:
    """It has found nothing then: the server is neither well nor unwell for it."""
    release, server = threading.Event(), Upstream()
    server.on("/health", held(release, reply()))
    check = HealthSpec("/health", interval=0.05, timeout=60.0, fall=1)
    spec = UpstreamSpec("legacy", (Address.parse(server.address),), 1, health=check)
    try:
        async with running(plan(server, tmp_path, upstreams={"legacy": spec})) as house:
            group = house.worker.house.groups["legacy"]
            (place,) = group.servers
            await house.until(lambda: len(server.requests) == 1)
            assert len(group.checks) == 1
            client = house.connect()
            with trio.fail_after(5):
                await house.ask(client)
            assert [seen.target for seen in server.requests][:2] == [b"/health", b"/"]
            assert group.ejections == 0
            assert not place.health.down
            release.set()
            await house.until(lambda: len(server.requests) > 4)
            await house.ask(client)
            assert place.open <= 1
        assert not group.line
    finally:
        release.set()
        server.close()
