"""The addresses of servers that are set by name: looked up in a thread, once for all who ask, and kept fresh.

The first who connects waits for the look-up. From then on a task of its own looks again every `resolve`
seconds, so nobody waits for that; as long as it fails, the addresses of the last time stay in force. Idle
connections to addresses that a name has no more are given up.
"""

import socket
from collections.abc import Callable
from typing import Any, Final

import trio

from shieldproxy.net.bell import Bell
from shieldproxy.net.lobby import Lobby
from shieldproxy.net.server import Server

LONGEST: Final = 30.0
"""Seconds after which a look-up that nobody answers has failed."""
DEAD: Final = 30.0
"""Seconds for which an address that could not be reached comes last among those of its name."""
OURS: Final = frozenset({"source", "shortage"})
"""Reasons that say nothing about the server: an address, a descriptor or memory that we do not have."""


class ConnectFailed(Exception):
    """No connection; `reason`: "refused", "timeout", "unresolved", "unreachable", "unwanted" or of `OURS`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


async def addresses_of(
    lobby: Lobby, server: Server, deadline: float, bell: Bell, unwanted: Callable[[], bool]
) -> tuple[tuple[int, Any], ...]:
    """Where to connect to: (family, socket address) pairs.

    Args:
        lobby: has the clock.
        server: as configured.
        deadline: in seconds of the lobby's clock.
        bell: the caller's.
        unwanted: asked whenever the bell rings; True gives up.

    Raises:
        ConnectFailed: a name that has never been found is not found, or not before the deadline.
    """
    address = server.address
    if address.is_unix:
        return ((socket.AF_UNIX, address.path),)
    if not address.is_name:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        return ((family, (address.host, address.port)),)
    if not server.resolved:
        with trio.move_on_after(max(0.0, deadline - lobby.clock())) as scope:
            bell.elsewhere = lambda: scope.cancel() if unwanted() else None
            try:
                async with server.asking:  # one look-up for all: it holds a thread while nobody answers
                    if not server.resolved:
                        server.resolved = await _look_up(server)
            finally:
                bell.elsewhere = None
        if not server.resolved:
            raise ConnectFailed("timeout", f"{address.host}: no answer to the look-up of the name")
    return _in_turn(server, lobby.clock())


def _in_turn(server: Server, now: float) -> tuple[tuple[int, Any], ...]:
    """The addresses of a name, from another one on each time; those that failed of late are the last."""
    addresses = server.resolved
    if len(addresses) < 2:
        return addresses
    server.turn = at = (server.turn + 1) % len(addresses)
    addresses = addresses[at:] + addresses[:at]
    if server.dead:
        server.dead = {address: until for address, until in server.dead.items() if until > now}
        addresses = tuple(sorted(addresses, key=server.dead.__contains__))
    return addresses


async def _look_up(server: Server) -> tuple[tuple[int, Any], ...]:
    host, port = server.address.host, server.address.port
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except OSError as exc:
        raise ConnectFailed("unresolved", f"{host}: {exc.strerror or exc}") from exc
    return tuple((family, sockaddr) for family, _, _, _, sockaddr in found)


async def keep_fresh(server: Server, warn: Callable[[str], None]) -> None:
    """Look a name up again and again, for ever; the first time is for whoever connects first.

    Args:
        server: set by name.
        warn: takes a line when its name is not found any more, and when its addresses have changed.
    """
    group, failing = server.group, False
    while True:
        await trio.sleep(group.spec.resolve)
        if not server.resolved:
            continue
        try:
            with trio.fail_after(LONGEST):
                async with server.asking:
                    found = await _look_up(server)
        except (ConnectFailed, trio.TooSlowError) as exc:
            if not failing:
                detail = str(exc) or f"{server.address.host}: no answer to the look-up of the name"
                warn(f"upstream {group.name}: {detail}; its last addresses stay in force")
            failing = True
            continue
        failing = False
        if found and set(found) != set(server.resolved):
            warn(f"upstream {group.name}: {server.name} is now at {', '.join(map(_shown, found))}")
            server.resolved = found
        _give_up_others(server)


def _give_up_others(server: Server) -> None:
    """Close idle connections to addresses that the server has no more."""
    here = {address[:2] for _, address in server.resolved}
    for up in list(server.idle):
        try:
            peer = up.sock.getpeername()[:2]
        except OSError:
            continue  # it has ended: the lobby's next batch says so
        if peer not in here:
            server.group.forget(up)


def _shown(found: tuple[int, Any]) -> str:
    return str(found[1][0])
