"""Connections that cannot be made: the only server is asked once more, if it refused at once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shieldproxy.net import upstream as net
from shieldproxy.net.names import ConnectFailed
from shieldproxy.proxy import lease
from tests.kit.upstream import Upstream
from tests.run.worker_rig import plan, running

ASK = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"


@pytest.fixture
def server() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.mark.parametrize(
    ("reasons", "status", "tries"),
    [
        (["refused"], b"200", 2),
        (["refused", "refused"], b"502", 2),
        (["timeout"], b"504", 1),
        (["unreachable"], b"502", 1),
        (["unresolved"], b"502", 1),
    ],
)
async def test_the_only_server_is_asked_once_more(
    server: Upstream,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reasons: list[str],
    status: bytes,
    tries: int,
) -> None:
    original, left, tried = net.connect, list(reasons), [0]

    async def connect(*args: Any) -> Any:
        tried[0] += 1
        if left:
            raise ConnectFailed(left.pop(0), "as the test wants it")
        return await original(*args)

    monkeypatch.setattr(lease, "connect", connect)
    async with running(plan(server, tmp_path)) as house:
        answer = await house.some(house.connect(ASK))
        assert answer.split(b" ")[1] == status
        assert tried == [tries]
        group = house.worker.house.groups["legacy"]
        await house.until(lambda: group.servers[0].leased == 0)
        assert group.servers[0].open == len(group.servers[0].idle)
        assert len(server.requests) == (status == b"200")
