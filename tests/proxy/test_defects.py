"""A defect in the record of a client whose exchange has a task: nothing of that exchange is left behind."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from shieldproxy.core.address import Address
from shieldproxy.core.upstreams import UpstreamSpec
from shieldproxy.net.names import ConnectFailed
from shieldproxy.proxy import lease
from shieldproxy.proxy.admission import house_clients
from tests.kit.answers import held, reply
from tests.kit.upstream import Upstream
from tests.run.worker_rig import GET, Running, plan, running

HELD = GET.replace(b" / ", b" /held ")


@pytest.fixture
def server() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


async def never(_lobby: Any, bell: Any, _server: Any, _deadline: float, unwanted: Callable[[], bool]) -> Any:
    """A server that does not answer the SYN."""
    while not unwanted():
        await bell.wait(float("inf"))
    raise ConnectFailed("unwanted", "nobody waits for it any more")


async def strike(house: Running, port: int) -> None:
    """A defect in this client's record; then there is nothing left of its exchange."""
    inside, group = house.worker.house, house.worker.house.groups["legacy"]
    (rec,) = [rec for rec in house_clients(inside) if rec.port == port]
    inside.fault(rec, RuntimeError("a defect"))
    assert rec.fd < 0
    await trio.sleep(0.01)
    (line,) = [line for line in await house.lines("exchange") if line["port"] == port]
    assert (line["outcome"], line["by"], line["reason"]) == ("aborted", "proxy", "internal-error")
    assert "status" not in line
    assert "RuntimeError: a defect" in await house.errors()
    assert not group.line


@pytest.mark.parametrize("where", ["connect", "before its task runs", "response"])
async def test_a_defect_of_a_task_s_client_leaves_no_place_taken(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    release = threading.Event()
    server.on("/held", held(release, reply(b"late")))
    spec = UpstreamSpec("legacy", (Address.parse(server.address),), 1)
    async with running(plan(server, tmp_path, upstreams={"legacy": spec}, express=False)) as house:
        inside = house.worker.house
        (place,) = inside.groups["legacy"].servers
        if where == "connect":
            monkeypatch.setattr(lease, "connect", never)
        client = house.connect(HELD)
        await house.until(lambda: place.leased == 1)
        if where == "response":
            await house.until(lambda: len(server.requests) == 1)
        await strike(house, client.getsockname()[1])
        release.set()
        await house.until(lambda: (place.leased, inside.active) == (0, 0))
        assert place.open == len(place.idle)
        monkeypatch.undo()
        with trio.fail_after(3):
            await house.ask(house.connect())
        assert inside.active == 0
        assert place.leased == 0


async def test_one_in_line_leaves_it(server: Upstream, tmp_path: Path) -> None:
    release = threading.Event()
    server.on("/held", held(release, reply(b"late")))
    spec = UpstreamSpec("legacy", (Address.parse(server.address),), 1)
    async with running(plan(server, tmp_path, upstreams={"legacy": spec}, express=False)) as house:
        inside = house.worker.house
        group = inside.groups["legacy"]
        first = house.connect(HELD)
        await house.until(lambda: len(server.requests) == 1)
        second = house.connect(GET)
        await house.until(lambda: len(group.line) == 1)
        await strike(house, second.getsockname()[1])
        release.set()
        assert (await house.some(first)).endswith(b"late")
        await house.ask(house.connect())
        await house.until(lambda: inside.active == 0)
        assert group.servers[0].leased == 0
        assert len(server.requests) == 2
