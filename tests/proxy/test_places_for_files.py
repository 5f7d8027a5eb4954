"""A spool's file is a descriptor: files and clients share what there is, and neither starves the other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shieldproxy.core.limits import Buffers
from tests.kit.upstream import Upstream
from tests.run.worker_rig import plan, running

MEMORY = 4096
SIZE = 20_000
HEAD = b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % SIZE


@pytest.fixture
def server() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


async def test_a_file_takes_the_place_of_a_client_that_waits(server: Upstream, tmp_path: Path) -> None:
    buffers = Buffers(request_memory=MEMORY, directory=str(tmp_path))
    async with running(plan(server, tmp_path, buffers=buffers), shared=8) as house:
        inside = house.worker.house
        uploads = [house.connect(HEAD + b"x" * 10_000) for _ in range(3)]
        await house.until(lambda: inside.store.files == 3)
        waiting = [house.connect() for _ in range(2)]
        await house.until(lambda: inside.held == 5)
        uploads.append(house.connect(HEAD + b"x" * 10_000))
        await house.until(lambda: inside.store.files == 4)
        for sock in waiting:
            assert await house.rest(sock) == b"", "one for the client, one for its file"
        assert (inside.held, inside.counts["evicted"]) == (4, 2)
        newcomer = house.connect()
        assert (await house.rest(newcomer)).startswith(b"HTTP/1.1 503"), "nobody waits any more"
        for sock in uploads:
            sock.send(b"x" * 10_000)
            assert b"hello" in await house.some(sock)
        await house.until(lambda: inside.store.files == 0)
        await house.ask(house.connect())


async def test_no_descriptor_for_a_file_is_a_503_for_that_request(server: Upstream, tmp_path: Path) -> None:
    buffers = Buffers(request_memory=MEMORY, directory=str(tmp_path))
    async with running(plan(server, tmp_path, buffers=buffers), shared=3) as house:
        inside = house.worker.house
        first = house.connect(HEAD + b"x" * 10_000)
        await house.until(lambda: inside.store.files == 1)
        second = house.connect(HEAD + b"x" * 10_000)
        answer = await house.some(second)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"\r\nRetry-After: " in answer
        first.send(b"x" * 10_000)
        assert b"hello" in await house.some(first)
