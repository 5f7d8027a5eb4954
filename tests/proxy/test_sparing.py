"""With nothing left to send again, none is trusted to a connection that its server is about to close."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shieldproxy.core.address import Address
from shieldproxy.core.retry import FLOOR, WINDOW
from shieldproxy.core.upstreams import UpstreamSpec
from tests.kit.upstream import Upstream
from tests.net.pools import Pool
from tests.run.worker_rig import GET, plan, running


@pytest.fixture
def server() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.mark.parametrize("express", [True, False], ids=["express", "task"])
@pytest.mark.parametrize(("share", "links"), [(0.0, 2), (0.2, 1)], ids=["none", "some"])
@pytest.mark.parametrize("spent", [False, True])
async def test_a_get_is_as_careful_as_a_post_then(
    server: Upstream, tmp_path: Path, express: bool, share: float, links: int, spent: bool
) -> None:
    """The connection has been idle for almost as long as this server keeps them."""
    spec = UpstreamSpec("legacy", (Address.parse(server.address),), 4, retry_budget=share)
    async with running(plan(server, tmp_path, upstreams={"legacy": spec}, express=express)) as house:
        group = house.worker.house.groups["legacy"]
        client = house.connect()
        await house.ask(client)
        (place,) = group.servers
        await house.until(lambda: bool(place.idle))
        place.patience.ended(
            house.worker.lobby.tick() - 1, 0.0
        )  # it closes behind its responses, as far as seen
        place.patience.ended(house.worker.lobby.now, 0.0)
        if spent:
            while group.may_repeat():
                pass
        await house.ask(client, GET)
        assert len(server.links) == (2 if spent else links)


def sparing(pool: Pool) -> bool:
    return pool.group.sparing


def test_it_is_over_when_there_is_a_budget_again() -> None:
    pool = Pool(most=4)
    assert not sparing(pool)
    assert [pool.group.may_repeat() for _ in range(FLOOR)] == [True] * FLOOR
    assert sparing(pool), "known before a request is lost to it"
    assert not pool.group.may_repeat()
    pool.lobby.now += WINDOW
    assert sparing(pool)
    pool.lobby.now += WINDOW
    assert not sparing(pool)
    assert pool.group.may_repeat()


def test_without_a_share_it_is_never_over() -> None:
    pool = Pool(most=4, retry_budget=0.0)
    pool.lobby.now += 1e9
    assert sparing(pool)
