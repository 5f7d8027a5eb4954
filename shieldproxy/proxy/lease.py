"""A lease of an upstream connection, and another one when that has ended before its time; for both lanes.

`lease` waits for one in a task: from the pool, in the line, or by connecting. `again` decides whether a
request that was sent into a connection that ended goes out once more, and where to.
"""

from typing import Any, Final

from shieldproxy.core.health import FAILURES
from shieldproxy.core.retry import may_retry
from shieldproxy.net.names import OURS, ConnectFailed
from shieldproxy.net.record import FIN, GONE, OUT, Upstream
from shieldproxy.net.server import Grant, Server
from shieldproxy.net.upstream import connect
from shieldproxy.proxy.fin import fin_seen, why_gone
from shieldproxy.proxy.house import House
from shieldproxy.proxy.manners import dressed
from shieldproxy.proxy.state import Ended, Exchange

STATUS: Final = {"timeout": 504, "shortage": 503}
"""Of a connection that could not be made, by reason; 502 else."""
ONCE_MORE: Final = 0.05
"""Seconds after which an only server that has refused a connection is asked a second time."""


async def lease(house: House, ex: Exchange) -> None:
    """Have a connection to the upstream: from the pool, by waiting in line, or a fresh one."""
    group, times = ex.group, ex.clocked()
    if ex.up is not None or ex.resp is not None:
        return
    if ex.place is None:
        await _wait_in_line(house, ex)
    times.leased = times.leased or house.lobby.now
    if ex.place is not None:
        ex.up = await _connect(house, ex, ex.place)
    ex.place = None
    up = ex.up
    assert up is not None  # noqa: S101 - granted or connected
    up.exchange = ex
    ex.server = up.server
    up.on_event = on_event
    up.latch |= OUT
    ex.to_up = dressed(group, up, ex.request)


async def _wait_in_line(house: House, ex: Exchange) -> None:
    group, bell, lobby = ex.group, ex.bell, house.lobby
    assert bell is not None  # noqa: S101 - promoted
    ex.granted = group.take_sure(ex) if ex.once else group.take(ex)
    if ex.granted is None:
        if group.full:
            raise Ended("proxy", "admission", "queue-full", 503, group.spec.full)
        ex.granted = group.enter(ex)
    deadline = lobby.now + group.spec.queue_timeout
    if ex.granted is None:
        ex.clocked().lined = lobby.now
    while ex.granted is None:
        if ex.rec.latch & GONE:
            raise Ended("client", "admission", why_gone(ex), 499)
        if not await bell.wait(deadline) and ex.granted is None:
            raise Ended("proxy", "admission", "queue-timeout", 503, group.spec.late)
    if isinstance(ex.granted, Server):
        ex.place = ex.granted
    else:
        ex.up = ex.granted
    ex.granted = None


def _is_gone(ex: Exchange) -> bool:
    return bool(ex.rec.latch & GONE)


async def _connect(house: House, ex: Exchange, place: Server) -> Upstream:
    """Connect to the server; if it cannot be reached, to each other one, or to the only one once more."""
    group, lobby, bell = ex.group, house.lobby, ex.bell
    assert bell is not None  # noqa: S101 - promoted
    tried: list[Server] = []
    deadline = lobby.clock() + group.spec.connect_timeout
    while True:
        ex.server = place
        try:
            up = await connect(lobby, bell, place, deadline, lambda: _is_gone(ex))
        except ConnectFailed as exc:
            if _is_gone(ex):
                raise Ended("client", "connect", why_gone(ex), 499) from exc
            ours = exc.reason in OURS
            if not ours:
                group.failed(place, f"connect-{exc.reason}: {exc.detail}")
            tried.append(place)
            other = group.place(ex, shun=tried)
            if other is not None:
                ex.tried += (place.name,)
                ex.place = other
                group.free(place)
                place, deadline = other, lobby.clock() + group.spec.connect_timeout
            elif len(tried) == 1 and exc.reason == "refused":
                await bell.wait(lobby.tick() + ONCE_MORE)
            else:
                ex.place = None
                group.free(place)
                status = STATUS.get(exc.reason, 502)
                house.journal.warn(
                    f"upstream {group.name}: {exc.detail}; no server took it: answered with {status}"
                )
                by = "proxy" if ours else "upstream"
                raise Ended(by, "connect", f"connect-{exc.reason}", status) from exc
        else:
            up.uses = 1
            return up


def again(ex: Exchange, *, unrun: bool) -> bool:
    """Send a request again whose upstream connection has ended before a byte of the response, if it may be.

    If so, the connection is closed and the exchange has a place for a fresh one; if not, nothing is changed.

    Args:
        ex: its `up` has ended.
        unrun: whether the server is known to have had nothing of the request.
    """
    up, group = ex.up, ex.group
    if (
        up is None
        or ex.rec.latch & GONE
        or not may_retry(
            method=ex.head.method,
            reused=up.uses > 1,
            answered=bool(ex.from_up) or (ex.lane == "task" and ex.answered),
            replayable=ex.whole or (ex.body_in == 0 and ex.head.length >= 0),
            retries=ex.retries,
            unrun=unrun,
            unsafe=ex.route.retry_unsafe,
            elsewhere=group.others(up.server),
            most=group.spec.retries,
        )
    ):
        return False
    here = unrun or up.uses > 1
    place: Server | None = None
    if not here:
        place = group.place(ex, shun=(up.server,))
        if place is None:
            return False
    if not (ex.spool is None or ex.spool.rewind()) or not (unrun or group.may_repeat()):
        if place is not None:
            group.free(place)
        return False
    ex.retries += 1
    ex.up = None
    if not here:
        ex.tried += (up.server.name,)
    if place is None:
        place = group.vacate(up)
    else:
        group.failed(up.server, "upstream-closed")  # first: a probe that is over without a verdict is none
        group.drop(up)
    ex.place = place
    return True


def blame(ex: Exchange, exc: Ended) -> None:
    """Put an exchange that has failed down to its server, if that is whose failure it is."""
    if exc.by == "upstream" and exc.phase != "relay" and exc.reason in FAILURES and ex.server is not None:
        up = ex.up
        if up is None or up.uses == 1 or exc.reason in {"upstream-truncated", "response-timeout"}:
            ex.group.failed(ex.server, exc.reason)


def on_grant(ex: Exchange, granted: Grant) -> None:
    """The line's call: what it grants, to a waiting task."""
    ex.granted = granted
    if ex.bell is not None:
        ex.bell.ring()


def on_event(record: Any, events: int) -> None:
    """The lobby's call for both sockets of a task's exchange: latch, and wake it if that is anything new."""
    news = events & ~record.latch
    record.latch |= events
    ex = record.exchange
    if news and ex is not None and ex.bell is not None:
        if news & FIN and record is ex.rec and ex.whole:
            fin_seen(ex)
        ex.bell.ring()
