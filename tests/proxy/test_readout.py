"""The rest of a refused body: what was promised with the answer holds when the answer has been read."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shieldproxy.core.policy import Policy
from shieldproxy.proxy import readout
from shieldproxy.proxy.admission import house_clients
from tests.kit.upstream import Upstream
from tests.proxy.bodies import told
from tests.run.worker_rig import HOURS, plan, running

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"


@pytest.fixture
def server() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


async def test_who_read_the_answer_slowly(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rate looks worse by then; it was told that it may go on."""
    worth = iter([1.0])
    monkeypatch.setattr(readout, "seconds", lambda _ex, _now: next(worth, 0.0))
    base = Policy(timeouts=HOURS, deny=403)
    async with running(plan(server, tmp_path, base=base)) as house:
        client = house.connect(POST + b"1")
        assert b"Connection: close" not in await told(house, client, b"\r\n\r\n")
        await house.until(lambda: house.phases().get("refused", 0) == 1)
        (rec,) = house_clients(house.worker.house)
        assert rec.due > house.worker.lobby.now + 1.0
        client.send(b"23456789" + POST)
        await told(house, client, b" 403 ")
