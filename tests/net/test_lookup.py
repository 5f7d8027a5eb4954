"""Names of servers: looked up once for all who ask, and by the next when nobody has answered."""

import socket
from typing import Any, cast

import pytest
import trio
import trio.testing

from shieldproxy.core.address import Address
from shieldproxy.core.upstreams import UpstreamSpec
from shieldproxy.net.lobby import Lobby
from shieldproxy.net.names import ConnectFailed, addresses_of
from shieldproxy.net.pool import Group


class Names(trio.abc.HostnameResolver):
    """A resolver that takes a second, or for ever."""

    def __init__(self) -> None:
        self.asked = 0
        self.dead = False

    async def getaddrinfo(self, *_args: Any, **_flags: Any) -> Any:
        self.asked += 1
        await trio.sleep(float("inf") if self.dead else 1.0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))]

    async def getnameinfo(self, *_args: Any) -> Any:
        raise NotImplementedError


class Clock:
    """All that a look-up needs of a lobby."""

    @staticmethod
    def clock() -> float:
        return trio.current_time()


async def test_one_look_up_for_all(autojump_clock: trio.testing.MockClock) -> None:
    names, lobby = Names(), cast(Lobby, Clock())
    trio.socket.set_custom_hostname_resolver(names)
    group = Group(UpstreamSpec("u", (Address.parse("legacy.test:80"),)), lobby)
    server, found = group.servers[0], []

    async def ask() -> None:
        found.append(await addresses_of(lobby, server, trio.current_time() + 5))

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(ask)
    assert names.asked == 1
    assert found == [((socket.AF_INET, ("192.0.2.1", 80)),)] * 100


async def test_who_waits_for_a_dead_resolver_has_its_own_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    names, lobby = Names(), cast(Lobby, Clock())
    names.dead = True
    trio.socket.set_custom_hostname_resolver(names)
    group = Group(UpstreamSpec("u", (Address.parse("legacy.test:80"),)), lobby)
    ends: list[float] = []

    async def ask(seconds: float) -> None:
        began = trio.current_time()
        with pytest.raises(ConnectFailed, match="no answer to the look-up"):
            await addresses_of(lobby, group.servers[0], began + seconds)
        ends.append(trio.current_time() - began)

    async with trio.open_nursery() as nursery:
        for seconds in (5.0, 2.0, 9.0):
            nursery.start_soon(ask, seconds)
    assert ends == pytest.approx([2.0, 5.0, 9.0])
    assert names.asked <= 3
    names.dead = False
    assert await addresses_of(lobby, group.servers[0], trio.current_time() + 5)
