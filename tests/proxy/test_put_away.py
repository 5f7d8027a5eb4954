"""A collected body's file, when nothing of it will be sent again: its client may yet read for minutes."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.answers import chunked, held, last, reply
from tests.kit.upstream import Upstream
from tests.proxy.bodies import BODY, MEMORY, framed, give, in_phase, told, where
from tests.proxy.test_interim_unread import clogged
from tests.run.worker_rig import Running, running

BIG = bytes(range(256)) * 8192
BOTH = pytest.mark.parametrize("express", [True, False], ids=["express", "task"])


@pytest.fixture
def server() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


async def filed(house: Running, client: socket.socket) -> None:
    """Upload a body of which a file is made."""
    head, body = framed(BODY[: 20 * MEMORY], "length")
    await give(client, head + body[:-1])
    store = house.worker.house.store
    await house.until(lambda: in_phase(house, "body") == 1 and store.files == 1)
    await give(client, body[-1:])


@BOTH
async def test_its_client_reads_slowly(server: Upstream, tmp_path: Path, express: bool) -> None:
    server.on("/a", reply(BIG))
    async with running(where(server, tmp_path, express=express)) as house:
        client = house.connect()
        await filed(house, client)
        await house.until(lambda: house.worker.house.counts["slow_readers"] == 1)
        store = house.worker.house.store
        await house.until(lambda: store.files == 1 and store.used > len(BODY))  # the answer's
        await told(house, client, BIG)
        await house.until(lambda: (store.files, store.used) == (0, 0))


@BOTH
async def test_its_client_does_not_take_our_answer(server: Upstream, tmp_path: Path, express: bool) -> None:
    server.on("/a", last(b"HTTP/1.1 200 OK\r\nContent"))
    async with running(where(server, tmp_path, express=express)) as house:
        client, rec, _ = await clogged(house)
        await filed(house, client)
        await house.until(lambda: rec.stage == "send")
        store = house.worker.house.store
        await house.until(lambda: (store.files, store.used) == (0, 0))


@BOTH
async def test_its_response_goes_on(server: Upstream, tmp_path: Path, express: bool) -> None:
    release = threading.Event()
    answer = chunked(b"first", b"last")
    at = answer.index(b"4\r\nlast")
    server.on("/a", held(release, answer[at:], before=answer[:at]))
    async with running(where(server, tmp_path, express=express)) as house:
        client = house.connect()
        await filed(house, client)
        await told(house, client, b"first")
        store = house.worker.house.store
        await house.until(lambda: (store.files, store.used) == (0, 0))
        release.set()
        await told(house, client, b"last")
