"""A source address that goes while the proxy runs: a 502 that names it, a line in the error log."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shieldproxy.core.address import Address
from shieldproxy.core.upstreams import UpstreamSpec
from tests.kit.upstream import Upstream
from tests.run.worker_rig import GET, plan, running


@pytest.fixture
def server() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.mark.parametrize("express", [True, False])
async def test_a_source_that_has_gone(server: Upstream, tmp_path: Path, express: bool) -> None:
    spec = UpstreamSpec("legacy", (Address.parse(server.address),), source="192.0.2.77")
    async with running(plan(server, tmp_path, upstreams={"legacy": spec}, express=express)) as house:
        got = await house.some(house.connect(GET))
        assert got.startswith(b"HTTP/1.1 502 ")
        assert b"error=proxy_configuration_error" in got
        assert b"connect-source" in got
        assert "upstream legacy: cannot connect from 192.0.2.77: Cannot assign" in await house.errors()
    assert not server.links
