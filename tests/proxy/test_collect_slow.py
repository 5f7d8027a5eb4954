"""Bodies that come slowly: the three limits, in either buffering; many of them; and when there is no room.

A worker in the test's own loop, whose clock is moved.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from shieldproxy.core.limits import Buffers
from shieldproxy.core.policy import Policy
from shieldproxy.core.upstreams import UpstreamSpec
from tests.kit.upstream import Upstream
from tests.proxy.bodies import BASE, BODY, HEAD, MEMORY, give, in_phase, told, where
from tests.run.worker_rig import HOURS, plan, running


@pytest.fixture
def server() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


# time

USUAL = replace(HOURS, body_idle=15.0, body_min_rate=500.0, body_total=3600.0)


def times(buffering: Any = None, **changes: float) -> Policy:
    return replace(BASE, timeouts=replace(USUAL, **changes), buffer_request=buffering)


@pytest.mark.parametrize("buffering", ["whole", "stream"])
async def test_an_honest_slow_upload_passes(
    server: Upstream, tmp_path: Path, mock_clock: MockClock, buffering: str
) -> None:
    """600 bytes a second where 500 are asked for, for two minutes; and at first nothing for 9 seconds."""
    mock_clock.rate = 1.0
    async with running(where(server, tmp_path, base=times(buffering))) as house:
        client = house.connect(HEAD % (b"a", b"Content-Length: 72000\r\n"))
        await trio.sleep(0.05)
        mock_clock.jump(9.0)
        for at in range(0, 72000, 6000):
            client.send(BODY[at : at + 6000])
            await trio.sleep(0.03)
            mock_clock.jump(10.0 if at else 1.0)
            await trio.sleep(0.03)
        await told(house, client, b"hello")
        assert server.one().body == BODY[:72000]


@pytest.mark.parametrize("buffering", ["whole", "stream"])
@pytest.mark.parametrize(
    ("reason", "changes", "step", "after"),
    [
        ("body-idle", {}, 0, 15),
        ("body-rate", {}, 4900, 10),
        ("body-total", {"body_total": 40.0}, 9000, 40),
    ],
)
async def test_a_slow_upload_ends(
    server: Upstream,
    tmp_path: Path,
    mock_clock: MockClock,
    buffering: str,
    reason: str,
    changes: dict[str, float],
    step: int,
    after: float,
) -> None:
    """So many bytes in each 10 seconds, until one of the three limits ends it, and when."""
    mock_clock.rate = 1.0
    async with running(where(server, tmp_path, base=times(buffering, **changes))) as house:
        client = house.connect(HEAD % (b"a", b"Content-Length: 390000\r\n") + BODY[:20000])
        began = trio.current_time()
        if reason == "body-rate":
            client = house.connect(HEAD % (b"a", b"Content-Length: 390000\r\n"))
        await trio.sleep(0.05)
        for _ in range(12):
            if step:
                client.send(BODY[:step])
            await trio.sleep(0.03)
            for _ in range(10):
                mock_clock.jump(0.98)
                await trio.sleep(0.02)
            if any(line["reason"] == reason for line in await house.lines("exchange")):
                break
        (line,) = await house.lines("exchange", client)
        assert (line["status"], line["reason"], line["by"], line["phase"]) == (408, reason, "client", "body")
        assert after <= line["seconds"] < after + 2.5
        assert trio.current_time() - began < after + 12
        assert not server.requests


# many, and no room


async def test_many_slow_uploads_hold_no_place(server: Upstream, tmp_path: Path) -> None:
    """200 of them, and a good client is served through the only connection there may be."""
    one = UpstreamSpec("legacy", plan(server, tmp_path).upstreams["legacy"].servers, 1)
    async with running(where(server, tmp_path, upstreams={"legacy": one})) as house:
        slow = [house.connect(HEAD % (b"a", b"Content-Length: 1000\r\n") + b"x") for _ in range(200)]
        await house.until(lambda: in_phase(house, "body") == 200)
        promotions = house.worker.house.promotions
        assert not promotions
        good = house.connect()
        for _ in range(20):
            await house.ask(good)
        assert promotions == {"connect": 1}
        assert server.requests[0].connection == 0
        assert len(server.links) == 1
        for client in slow:
            client.send(b"y" * 999)
        await house.until(lambda: len(server.requests) == 220)
        assert len(server.links) == 1
        assert (server.violations, server.incomplete) == ([], [])


@pytest.mark.parametrize("why", ["disk_total", "directory"])
async def test_no_room_on_the_disk(server: Upstream, tmp_path: Path, why: str) -> None:
    if why == "directory":
        buffers = Buffers(request_memory=MEMORY, directory=str(tmp_path / "none"))
    else:
        buffers = Buffers(request_memory=MEMORY, directory=str(tmp_path), disk_total=100_000)
    async with running(where(server, tmp_path, buffers=buffers)) as house:
        client = house.connect()
        await give(client, HEAD % (b"a", b"Content-Length: 390000\r\n") + BODY[:300_000])
        got = await told(house, client, b"spool-full")
        assert got.startswith(b"HTTP/1.1 503")
        assert b"\r\nRetry-After: " in got
        assert not server.links
        other = house.connect()
        await give(other, HEAD % (b"a", b"Content-Length: %d\r\n" % MEMORY) + BODY[:MEMORY])
        await told(house, other, b"hello")
        inside = house.worker.house
        await house.until(lambda: inside.store.used == inside.store.files == 0)


async def test_slow_uploads_make_room(server: Upstream, tmp_path: Path, mock_clock: MockClock) -> None:
    """At max_connections the slow one of two uploads goes; the one that moves on stays."""
    mock_clock.rate = 1.0
    async with running(where(server, tmp_path, base=times(), max_connections=2)) as house:
        slow = house.connect(HEAD % (b"a", b"Content-Length: 30000\r\n") + b"x")
        quick = house.connect(HEAD % (b"b", b"Content-Length: 30000\r\n"))
        await house.until(lambda: in_phase(house, "body") == 2)
        mock_clock.jump(6.0)
        quick.send(BODY[:29_999])
        await trio.sleep(0.05)
        newcomer = house.connect()
        await house.ask(newcomer)
        assert (await house.some(slow)).startswith(b"HTTP/1.1 503")
        assert house.worker.house.counts["evicted"] == 1
        quick.send(b"x")
        await told(house, quick, b"hello")
        (line,) = await house.lines("exchange", slow)
        assert (line["outcome"], line["phase"], line["reason"], line["status"]) == (
            "refused", "body", "evicted", 503
        )  # fmt: skip
        slow.close()
        await house.until(lambda: "linger" not in house.phases())
        (receipt,) = await house.lines("connection")
        assert (receipt["by"], receipt["phase"], receipt["reason"]) == ("proxy", "exchange", "evicted")
