"""Active checks: each server of an upstream that has them is asked for a page now and then.

A check takes a place among the server's `max_connections`, as a server that takes one connection has none
beside it; an idle connection makes room for it. While all are in use it is left out: a server that answers
requests is well; and one that holds its server's only place when a request comes to wait gives it up,
without a verdict. What it finds goes into the server's health (core/health.py).
"""

from collections.abc import Callable, Collection
from typing import Final

import trio

from shieldproxy.core.ending import end_of_head
from shieldproxy.core.fields import Fault
from shieldproxy.core.response import read_response
from shieldproxy.core.upstreams import HealthSpec
from shieldproxy.net.bell import Bell
from shieldproxy.net.lobby import CHUNK, Lobby
from shieldproxy.net.names import OURS, ConnectFailed
from shieldproxy.net.parting import PART_TIME
from shieldproxy.net.record import ENDS, IN, OUT, Upstream
from shieldproxy.net.server import Server
from shieldproxy.net.upstream import connect

HEAD_LIMIT: Final = 64 * 1024


class Unwell(Exception):
    """Why a check has failed."""


async def keep_checking(lobby: Lobby, server: Server, check: HealthSpec) -> None:
    """Check a server at once, and then every `interval`, for ever."""
    group, bell = server.group, Bell(lobby)
    while True:
        if group.lend(server):
            why: str | None = ""
            try:
                await _ask(lobby, bell, server, check)
            except Unwell as exc:
                why = str(exc)
            except ConnectFailed:
                why = None  # for a reason of ours, or a request's: it tells nothing
            lobby.tick()
            if why is not None:
                group.checked(server, why)
        await trio.sleep(check.interval)


async def _ask(lobby: Lobby, bell: Bell, server: Server, check: HealthSpec) -> None:
    """One check, over a connection of its own; its place is given back whatever comes of it.

    Raises:
        Unwell: with what was found instead.
        ConnectFailed: it could not be asked, for a reason of ours, or has given its place to a request.
    """
    deadline = lobby.tick() + check.timeout
    up: Upstream | None = None
    group, wanted = server.group, [False]

    def give_way() -> None:
        wanted[0] = True
        bell.ring()

    def unwanted() -> bool:
        return wanted[0]

    try:
        if group.spec.max_connections == 1:
            group.checks[server] = give_way
        try:
            up = await connect(lobby, bell, server, deadline, unwanted)
        except ConnectFailed as exc:
            if exc.reason in OURS or unwanted():
                raise
            raise Unwell(exc.detail.removeprefix(f"{server.name}: ")) from exc
        status = await _status(lobby, bell, up, _request(server, check), deadline, unwanted)
        if status not in check.status:
            raise Unwell(f"status {status}, not {_shown(check.status)}")
    finally:
        group.checks.pop(server, None)
        if up is None:
            server.group.free(server)
        else:
            server.group.abandon(up, PART_TIME)


async def _status(
    lobby: Lobby, bell: Bell, up: Upstream, request: bytes, deadline: float, unwanted: Callable[[], bool]
) -> int:
    left, data = memoryview(request), b""
    while True:
        try:
            if left:
                left = left[up.sock.send(left) :]
                continue
            more = up.sock.recv(CHUNK)
        except BlockingIOError:
            if unwanted():
                raise ConnectFailed("unwanted", "a request waits for its place") from None
            up.latch &= ~(OUT if left else IN)
            if not up.latch & (OUT if left else IN | ENDS) and not await bell.wait(deadline):
                raise Unwell("no answer in time") from None
            continue
        except OSError as exc:
            raise Unwell(exc.strerror or str(exc)) from exc
        data += more
        end = end_of_head(data, 0)
        if end < 0:
            if not more or len(data) > HEAD_LIMIT or lobby.tick() >= deadline:
                raise Unwell("no whole head of a response")
            continue
        head = read_response(data, end, b"GET")
        if isinstance(head, Fault):
            raise Unwell(f"a malformed response: {head.reason}")
        if head.status >= 200:
            return head.status
        data = data[head.size :]  # an interim response


def _shown(wanted: Collection[int]) -> str:
    """Statuses in few words, such as "200 to 299" or "204"."""
    low, high = min(wanted), max(wanted)
    if high - low >= 2 and len(wanted) == high - low + 1:
        return f"{low} to {high}"
    return " or ".join(map(str, sorted(wanted)))


def _request(server: Server, check: HealthSpec) -> bytes:
    spec = server.group.spec
    host = spec.host or (b"localhost" if server.address.is_unix else server.name.encode())
    version = spec.http_version.encode()
    return b"GET %b HTTP/%b\r\nHost: %b\r\nUser-Agent: shieldproxy-check\r\nConnection: close\r\n\r\n" % (
        check.path.encode(),
        version,
        host,
    )
