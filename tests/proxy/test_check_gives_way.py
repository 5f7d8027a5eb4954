"""A check that holds the only place of its server gives it to the request that comes to wait for it."""

import threading
from pathlib import Path

import trio

from shieldproxy.core.address import Address
from shieldproxy.core.upstreams import HealthSpec, UpstreamSpec
from tests.kit.answers import held, reply
from tests.kit.link import Turn
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


async def test_only_the_check_of_a_server_that_may_be_asked(tmp_path: Path) -> None:
    """One that is left out could not serve who waits: only its checks can bring it back."""
    release, well, out = threading.Event(), Upstream(), Upstream()
    begun = []

    def slowly(turn: Turn) -> None:
        begun.append(turn)
        turn.wait(release)
        turn.send(reply())

    well.on("/health", reply())
    out.on("/health", reply(status="500 No"))
    check = HealthSpec("/health", interval=0.05, timeout=60.0, fall=1, rise=1)
    addresses = (Address.parse(well.address), Address.parse(out.address))
    spec = UpstreamSpec("legacy", addresses, 1, health=check)
    try:
        async with running(plan(well, tmp_path, upstreams={"legacy": spec})) as house:
            group = house.worker.house.groups["legacy"]
            first, second = group.servers
            await house.until(lambda: second.health.down)
            out.on("/health", slowly)
            well.on("/", held(release, reply()))
            await house.until(lambda: len(begun) == 1)
            clients = [house.connect(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") for _ in range(3)]
            await house.until(lambda: len(group.line) == 2)
            for _ in range(50):  # whoever was rung has had its turn by then
                await trio.lowlevel.checkpoint()
            assert second in group.checks
            assert len(begun) == 1
            release.set()
            await house.until(lambda: not second.health.down)
            await house.until(lambda: sum(seen.target == b"/" for seen in well.requests + out.requests) == 3)
            assert (first.health.down, len(clients)) == (False, 3)
    finally:
        release.set()
        well.close()
        out.close()


async def test_the_check_of_a_server_that_may_be_asked_from_now_on(tmp_path: Path) -> None:
    """Who waits already is given the place of a backup's check as soon as the backup's turn has come."""
    release, well, backup = threading.Event(), Upstream(), Upstream()
    well.on("/health", reply())
    well.on("/", held(release, reply()))
    backup.on("/health", held(release, reply()))
    check = HealthSpec("/health", interval=0.05, timeout=60.0, fall=1, rise=1)
    addresses, others = (Address.parse(well.address),), (Address.parse(backup.address),)
    spec = UpstreamSpec("legacy", addresses, 1, health=check, backup=others)
    try:
        async with running(plan(well, tmp_path, upstreams={"legacy": spec})) as house:
            group = house.worker.house.groups["legacy"]
            first, second = group.servers
            await house.until(lambda: second in group.checks)
            asked = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
            clients = [house.connect(asked)]
            await house.until(lambda: any(seen.target == b"/" for seen in well.requests))
            clients.append(house.connect(asked))
            await house.until(lambda: len(group.line) == 1)
            assert second in group.checks
            while first.health.usable(house.worker.lobby.now):
                group.failed(first, "no")
            await house.until(lambda: any(seen.target == b"/" for seen in backup.requests))
            assert (len(group.line), len(clients)) == (0, 2)
    finally:
        release.set()
        well.close()
        backup.close()
