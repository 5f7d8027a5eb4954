"""Exchanges without a client, and ends of ours: a drain, and defects."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from shieldproxy.proxy.admission import stop_all, unfinished
from shieldproxy.proxy.attend import Attended
from tests.kit.answers import held, reply
from tests.kit.sockets import reset
from tests.kit.upstream import Upstream
from tests.proxy.forsaken import POST, before, forsaken
from tests.run.worker_rig import running


@pytest.fixture
def server() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture
def release() -> threading.Event:
    return threading.Event()


async def test_a_drain_waits(server: Upstream, tmp_path: Path, release: threading.Event) -> None:
    server.on("/held", held(release, reply(b"late")))
    async with running(before(server, tmp_path)) as house:
        worker = house.worker
        await forsaken(house, server)
        worker._nursery.start_soon(worker._drain, [])
        await trio.sleep(0.15)
        assert not worker._drained.is_set()
        assert unfinished(worker.house) == 1
        release.set()
        await house.until(worker._drained.is_set)
        assert server.links[0].end != "rst"


async def test_a_client_that_goes_while_a_drain_waits(
    server: Upstream, tmp_path: Path, release: threading.Event
) -> None:
    server.on("/held", held(release, reply(b"late")))
    async with running(before(server, tmp_path)) as house:
        worker = house.worker
        client = house.connect(POST)
        await house.until(lambda: len(server.requests) == 1)
        worker._nursery.start_soon(worker._drain, [])
        await house.until(lambda: worker.house.draining)
        reset(client)
        await house.until(lambda: len(worker.house.attended) == 1)
        assert not worker._drained.is_set()
        release.set()
        await house.until(worker._drained.is_set)


async def test_a_drain_s_end_cuts_it(server: Upstream, tmp_path: Path, release: threading.Event) -> None:
    """With a FIN, and its spool is put away."""
    server.on("/held", held(release, reply(b"late")))
    async with running(before(server, tmp_path)) as house:
        await forsaken(house, server)
        stop_all(house.worker.house)
        assert not house.worker.house.attended
        release.set()
        await house.until(lambda: server.links[0].end == "fin")


async def test_a_defect_in_it_is_its_own(
    server: Upstream, tmp_path: Path, release: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on("/held", held(release, reply(b"late")))

    def faulty(*_: object) -> None:
        raise RuntimeError("a defect")

    async with running(before(server, tmp_path)) as house:
        await forsaken(house, server)
        monkeypatch.setattr(Attended, "_receive", faulty)
        release.set()
        await house.until(lambda: not house.worker.house.attended)
        assert "a defect" in await house.errors()
        assert (await house.ask(house.connect())).endswith(b"hello")
        (place,) = house.worker.house.groups["legacy"].servers
        await house.until(lambda: (place.leased, place.open) == (0, 1))
