"""The story of an exchange that is not plain, in order: a lease, the request up, the response down, the end.

One task tells it for one exchange. It starts wherever the express lane left off, looks at what was latched
meanwhile, and leaves the client's connection to the lobby again. Every wait has a deadline; nothing is
shielded. `serve` is the whole story; the functions around it are its steps.
"""

from typing import Final

from shieldproxy.net.record import FIN, GONE
from shieldproxy.net.server import Server
from shieldproxy.proxy.answer import refusal
from shieldproxy.proxy.ends import SERVED, Ending, finish, give_up, refused
from shieldproxy.proxy.fin import fin_seen, half_said, leave_upstream, why_gone
from shieldproxy.proxy.house import House
from shieldproxy.proxy.lease import again, blame, lease
from shieldproxy.proxy.readout import keeps
from shieldproxy.proxy.relay import Relay
from shieldproxy.proxy.state import Ended, Exchange, UpstreamClosed

NAME: Final = "shieldproxy exchange"
RETRY_AFTER: Final = 5
"""Seconds, in a 503 that is for no upstream's line."""


async def serve(house: House, ex: Exchange) -> None:
    """Serve one promoted exchange to its end.

    Args:
        house: the worker's.
        ex: from the express lane, with all that was read and written so far.
    """
    house.lobby.tick()
    try:
        ending = await _answer(house, ex)
        if ex.rec.exchange is not ex:
            _let_go(house, ex)  # cut off meanwhile, and in the books
        elif ex.to_down or ex.out is not None:
            house.send_rest(ex, ending)  # whoever reads slowly does so without a task
        else:
            finish(house, ex, ending)
    except Ended as exc:
        if ex.rec.exchange is not ex:  # cut off meanwhile, and in the books
            _let_go(house, ex)
            return
        if exc.by == "client":
            leave_upstream(house, ex, exc, ex.to_up)
        _let_go(house, ex)
        if exc.by != "client" and ex.begun:
            if exc.by == "proxy":
                ex.shut()  # what the spool has is lost
            house.send_rest(ex, exc)  # as far as it came: a reset now would destroy what is on its way
        else:
            give_up(house, ex, exc)
    except BaseException as exc:
        _let_go(house, ex)
        if not isinstance(exc, Exception):
            raise
        house.fault(ex.rec, exc)  # a defect of ours ends this exchange, not the worker


async def _answer(house: House, ex: Exchange) -> Ending:
    """Bring the upstream's response to the client; an answer of ours, if there can be none."""
    try:
        if ex.rec.latch & FIN and ex.whole:
            fin_seen(ex)
        if ex.rec.latch & GONE and ex.up is None:
            raise Ended("client", "admission", why_gone(ex), 499)
        while True:
            await lease(house, ex)
            try:
                await Relay(house, ex).run()
            except UpstreamClosed as exc:
                if not again(ex, unrun=exc.unrun):
                    raise
            else:
                return SERVED
    except Ended as exc:
        blame(ex, exc)
        if exc.status < 400 or exc.status == 499 or ex.begun or ex.rec.latch & GONE:
            raise
        _let_go(house, ex)  # now, and not when the client has read: nobody waits for a slow one's place
        ex.shut()
        ex.resp, ex.head_out = None, 0
        ex.keep = exc.phase != "body" and not ex.discarded  # else the next request cannot be found
        ex.keep = keeps(house, ex)
        before = half_said(ex.to_down)
        ex.to_down = before + refusal(
            house,
            ex,
            exc.status,
            exc.reason,
            exc.detail,
            retry_after=ex.group.retry_after() if exc.status == 503 else None,
        )
        ex.head_out += len(before)
        return refused(exc.by, exc.phase, exc.reason)


def _leave_upstream(ex: Exchange) -> None:
    up = ex.up
    if up is not None:
        ex.up = None
        ex.group.abandon(up)


def _let_go(house: House, ex: Exchange) -> None:
    """Give back whatever the exchange still holds, however it ended."""
    group, times = ex.group, ex.clocked()
    times.freed = times.freed or house.lobby.now
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
