"""Connecting to a legacy server, without ever blocking the loop."""

import errno
import os
import socket
from collections.abc import Callable
from typing import Any, Final

from shieldproxy.net.bell import Bell
from shieldproxy.net.lobby import Lobby
from shieldproxy.net.names import DEAD, OURS, ConnectFailed, addresses_of
from shieldproxy.net.record import ERROR, HUP, OUT, Upstream
from shieldproxy.net.server import AVOID, Server
from shieldproxy.net.source import bind_source, family_of
from shieldproxy.net.tcpinfo import widen

SHORT: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
BACKLOG_FULL: Final = 0.05
"""Seconds between two tries at a unix socket that has no room in its backlog."""
WINDOW: Final = 4 * 1024 * 1024
"""Bytes that our kernel may take from a server before we read them: it is not to wait while we are busy."""


async def connect(
    lobby: Lobby, bell: Bell, server: Server, deadline: float, unwanted: Callable[[], bool]
) -> Upstream:
    """Connect to a server, trying each address of its name.

    Args:
        lobby: registers the connection.
        bell: the caller's.
        server: where a place was granted.
        deadline: in seconds of the lobby's clock, for all of it.
        unwanted: asked whenever the bell rings; True gives up.

    Raises:
        ConnectFailed: with the reason of the last address tried. A connection that is there by the time
            when nobody wants it is returned: others can use it.
    """
    failure = ConnectFailed("unresolved", f"{server.name} has no address")
    try:
        addresses = _from_source(server, await addresses_of(lobby, server, deadline, bell, unwanted))
        for left, (family, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
            now = lobby.tick()
            until = now + (deadline - now) / left
            try:
                return await _connect_one(lobby, bell, server, family, address, until, unwanted)
            except ConnectFailed as exc:
                failure = exc
                if unwanted():
                    break
                if len(addresses) > 1 and exc.reason not in OURS:
                    server.dead[family, address] = lobby.now + DEAD
    except ConnectFailed as exc:
        failure = exc
    if unwanted() or failure.reason in OURS:
        raise failure
    server.avoid_until = lobby.tick() + AVOID
    raise failure


def _from_source(server: Server, addresses: tuple[tuple[int, Any], ...]) -> tuple[tuple[int, Any], ...]:
    """Those addresses that can be reached from the one that is configured."""
    source = server.group.spec.source
    if source is None:
        return addresses
    own = (socket.AF_UNIX, family_of(source))
    found = tuple(address for address in addresses if address[0] in own)
    if addresses and not found:
        raise ConnectFailed("source", f"{server.name} has no address that can be reached from {source}")
    return found


async def _connect_one(
    lobby: Lobby,
    bell: Bell,
    server: Server,
    family: int,
    address: Any,
    deadline: float,
    unwanted: Callable[[], bool],
) -> Upstream:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as exc:
        raise ConnectFailed(_reason(exc.errno), exc.strerror or str(exc)) from exc
    source = server.group.spec.source
    if family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        widen(sock, WINDOW)
        if source is not None:
            try:
                bind_source(sock, source)
            except OSError as exc:
                sock.close()
                reason = "shortage" if exc.errno in SHORT else "source"
                raise ConnectFailed(reason, f"cannot connect from {source}: {exc.strerror}") from exc
    while (code := sock.connect_ex(address)) == errno.EAGAIN and lobby.tick() < deadline and not unwanted():
        await bell.wait(min(deadline, lobby.now + BACKLOG_FULL))  # a unix socket does not wait by itself
    if code not in (0, errno.EINPROGRESS):
        sock.close()
        raise ConnectFailed(_reason(code), f"{server.name}: {os.strerror(code)}")

    def on_event(record: Upstream, events: int) -> None:
        record.latch |= events
        bell.ring()

    up = Upstream(sock, on_event, lobby.close, server, lobby.now)
    lobby.add(up)
    try:
        while code and not up.latch & (OUT | ERROR | HUP):
            rung = await bell.wait(deadline)
            if unwanted():
                if _is_connected(sock):
                    break  # the server has it: to close it now would be one connection more for the server
                raise ConnectFailed("unwanted", f"{server.name}: nobody waits for it any more")
            if not rung and lobby.now >= deadline:
                raise ConnectFailed("timeout", f"{server.name}: not connected within the connect_timeout")
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise ConnectFailed(_reason(code), f"{server.name}: {os.strerror(code)}")
    except BaseException:
        lobby.close(up)
        raise
    return up


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def _reason(code: int | None) -> str:
    if code in SHORT or code == errno.EADDRNOTAVAIL:  # no descriptor, no memory, no port of ours
        return "shortage"
    if code in (errno.ECONNREFUSED, errno.ENOENT):
        return "refused"
    return "timeout" if code in {errno.ETIMEDOUT, errno.EAGAIN} else "unreachable"
