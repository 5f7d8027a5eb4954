"""A server set by name, in a whole worker: what becomes of its connections when the name moves.

The look-up runs where it always does, in a thread; what the system's resolver says there is the test's.
"""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from shieldproxy.core.address import Address
from shieldproxy.core.upstreams import UpstreamSpec
from tests.kit.answers import held, reply
from tests.kit.sockets import reset
from tests.kit.upstream import Upstream
from tests.run.worker_rig import GET, plan, running

NAME = "legacy.test"


class Resolver:
    """What the system's resolver says of one name, and how long it takes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._original = socket.getaddrinfo
        self.at: list[tuple[str, int]] = []
        self.hold = threading.Event()
        self.hold.set()
        self.asked = 0
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: Any, port: Any, *args: Any, **more: Any) -> Any:
        if host not in (NAME, NAME.encode()):
            return self._original(host, port, *args, **more)
        flags = more.get("flags", args[3] if len(args) > 3 else 0)
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "no number")
        self.asked += 1
        self.hold.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in self.at]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    made = Resolver(monkeypatch)
    yield made
    made.hold.set()


@pytest.fixture
def servers() -> Iterator[list[Upstream]]:
    both = [Upstream(), Upstream()]
    yield both
    for each in both:
        each.close()


def address_of(server: Upstream) -> tuple[str, int]:
    host, _, port = server.address.rpartition(":")
    return host, int(port)


def by_name(most: int = 4, **keys: Any) -> dict[str, UpstreamSpec]:
    return {"legacy": UpstreamSpec("legacy", (Address.parse(f"{NAME}:80"),), most, **keys)}


async def test_when_the_name_moves_new_connections_go_there_and_old_ones_end(
    servers: list[Upstream], resolver: Resolver, tmp_path: Path
) -> None:
    old, new = servers
    release = threading.Event()
    old.on("/held", held(release, reply(b"late")))
    resolver.at = [address_of(old)]
    where = plan(old, tmp_path, upstreams=by_name(resolve=0.2))
    async with running(where) as house:
        busy = house.connect(GET.replace(b" / ", b" /held "))
        await house.until(lambda: len(old.requests) == 1)
        client = house.connect()
        await house.ask(client)
        (place,) = house.worker.house.groups["legacy"].servers
        assert [place.leased, len(place.idle), len(old.links), len(new.links)] == [1, 1, 2, 0]
        resolver.at = [address_of(new)]
        await house.until(lambda: not place.idle)
        assert "is now at 127.0.0.1" in await house.errors()
        await house.ask(client)
        assert [len(old.requests), len(new.requests)] == [2, 1]
        release.set()
        assert (await house.some(busy)).endswith(b"late"), "what was under way there came to its end"
        await house.until(lambda: all(link.ended.is_set() for link in old.links))
        assert [place.leased, place.open, len(new.links)] == [0, 1, 1]
        assert old.violations == []
        assert old.incomplete == []


async def test_a_slow_look_up_holds_nobody_up(
    servers: list[Upstream], resolver: Resolver, tmp_path: Path
) -> None:
    """Neither the loop, nor a request that needs a new connection."""
    server = servers[0]
    resolver.at = [address_of(server)]
    where = plan(server, tmp_path, upstreams=by_name(resolve=0.1))
    async with running(where) as house:
        client = house.connect()
        await house.ask(client)
        resolver.hold.clear()
        await house.until(lambda: resolver.asked > 1)
        for number in range(20):
            with trio.fail_after(2):
                await house.ask(client)
                await house.ask(house.connect())
            assert resolver.asked == 2, number
        resolver.hold.set()
        await house.until(lambda: resolver.asked > 2)


async def test_who_leaves_during_the_first_look_up_frees_its_place(
    servers: list[Upstream], resolver: Resolver, tmp_path: Path
) -> None:
    """Long before connect_timeout; the next in line has its turn, and waits for its own look-up."""
    server = servers[0]
    resolver.at = [address_of(server)]
    resolver.hold.clear()
    where = plan(server, tmp_path, upstreams=by_name(most=1, connect_timeout=60.0))
    async with running(where) as house:
        group = house.worker.house.groups["legacy"]
        first = house.connect(GET)
        await house.until(lambda: resolver.asked == 1)
        second = house.connect(GET)
        await house.until(lambda: len(group.line) == 1)
        reset(first)
        await house.until(lambda: not group.line)
        assert group.servers[0].open == 1
        resolver.hold.set()
        assert (await house.some(second)).endswith(b"hello")
        (line,) = [line for line in await house.lines("exchange") if line["outcome"] == "aborted"]
        assert (line["by"], line["phase"], line["reason"], line["status"]) == (
            "client", "connect", "reset", 499,
        )  # fmt: skip
        assert line["seconds"] < 5
