"""Connections that cannot be made: the only server is asked once more, if it refused at once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shieldproxy.core.address import Address
from shieldproxy.core.upstreams import UpstreamSpec
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


@pytest.mark.parametrize(("reason", "status"), [("shortage", b"503"), ("source", b"502")])
async def test_what_we_lack_ejects_no_server(
    server: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str, status: bytes
) -> None:
    """Said in the answer and in the log; as soon as we have it again, the same server answers."""
    original, short = net.connect, [True]

    async def connect(*args: Any) -> Any:
        if short:
            raise ConnectFailed(reason, "we have none")
        return await original(*args)

    monkeypatch.setattr(lease, "connect", connect)
    servers = (Address.parse(server.address), Address.parse("127.0.0.1:1"))
    spec = UpstreamSpec("legacy", servers, 4, balance="round_robin", max_fails=1)
    async with running(plan(server, tmp_path, upstreams={"legacy": spec})) as house:
        for _ in range(4):
            client = house.connect(ASK)
            assert (await house.some(client)).split(b" ")[1] == status
            (line,) = await house.lines("exchange", client)
            assert (line["outcome"], line["by"], line["phase"], line["reason"]) == (
                "refused", "proxy", "connect", f"connect-{reason}",
            )  # fmt: skip
        group = house.worker.house.groups["legacy"]
        assert group.ejections == 0
        assert not any(each.health.troubled for each in group.servers)
        assert (
            f"upstream legacy: we have none; no server took it: answered with {status.decode()}"
            in await house.errors()
        )
        short.clear()
        assert (await house.some(house.connect(ASK))).split(b" ")[1] == b"200"
