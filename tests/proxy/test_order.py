"""A failure is told before the connection is dropped: a place that comes free ends a probe without a verdict.

`Several.free` takes a server back into its ejection's end when nothing is leased there any more, as nothing
has come of its probe; a failure that is told after that would count for nothing.
"""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shieldproxy.core.address import Address
from shieldproxy.core.upstreams import UpstreamSpec
from shieldproxy.net.pool import Group
from shieldproxy.net.several import Several
from tests.kit.answers import held, last, reply
from tests.kit.sockets import reset
from tests.kit.upstream import Upstream
from tests.run.worker_rig import GET, plan, running

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"


@pytest.fixture
def release() -> Iterator[threading.Event]:
    made = threading.Event()
    yield made
    made.set()


@pytest.fixture
def server() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a group is told of its connections, in order."""
    calls: list[str] = []

    def watched(name: str, original: Any) -> Any:
        def call(self: Any, *args: Any) -> Any:
            calls.append(name)
            return original(self, *args)

        return call

    for name in ("drop", "abandon", "free"):
        monkeypatch.setattr(Group, name, watched(name, getattr(Group, name)))
    for kind in (Group, Several):
        monkeypatch.setattr(kind, "failed", watched("failed", kind.failed))
    return calls


def one(server: Upstream, log: Path, *, express: bool = True) -> Any:
    spec = UpstreamSpec("legacy", (Address.parse(server.address),), 1, response_timeout=0.2)
    return plan(server, log, upstreams={"legacy": spec}, express=express)


@pytest.mark.parametrize("express", [True, False], ids=["express", "task"])
@pytest.mark.parametrize("how", ["truncated", "timeout"])
async def test_a_response_that_does_not_come(
    server: Upstream, tmp_path: Path, told: list[str], release: threading.Event, express: bool, how: str
) -> None:
    server.on("/bad", last(b"HTTP/1.1 200 O") if how == "truncated" else held(release, reply()))
    async with running(one(server, tmp_path, express=express)) as house:
        client = house.connect()
        await house.ask(client)
        told.clear()
        client.send(POST.replace(b" / ", b" /bad "))
        assert (await house.some(client)).startswith(b"HTTP/1.1 50")
        await house.until(lambda: len(told) > 1)
        assert told[0] == "failed"
        assert told.count("failed") == 1
        release.set()


async def test_one_that_is_attended(
    server: Upstream, tmp_path: Path, told: list[str], release: threading.Event
) -> None:
    server.on("/bad", held(release, reply()))
    async with running(one(server, tmp_path)) as house:
        await house.ask(house.connect())
        told.clear()
        client = house.connect(POST.replace(b" / ", b" /bad "))
        await house.until(lambda: len(server.requests) == 2)
        reset(client)
        await house.until(lambda: len(told) > 1)
        assert told[0] == "failed"
        release.set()


@pytest.mark.parametrize("express", [True, False], ids=["express", "task"])
async def test_one_that_goes_to_another_server(
    server: Upstream, tmp_path: Path, told: list[str], express: bool
) -> None:
    """A fresh connection that ends before a byte of a response."""
    other = Upstream()
    server.default = last(b"")
    both = (Address.parse(server.address), Address.parse(other.address))
    spec = UpstreamSpec("legacy", both, 4, balance="round_robin", retries=1)
    where = plan(server, tmp_path, upstreams={"legacy": spec}, express=express)
    try:
        async with running(where) as house:
            assert (await house.ask(house.connect(), GET)).startswith(b"HTTP/1.1 200")
            assert [call for call in told if call != "free"] == ["failed", "drop"]
    finally:
        other.close()
