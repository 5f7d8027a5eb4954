"""What an exchange needs no more is given back while it goes on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shieldproxy.core.limits import Buffers
from tests.kit.answers import reply
from tests.kit.link import Turn
from tests.kit.upstream import Upstream
from tests.run.worker_rig import plan, running

SIZE = 20_000
UPLOAD = b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % SIZE


@pytest.fixture
def server() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.mark.parametrize("express", [True, False], ids=["express", "task"])
@pytest.mark.parametrize("how", ["large", "stream"])
async def test_a_body_that_is_with_the_server(
    server: Upstream, tmp_path: Path, express: bool, how: str
) -> None:
    """Its file is closed when the answer begins, however long the client takes to read it."""

    def story(turn: Turn) -> None:
        if how == "large":
            turn.send(reply(b"x" * 4_000_000))
        else:
            turn.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nid: 1\r\n\r\n")
            turn.gone()

    server.on("/a", story)
    buffers = Buffers(request_memory=4096, response_memory=1 << 24, directory=str(tmp_path))
    async with running(plan(server, tmp_path, buffers=buffers, express=express)) as house:
        inside = house.worker.house
        client = house.connect(UPLOAD + b"x" * 10_000)
        await house.until(lambda: inside.store.files == 1)
        client.send(b"x" * 10_000)
        assert (await house.read(client, 1000 if how == "large" else 10)).startswith(b"HTTP/1.1 2")
        await house.until(lambda: inside.store.files == 0)
        assert inside.store.used == 0
        assert inside.active == 1
