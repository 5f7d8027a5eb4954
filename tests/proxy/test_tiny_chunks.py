"""Bodies of the smallest chunks there are: their reader lets the others have a turn, in both directions."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from shieldproxy.core.body import FEW, FEWER, ChunkedReader
from shieldproxy.core.policy import Policy
from shieldproxy.net.spool import Spool
from tests.kit.answers import held
from tests.kit.upstream import Upstream
from tests.proxy.bodies import LIMIT, framed, give, told, where
from tests.proxy.forsaken import before, forsaken, served_on
from tests.run.worker_rig import HOURS, running

BODY = bytes(range(256)) * 200
WIRE = len(framed(BODY, "chunked", 1)[1])


@pytest.fixture
def server() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.mark.parametrize("how", ["whole", "stream"])
@pytest.mark.parametrize("express", [True, False], ids=["express", "task"])
async def test_of_a_request(
    server: Upstream,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    express: bool,
    how: Literal["whole", "stream"],
) -> None:
    assert len(BODY) < LIMIT
    puts: list[int] = []
    put = Spool.put

    def counted(spool: Spool, data: bytes) -> None:
        puts.append(len(data))
        put(spool, data)

    monkeypatch.setattr(Spool, "put", counted)
    base = Policy(timeouts=HOURS, buffer_request=how)
    async with running(where(server, tmp_path, express=express, base=base)) as house:
        lobby = house.worker.house.lobby
        client = house.connect()
        await house.ask(client)
        head, data = framed(BODY, "chunked", 1)
        turns = lobby.turns
        await give(client, head + data)
        await told(house, client, b"hello")
        assert how == "stream" or lobby.turns - turns >= WIRE // FEW
        _, seen = server.wait_requests(2)
        assert seen.body == BODY
        assert server.violations == []
        assert len(puts) <= 2 * (WIRE // FEW + lobby.turns - turns), (
            "once for each read, and not for each chunk"
        )
        assert (how == "whole") == bool(puts)


@pytest.mark.parametrize("how", ["whole", "stream"])
async def test_what_came_with_the_head_is_no_more_work_at_once(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: Literal["whole", "stream"]
) -> None:
    """A client's first read takes 64 KiB."""
    fed: list[int] = []
    feed = ChunkedReader.feed

    def counted(reader: ChunkedReader, data: bytes) -> list[bytes]:
        fed.append(len(data))
        return feed(reader, data)

    monkeypatch.setattr(ChunkedReader, "feed", counted)
    base = Policy(timeouts=HOURS, buffer_request=how)
    async with running(where(server, tmp_path, express=True, base=base)) as house:
        head, data = framed(BODY[:8000], "chunked", 1)
        client = house.connect(head + data + head + data)
        await told(house, client, b"hello")
        await told(house, client, b"hello")
        assert [request.body for request in server.wait_requests(2)] == [BODY[:8000]] * 2
        assert server.violations == []
    assert max(fed) <= FEW + 3
    assert sorted(fed)[len(fed) // 2] <= FEWER + 3, "and the rest of a chunk that had begun"
    assert sum(fed) < 3 * len(data), "what is behind a body is not fed to its reader again and again"


TINY: Any = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed(BODY, "chunked", 1)[1]


async def test_of_a_response_that_nobody_wants(
    server: Upstream, tmp_path: Path, release: threading.Event
) -> None:
    server.on("/held", held(release, TINY))
    async with running(before(server, tmp_path)) as house:
        await forsaken(house, server)
        lobby = house.worker.house.lobby
        turns = lobby.turns
        assert await served_on(house, server, release) == [0, 0]
        assert lobby.turns - turns >= WIRE // FEW


@pytest.fixture
def release() -> threading.Event:
    return threading.Event()


@pytest.mark.parametrize("express", [True, False], ids=["express", "task"])
async def test_of_a_response(server: Upstream, tmp_path: Path, express: bool) -> None:
    server.on("/tiny", lambda turn: turn.send(TINY))
    async with running(where(server, tmp_path, express=express)) as house:
        client = house.connect(b"GET /tiny HTTP/1.1\r\nHost: a\r\n\r\n")
        got = await told(house, client, b"0\r\n\r\n")
        assert len(got) < 2 * len(BODY), "what comes together goes on together"
