"""Names of servers: looked up once for all who ask, and by the next when nobody has answered."""

import socket
from collections.abc import Callable
from typing import Any, cast

import pytest
import trio
import trio.testing

from shieldproxy.core.address import Address
from shieldproxy.core.upstreams import UpstreamSpec
from shieldproxy.net.bell import Bell
from shieldproxy.net.lobby import Lobby
from shieldproxy.net.names import DEAD, ConnectFailed, addresses_of, keep_fresh
from shieldproxy.net.pool import Group
from shieldproxy.net.server import Server
from tests.net.pools import Pool, Wire


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


class Changing(trio.abc.HostnameResolver):
    """A resolver whose answer can be changed; none: the name is not found."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = hosts
        self.asked = 0

    async def getaddrinfo(self, *_args: Any, **_flags: Any) -> Any:
        self.asked += 1
        if not self.hosts:
            raise socket.gaierror(socket.EAI_AGAIN, "not now")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 80)) for host in self.hosts]

    async def getnameinfo(self, *_args: Any) -> Any:
        raise NotImplementedError


class Clock:
    """All that a look-up needs of a lobby."""

    @staticmethod
    def clock() -> float:
        return trio.current_time()


async def found_by(
    lobby: Lobby, server: Server, deadline: float, unwanted: Callable[[], bool] = lambda: False
) -> tuple[tuple[int, Any], ...]:
    return await addresses_of(lobby, server, deadline, Bell(lobby), unwanted)


async def test_one_look_up_for_all(autojump_clock: trio.testing.MockClock) -> None:
    names, lobby = Names(), cast(Lobby, Clock())
    trio.socket.set_custom_hostname_resolver(names)
    group = Group(UpstreamSpec("u", (Address.parse("legacy.test:80"),)), lobby)
    server, found = group.servers[0], []

    async def ask() -> None:
        found.append(await found_by(lobby, server, trio.current_time() + 5))

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
            await found_by(lobby, group.servers[0], began + seconds)
        ends.append(trio.current_time() - began)

    async with trio.open_nursery() as nursery:
        for seconds in (5.0, 2.0, 9.0):
            nursery.start_soon(ask, seconds)
    assert ends == pytest.approx([2.0, 5.0, 9.0])
    assert names.asked <= 3
    names.dead = False
    assert await found_by(lobby, group.servers[0], trio.current_time() + 5)


async def test_who_leaves_during_the_first_look_up_is_let_go_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Of two that ask, one is rung and gone, one is rung and stays: it has its addresses."""
    names, lobby = Names(), cast(Lobby, Clock())
    trio.socket.set_custom_hostname_resolver(names)
    group = Group(UpstreamSpec("u", (Address.parse("legacy.test:80"),)), lobby)
    bells, gone, ends = [Bell(lobby), Bell(lobby)], [False, False], ["", ""]

    async def ask(number: int) -> None:
        deadline = trio.current_time() + 60
        try:
            await addresses_of(lobby, group.servers[0], deadline, bells[number], lambda: gone[number])
        except ConnectFailed:
            ends[number] = f"given up after {trio.current_time() - began:.1f} s"
        else:
            ends[number] = f"found after {trio.current_time() - began:.1f} s"

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(2):
            nursery.start_soon(ask, number)
            await trio.sleep(0.1)
        for bell in bells:
            bell.ring()
        await trio.sleep(0.1)
        assert ends == ["", ""], "bytes of a client are no reason to leave"
        gone[0] = True
        bells[0].ring()
    assert ends == ["given up after 0.3 s", "found after 1.3 s"]
    assert all(bell.elsewhere is None for bell in bells)


async def test_each_connection_begins_at_the_next_address(autojump_clock: trio.testing.MockClock) -> None:
    """One that could not be reached comes last for a while, whoever's turn it is."""
    names, lobby = Changing("192.0.2.1", "192.0.2.2", "192.0.2.3"), cast(Lobby, Clock())
    trio.socket.set_custom_hostname_resolver(names)
    group = Group(UpstreamSpec("u", (Address.parse("legacy.test:80"),)), lobby)
    (server,) = group.servers

    async def order() -> str:
        found = await found_by(lobby, server, trio.current_time() + 5)
        return "".join(address[0][-1] for _, address in found)

    assert [await order() for _ in range(4)] == ["123", "231", "312", "123"]
    server.dead[at("192.0.2.2")[0]] = trio.current_time() + DEAD
    assert [await order() for _ in range(3)] == ["312", "312", "132"]
    await trio.sleep(DEAD)
    assert [await order() for _ in range(2)] == ["231", "312"]
    assert server.dead == {}


def at(*hosts: str) -> tuple[tuple[int, Any], ...]:
    return tuple((socket.AF_INET, (host, 80)) for host in hosts)


TWO = (at("192.0.2.2", "192.0.2.3"), at("192.0.2.3", "192.0.2.2"))


async def test_a_name_is_looked_up_again_and_its_last_addresses_stay_while_that_fails(
    autojump_clock: trio.testing.MockClock,
) -> None:
    names, lobby = Changing("192.0.2.1"), cast(Lobby, Clock())
    said: list[str] = []
    trio.socket.set_custom_hostname_resolver(names)
    group = Group(UpstreamSpec("u", (Address.parse("legacy.test:80"),), resolve=10.0), lobby)
    (server,) = group.servers
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_fresh, server, said.append)
        await trio.sleep(35)
        assert names.asked == 0, "nobody has wanted it yet"
        assert await found_by(lobby, server, trio.current_time() + 5) == at("192.0.2.1")
        names.hosts = ()
        await trio.sleep(30)
        assert names.asked == 4
        assert await found_by(lobby, server, trio.current_time() + 5) == at("192.0.2.1")
        assert len(said) == 1, "said once, and not each time"
        assert "stay in force" in said[0]
        names.hosts = ("192.0.2.2", "192.0.2.3")
        await trio.sleep(10)
        assert await found_by(lobby, server, trio.current_time() + 5) in TWO
        assert "now at 192.0.2.2, 192.0.2.3" in said[1]
        nursery.cancel_scope.cancel()


async def test_idle_connections_to_addresses_that_are_gone_are_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Peer(Wire):
        def __init__(self, number: int, host: str) -> None:
            super().__init__(number)
            self.host = host

        def getpeername(self) -> tuple[str, int]:
            return (self.host, 80)

    names = Changing("192.0.2.1", "192.0.2.2")
    trio.socket.set_custom_hostname_resolver(names)
    pool = Pool(1, 2)
    (server,) = pool.group.servers
    server.address = Address.parse("legacy.test:80")
    await found_by(cast(Lobby, Clock()), server, trio.current_time() + 5)
    ups = [pool.lease(), pool.lease()]
    for up, host in zip(ups, ("192.0.2.1", "192.0.2.2"), strict=True):
        up.sock = cast(socket.socket, Peer(up.fd, host))
        pool.group.release(up)
    names.hosts = ("192.0.2.2",)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_fresh, server, pool.said.append)
        await trio.sleep(11)
        nursery.cancel_scope.cancel()
    assert pool.lobby.closed == [ups[0]]
    assert pool.busy() == [(0, 1, 1)]
