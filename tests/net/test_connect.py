"""Connecting for an exchange whose client leaves meanwhile: what is there is kept, what is not is not."""

import socket
from collections.abc import AsyncIterator, Iterator

import pytest
import trio

from shieldproxy.core.address import Address
from shieldproxy.core.upstreams import UpstreamSpec
from shieldproxy.net.bell import Bell
from shieldproxy.net.lobby import Lobby
from shieldproxy.net.names import ConnectFailed
from shieldproxy.net.pool import Group
from shieldproxy.net.upstream import connect


@pytest.fixture
async def lobby(nursery: trio.Nursery) -> AsyncIterator[Lobby]:
    made = Lobby(trio.current_time, lambda _, exc: pytest.fail(str(exc)))
    nursery.start_soon(made.run)
    yield made
    nursery.cancel_scope.cancel()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as sock:
        sock.settimeout(5)
        yield sock


def group_of(lobby: Lobby, listener: socket.socket) -> Group:
    port = listener.getsockname()[1]
    return Group(UpstreamSpec("legacy", (Address("127.0.0.1", port, ""),)), lobby)


async def test_what_is_connected_is_kept(lobby: Lobby, listener: socket.socket) -> None:
    group = group_of(lobby, listener)
    up = await connect(lobby, Bell(lobby), group.servers[0], trio.current_time() + 5, lambda: True)
    assert up.fd >= 0
    link, _ = listener.accept()
    with link:
        link.setblocking(False)
        with pytest.raises(BlockingIOError):
            link.recv(1)
        lobby.close(up)


async def test_what_is_not_is_given_up(lobby: Lobby, listener: socket.socket) -> None:
    """A backlog that is full: our SYN has no answer."""
    group = group_of(lobby, listener)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
    bell, gone = Bell(lobby), [False]
    async with trio.open_nursery() as nursery:

        async def leave() -> None:
            await trio.sleep(0.05)
            gone[0] = True
            bell.ring()

        nursery.start_soon(leave)
        with pytest.raises(ConnectFailed, match="nobody waits"):
            await connect(lobby, bell, group.servers[0], trio.current_time() + 5, lambda: gone[0])
    for filler in fillers:
        filler.close()
