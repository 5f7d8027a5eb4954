"""The story of an exchange that is not plain, in order: a lease, the request up, the response down, the end.

One task tells it for one exchange. It starts wherever the express lane left off, looks at what was latched
meanwhile, and leaves the client's connection to the lobby again. Every wait has a deadline; nothing is
shielded. `serve` is the whole story; the functions around it are its steps.
"""

from typing import Any, Final

from shieldproxy.core.retry import may_retry
from shieldproxy.net.record import FIN, GONE, OUT, Upstream
from shieldproxy.net.server import Grant, Server
from shieldproxy.net.upstream import ConnectFailed, connect
from shieldproxy.proxy.answer import may_keep, refusal
from shieldproxy.proxy.ends import SERVED, Ending, finish, give_up, refused
from shieldproxy.proxy.fin import fin_seen, leave_upstream, why_gone
from shieldproxy.proxy.house import House
from shieldproxy.proxy.manners import dressed
from shieldproxy.proxy.relay import Relay
from shieldproxy.proxy.state import Ended, Exchange, UpstreamClosed

NAME: Final = "shieldproxy exchange"
RETRY_AFTER: Final = 5
"""Seconds, in a 503 that is for no upstream's line."""


async def serve(house: House, ex: Exchange, ending: Ending | None = None) -> None:
    """Serve one promoted exchange to its end.

    Args:
        house: the worker's.
        ex: from the express lane, with all that was read and written so far.
        ending: known already if only bytes for the client are left.
    """
    house.lobby.tick()
    try:
        if ending is None:
            ending = await _answer(house, ex)
        if ex.to_down:
            await Relay(house, ex).flush()
        finish(house, ex, ending)
    except Ended as exc:
        if ex.rec.latch & GONE:
            leave_upstream(house, ex, ex.to_up, exc.rest, whole=exc.whole)
        _let_go(ex)
        give_up(house, ex, exc)
    except BaseException as exc:
        _let_go(ex)
        if not isinstance(exc, Exception):
            raise
        house.fault(ex.rec, exc)  # a defect of ours ends this exchange, not the worker


async def _answer(house: House, ex: Exchange) -> Ending:
    """Bring the upstream's response to the client; an answer of ours, if there can be none."""
    try:
        if ex.rec.latch & GONE:
            raise Ended("client", "admission", why_gone(ex), 499)
        while True:
            await _lease(house, ex)
            try:
                await Relay(house, ex).run()
            except UpstreamClosed as exc:
                _again(ex, exc)
            else:
                return SERVED
    except Ended as exc:
        if exc.status < 400 or exc.status == 499 or ex.begun or ex.rec.latch & GONE:
            raise
        _let_go(ex)  # now, and not when the client has read: nobody waits for a slow one's place
        ex.resp, ex.head_out = None, 0
        ex.keep = ex.whole and may_keep(house, ex)
        ex.to_down = refusal(
            house,
            ex,
            exc.status,
            exc.reason,
            exc.detail,
            retry_after=ex.group.retry_after() if exc.status == 503 else None,
        )
        return refused(exc.by, exc.phase, exc.reason)


def _again(ex: Exchange, exc: UpstreamClosed) -> None:
    """Send a request again whose reused connection was dead, or pass the fault on."""
    up, group, head = ex.up, ex.group, ex.head
    if up is None:
        raise exc
    if not may_retry(
        method=head.method,
        reused=up.uses > 1,
        answered=ex.answered,
        replayable=_replayable(ex),
        retries=ex.retries,
    ):
        raise exc
    ex.retries += 1
    ex.up = None
    ex.place = group.vacate(up)
    ex.to_up = ex.request


def _replayable(ex: Exchange) -> bool:
    """Whether the request can be sent again from its first byte."""
    if ex.whole:
        return ex.spool is None or bool(ex.spool.rewind())
    return ex.body_in == 0 and ex.head.length >= 0


async def _lease(house: House, ex: Exchange) -> None:
    """Have a connection to the upstream: from the pool, by waiting in line, or a fresh one."""
    group, bell, lobby = ex.group, ex.bell, house.lobby
    if ex.up is not None or ex.resp is not None:
        return
    assert bell is not None  # noqa: S101 - promoted
    if ex.place is None:
        ex.granted = group.take()
        if ex.granted is None:
            if group.full:
                raise Ended("proxy", "admission", "queue-full", 503)
            ex.granted = group.enter(ex)
        deadline = lobby.now + group.spec.queue_timeout
        while ex.granted is None:
            if ex.rec.latch & GONE:
                raise Ended("client", "admission", why_gone(ex), 499)
            if not await bell.wait(deadline) and ex.granted is None:
                raise Ended("proxy", "admission", "queue-timeout", 503)
        if isinstance(ex.granted, Server):
            ex.place = ex.granted
        else:
            ex.up = ex.granted
        ex.granted = None
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


def _is_gone(ex: Exchange) -> bool:
    return bool(ex.rec.latch & GONE)


async def _connect(house: House, ex: Exchange, place: Server) -> Upstream:
    """Connect to the server, or to another one of the upstream if it cannot be reached."""
    group, lobby = ex.group, house.lobby
    assert ex.bell is not None  # noqa: S101 - promoted
    tried = 0
    while True:
        ex.server = place
        tried += 1
        try:
            up = await connect(
                lobby, ex.bell, place, lobby.clock() + group.spec.connect_timeout, lambda: _is_gone(ex)
            )
        except ConnectFailed as exc:
            if _is_gone(ex):
                raise Ended("client", "connect", "reset", 499) from exc
            other = group.place(shun=place) if tried < len(group.servers) else None
            ex.place = other
            group.free(place)
            if other is None:
                status = 504 if exc.reason == "timeout" else 502
                house.journal.warn(f"upstream {group.name}: {exc.detail}")
                raise Ended("upstream", "connect", f"connect-{exc.reason}", status) from exc
            place = other
        else:
            up.uses = 1
            return up


def _leave_upstream(ex: Exchange) -> None:
    up = ex.up
    if up is not None:
        ex.up = None
        ex.group.abandon(up)


def _let_go(ex: Exchange) -> None:
    """Give back whatever the exchange still holds, however it ended."""
    group = ex.group
    group.quit(ex)
    _leave_upstream(ex)
    granted, ex.granted = ex.granted, None
    place, ex.place = ex.place, None
    if isinstance(granted, Server):
        group.free(granted)
    elif granted is not None:
        group.release(granted)
    if place is not None:
        group.free(place)


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
